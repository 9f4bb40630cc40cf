// Over 400 lines: one claim a test, all on one bed.

mod bed;
mod compactor;
mod every_call;
mod gaps;
mod grown;
mod lost;
mod on_close;
mod random;
mod turns;
mod unreadable;

use crate::lake::Created;
use crate::model::attempt::AttemptState;
use crate::model::commit::{Closing, FORMAT};
use crate::model::dag::{Empty, OnLate};
use crate::model::request::{Outcome, Refusal, Verb};
use crate::model::run::RunState;
use crate::model::time::Micros;
use crate::store::retention::Before;
use bed::{Bed, HOUR, MINUTE, key, name, table};

#[tokio::test]
async fn an_hour_closes_runs_and_closes_what_its_batch_wrote() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0, 1], 70).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    let closed = bed.store.newest_closed_of(&table("raw.changes"), &key(0)).await.unwrap().unwrap();
    assert_eq!((closed.n, closed.rows, closed.files, closed.late), (1, 20, 2, false));
    let agg = bed.store.newest_closed_of(&table("agg.by_hour"), &key(0)).await.unwrap().unwrap();
    assert_eq!((agg.n, agg.rows), (1, 1));
}

#[tokio::test]
async fn a_topic_partition_without_a_record_holds_every_hour() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit(0, &[0], 500).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &[]);
    bed.commit(1, &[], 500).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
}

#[tokio::test]
async fn a_step_without_news_changes_nothing() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[0], 70).await;
    bed.settle().await;
    for _ in 0..3 {
        bed.restart();
        bed.step_after(60).await;
    }
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
}

#[tokio::test]
async fn late_rows_under_refresh_rerun_their_hour_once_and_then_the_day() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    bed.commit(0, &[5], 1510).await;
    bed.commit(1, &[5, 6], 1510).await;
    let outcome = bed.step().await;
    assert_eq!(outcome.next_wake.since(bed.now).as_secs(), 5);
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded"]);
    bed.now = Micros(bed.now.0 + MINUTE);
    bed.settle().await;
    let hourly = bed.runs("hourly").await;
    Bed::same(&hourly[3..], &["01T05 r2 succeeded", "01T06 r2 succeeded"]);
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded", "01 r2 succeeded"]);
}

#[tokio::test]
async fn an_hour_whose_files_the_mirror_has_forgotten_closes_again_with_all_of_them() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    let long_after = Micros(bed.now.0 + HOUR);
    bed.store.forget_before(Before { runs: long_after, requests: long_after }, 100).await.unwrap();
    let raw = table("raw.changes");
    assert_eq!(bed.store.files_of(&raw, &key(5)).await.unwrap(), []);
    late(&mut bed, 5).await;
    let closing = bed.lake.newest_closing(&raw, &key(5)).await.unwrap().unwrap();
    assert_eq!((closing.n, closing.files.len(), closing.rows), (2, 3, 30));
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await[3], "01T05 r2 succeeded");
}

#[tokio::test]
async fn a_version_is_kept_as_long_as_a_run_is_pinned_to_it() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    let run = bed.store.find_run(&name("daily"), "close-1970-01-01-r1").await.unwrap();
    bed.also_reads("daily", "raw.changes").await;
    let second = bed.store.dag(&name("daily")).await.unwrap().unwrap().version;
    bed.on_late("daily", OnLate::Hold).await;
    let long_after = Micros(bed.now.0 + HOUR);
    bed.store.forget_before(Before { runs: long_after, requests: long_after }, 100).await.unwrap();
    assert!(bed.store.version(&run.version).await.is_ok());
    assert!(bed.store.version(&second).await.is_err(), "nothing is pinned to it");
    assert!(bed.store.attempts_of_run(&run.id).await.unwrap().is_empty());
    assert!(bed.store.run(&run.id).await.unwrap().is_some(), "the newest of its partition");
}

#[tokio::test]
async fn late_rows_under_hold_make_a_run_that_a_person_lets_go() {
    let mut bed = bed_with_a_day(OnLate::Hold).await;
    late(&mut bed, 5).await;
    Bed::same(&bed.runs("hourly").await[3..], &["01T05 r2 held"]);
    late(&mut bed, 5).await;
    Bed::same(&bed.runs("hourly").await[3..], &["01T05 r2 superseded", "01T05 r3 held"]);
    let clear = Verb::ClearRun {
        dag: name("hourly"),
        run: "close-1970-01-01T05-r3".into(),
        only_failed: false,
    };
    bed.done(clear).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await[4..], &["01T05 r3 succeeded"]);
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded", "01 r2 succeeded"]);
}

