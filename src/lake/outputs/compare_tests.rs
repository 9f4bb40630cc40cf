use super::super::Lake;
use super::super::place::gcs::Patience;
use super::super::testing::{Emulator, key, local_file, trouble_at_every_request};
use super::*;
use std::time::Duration;

/// The path of every output's object, as its emulator knows it.
const OBJECT: &str = "part-0.parquet";

fn table() -> TableName {
    "agg.recentchange_by_hour".parse().unwrap()
}

/// `None`: a result without rows.
fn new(n: u32, text: Option<&'static str>) -> NewOutput {
    let content = text.map(|text| (local_file(text), 1));
    NewOutput { table: table(), key: key(), n, run: format!("run-{n}"), input: None, content }
}

/// What a plain lister finds of the table.
async fn listed(lake: &Lake) -> Vec<String> {
    let files = lake.visible_files(&table()).await.unwrap();
    let read = files.iter().map(async |file| lake.read(&file.published).await.unwrap().unwrap());
    let read = futures::future::join_all(read).await;
    read.into_iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
}

fn one(text: Option<&str>) -> Vec<String> {
    text.into_iter().map(str::to_owned).collect()
}

async fn number(lake: &Lake) -> u32 {
    lake.output(&table(), &key()).await.unwrap().unwrap().n
}

#[tokio::test]
async fn a_newer_closing_replaces_the_one_object() {
    let Some(emulator) = Emulator::start() else { return };
    let lake = emulator.lake().await;
    assert_eq!(lake.output(&table(), &key()).await.unwrap(), None);
    for (n, text) in [(1, Some("one")), (1, Some("one again")), (2, None), (4, Some("four"))] {
        let replaced = lake.replace_output(new(n, text)).await.unwrap();
        assert_eq!(listed(&lake).await, one(text));
        assert_eq!(lake.output(&table(), &key()).await.unwrap(), Some(replaced));
    }
}

#[tokio::test]
async fn an_older_closing_is_fenced_and_leaves_nothing() {
    let Some(emulator) = Emulator::start() else { return };
    let lake = emulator.lake().await;
    lake.replace_output(new(2, None)).await.unwrap();
    let error = lake.replace_output(new(1, Some("old"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(listed(&lake).await, one(None));
    check_nothing_staged(&lake).await;
}

async fn check_nothing_staged(lake: &Lake) {
    let left = lake.list(&paths::output_stage(&table(), &key())).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn writers_at_the_same_time_leave_the_newest() {
    let Some(emulator) = Emulator::start() else { return };
    for _ in 0..20 {
        let lake = emulator.lake().await;
        let replace =
            |n| lake.replace_output(new(n, ["0", "1", "2", "3"].get(n as usize).copied()));
        let outcomes = futures::future::join_all([3, 1, 2].map(replace)).await;
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
        }
        assert_eq!(listed(&lake).await, one(Some("3")));
        check_nothing_staged(&lake).await;
    }
}

/// Lets the writer of closing 1 fall asleep in its last call while closing 2 replaces the output.
async fn check_sleeper(old: Option<&'static str>, new_text: Option<&'static str>, method: &str) {
    let Some(emulator) = Emulator::start() else { return };
    let lake = emulator.lake().await;
    if old.is_none() {
        lake.replace_output(new(0, Some("there"))).await.unwrap();
    }
    emulator.faults(&format!(
        r#"[{{ "fault": "stall_before", "stall_ms": 700, "method": "{method}", "contains": "{OBJECT}", "next": 1 }}]"#
    ));
    let newer = async {
        while emulator.hits() != [1] {
            tokio::task::yield_now().await;
        }
        lake.replace_output(new(2, new_text)).await.unwrap();
        assert_eq!(listed(&lake).await, one(new_text));
    };
    let (older, ()) = tokio::join!(lake.replace_output(new(1, old)), newer);
    assert_eq!(older.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(listed(&lake).await, one(new_text));
    assert_eq!(number(&lake).await, 2);
    check_nothing_staged(&lake).await;
}

#[tokio::test]
async fn a_writer_that_slept_before_its_copy_does_not_replace_a_newer_output() {
    check_sleeper(Some("old"), Some("new"), "PUT").await;
}

#[tokio::test]
async fn a_writer_that_slept_before_its_copy_does_not_bring_back_what_has_no_rows_by_now() {
    check_sleeper(Some("old"), None, "PUT").await;
}

#[tokio::test]
async fn a_writer_that_slept_before_its_delete_does_not_delete_a_newer_output() {
    check_sleeper(None, Some("new"), "DELETE").await;
}

/// Replaces `before` (closing 1) by `after` (closing 2) with trouble at every request.
async fn check_trouble(before: Option<&'static str>, after: Option<&'static str>) {
    let make = async |lake: Lake| drop(lake.replace_output(new(1, before)).await.unwrap());
    let work = async |lake: Lake, ()| lake.replace_output(new(2, after)).await.map(|_| ());
    trouble_at_every_request(make, work, async |lake, ()| {
        let seen = listed(&lake).await;
        assert!(seen == one(before) || seen == one(after), "a lister found {seen:?}");

        // The number tells the truth to whoever asks, and the old closing can't come back.
        let number = number(&lake).await;
        let expected = if number == 2 { after } else { before };
        assert_eq!(listed(&lake).await, one(expected), "closing {number}");
        let old = lake.replace_output(new(1, before)).await;
        assert_eq!(old.is_ok(), number == 1);

        lake.replace_output(new(2, after)).await.unwrap();
        assert_eq!(listed(&lake).await, one(after));
        // What one attempt of closing 2 staged before it was killed waits for closing 3.
        lake.replace_output(new(3, after)).await.unwrap();
        check_nothing_staged(&lake).await;
    })
    .await;
}

#[tokio::test]
async fn trouble_anywhere_leaves_the_old_or_the_new_output_and_its_number() {
    // Large enough for three parts in tests; the old one goes in one call.
    let new: &'static str = "new".repeat(800).leak();
    check_trouble(Some("old"), Some(new)).await;
}

#[tokio::test]
async fn trouble_while_rows_disappear_or_appear_leaves_one_or_the_other() {
    check_trouble(Some("old"), None).await;
    check_trouble(None, Some("new")).await;
}

#[tokio::test]
async fn lost_answers_and_refusals_change_nothing() {
    let Some(emulator) = Emulator::start() else { return };
    let patience = Patience { answer_max: Duration::from_millis(300), retries_max: 2 };
    let lake = emulator.lake_at("t", patience, 12).await;
    let seed: u64 = rand::random();
    let rule = |fault: &str, status: u16, by: u64| {
        let seed = seed.wrapping_add(by);
        format!(
            r#"{{ "fault": "{fault}", "status": {status}, "stall_ms": 500, "probability": 0.06, "seed": {seed} }}"#
        )
    };
    let rules = [
        rule("after", 503, 1),
        rule("before", 429, 2),
        rule("stall_before", 0, 3),
        rule("stall_after", 0, 4),
    ];
    emulator.faults(&format!("[{}]", rules.join(",")));
    for n in 1..=12 {
        let text = (n % 4 != 0).then_some(if n % 2 == 0 { "even" } else { "odd" });
        lake.replace_output(new(n, text))
            .await
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(listed(&lake).await, one(text), "closing {n}, seed {seed}");
    }
    assert!(emulator.hits().iter().all(|hits| *hits > 0), "{:?}", emulator.hits());
}
