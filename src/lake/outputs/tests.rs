use super::super::testing::{crash_at_every_call, key, local_file, on_disk};
use super::*;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

fn table() -> TableName {
    "agg.recentchange_by_hour".parse().unwrap()
}

/// `None`: a result without rows.
fn new(n: u32, text: Option<&'static str>) -> NewOutput {
    let content = text.map(|text| (local_file(text), 1));
    NewOutput { table: table(), key: key(), n, run: format!("run-{n}"), input: None, content }
}

/// What a plain lister finds: file names and contents.
fn listed(folder: &TempDir) -> BTreeMap<String, String> {
    let hive = folder.path().join("agg/recentchange_by_hour/dt=2026-11-20/hour=05");
    let entries = fs::read_dir(hive).into_iter().flatten().map(|entry| entry.unwrap());
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

fn one(text: Option<&str>) -> BTreeMap<String, String> {
    text.map(|text| ("part-0.parquet".to_owned(), text.to_owned())).into_iter().collect()
}

#[tokio::test]
async fn a_newer_closing_replaces_the_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let lake = on_disk(folder.path()).await;
    assert_eq!(lake.output(&table(), &key()).await.unwrap(), None);
    for (n, text) in [(1, Some("one")), (1, Some("one again")), (2, None), (4, Some("four"))] {
        let replaced = lake.replace_output(new(n, text)).await.unwrap();
        assert_eq!(listed(&folder), one(text));
        assert_eq!(lake.output(&table(), &key()).await.unwrap(), Some(replaced));
    }
}

#[tokio::test]
async fn an_older_closing_is_fenced_even_by_a_result_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lake = on_disk(folder.path()).await;
    lake.replace_output(new(2, None)).await.unwrap();
    let error = lake.replace_output(new(1, Some("old"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(listed(&folder), one(None));
}

#[tokio::test]
async fn writers_at_the_same_time_leave_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let lake = on_disk(folder.path()).await;
    let replace =
        |n| lake.replace_output(new(n, Some(["zero", "one", "two", "three"][n as usize])));
    let outcomes = futures::future::join_all([3, 1, 2].map(replace)).await;
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    }
    assert_eq!(listed(&folder), one(Some("three")));
}

/// Replaces `before` (closing 1) by `after` (closing 2) with a crash at every call.
async fn check(before: Option<&'static str>, after: Option<&'static str>) {
    let make = async || {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let lake = on_disk(folder.path()).await;
        lake.replace_output(new(1, before)).await.unwrap();
        (lake, folder)
    };
    let work = async |lake: Lake, _| lake.replace_output(new(2, after)).await.map(|_| ());
    crash_at_every_call(make, work, async |lake, folder: Arc<TempDir>| {
        let seen = listed(&folder);
        assert!(seen == one(before) || seen == one(after), "a lister found {seen:?}");

        // The number tells the truth to whoever asks, and the old closing can't come back.
        let number = lake.output(&table(), &key()).await.unwrap().unwrap().n;
        let expected = if number == 2 { after } else { before };
        assert_eq!(listed(&folder), one(expected), "closing {number}");
        let old = lake.replace_output(new(1, before)).await;
        assert_eq!(old.is_ok(), number == 1);
        let now = lake.output(&table(), &key()).await.unwrap().unwrap().n;
        assert_eq!(now, number);

        lake.replace_output(new(2, after)).await.unwrap();
        assert_eq!(listed(&folder), one(after));
        let stage = lake.objects().list(Some(&paths::output_stage(&table(), &key())));
        let left: Vec<_> = stage.try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn a_crash_anywhere_leaves_the_old_or_the_new_output_and_its_number() {
    check(Some("old"), Some("new")).await;
}

/// Large enough for three parts in tests.
fn long(letter: &str) -> &'static str {
    letter.repeat(2_500).leak()
}

#[tokio::test]
async fn a_crash_anywhere_in_an_upload_in_parts_leaves_the_old_or_the_new_output() {
    check(Some(long("o")), Some(long("n"))).await;
}

#[tokio::test]
async fn a_crash_while_rows_disappear_or_appear_leaves_one_or_the_other() {
    check(Some("old"), None).await;
    check(None, Some("new")).await;
    check(None, None).await;
}

#[tokio::test(start_paused = true)]
async fn who_must_not_wait_is_told_that_another_process_is_replacing_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let lake = on_disk(folder.path()).await;
    let locked = lake.lock_output(Duration::ZERO, folder.path(), &table(), &key()).await.unwrap();
    let file = lake.stage_output(&table(), &key(), 1, &local_file("one"), 1).await.unwrap();
    let run = "run-1".to_owned();
    let output = Output {
        format: FORMAT,
        table: table(),
        key: key(),
        n: 1,
        run,
        input: None,
        file: Some(file),
    };
    lake.write_number(&output).await.unwrap();
    let began = tokio::time::Instant::now();
    let busy = lake.output_at_once(&table(), &key()).await.unwrap_err();
    assert_eq!((busy.kind, began.elapsed()), (ErrorKind::Unavailable, Duration::ZERO));
    drop(locked); // As its killed holder does.
    assert_eq!(lake.output_at_once(&table(), &key()).await.unwrap(), Some(output));
    assert_eq!(listed(&folder), one(Some("one")));
}
