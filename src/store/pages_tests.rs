//! What screens ask for, compared with all that there is.

use super::Store;
use super::conformance::{
    NOW, about, accept_table, closing, feed_dag, key, name, record, run, table,
};
use super::pages::Standstill;
use super::runs::Wanted;
use super::tests::fresh;
use crate::model::accepted::Accepted;
use crate::model::hive::PartitionKey;
use crate::model::run::{Run, RunKind, RunState};
use crate::model::time::Micros;

const STATES: [RunState; 4] =
    [RunState::Queued, RunState::Held, RunState::Failed, RunState::Succeeded];

async fn add(store: &Store, runs: &[Run]) {
    let mut tx = store.begin().await.unwrap();
    for run in runs {
        assert!(tx.add_run(run, &[]).await.unwrap());
    }
    tx.commit().await.unwrap();
}

/// A run of hour `hour`, made by its closing `n`.
async fn of_hour(store: &Store, hour: u8, n: u32, state: RunState) -> Run {
    let mut run = run(store, &format!("close-1970-01-01T{hour:02}-r{n}"), n).await;
    let subject = run.subject.as_mut().unwrap();
    subject.key = format!("1970-01-01T{hour:02}").parse().unwrap();
    Run { state, ..run }
}

#[tokio::test]
async fn a_list_of_runs_has_the_newest_of_those_that_are_meant() {
    let (_folder, store) = fresh().await;
    accept_table(&store).await;
    let mut other = feed_dag();
    other.dag.name = name("other");
    store
        .accept(&Accepted { versions: vec![feed_dag(), other], tables: vec![] }, NOW)
        .await
        .unwrap();
    let mut all = Vec::new();
    for n in 1..=40_u32 {
        let mut run =
            of_hour(&store, u8::try_from(n % 3).unwrap(), n, STATES[n as usize % 4]).await;
        run.created = Micros(i64::from(n * 7 % 13));
        run.dag = name(if n % 5 == 0 { "other" } else { "wiki" });
        if n % 11 == 0 {
            (run.kind, run.subject) = (RunKind::Manual, None);
        }
        all.push(run);
    }
    add(&store, &all).await;
    all.sort_by_key(|run| {
        let start = run.subject.as_ref().map(|of| of.start);
        (std::cmp::Reverse((run.created, start)), run.id.clone())
    });
    let states = STATES.map(Some).into_iter().chain([None]);
    for (state, dag, key, most) in states.flat_map(|state| {
        let dags = [None, Some(name("wiki"))];
        dags.into_iter().flat_map(move |dag| {
            let keys = [None, Some("1970-01-01T01".parse::<PartitionKey>().unwrap())];
            keys.into_iter().flat_map(move |key| {
                let dag = dag.clone();
                [0, 3].map(move |most| (state, dag.clone(), key, most))
            })
        })
    }) {
        let meant = |run: &&Run| {
            state.is_none_or(|state| run.state == state)
                && dag.as_ref().is_none_or(|dag| run.dag == *dag)
                && key.is_none_or(|key| run.subject.as_ref().is_some_and(|of| of.key == key))
        };
        let most = if most == 0 { usize::MAX } else { most };
        let expected: Vec<_> = all.iter().filter(meant).take(most).map(|run| &run.id).collect();
        let wanted =
            Wanted { dag: dag.clone(), state, key, most: u32::try_from(most).unwrap_or(0) };
        let found = store.runs(&wanted).await.unwrap();
        assert_eq!(found.iter().map(|run| &run.id).collect::<Vec<_>>(), expected, "{wanted:?}");
    }
}

#[tokio::test]
async fn a_failed_run_is_no_standstill_once_a_later_closing_has_made_another() {
    let (_folder, store) = fresh().await;
    accept_table(&store).await;
    let mut runs = Vec::new();
    for (hour, n, state) in [
        (1, 1, RunState::Failed),
        (1, 2, RunState::Succeeded),
        (2, 1, RunState::Failed),
        (3, 1, RunState::Held),
        (4, 1, RunState::Held),
        (5, 1, RunState::Held),
    ] {
        runs.push(of_hour(&store, hour, n, state).await);
    }
    add(&store, &runs).await;
    let found = store.standstills(2).await.unwrap();
    let failed = (RunState::Failed, 1, "close-1970-01-01T02-r1");
    // Two are looked at.
    let held = (RunState::Held, 2, "close-1970-01-01T03-r1");
    let expected = [failed, held].map(|(state, runs, run)| Standstill {
        dag: name("wiki"),
        state,
        runs,
        run: run.into(),
    });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_closed_partition_tells_how_the_runs_of_its_newest_closing_stand() {
    let (_folder, store) = fresh().await;
    accept_table(&store).await;
    let mut tx = store.begin().await.unwrap();
    tx.mirror_record(&record(), NOW).await.unwrap();
    tx.commit().await.unwrap();
    let closing = closing(&store).await;
    let mut tx = store.begin().await.unwrap();
    tx.mirror_closing(&closing, about(), NOW).await.unwrap();
    tx.commit().await.unwrap();
    let stand = async || {
        let found = store.closed_partitions(&table()).await.unwrap();
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!((found.key, found.n, found.rows), (key(), 1, 2));
        (found.runs.any_failed, found.runs.any_held, found.runs.any_open)
    };
    assert_eq!(stand().await, (false, false, false));
    let older = Run { state: RunState::Failed, ..run(&store, "older", 0).await };
    add(&store, &[older, run(&store, "close-1970-01-01T00-r1", 1).await]).await;
    assert_eq!(stand().await, (false, false, true));
    let mut tx = store.begin().await.unwrap();
    tx.start_run("close-1970-01-01T00-r1", &[], NOW).await.unwrap();
    tx.end_run("close-1970-01-01T00-r1", RunState::Failed, NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stand().await, (true, false, false));
    let (runs, all) = store.runs_of_partition(&table(), &key(), 1).await.unwrap();
    assert_eq!((runs[0].id.as_str(), runs.len(), all), ("close-1970-01-01T00-r1", 1, 2));
}
