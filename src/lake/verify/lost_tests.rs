//! What is lost, broken or a stranger's among the objects that only Tidemill writes.

use super::super::outputs::NewOutput;
use super::super::testing::{TOPIC_ID, key, local_file, on_disk, output, place};
use super::tests::{are, closing_of, commit, delete, is, sort, sound, stage};
use super::*;
use crate::model::commit::{ClosedFile, MadeFrom, Output, Publish, RecordId};
use object_store::ObjectStoreExt;

async fn put(lake: &Lake, path: &Path, text: &str) {
    lake.objects().put(path, text.to_owned().into()).await.unwrap();
}

async fn copy(lake: &Lake, from: &Path, to: &Path) {
    let bytes = lake.read(from).await.unwrap().unwrap();
    lake.objects().put(to, bytes.into()).await.unwrap();
}

fn closing_path(n: u64) -> Path {
    paths::closing(&output(), &key(), n)
}

async fn verify(lake: &Lake) -> Report {
    lake.verify(&output(), &Known::default()).await.unwrap()
}

#[tokio::test]
async fn a_closing_that_the_state_store_mirrors_must_be_there() {
    let (lake, files) = sound().await;
    lake.create_closing(&closing_of(1, &files)).await.unwrap();
    let known = Known { closings: vec![(key(), 1)], ..Known::default() };
    assert_eq!(lake.verify(&output(), &known).await.unwrap().findings, []);
    delete(&lake, closing_path(1).as_ref()).await;
    let report = lake.verify(&output(), &known).await.unwrap();
    are(&report, &["closing 1 of 2026-11-20T05 is missing"]);
}

#[tokio::test]
async fn records_that_the_state_store_mirrors_must_be_there() {
    let (lake, _) = sound().await;
    let record = |seq| RecordId { topic_id: TOPIC_ID.into(), topic_partition: 3, seq };
    let known = |seq| Known { records: vec![record(seq)], ..Known::default() };
    assert_eq!(lake.verify(&output(), &known(2)).await.unwrap().findings, []);
    let report = lake.verify(&output(), &known(4)).await.unwrap();
    are(&report, &["records 3 to 4 of topic partition 3 are missing"]);
}

#[tokio::test]
async fn a_gap_in_the_numbers_of_closings_is_damage() {
    let (lake, files) = sound().await;
    for n in 1..=3 {
        lake.create_closing(&closing_of(n, &files)).await.unwrap();
    }
    assert_eq!(verify(&lake).await.findings, []);
    delete(&lake, closing_path(2).as_ref()).await;
    are(&verify(&lake).await, &["closing 2 of 2026-11-20T05 is missing"]);
}

#[tokio::test]
async fn a_closing_or_record_under_the_name_of_another_is_damage() {
    let (lake, files) = sound().await;
    lake.create_closing(&closing_of(1, &files)).await.unwrap();
    copy(&lake, &closing_path(1), &closing_path(2)).await;
    are(&verify(&lake).await, &["2.json is not what Tidemill wrote: it holds closing 1"]);
    let (lake, _) = sound().await;
    copy(&lake, &place().record(1), &place().record(3)).await;
    are(&verify(&lake).await, &["3.json is not what Tidemill wrote: it holds record 1"]);
}