#[tokio::test]
async fn late_rows_under_ignore_close_again_and_run_nothing() {
    let mut bed = bed_with_a_day(OnLate::Ignore).await;
    late(&mut bed, 5).await;
    let closed = bed.store.newest_closed_of(&table("raw.changes"), &key(5)).await.unwrap().unwrap();
    assert_eq!((closed.n, closed.late), (2, true));
    assert_eq!(bed.runs("hourly").await.len(), 3);
    assert_eq!(bed.runs("daily").await.len(), 1);
}

#[tokio::test]
async fn hours_without_rows_pass_without_a_run_unless_the_schedule_wants_one() {
    for (empty, runs) in [(Empty::Skip, 2), (Empty::Run, 5)] {
        let mut bed = Bed::new(OnLate::Refresh, empty).await;
        bed.commit_both(&[0], 70).await;
        bed.settle().await;
        bed.commit_both(&[4], 5 * 60 + 10).await;
        bed.settle().await;
        assert_eq!(bed.runs("hourly").await.len(), runs, "{empty:?}");
    }
}

#[tokio::test]
async fn hours_that_passed_empty_before_the_first_look_have_their_runs_too() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Run).await;
    bed.commit_both(&[2, 5], 8 * 60 + 10).await;
    bed.settle().await;
    let runs = bed.runs("hourly").await;
    let hours: Vec<&str> = runs.iter().map(|run| &run[..8]).collect();
    assert_eq!(hours, ["01T02 r1", "01T03 r0", "01T04 r0", "01T05 r1", "01T06 r0", "01T07 r0"]);
}

#[tokio::test]
async fn each_empty_hour_runs_once_however_many_there_are_and_whoever_goes_on() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Run).await;
    bed.commit_both(&[0], 70).await;
    bed.settle().await;
    bed.ask(Verb::PauseDag { dag: name("hourly") }).await;
    bed.commit_both(&[], 2_500 * 60 + 10).await;
    for _ in 0..4 {
        bed.try_step().await;
        bed.restart();
    }
    bed.step().await;
    let runs = bed.runs("hourly").await;
    assert_eq!(runs.len(), 2_500);
    assert_eq!(runs.iter().filter(|run| run.ends_with("r0 queued")).count(), 2_499);
}

#[tokio::test]
async fn a_topic_partition_without_rows_holds_every_hour_as_long_as_there_is_more_to_read() {
    let mut bed = Bed::new(OnLate::Ignore, Empty::Skip).await;
    bed.commit(0, &[3], 24 * 60).await;
    for (behind, runs) in [(true, &[][..]), (false, &["01T03 r1 succeeded"])] {
        bed.append(1, &[], None, |record| record.behind = behind).await;
        bed.now = Micros(bed.now.0 + MINUTE);
        bed.settle().await;
        Bed::same(&bed.runs("hourly").await, runs);
    }
}

#[tokio::test]
async fn a_topic_partition_whose_first_mark_is_on_its_way_holds_the_hours_that_it_vouches_for() {
    let mut bed = Bed::new(OnLate::Ignore, Empty::Skip).await;
    bed.commit_empty(1).await;
    bed.commit_marked(0, 24 * 60).await;
    bed.now = Micros(bed.now.0 + MINUTE);
    bed.step().await;
    bed.commit(1, &[3], 24 * 60).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T03 r1 succeeded"]);
}

#[tokio::test]
async fn where_a_stream_began_late_hours_are_partial_up_to_the_first_row_or_mark() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_cut(0).await;
    bed.commit_cut(1).await;
    bed.commit_marked(0, 3 * 60).await;
    bed.commit(1, &[2, 3, 4], 6 * 60).await;
    bed.commit_marked(0, 6 * 60).await;
    bed.settle().await;
    let mut partial = Vec::new();
    for hour in 2..5 {
        let closed = bed.store.newest_closed_of(&table("raw.changes"), &key(hour)).await.unwrap();
        partial.push(closed.unwrap().partial);
    }
    assert_eq!(partial, [true, true, false]);
}

