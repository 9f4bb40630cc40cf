use super::super::compaction::NewSorted;
use super::super::testing::{
    SteppedStore, TOPIC_ID, closing, crash_at_every_call, key, memory, output, record_of, through,
};
use super::*;
use crate::lake::commit::{Append, Log, NewFile, Tip, Unpublished};
use crate::model::commit::{ClosedFile, Compacted, Compaction, File, Publish, Record};
use object_store::ObjectStoreExt;
use std::sync::Arc;
use std::task::{Context, Waker};

/// A lake whose log has two records of one file each, published; and those files.
pub(super) async fn sound() -> (Lake, Vec<File>) {
    let lake = memory().await;
    let log = lake.log(&output(), TOPIC_ID, 3);
    let mut tip = log.recover().await.unwrap();
    let mut files = vec![];
    for seq in 1..=2 {
        let start = tip.end().unwrap_or(0);
        let file = stage(&log, seq, "rows").await;
        files.push(file.clone());
        let record = record_of(seq, start, start + 4, vec![file]);
        let Append::Ours(committed) = log.append(&tip, &record).await.unwrap() else {
            panic!("nobody else writes")
        };
        tip = log.publish(&committed).await.unwrap();
    }
    (lake, files)
}

pub(super) async fn stage(log: &Log, seq: u64, text: &str) -> File {
    let file = NewFile {
        key: Some("2026-11-20T05".parse().unwrap()),
        index: 0,
        payload: format!("{text} of {seq}").into(),
        rows: 4,
        event_time_min: None,
        event_time_max: None,
    };
    log.stage(seq, file).await.unwrap()
}

pub(super) async fn delete(lake: &Lake, name: &str) {
    lake.objects().delete(&name.into()).await.unwrap();
}

#[track_caller]
pub(super) fn is(report: &Report, severity: Severity, words: &str) {
    let found = report.findings.iter().map(|its| (its.severity, its.what.contains(words)));
    assert_eq!(found.collect::<Vec<_>>(), [(severity, true)], "{:#?}", report.findings);
}

/// All findings, in their order; each is damage.
#[track_caller]
pub(super) fn are(report: &Report, words: &[&str]) {
    let found = &report.findings;
    let told = found.iter().zip(words).all(|(its, words)| its.what.contains(words));
    let all_damage = found.iter().all(|its| its.severity == Severity::Damage);
    assert!(told && all_damage && found.len() == words.len(), "{found:#?}");
}

/// The closing of the files, as the scheduler makes it.
pub(super) fn closing_of(n: u32, files: &[File]) -> Closing {
    let closed = files.iter().zip(1..).map(|(file, seq)| ClosedFile {
        published: file.published.clone(),
        topic_id: TOPIC_ID.into(),
        topic_partition: 3,
        seq,
        rows: file.rows,
        bytes: file.bytes,
        checksum: file.checksum.clone(),
        event_time_min: file.event_time_min,
        event_time_max: file.event_time_max,
    });
    let files: Vec<ClosedFile> = closed.collect();
    let rows = files.iter().map(|file| file.rows).sum();
    Closing { files, rows, ..closing(n, &[]) }
}

#[tokio::test]
async fn a_sound_table_has_nothing_to_tell_but_its_sums() {
    let (lake, files) = sound().await;
    lake.create_closing(&closing_of(1, &files[..1])).await.unwrap();
    stage(&lake.log(&output(), TOPIC_ID, 3), 3, "to come").await;
    let report = lake.verify(&output(), &Known::default()).await.unwrap();
    assert_eq!(report.findings, []);
    let Report { logs, records, files, closings, late_rows, staged, counts, .. } = report;
    assert_eq!((logs, records, files, closings, late_rows, staged), (1, 2, 2, 1, 4, 1));
    assert_eq!(counts.landed, 8);
}

#[tokio::test]
async fn trouble_at_any_call_is_told_as_an_outage_and_never_as_damage() {
    let verify = async |lake: Lake, ()| {
        assert_eq!(lake.verify(&output(), &Known::default()).await?.findings, []);
        Ok(())
    };
    crash_at_every_call(async || (sound().await.0, ()), verify, async |_, ()| {}).await;
}

#[tokio::test]
async fn a_file_that_is_gone_or_changed_is_damage() {
    let (lake, files) = sound().await;
    delete(&lake, &files[0].published).await;
    is(
        &lake.verify(&output(), &Known::default()).await.unwrap(),
        Severity::Damage,
        "is missing: 4 rows of record 1",
    );
    let (lake, files) = sound().await;
    let same_size = "ROWS of 1".into();
    lake.objects().put(&files[0].published.as_str().into(), same_size).await.unwrap();
    is(
        &lake.verify(&output(), &Known::default()).await.unwrap(),
        Severity::Damage,
        "is not what record 1 made",
    );
}

#[tokio::test]
async fn a_missing_record_is_damage() {
    let (lake, _) = sound().await;
    let log = lake.log(&output(), TOPIC_ID, 3);
    delete(&lake, log.place.record(1).as_ref()).await;
    let report = lake.verify(&output(), &Known::default()).await.unwrap();
    are(
        &report,
        &["01234567-3-1-0.parquet belongs to record 1", "record 1 of topic partition 3 is missing"],
    );
}

#[tokio::test]
async fn a_strangers_file_is_told_and_nothing_else() {
    let (lake, _) = sound().await;
    let path = "raw/recentchange/dt=2026-11-20/hour=05/x.parquet";
    lake.objects().put(&path.into(), "x".into()).await.unwrap();
    is(&lake.verify(&output(), &Known::default()).await.unwrap(), Severity::Foreign, path);
}

