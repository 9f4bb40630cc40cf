//! A writer that is killed at every call to the store, and the next one that takes over.

use super::super::testing::{
    TOPIC_ID, closing, crash_at_every_call, memory, output, record_of, trouble_at_every_request,
};
use super::super::{Created, Lake, paths};
use super::{Append, Log, NewFile, Tip};
use crate::error::{Error, ErrorKind};
use crate::model::commit::{File, Record};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

fn log(lake: &Lake) -> Log {
    lake.log(&output(), TOPIC_ID, 3)
}

async fn stage(
    log: &Log,
    seq: u64,
    index: u32,
    rows: u64,
    key: Option<&str>,
) -> Result<File, Error> {
    let file = NewFile {
        key: key.map(|key| key.parse().unwrap()),
        index,
        payload: format!("{rows} rows, file {index}").into(),
        rows,
        event_time_min: None,
        event_time_max: None,
    };
    log.stage(seq, file).await
}

/// Ten rows in two hive partitions, and two in quarantine, staged.
async fn staged(lake: &Lake) -> Result<Record, Error> {
    let log = log(lake);
    let files = vec![
        stage(&log, 1, 0, 4, Some("2026-11-20T05")).await?,
        stage(&log, 1, 1, 6, Some("2026-11-20T06")).await?,
    ];
    let mut record = record_of(1, 0, 12, files);
    record.quarantine = Some(stage(&log, 1, 2, 2, None).await?);
    record.counts.read += 2;
    record.counts.quarantined += 2;
    Ok(record)
}

async fn append_and_publish(lake: &Lake, record: &Record) -> Result<(), Error> {
    let log = log(lake);
    let tip = log.recover().await?;
    match log.append(&tip, record).await? {
        Append::Ours(committed) => log.publish(&committed).await.map(|_| ()),
        Append::Theirs(_) => panic!("nobody else writes"),
    }
}

/// Every object of the table and the quarantine is there once, and nothing is left staged.
async fn check_published(lake: &Lake, record: &Record) {
    assert_eq!(lake.visible_files(&output()).await.unwrap().len(), record.files.len());
    assert_eq!(lake.quarantine_files(&output()).await.unwrap().len(), 1);
    for file in record.files.iter().chain(&record.quarantine) {
        let path = file.published.as_str().into();
        assert!(lake.holds(&path, file.bytes, &file.checksum).await.unwrap());
    }
    log(lake).sweep(0).await.unwrap();
    let stage = paths::Place::new(&output(), TOPIC_ID, 3).stage();
    let left: Vec<_> = lake.objects().list(Some(&stage)).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

async fn commit(lake: Lake, (): ()) -> Result<(), Error> {
    let record = staged(&lake).await?;
    append_and_publish(&lake, &record).await
}

async fn take_over(lake: Lake, (): ()) {
    let tip = log(&lake).recover().await.unwrap();
    if let Some(committed) = tip.last() {
        check_published(&lake, committed).await;
        return;
    }
    assert!(lake.visible_files(&output()).await.unwrap().is_empty());
    let record = staged(&lake).await.unwrap();
    append_and_publish(&lake, &record).await.unwrap();
    check_published(&lake, &record).await;
}

#[tokio::test]
async fn whoever_comes_after_a_crash_finds_the_record_published_or_none() {
    crash_at_every_call(async || (memory().await, ()), commit, take_over).await;
}

#[tokio::test]
async fn so_it_is_in_a_bucket() {
    trouble_at_every_request(async |_| (), commit, take_over).await;
}

/// A record of ours and what a zombie staged for the same number.
async fn with_garbage(lake: &Lake) -> Record {
    let (ours, zombies) = (staged(lake).await.unwrap(), staged(lake).await.unwrap());
    let log = log(lake);
    let tip = log.recover().await.unwrap();
    assert!(matches!(log.append(&tip, &ours).await.unwrap(), Append::Ours(_)));
    assert_eq!(zombies.files.len(), ours.files.len());
    ours
}

async fn sweep(lake: Lake, _: Record) -> Result<(), Error> {
    log(&lake).sweep(0).await.map(|_| ())
}

async fn sweep_again(lake: Lake, ours: Record) {
    log(&lake).sweep(0).await.unwrap();
    log(&lake).recover().await.unwrap();
    check_published(&lake, &ours).await;
}

#[tokio::test]
async fn a_sweep_cut_short_anywhere_takes_nothing_of_a_record_and_is_finished_by_the_next() {
    let make = async || {
        let lake = memory().await;
        let ours = with_garbage(&lake).await;
        (lake, ours)
    };
    crash_at_every_call(make, sweep, sweep_again).await;
}

#[tokio::test]
async fn in_a_bucket_it_is_finished_too() {
    trouble_at_every_request(async |lake| with_garbage(&lake).await, sweep, sweep_again).await;
}

type Ready = (Record, Tip);

async fn ready(lake: &Lake) -> Ready {
    (staged(lake).await.unwrap(), log(lake).recover().await.unwrap())
}

async fn append(lake: Lake, (record, _): Ready) -> Result<(), Error> {
    append_and_publish(&lake, &record).await
}

async fn append_again(lake: Lake, (record, tip): Ready) {
    let Append::Ours(committed) = log(&lake).append(&tip, &record).await.unwrap() else {
        panic!("the bytes are the same")
    };
    log(&lake).publish(&committed).await.unwrap();
    check_published(&lake, &record).await;
}

#[tokio::test]
async fn the_same_record_appended_again_after_any_crash_is_ours() {
    let make = async || {
        let lake = memory().await;
        let ready = ready(&lake).await;
        (lake, ready)
    };
    crash_at_every_call(make, append, append_again).await;
}

#[tokio::test]
async fn in_a_bucket_it_is_ours_too() {
    trouble_at_every_request(async |lake| ready(&lake).await, append, append_again).await;
}

async fn close(lake: Lake, (): ()) -> Result<(), Error> {
    lake.create_closing(&closing(1, &["a"])).await.map(|_| ())
}

async fn close_again(lake: Lake, (): ()) {
    let created = lake.create_closing(&closing(1, &["a"])).await.unwrap();
    assert_eq!(created, Created::Ours);
    let other = lake.create_closing(&closing(1, &["b"])).await.unwrap();
    assert_eq!(other, Created::Theirs(closing(1, &["a"])));
}

#[tokio::test]
async fn a_closing_created_again_after_any_crash_is_ours() {
    crash_at_every_call(async || (memory().await, ()), close, close_again).await;
}

#[tokio::test]
async fn a_closing_created_again_in_a_bucket_is_ours() {
    trouble_at_every_request(async |_| (), close, close_again).await;
}

#[tokio::test]
async fn a_number_taken_by_another_writer_is_theirs() {
    let lake = memory().await;
    let log = log(&lake);
    let tip = log.recover().await.unwrap();
    let theirs = staged(&lake).await.unwrap();
    let ours = staged(&lake).await.unwrap();
    assert!(matches!(log.append(&tip, &theirs).await.unwrap(), Append::Ours(_)));
    assert_eq!(log.append(&tip, &ours).await.unwrap(), Append::Theirs(theirs));
    assert_eq!(log.sweep(0).await.unwrap(), 3, "what we staged is garbage now");
}

#[tokio::test]
async fn a_record_that_breaks_a_rule_is_not_tried() {
    let lake = memory().await;
    let tip = log(&lake).recover().await.unwrap();
    let mut record = staged(&lake).await.unwrap();
    record.counts.dropped += 1;
    let error = log(&lake).append(&tip, &record).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bug);
    assert_eq!(log(&lake).last().await.unwrap(), None);
}

