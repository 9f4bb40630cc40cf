//! What a new store finds in the lake, after the old one was lost.

use super::bed::{Bed, key, name, table};
use super::{bed_with_a_day, late};
use crate::model::dag::{Empty, OnLate};
use crate::model::hive::Grain;
use crate::model::request::Verb;

#[tokio::test]
async fn a_lost_store_repeats_no_batch_whose_output_is_there() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    late(&mut bed, 5).await;
    bed.settle().await;
    bed.commit_both(&[24], 26 * 60).await;
    bed.step().await; // Hour 24 has closed, and its batch has not run.
    bed.lose_store().await;
    bed.step().await;
    let runs = bed.runs("hourly").await;
    let found =
        ["01T00 r1 succeeded", "01T05 r2 succeeded", "01T06 r1 succeeded", "02T00 r1 running"];
    Bed::same(&runs, &found);
    assert_eq!(bed.store.open_attempts().await.unwrap().len(), 2, "hour 24, and the day again");
    bed.settle().await;
    assert_eq!(bed.runs("hourly").await[3], "02T00 r1 succeeded");
}

/// A batch may have been killed between the two.
#[tokio::test]
async fn an_output_in_the_lake_does_not_tell_that_the_warehouse_was_loaded() {
    let mut bed = bed_with_a_day(OnLate::Hold).await;
    bed.also_loads("hourly").await;
    bed.lose_store().await;
    bed.step().await;
    let runs = bed.runs("hourly").await;
    Bed::same(&runs, &["01T00 r1 running", "01T05 r1 running", "01T06 r1 running"]);
}

#[tokio::test]
async fn a_lost_store_runs_no_late_rows_that_are_held_or_ignored() {
    for (on_late, of_hour) in [(OnLate::Hold, &["01T05 r2 held"][..]), (OnLate::Ignore, &[])] {
        let mut bed = bed_with_a_day(on_late).await;
        late(&mut bed, 5).await;
        bed.lose_store().await;
        bed.settle().await;
        let mut runs = bed.runs("hourly").await;
        runs.retain(|run| !run.ends_with("r1 succeeded"));
        assert_eq!(runs, of_hour, "{on_late:?}");
    }
}

#[tokio::test]
async fn rows_that_were_late_when_the_store_was_lost_are_late_afterwards() {
    let mut bed = bed_with_a_day(OnLate::Hold).await;
    bed.commit(0, &[5], 1510).await;
    bed.lose_store().await;
    bed.step().await;
    bed.step_after(1).await;
    Bed::same(
        &bed.runs("hourly").await,
        &["01T00 r1 succeeded", "01T05 r1 succeeded", "01T06 r1 succeeded", "01T05 r2 held"],
    );
}

#[tokio::test]
async fn a_closing_that_no_run_has_seen_before_runs_however_late_its_rows_came() {
    let mut bed = Bed::new(OnLate::Ignore, Empty::Skip).await;
    bed.ask(Verb::PauseDag { dag: name("hourly") }).await;
    bed.commit_both(&[5], 24 * 60 + 10).await;
    bed.step().await;
    late(&mut bed, 5).await;
    bed.lose_store().await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T05 r2 succeeded"]);
}

#[tokio::test]
async fn rows_after_a_forced_closing_are_in_time_for_a_new_store_too() {
    let mut bed = Bed::new(OnLate::Ignore, Empty::Skip).await;
    bed.commit(0, &[0], 30).await;
    bed.step().await;
    let close = Verb::ClosePartition { table: table("raw.changes"), key: key(0) };
    bed.done(close).await;
    bed.settle().await;
    bed.ask(Verb::PauseDag { dag: name("hourly") }).await;
    bed.commit_both(&[0], 70).await;
    bed.step().await;
    bed.lose_store().await;
    bed.settle().await;
    Bed::same(&bed.runs("hourly").await, &["01T00 r2 succeeded"]);
}

#[tokio::test]
async fn a_day_that_has_run_before_the_store_was_lost_runs_again_only_as_its_schedule_says() {
    let mut bed = bed_with_a_day(OnLate::Refresh).await;
    bed.on_late("daily", OnLate::Hold).await;
    bed.lose_store().await;
    bed.settle().await;
    Bed::same(&bed.runs("daily").await, &["01 r2 held"]);
}

/// `hourly` ignores late rows, so its own table closes less often than the one that it reads.
#[tokio::test]
async fn a_schedule_that_waits_for_another_table_numbers_its_runs_on() {
    let mut bed = Bed::new(OnLate::Ignore, Empty::Skip).await;
    bed.waits_for("daily", "raw.changes", Grain::Hour).await;
    bed.commit_both(&[5], 24 * 60 + 10).await;
    bed.settle().await;
    for _ in 0..2 {
        late(&mut bed, 5).await;
        bed.settle().await;
    }
    let before = ["01T05 r1 succeeded", "01T05 r2 succeeded", "01T05 r3 succeeded"];
    Bed::same(&bed.runs("daily").await, &before);
    bed.waits_for("daily", "agg.by_hour", Grain::Hour).await;
    let reopen = Verb::ReopenPartition { table: table("raw.changes"), key: key(5) };
    bed.done(reopen).await;
    bed.settle().await;
    let agg = bed.store.newest_closed_of(&table("agg.by_hour"), &key(5)).await.unwrap().unwrap();
    assert_eq!(agg.n, 2);
    Bed::same(&bed.runs("daily").await[3..], &["01T05 r4 succeeded"]);

    // A new store knows by the output which closing it was made from.
    bed.lose_store().await;
    bed.step().await;
    Bed::same(&bed.runs("daily").await, &["01T05 r4 succeeded"]);
    let trigger = Verb::TriggerDag { dag: name("daily"), key: Some(key(5)) };
    bed.done(trigger).await;
    bed.settle().await;
    Bed::same(&bed.runs("daily").await[1..], &["01T05 r4 succeeded"]);
}
