//! Each call to the lake and each transaction of the store goes wrong once, in every way.

use super::bed::{Bed, Layer, MINUTE, key, name, table};
use super::bed_with_a_day;
use crate::crash::Crash;
use crate::lake::verify::Known;
use crate::model::dag::{Empty, OnLate};
use crate::model::request::{NewRequest, Verb};
use crate::model::time::Micros;

/// What is there at the end: the runs of both DAGs, and the closings in the lake.
async fn told(bed: &Bed) -> Vec<String> {
    let mut told = bed.runs("hourly").await;
    told.extend(bed.runs("daily").await);
    for of in ["raw.changes", "agg.by_hour", "agg.by_day"] {
        // What a kill leaves staged the daemon's sweep clears away.
        for log in bed.lake.logs(&table(of)).await.unwrap() {
            log.sweep(0).await.unwrap();
            log.retire_closed().await.unwrap();
        }
        bed.lake.sweep_sorted(&table(of)).await.unwrap();
        for closing in bed.lake.newest_closings(&table(of)).await.unwrap() {
            told.push(format!("{of} {} closing {} rows {}", closing.key, closing.n, closing.rows));
        }
        let report = bed.lake.verify(&table(of), &Known::default()).await.unwrap();
        assert_eq!(report.findings, [], "{of}");
    }
    told
}

/// Lets `make` come to the same end, whatever goes wrong while the scheduler works on it.
async fn check(at_least: usize, make: impl AsyncFn() -> Bed) {
    check_of(&[Layer::Lake, Layer::Store], at_least, make).await;
}

async fn check_of(layers: &[Layer], at_least: usize, make: impl AsyncFn() -> Bed) {
    let mut bed = make().await;
    bed.settle_through(Layer::Lake, Crash::Error(usize::MAX)).await;
    let expected = told(&bed).await;
    for &layer in layers {
        for crash in Crash::KILLS.into_iter().chain(Crash::TROUBLES) {
            for call in 0.. {
                let mut bed = make().await;
                let crashed = bed.settle_through(layer, crash(call)).await;
                assert_eq!(told(&bed).await, expected, "{layer:?} {:?}", crash(call));
                if !crashed {
                    assert!(call >= at_least, "{layer:?}: it made {call} calls");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_day_of_closings_and_runs_comes_out_the_same() {
    check(8, async || {
        let bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
        bed.commit_both(&[0], 24 * 60 + 10).await;
        bed
    })
    .await;
}

#[tokio::test]
async fn late_rows_are_closed_and_run_once_more() {
    check(8, async || {
        let mut bed = bed_with_a_day(OnLate::Refresh).await;
        bed.commit(0, &[5], 1510).await;
        bed.step().await;
        bed.now = Micros(bed.now.0 + MINUTE);
        bed
    })
    .await;
}

#[tokio::test]
async fn an_hour_that_is_sorted_when_it_closes_is_closed_once() {
    check(8, async || {
        let bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
        bed.commit_waiting(&[0, 1], 75).await;
        bed
    })
    .await;
}

/// A person asks for something when a day has run.
async fn check_request(verb: Verb) {
    check_of(&[Layer::Store], 1, async || {
        let bed = bed_with_a_day(OnLate::Ignore).await;
        bed.store.ask(&NewRequest::at_command_line(verb.clone(), "ada"), bed.now).await.unwrap();
        bed
    })
    .await;
}

#[tokio::test]
async fn a_run_that_a_person_asks_for_is_made_once() {
    check_request(Verb::TriggerDag { dag: name("hourly"), key: Some(key(5)) }).await;
}

#[tokio::test]
async fn a_run_that_a_person_clears_runs_once_more() {
    let run = "close-1970-01-01T05-r1".into();
    check_request(Verb::ClearRun { dag: name("hourly"), run, only_failed: false }).await;
}

#[tokio::test]
async fn an_hour_that_a_person_reopens_is_closed_once_more() {
    check_request(Verb::ReopenPartition { table: table("raw.changes"), key: key(5) }).await;
}

#[tokio::test]
async fn an_hour_that_a_person_closes_is_closed_once() {
    check(1, async || {
        let mut bed = Bed::new(OnLate::Hold, Empty::Skip).await;
        bed.commit(0, &[0], 30).await;
        bed.step().await;
        let verb = Verb::ClosePartition { table: table("raw.changes"), key: key(0) };
        bed.store.ask(&NewRequest::at_command_line(verb, "ada"), bed.now).await.unwrap();
        bed
    })
    .await;
}