#[tokio::test]
async fn garbage_and_a_half_published_record_finish_by_themselves() {
    let (lake, files) = sound().await;
    let log = lake.log(&output(), TOPIC_ID, 3);
    stage(&log, 2, "of a zombie").await;
    is(
        &lake.verify(&output(), &Known::default()).await.unwrap(),
        Severity::Unfinished,
        "record 2 does not name it",
    );
    log.sweep(0).await.unwrap();
    let (from, to) = (files[1].published.as_str().into(), files[1].staged.as_str().into());
    lake.objects().rename(&from, &to).await.unwrap();
    is(
        &lake.verify(&output(), &Known::default()).await.unwrap(),
        Severity::Unfinished,
        "not visible yet",
    );
    log.recover().await.unwrap();
    assert_eq!(lake.verify(&output(), &Known::default()).await.unwrap().findings, []);
}

#[tokio::test]
async fn a_closing_of_what_no_record_has_and_one_that_forgets_are_damage() {
    let (lake, files) = sound().await;
    let mut strange = closing_of(1, &files);
    strange.files[0].bytes += 1;
    lake.create_closing(&strange).await.unwrap();
    is(
        &lake.verify(&output(), &Known::default()).await.unwrap(),
        Severity::Damage,
        "as no record does",
    );
    let (lake, files) = sound().await;
    lake.create_closing(&closing_of(1, &files)).await.unwrap();
    lake.create_closing(&closing_of(2, &files[..1])).await.unwrap();
    is(
        &lake.verify(&output(), &Known::default()).await.unwrap(),
        Severity::Damage,
        "closing 2 of 2026-11-20T05 lacks",
    );
}

pub(super) async fn commit(lake: &Lake, publish: Publish) -> Record {
    let log = lake.log(&output(), TOPIC_ID, 3);
    let tip = log.recover().await.unwrap();
    let file = stage(&log, tip.next_seq(), "rows").await;
    let committed = append(&log, &tip, publish, file).await;
    log.publish(&committed).await.unwrap();
    committed.record().clone()
}

async fn append(log: &Log, tip: &Tip, publish: Publish, file: File) -> Unpublished {
    let (seq, start) = (tip.next_seq(), tip.end().unwrap());
    let record = Record { publish, ..record_of(seq, start, start + 4, vec![file]) };
    let Append::Ours(committed) = log.append(tip, &record).await.unwrap() else {
        panic!("nobody else writes")
    };
    committed
}

/// Closes the hour, with the rows of the records that wait in one sorted file.
pub(super) async fn sort(lake: &Lake, shown: &[File], waiting: &[Record]) {
    let rows = waiting.iter().flat_map(|record| &record.files).map(|file| file.rows).sum();
    let (key, n, index, payload) = (key(), 1, 0, "sorted rows".into());
    let (event_time_min, event_time_max) = (None, None);
    let new = NewSorted { key, n, index, payload, rows, event_time_min, event_time_max };
    let added = lake.stage_sorted(&output(), new).await.unwrap();
    let mut closing = closing_of(1, &[shown, std::slice::from_ref(&added)].concat());
    closing.files.last_mut().unwrap().topic_id = String::new();
    let seqs = waiting.iter().map(|record| record.seq).collect();
    let records = vec![Compacted { topic_id: TOPIC_ID.into(), topic_partition: 3, seqs, rows }];
    closing.compaction = Some(Compaction { complete: true, added: vec![added], records });
    lake.create_closing(&closing).await.unwrap();
    lake.publish_closing(&closing).await.unwrap();
    let staged = waiting.iter().flat_map(|record| &record.files);
    let staged: Vec<Path> = staged.map(|file| file.staged.as_str().into()).collect();
    lake.retire(&closing, &staged).await.unwrap();
}

#[tokio::test]
async fn what_a_table_at_work_does_meanwhile_is_no_damage() {
    for steps in 0.. {
        let (lake, mut shown) = sound().await;
        let mut waiting = vec![commit(&lake, Publish::OnClose).await];
        let log = lake.log(&output(), TOPIC_ID, 3);
        let tip = log.recover().await.unwrap();
        let begun = stage(&log, tip.next_seq(), "rows").await;
        let (inner, fault) = (Arc::clone(lake.objects()), Arc::default());
        let stepped = through(&lake, Arc::new(SteppedStore { inner, fault, forgetful: false }));
        let (table, known) = (output(), Known::default());
        let mut looking = Box::pin(stepped.verify(&table, &known));
        let mut step = || looking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if (0..steps).any(|_| step().is_ready()) {
            assert!(steps > 20, "it has looked {steps} times");
            return;
        }
        let committed = append(&log, &tip, Publish::OnCommit, begun.clone()).await;
        log.publish(&committed).await.unwrap();
        shown.push(begun);
        waiting.push(commit(&lake, Publish::OnClose).await);
        shown.extend(commit(&lake, Publish::OnCommit).await.files);
        sort(&lake, &shown, &waiting).await;
        commit(&lake, Publish::OnClose).await;
        let tip = log.recover().await.unwrap();
        let half = stage(&log, tip.next_seq(), "rows").await;
        append(&log, &tip, Publish::OnCommit, half).await;
        let found = looking.await.unwrap().findings.into_iter();
        let found: Vec<_> = found.filter(|its| its.severity > Severity::Unfinished).collect();
        assert_eq!(found, [], "after {steps} steps");
    }
}