#[tokio::test]
async fn rows_that_are_gone_from_both_names_are_loud_unless_a_closing_lists_them() {
    let lake = memory().await;
    let record = staged(&lake).await.unwrap();
    append_and_publish(&lake, &record).await.unwrap();
    let published = &record.files[0].published;
    lake.objects().delete(&published.as_str().into()).await.unwrap();
    let error = log(&lake).recover().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.to_string().contains("4 rows are lost"), "{error}");
    lake.create_closing(&closing(1, &[published])).await.unwrap();
    log(&lake).recover().await.unwrap();
}

#[tokio::test]
async fn a_stranger_under_a_final_name_is_loud() {
    let lake = memory().await;
    let record = staged(&lake).await.unwrap();
    let path = record.files[0].published.as_str().into();
    lake.objects().put(&path, "a stranger".into()).await.unwrap();
    let error = append_and_publish(&lake, &record).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.remedy.is_some());
}

#[tokio::test]
async fn a_log_is_read_on_from_any_record() {
    let lake = memory().await;
    let log = log(&lake);
    let mut tip = log.recover().await.unwrap();
    for seq in 1..=40 {
        let record = record_of(seq, 0, 0, vec![]);
        let Append::Ours(committed) = log.append(&tip, &record).await.unwrap() else {
            panic!("nobody else writes")
        };
        tip = log.publish(&committed).await.unwrap();
    }
    let read = async |seq, max| {
        let records = log.after(seq, max).await.unwrap();
        records.into_iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 100).await, (1..=40).collect::<Vec<_>>());
    assert_eq!(read(37, 100).await, [38, 39, 40]);
    assert_eq!(read(40, 100).await, [0; 0]);
    assert_eq!(read(3, 5).await, [4, 5, 6, 7, 8]);
    assert_eq!(log.last().await.unwrap().unwrap().seq, 40);
    let logs = lake.logs(&output()).await.unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].last().await.unwrap().unwrap().seq, 40);
}