#[tokio::test]
async fn a_stranger_among_our_objects_is_told_with_its_path() {
    let (lake, _) = sound().await;
    for folder in [place().log(), paths::closings(&output()), paths::outputs(&output())] {
        let path = format!("{folder}/junk");
        put(&lake, &path.as_str().into(), "x").await;
        is(&verify(&lake).await, Severity::Foreign, &path);
        delete(&lake, &path).await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_read_is_told_and_the_rest_is_verified() {
    for broken in ["", "garbage", "{}"] {
        let (lake, files) = sound().await;
        lake.create_closing(&closing_of(1, &files[1..])).await.unwrap();
        lake.create_closing(&closing_of(2, &files[1..])).await.unwrap();
        put(&lake, &place().record(1), broken).await;
        put(&lake, &closing_path(1), broken).await;
        delete(&lake, &files[1].published).await;
        let report = verify(&lake).await;
        are(
            &report,
            &[
                "closed/2026-11-20T05/1.json is not what Tidemill wrote",
                "1.json is not what Tidemill wrote",
                "01234567-3-1-0.parquet belongs to record 1",
                "is missing: 4 rows of record 2",
            ],
        );
        assert_eq!((report.records, report.closings), (1, 1), "the others were read");
    }
}

#[tokio::test]
async fn files_of_a_lost_record_are_left_where_they_are() {
    let (lake, _) = sound().await;
    stage(&lake.log(&output(), TOPIC_ID, 3), 2, "waits").await;
    delete(&lake, place().record(2).as_ref()).await; // The last: only its file tells of it.
    let report = verify(&lake).await;
    let lost = "belongs to record 2 of topic partition 3";
    are(&report, &[lost, lost, "record 2 of topic partition 3 is missing"]);
    assert!(report.findings[..2].iter().all(|its| its.mend.contains("leave it")));
}

#[tokio::test]
async fn files_of_a_lost_closing_are_left_where_they_are() {
    let (lake, files) = sound().await;
    let waiting = [commit(&lake, Publish::OnClose).await];
    sort(&lake, &files, &waiting).await;
    assert_eq!(verify(&lake).await.findings, []);
    delete(&lake, closing_path(1).as_ref()).await;
    let words = ["closing 1 of 2026-11-20T05 is missing", "belongs to closing 1 of 2026-11-20T05"];
    are(&verify(&lake).await, &words);
}

/// A table that a batch has written, and that has closed.
async fn batch(lake: &Lake) -> Output {
    let new = NewOutput {
        table: output(),
        key: key(),
        n: 1,
        run: "close-1".into(),
        input: None,
        content: Some((local_file("rows"), 4)),
    };
    let output = lake.replace_output(new).await.unwrap();
    let file = output.file.clone().unwrap();
    let closed = ClosedFile {
        published: file.published,
        topic_id: String::new(),
        topic_partition: 0,
        seq: 1,
        rows: file.rows,
        bytes: file.bytes,
        checksum: file.checksum,
        event_time_min: None,
        event_time_max: None,
    };
    let Output { table, key, n, run, .. } = output.clone();
    let made_from = Some(MadeFrom { table, key, n, run });
    let closing = Closing { files: vec![closed], rows: 4, made_from, ..closing_of(1, &[]) };
    lake.create_closing(&closing).await.unwrap();
    output
}

#[tokio::test]
async fn an_output_whose_number_is_lost_is_damage_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let lake = on_disk(folder.path()).await;
    let file = batch(&lake).await.file.unwrap();
    assert_eq!(verify(&lake).await.findings, []);
    let number = paths::output_number(&output(), &key());
    for broken in ["", "garbage", "{}"] {
        put(&lake, &number, broken).await;
        are(&verify(&lake).await, &["outputs/2026-11-20T05.json is not what Tidemill wrote"]);
    }
    delete(&lake, number.as_ref()).await;
    let report = verify(&lake).await;
    are(&report, &["outputs/2026-11-20T05.json is missing"]);
    assert!(report.findings[0].mend.contains("part-0.parquet where it is"));
    delete(&lake, closing_path(1).as_ref()).await;
    are(&verify(&lake).await, &["outputs/2026-11-20T05.json is missing"]);
    delete(&lake, &file.published).await;
    assert_eq!(verify(&lake).await.findings, []);
}

#[tokio::test]
async fn a_number_under_the_name_of_another_hive_partition_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let lake = on_disk(folder.path()).await;
    batch(&lake).await;
    let other = paths::output_number(&output(), &"2026-11-20T06".parse().unwrap());
    copy(&lake, &paths::output_number(&output(), &key()), &other).await;
    are(&verify(&lake).await, &["T06.json is not what Tidemill wrote: it holds the number of"]);
}