#[tokio::test]
async fn a_queued_run_is_superseded_by_a_newer_closing() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.ask(Verb::PauseDag { dag: name("hourly") }).await;
    bed.commit_both(&[0], 70).await;
    bed.step().await;
    late(&mut bed, 0).await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 superseded", "01T00 r2 queued"]);
    bed.ask(Verb::UnpauseDag { dag: name("hourly") }).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 superseded", "01T00 r2 succeeded"]);
}

#[tokio::test]
async fn a_failed_hour_holds_its_day_until_it_has_been_cleared() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[3], 25 * 60).await;
    bed.step().await;
    bed.end_attempts(AttemptState::Failed).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T03 r1 failed"]);
    Bed::same(&bed.runs("daily").await, &[]);
    let run = "close-1970-01-01T03-r1".into();
    bed.ask(Verb::ClearRun { dag: name("hourly"), run, only_failed: true }).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T03 r1 succeeded"]);
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded"]);
}

#[tokio::test]
async fn a_run_marked_succeeded_closes_its_output_too() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[3], 26 * 60).await;
    bed.step().await;
    bed.end_attempts(AttemptState::Failed).await;
    bed.step().await;
    let run = "close-1970-01-01T03-r1".into();
    let to = RunState::Succeeded;
    bed.ask(Verb::MarkRun { dag: name("hourly"), run, to }).await;
    bed.settle().await;
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded"]);
}

#[tokio::test]
async fn a_run_marked_succeeded_closes_its_output_only_when_its_attempt_has_ended() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit_both(&[3], 26 * 60).await;
    bed.step().await;
    let run = "close-1970-01-01T03-r1".into();
    bed.ask(Verb::MarkRun { dag: name("hourly"), run, to: RunState::Succeeded }).await;
    bed.step().await;
    let closed = async |bed: &Bed| {
        bed.store.newest_closed_of(&table("agg.by_hour"), &key(3)).await.unwrap().is_some()
    };
    assert!(!closed(&bed).await);
    bed.end_attempts(AttemptState::Stopped).await;
    bed.step().await;
    assert!(closed(&bed).await);
}

#[tokio::test]
async fn a_run_that_is_cleared_reads_what_its_new_version_reads() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    bed.also_reads("daily", "raw.changes").await;
    let clear = Verb::ClearRun {
        dag: name("daily"),
        run: "close-1970-01-01-r1".into(),
        only_failed: false,
    };
    bed.done(clear).await;
    let run = bed.store.find_run(&name("daily"), "close-1970-01-01-r1").await.unwrap();
    let inputs = bed.store.inputs(&run.id).await.unwrap();
    let of = |of: &str| inputs.iter().filter(|input| input.table == table(of)).count();
    assert!(of("raw.changes") > 0 && of("raw.changes") == of("agg.by_hour"), "{inputs:?}");
}

#[tokio::test]
async fn a_forced_closing_is_partial_and_the_hour_closes_again_in_time() {
    let mut bed = Bed::new(OnLate::Hold, Empty::Skip).await;
    bed.commit(0, &[0], 30).await;
    bed.step().await;
    let close = Verb::ClosePartition { table: table("raw.changes"), key: key(0) };
    bed.done(close.clone()).await;
    let closed = bed.store.newest_closed_of(&table("raw.changes"), &key(0)).await.unwrap().unwrap();
    assert!(closed.partial);
    assert!(matches!(bed.refused(close).await, Refusal::NothingOpen { .. }));
    bed.commit_both(&[0], 70).await;
    bed.settle().await;
    let runs = bed.runs("hourly").await;
    Bed::same(&runs, &["01T00 r1 succeeded", "01T00 r2 succeeded"]);
    let closed = bed.store.newest_closed_of(&table("raw.changes"), &key(0)).await.unwrap().unwrap();
    assert!(!closed.partial && !closed.late);
}

#[tokio::test]
async fn what_a_person_reopens_runs_again_whatever_on_late_says() {
    let mut bed = bed_with_a_day(OnLate::Ignore).await;
    let reopen = Verb::ReopenPartition { table: table("raw.changes"), key: key(5) };
    bed.done(reopen).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await[3..], &["01T05 r2 succeeded"]);
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded", "01 r2 succeeded"]);
}

