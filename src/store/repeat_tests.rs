//! Each transaction that a process makes of its own: killed before its commit it has left nothing,
//! and repeated after a commit whose answer was lost it changes nothing.

use super::Store;
use super::conformance::{NOW, feed_dag};
use super::db::query;
use super::retention::Before;
use super::tests::{fresh, with_feed};
use crate::crash::Crash;
use crate::error::{Error, ErrorKind};
use crate::model::accepted::Accepted;
use crate::model::attempt::{AttemptState, Ended, Failure, Process, Stop, StopReason};
use crate::model::request::{NewRequest, Verb};
use crate::model::stream::{Standing, StreamProgress, StreamState};
use crate::model::time::Micros;
use std::time::Duration;

/// Every row of every table.
async fn rows(store: &Store) -> Vec<String> {
    let mut reader = store.snapshot().await.unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let tables = query(tables).fetch_all(reader.conn()).await.unwrap();
    let mut all = Vec::new();
    for table in tables {
        let table = table.text("name").unwrap();
        let columns = "SELECT group_concat('quote(' || name || ')', ' || '','' || ') AS columns
             FROM pragma_table_info($1)";
        let columns = query(columns).bind(&table).fetch_one(reader.conn()).await.unwrap();
        let columns = columns.text("columns").unwrap();
        let rows = format!("SELECT '{table}: ' || {columns} AS line FROM {table} ORDER BY 1");
        let rows = query(rows).fetch_all(reader.conn()).await.unwrap();
        all.extend(rows.iter().map(|row| row.text("line").unwrap()));
    }
    all
}

/// Carries `change` out, with a crash before and after its commit first.
pub async fn check(store: &Store, change: impl AsyncFn(&Store) -> Result<(), Error>) {
    let before = rows(store).await;
    let killed = change(&store.crashing(Crash::Before(0))).await.unwrap_err();
    assert_eq!(killed.kind, ErrorKind::Unavailable, "{killed}");
    assert_eq!(rows(store).await, before);
    let unanswered = change(&store.crashing(Crash::After(0))).await.unwrap_err();
    assert_eq!(unanswered.kind, ErrorKind::Unavailable, "{unanswered}");
    let done = rows(store).await;
    assert_ne!(done, before, "it took effect");
    change(store).await.unwrap();
    assert_eq!(rows(store).await, done, "a repeat changes nothing");
}

#[tokio::test]
async fn what_the_files_say_is_accepted_once() {
    let (_folder, store) = fresh().await;
    check(&store, async |store| {
        store.accept(&Accepted { versions: vec![feed_dag()], tables: vec![] }, NOW).await
    })
    .await;
    check(&store, async |store| store.bind_lake("7f3a").await).await;
}

#[tokio::test]
async fn an_attempt_of_a_stream_is_launched_recorded_told_of_and_ended_once() {
    const STREAM: &str = "wiki.collect";
    let (_folder, store) = with_feed().await;
    check(&store, async |store| store.launch_stream(STREAM, NOW).await.map(drop)).await;
    let attempts = store.attempts_of_stream(STREAM, 9).await.unwrap();
    let [attempt] = attempts.as_slice() else { panic!("{attempts:?}") };
    let process = Process { host: "here".into(), pid: 7, pid_start: 8, boot_id: "boot".into() };
    check(&store, async |store| store.attempt_started(&attempt.id, &process, NOW).await.map(drop))
        .await;
    let progress = StreamProgress { produced: 7, ..StreamProgress::default() };
    check(&store, async |store| {
        store.heartbeat(STREAM, attempt.epoch, &progress, NOW).await.map(drop)
    })
    .await;
    let stop = Stop::new(StopReason::Asked, NOW);
    check(&store, async |store| store.ask_to_stop(&attempt.id, &stop).await).await;
    let failure = Failure { kind: ErrorKind::Data, error: "no".into(), remedy: None };
    check(&store, async |store| store.report(&attempt.id, None, Some(&failure)).await.map(drop))
        .await;
    let ended = Ended {
        state: AttemptState::Failed,
        exit_code: Some(1),
        signal: None,
        failure: None,
        result: None,
    };
    check(&store, async |store| store.attempt_ended(&attempt.id, &ended, NOW).await.map(drop))
        .await;
    let standing = Standing {
        state: StreamState::Retrying,
        restarts: 1,
        next_start: Some(NOW),
        waiting_for: None,
    };
    check(&store, async |store| {
        store.set_standing(STREAM, attempt.epoch, &standing).await.map(drop)
    })
    .await;
    check(&store, async |store| store.launch_stream(STREAM, NOW).await.map(drop)).await;
    let before = Before { runs: Micros(NOW.0 + 1), requests: NOW };
    check(&store, async |store| store.forget_before(before, 100).await.map(drop)).await;
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_there_for_the_daemon() {
    let (_folder, store) = with_feed().await;
    let verb = Verb::StopStream { stream: "wiki.collect".into() };
    let new = NewRequest::at_command_line(verb, "ada");
    for (crash, left) in [(Crash::Before(0), 0), (Crash::After(0), 1)] {
        let crashing = store.crashing(crash);
        let error = crashing.ask(&new, NOW).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(store.open_requests().await.unwrap().readable.len(), left, "{crash:?}");
    }
}

#[tokio::test]
async fn a_store_that_a_stopped_process_holds_is_an_outage_and_not_waited_for_for_ever() {
    let (folder, store) = with_feed().await;
    let holder = Store::open(&folder.path().join("state.db")).await.unwrap();
    let held = holder.begin().await.unwrap();
    // As it is, in less time.
    store.db.wait_only(Duration::from_millis(50)).await;
    let error = store.launch_stream("wiki.collect", NOW).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.remedy.unwrap().contains("no process holds it"));
    assert!(store.stream("wiki.collect").await.unwrap().is_some(), "it can still be read");
    drop(held);
    assert!(store.launch_stream("wiki.collect", NOW).await.unwrap().is_some());
}
