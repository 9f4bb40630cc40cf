//! Hours whose rows are sorted by an attempt when they close.

use super::bed::{Bed, HOUR, MINUTE, key, name, table};
use crate::model::attempt::{AttemptState, Owner};
use crate::model::dag::{Empty, OnLate};
use crate::model::request::{Answer, Outcome, Refusal, Verb};
use crate::model::task::{TaskId, TaskState};
use crate::model::time::Micros;
use crate::scheduler::explain::explain;
use crate::scheduler::plan::waits::Wait;

async fn bed() -> Bed {
    Bed::new(OnLate::Refresh, Empty::Skip).await
}

/// The compactions that are open: `00 r1`.
async fn at_work(bed: &Bed) -> Vec<String> {
    let open = bed.store.open_attempts().await.unwrap().into_iter();
    let shown = |owner| match owner {
        Owner::Closing(its) => Some(format!("{} r{}", &its.key.to_string()[8..], its.n)),
        Owner::Task { .. } | Owner::Stream(_) => None,
    };
    open.filter_map(|attempt| shown(attempt.owner)).collect()
}

async fn frontier(bed: &Bed) -> Option<Micros> {
    bed.store.table(&table("raw.changes")).await.unwrap().unwrap().frontier
}

#[tokio::test]
async fn an_hour_has_closed_when_an_attempt_has_made_its_closing() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0, 1], 75).await;
    assert!(bed.step().await.next_wake > bed.now, "it waits for the attempt, and does not turn");
    assert_eq!(at_work(&bed).await, ["01T00 r1"]);
    assert!(frontier(&bed).await < Some(Micros(HOUR)), "what comes meanwhile would be late");
    assert_eq!(bed.runs("hourly").await, Vec::<String>::new());
    assert_eq!(bed.lake.visible_files(&table("raw.changes")).await.unwrap(), []);

    bed.end_attempts(AttemptState::Succeeded).await;
    bed.step().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 running"]);
    assert_eq!(frontier(&bed).await, Some(Micros(65 * MINUTE)));
    let visible = bed.lake.visible_files(&table("raw.changes")).await.unwrap();
    let listed = bed.lake.closed_files(&table("raw.changes"), &key(0)).await.unwrap().unwrap();
    assert_eq!(visible.len(), listed.len(), "the scheduler has published what the attempt left");
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 succeeded"]);
}

#[tokio::test]
async fn an_attempt_that_failed_is_followed_by_another_after_a_pause() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 75).await;
    bed.step().await;
    bed.end_attempts(AttemptState::Failed).await;
    bed.step().await;
    assert_eq!(at_work(&bed).await, Vec::<String>::new());
    bed.step_after(1).await;
    assert_eq!(at_work(&bed).await, ["01T00 r1"]);
    bed.end_attempts(AttemptState::Unknown).await;
    bed.step().await;
    assert_eq!(at_work(&bed).await, ["01T00 r1"], "a kill is no failure of the work");
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 succeeded"]);
}

#[tokio::test]
async fn late_rows_make_the_next_closing_by_an_attempt_of_its_own() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 75).await;
    bed.settle().await;
    bed.commit_waiting(&[0], 80).await;
    bed.step().await;
    assert_eq!(at_work(&bed).await, Vec::<String>::new());
    bed.step_after(1).await;
    assert_eq!(at_work(&bed).await, ["01T00 r2"]);
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 succeeded", "01T00 r2 succeeded"]);
    let newest = bed.lake.newest_closing(&table("raw.changes"), &key(0)).await.unwrap().unwrap();
    assert_eq!((newest.n, newest.rows, newest.files.len()), (2, 40, 2));
    bed.step_after(30).await;
    assert_eq!(at_work(&bed).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_backlog_of_hours_leaves_tasks_a_slot() {
    let mut bed = bed().await;
    let hours: Vec<i64> = (0..8).collect();
    bed.commit_waiting(&hours, 9 * 60).await;
    bed.step().await;
    assert_eq!(at_work(&bed).await, ["01T00 r1", "01T01 r1", "01T02 r1", "01T03 r1"]);
    bed.end_attempts(AttemptState::Succeeded).await;
    bed.step().await;
    assert_eq!(at_work(&bed).await, ["01T04 r1", "01T05 r1", "01T06 r1", "01T07 r1"]);
    bed.end_one_compaction().await;
    bed.step().await;
    let open = bed.store.open_attempts().await.unwrap();
    assert!(open.iter().any(|its| matches!(its.owner, Owner::Task { .. })), "{open:?}");
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await.len(), 8);
}

