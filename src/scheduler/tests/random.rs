//! Anything in any order: what must be true at the end, whatever happened on the way.

use super::bed::{Bed, MINUTE, key, name, table};
use super::compactor::Compacting;
use crate::lake::Lake;
use crate::lake::verify::Known;
use crate::model::attempt::AttemptState;
use crate::model::commit::{Publish, Record};
use crate::model::dag::{Empty, OnLate};
use crate::model::hive::Grain;
use crate::model::request::Verb;
use crate::model::run::RunState;
use crate::model::time::Micros;
use crate::store::runs::Wanted;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const HOURS: i64 = 30;

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
async fn whatever_happens_each_hour_ends_with_one_batch_of_exactly_its_rows() {
    for seed in 0..12 {
        println!("seed {seed}");
        live(seed, 0.0).await;
    }
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
async fn the_same_of_rows_that_are_published_on_close_and_of_both_kinds() {
    for seed in 0..24 {
        println!("seed {seed}");
        let bed = live(seed, if seed % 3 == 0 { 1.0 } else { 0.5 }).await;
        check_published(&bed.lake).await;
    }
}

struct Life {
    random: StdRng,
    /// How many of the records are published on close.
    on_close: f64,
    rows: BTreeMap<i64, u64>,
    watermark: [i64; 2],
    /// Compactions that nobody knows of any more, and that go on at some time.
    zombies: Vec<Compacting>,
}

async fn live(seed: u64, on_close: f64) -> Bed {
    let random = StdRng::seed_from_u64(seed);
    let (rows, watermark, zombies) = (BTreeMap::new(), [0; 2], Vec::new());
    let mut life = Life { random, on_close, rows, watermark, zombies };
    let mut bed = Bed::new(OnLate::Refresh, Empty::Skip).await;
    for _ in 0..60 {
        act(&mut bed, &mut life).await;
    }
    bed.commit_both(&[], (HOURS + 30) * 60).await;
    for _ in 0..3 {
        bed.now = Micros(bed.now.0 + 20 * MINUTE);
        bed.settle().await;
        clear_failed(&mut bed).await;
    }
    bed.settle().await;
    check(&bed, &life.rows).await;
    bed
}

async fn act(bed: &mut Bed, life: &mut Life) {
    let Life { random, rows, watermark, zombies, on_close } = life;
    if !zombies.is_empty() && random.random_bool(0.2) {
        let zombie = zombies.swap_remove(random.random_range(0..zombies.len()));
        bed.go_on(&zombie).await;
    }
    match random.random_range(0..12) {
        0..4 => {
            let which = random.random_range(0..2_usize);
            watermark[which] += random.random_range(0..150);
            let most = (watermark[which] / 60 + 2).min(HOURS);
            let hours: Vec<i64> = (0..most).filter(|_| random.random_range(0..6) == 0).collect();
            for hour in &hours {
                *rows.entry(*hour).or_default() += 10;
            }
            let topic_partition = u32::try_from(which).unwrap();
            let is_on_close = random.random_bool(*on_close);
            let publish = if is_on_close { Publish::OnClose } else { Publish::OnCommit };
            let publish = |record: &mut Record| record.publish = publish;
            bed.append(topic_partition, &hours, Some(watermark[which]), publish).await;
        }
        4..7 => bed.try_step().await,
        7 => {
            bed.end_attempts(AttemptState::Succeeded).await;
        }
        8 => {
            let states = [AttemptState::Failed, AttemptState::Unknown, AttemptState::Stopped];
            // Some are killed when their closing is made, some before, and some were not dead.
            for compacting in bed.compacting().await {
                match random.random_range(0..3) {
                    0 => bed.go_on(&compacting).await,
                    1 => zombies.push(compacting),
                    _ => {}
                }
            }
            bed.end_attempts(states[random.random_range(0..3)]).await;
        }
        9 => bed.restart(),
        10 => bed.now = Micros(bed.now.0 + random.random_range(0..10) * MINUTE),
        _ if random.random_range(0..6) == 0 => {
            // A lost store has no attempts; theirs have ended with the machine, or know nothing of it.
            zombies.extend(bed.compacting().await);
            bed.lose_store().await;
        }
        _ => {
            let key = key(random.random_range(0..HOURS));
            let table = table("raw.changes");
            let close = Verb::ClosePartition { table: table.clone(), key };
            let reopen = Verb::ReopenPartition { table, key };
            bed.ask(if random.random() { close } else { reopen }).await;
        }
    }
}

async fn clear_failed(bed: &mut Bed) {
    let failed = Wanted { state: Some(RunState::Failed), ..Wanted::default() };
    for run in bed.store.runs(&failed).await.unwrap() {
        // Refused where the partition has closed again since, which is as good.
        bed.ask(Verb::ClearRun { dag: run.dag, run: run.id, only_failed: true }).await;
    }
}

async fn check(bed: &Bed, rows: &BTreeMap<i64, u64>) {
    let (raw, agg) = (table("raw.changes"), table("agg.by_hour"));
    for (hour, rows) in rows {
        let key = key(*hour);
        let closing = bed.lake.newest_closing(&raw, &key).await.unwrap().unwrap();
        assert_eq!(closing.rows, *rows, "rows of {key}");
        let output = bed.lake.output(&agg, &key).await.unwrap().unwrap();
        assert_eq!(output.n, closing.n, "closing of the output of {key}");
        let newest = newest(bed, "hourly", &key.to_string()).await;
        assert_eq!(newest, (closing.n, RunState::Succeeded), "newest run of {key}");
    }
    let days: BTreeSet<_> = rows.keys().map(|hour| key(*hour).within(Grain::Day)).collect();
    for day in days {
        let (n, state) = newest(bed, "daily", &day.to_string()).await;
        assert_eq!(state, RunState::Succeeded, "newest run of {day}");
        let output = bed.lake.output(&table("agg.by_day"), &day).await.unwrap().unwrap();
        assert_eq!(output.n, n, "number of the output of {day}");
        let inputs = bed.store.inputs(&output.run).await.unwrap();
        assert!(!inputs.is_empty(), "{day} has read something");
        for input in inputs {
            let newest = bed.lake.newest_closing(&agg, &input.key).await.unwrap().unwrap();
            assert_eq!(input.n, newest.n, "{day} has read the newest {}", input.key);
        }
    }
}

/// What a plain lister finds is what the newest closings list, and after a sweep nothing is left over.
async fn check_published(lake: &Lake) {
    let raw = table("raw.changes");
    for log in lake.logs(&raw).await.unwrap() {
        log.sweep(0).await.unwrap();
        log.retire_closed().await.unwrap();
    }
    lake.sweep_sorted(&raw).await.unwrap();
    let report = lake.verify(&raw, &Known::default()).await.unwrap();
    assert_eq!((report.findings, report.staged, report.late_rows), (vec![], 0, 0));
    let visible = lake.visible_files(&raw).await.unwrap().into_iter();
    let visible: BTreeSet<_> = visible.map(|file| file.published.to_string()).collect();
    let closings = lake.newest_closings(&raw).await.unwrap();
    let listed = closings.iter().flat_map(|closing| &closing.files);
    assert_eq!(visible, listed.map(|file| file.published.clone()).collect());
}

async fn newest(bed: &Bed, dag: &str, key: &str) -> (u32, RunState) {
    let wanted =
        Wanted { dag: Some(name(dag)), key: Some(key.parse().unwrap()), ..Wanted::default() };
    let runs = bed.store.runs(&wanted).await.unwrap();
    let newest = runs.iter().max_by_key(|run| run.subject.as_ref().map(|of| of.n)).unwrap();
    (newest.subject.as_ref().unwrap().n, newest.state)
}