#[tokio::test]
async fn a_run_by_hand_reads_the_newest_closing() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    let trigger = Verb::TriggerDag { dag: name("hourly"), key: Some(key(5)) };
    let Outcome::RunTriggered { run, .. } = bed.done(trigger).await else { panic!("a run") };
    let inputs = bed.store.inputs(&run).await.unwrap();
    assert_eq!((inputs.len(), inputs[0].key, inputs[0].n), (1, key(5), 1));
    let trigger = Verb::TriggerDag { dag: name("hourly"), key: Some(key(9)) };
    assert!(matches!(bed.refused(trigger).await, Refusal::NotClosed { .. }));
}

#[tokio::test]
async fn a_crash_between_the_closing_and_the_store_makes_no_second_one() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit(0, &[0], 30).await;
    bed.step().await;
    bed.commit(1, &[0], 30).await;
    bed.step().await;
    // The lake has it, and the store's transaction never came.
    let files = bed.store.files_of(&table("raw.changes"), &key(0)).await.unwrap();
    let rows = files.iter().map(|file| file.rows).sum();
    let closing = Closing {
        format: FORMAT,
        table: table("raw.changes"),
        key: key(0),
        n: 1,
        partial: false,
        files,
        rows,
        frontier: Micros(HOUR),
        made_from: None,
        compaction: None,
    };
    assert_eq!(bed.lake.create_closing(&closing).await.unwrap(), Created::Ours);
    bed.commit_both(&[], 75).await;
    bed.settle().await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    assert_eq!(
        bed.lake.newest_closing(&table("raw.changes"), &key(0)).await.unwrap().unwrap().n,
        1
    );
}

#[tokio::test]
async fn rows_that_another_closing_of_the_same_number_lacks_are_late() {
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    bed.commit(0, &[0], 30).await;
    bed.step().await;
    let files = bed.store.files_of(&table("raw.changes"), &key(0)).await.unwrap();
    let closing = Closing {
        format: FORMAT,
        table: table("raw.changes"),
        key: key(0),
        n: 1,
        partial: false,
        files,
        rows: 10,
        frontier: Micros(HOUR),
        made_from: None,
        compaction: None,
    };
    bed.lake.create_closing(&closing).await.unwrap();
    bed.commit(1, &[0], 70).await;
    bed.commit(0, &[], 70).await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded"]);
    bed.now = Micros(bed.now.0 + MINUTE);
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r1 succeeded", "01T00 r2 succeeded"]);
}

#[tokio::test]
async fn a_crash_at_any_write_to_the_store_repeats_nothing_and_loses_nothing() {
    for broken in
        ["cursors", "files", "closings", "runs", "run_inputs", "tasks", "attempts", "due_ranges"]
    {
        let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
        bed.store.break_inserts(broken, true).await;
        bed.commit_both(&[0, 5], 24 * 60 + 10).await;
        for _ in 0..4 {
            bed.try_step().await;
            bed.end_attempts(AttemptState::Succeeded).await;
            bed.restart();
        }
        bed.store.break_inserts(broken, false).await;
        bed.settle().await;
        let hours = ["01T00 r1 succeeded", "01T05 r1 succeeded"];
        assert_eq!(bed.runs("hourly").await, hours, "{broken}");
        assert_eq!(bed.runs("daily").await, ["01 r1 succeeded"], "{broken}");
        let newest = bed.lake.newest_closings(&table("raw.changes")).await.unwrap();
        assert!(newest.iter().all(|closing| closing.n == 1), "{broken}");
    }
}

/// Hours 0, 5 and 6 of a day have rows, and the day has run.
async fn bed_with_a_day(on_late: OnLate) -> Bed {
    let mut bed = Bed::new(on_late, Empty::Skip).await;
    bed.commit_both(&[0, 5, 6], 24 * 60 + 10).await;
    bed.settle().await;
    let hours = ["01T00 r1 succeeded", "01T05 r1 succeeded", "01T06 r1 succeeded"];
    Bed::same(&bed.runs("hourly").await, &hours);
    Bed::same(&bed.runs("daily").await, &["01 r1 succeeded"]);
    bed.now = Micros(bed.now.0 + MINUTE);
    bed
}

/// Rows of a closed hour come, and a minute passes.
async fn late(bed: &mut Bed, hour: i64) {
    bed.commit(0, &[hour], 1510).await;
    bed.step().await;
    bed.step_after(1).await;
}