#[tokio::test]
async fn what_is_explained_is_what_is_done_also_where_hours_that_are_sorted_hold_the_slots() {
    let mut bed = bed().await;
    let hours: Vec<i64> = (0..8).collect();
    bed.commit_waiting(&hours, 9 * 60).await;
    bed.step().await;
    bed.end_attempts(AttemptState::Succeeded).await;
    bed.step().await;
    let run = bed.store.find_run(&name("hourly"), "close-1970-01-01T00-r1").await.unwrap().id;
    let task = TaskId { run: run.clone(), task: name("batch") };
    let explained = explain(&bed.store, 4, bed.now).await.unwrap();
    let Some(Wait::Slot(slots)) = explained.wait_of_task(&task) else { panic!("{explained:?}") };
    assert_eq!((slots.tasks, slots.closings, slots.of), (0, 4, 4));

    bed.end_one_compaction().await;
    let explained = explain(&bed.store, 4, bed.now).await.unwrap();
    assert_eq!(explained.wait_of_task(&task), None, "it gets the slot now");
    bed.step().await;
    assert_eq!(bed.store.tasks(&run).await.unwrap()[0].state, TaskState::Running);
}

#[tokio::test]
async fn a_new_store_takes_the_closing_over_and_sorts_nothing_again() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 75).await;
    bed.step().await;
    bed.end_attempts(AttemptState::Succeeded).await;
    bed.lose_store().await;
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 succeeded"]);
    assert_eq!(bed.lake.visible_files(&table("raw.changes")).await.unwrap().len(), 1);
    bed.step_after(30).await;
    assert_eq!(at_work(&bed).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_attempt_is_taken_over_by_the_next_daemon() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 75).await;
    bed.step().await;
    bed.restart();
    bed.step().await;
    assert_eq!(at_work(&bed).await, ["01T00 r1"], "and not made twice");
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 succeeded"]);
}

#[tokio::test]
async fn a_person_who_closes_an_hour_is_answered_when_it_is_sorted() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 30).await;
    let verb = Verb::ClosePartition { table: table("raw.changes"), key: key(0) };
    let asked = bed.ask(verb.clone()).await;
    assert_eq!((asked.applied, at_work(&bed).await), (None, vec!["01T00 r1".to_owned()]));
    bed.end_attempts(AttemptState::Failed).await;
    bed.step().await;
    let told = bed.store.request(asked.id).await.unwrap().unwrap();
    let Some(Answer::Refused(Refusal::Failed(failure))) = told.answer else { panic!("{told:?}") };
    assert!(failure.error.contains("no room"));
    bed.step_after(1).await;

    let asked = bed.ask(verb).await;
    bed.end_attempts(AttemptState::Succeeded).await;
    bed.step().await;
    let told = bed.store.request(asked.id).await.unwrap().unwrap();
    assert_eq!(told.answer, Some(closed(1, true)));
    let closing = bed.lake.closing(&table("raw.changes"), &key(0), 1).await.unwrap().unwrap();
    assert!(!closing.compaction.unwrap().complete);
}

#[tokio::test]
async fn an_hour_that_is_reopened_without_new_rows_needs_no_sorting() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 75).await;
    bed.settle().await;
    let verb = Verb::ReopenPartition { table: table("raw.changes"), key: key(0) };
    assert_eq!(bed.ask(verb).await.answer, Some(closed(2, false)));
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await, ["01T00 r1 succeeded", "01T00 r2 succeeded"]);
}

#[tokio::test]
async fn a_person_who_waits_for_an_hour_to_be_sorted_holds_up_nobody_else() {
    let mut bed = bed().await;
    bed.commit_waiting(&[0], 30).await;
    let close = Verb::ClosePartition { table: table("raw.changes"), key: key(0) };
    let asked = bed.ask(close.clone()).await;
    let paused = bed.ask(Verb::PauseDag { dag: name("hourly") }).await;
    assert!(paused.applied.is_some(), "it has nothing to do with the hour");
    let reopen = Verb::ReopenPartition { table: table("raw.changes"), key: key(0) };
    let after = bed.ask(reopen).await;
    assert_eq!(after.applied, None, "it rests on the closing");
    bed.end_attempts(AttemptState::Succeeded).await;
    bed.step().await;
    for (id, n) in [(asked.id, 1), (after.id, 2)] {
        let told = bed.store.request(id).await.unwrap().unwrap().answer.unwrap();
        let Answer::Done(Outcome::PartitionClosed { n: closing, .. }) = told else {
            panic!("{told:?}")
        };
        assert_eq!(closing, n);
    }
}

/// What is told of hour 0 when it has closed for the `n`-th time.
fn closed(n: u32, partial: bool) -> Answer {
    let (table, key) = (table("raw.changes"), key(0));
    Answer::Done(Outcome::PartitionClosed { table, key, n, rows: 20, files: 1, partial })
}
