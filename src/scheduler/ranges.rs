//! Runs of coarser schedules: a day over hours.
//!
//! A closing makes its range due, in its own transaction. The range runs when everything in it is
//! done; so two hours that were refreshed together refresh their day once, and nothing counts to 24.

use super::fate::{Cause, Fate};
use super::make::ActiveDag;
use super::outputs::highest_number;
use super::turn::Turn;
use super::{fate, make};
use crate::error::Error;
use crate::lake::Lake;
use crate::model::dag::OnClose;
use crate::model::due::{DueRange, Hold};
use crate::model::name::TableName;
use crate::model::run::{RunKind, Subject};
use crate::model::time::Micros;
use crate::store::Store;
use std::collections::BTreeSet;
use tracing::warn;

/// Makes a run of each due range that nothing holds, as far as the turn goes; says whether there was one.
pub async fn run_due(
    store: &Store,
    lake: &Lake,
    dags: &[ActiveDag],
    now: Micros,
    turn: &mut Turn,
) -> Result<bool, Error> {
    let mut any = false;
    // A DAG's ranges come in order: where the frontier holds one, it holds all that follow.
    let mut ahead = BTreeSet::new();
    for due in store.due_ranges().await? {
        if ahead.contains(&due.dag) {
            continue;
        }
        let Some(dag) = dags.iter().find(|dag| dag.readable && *dag.name() == due.dag) else {
            continue;
        };
        let Some(schedule) = dag.on_close() else { continue };
        match store.hold(&schedule.table, (due.start, due.end)).await? {
            None => {}
            Some(Hold::Frontier { .. }) => {
                ahead.insert(due.dag);
                continue;
            }
            Some(Hold::Run(_) | Hold::Due { .. }) => continue,
        }
        if turn.take(1) == 0 {
            break;
        }
        match run(store, lake, (dags, dag), schedule, &due, now).await {
            Ok(()) => any = true,
            // An output that cannot be read holds no other DAG up.
            Err(error) => {
                let DueRange { dag, key, .. } = &due;
                warn!(dag.name = %dag, hive_partition = %key, %error, "cannot make the run of {key} of {dag}; trying again");
            }
        }
    }
    Ok(any)
}

async fn run(
    store: &Store,
    lake: &Lake,
    (dags, dag): (&[ActiveDag], &ActiveDag),
    schedule: &OnClose,
    due: &DueRange,
    now: Micros,
) -> Result<(), Error> {
    // After the loss of a store the output may carry a higher number than any run.
    let carried = highest_number(lake, &dag.version, &due.key).await?;
    let mut tx = store.begin().await?;
    // A run that a lost store has known is told of by its output.
    let newest = tx.newest_number(&due.dag, &due.key).await?;
    let newest = newest.unwrap_or(0).max(carried);
    let cause = if due.asked { Cause::Asked } else { Cause::Frontier };
    match fate::of_range(schedule, Some(newest).filter(|newest| *newest > 0), cause) {
        Fate::Nothing | Fate::Due { .. } => {}
        Fate::Run { state, class } => {
            let mut partial = false;
            for table in lineage(dags, &schedule.table) {
                let closed = tx.newest_closed(table, (due.start, due.end)).await?;
                partial |= closed.iter().any(|closed| closed.partial);
            }
            let of = Subject {
                table: schedule.table.clone(),
                grain: schedule.grain,
                key: due.key,
                n: newest + 1,
                start: due.start,
                end: due.end,
                partial,
            };
            let new = make::new_run(dag, RunKind::Close, of, state, class, now);
            make::add(&mut tx, dag, new, now).await?;
        }
    }
    tx.settle_range(&due.dag, &due.key).await?;
    tx.commit().await
}

/// The table, the one whose closings it is made of, and so on: an hour that makes no run of its own, because its
/// rows are lost, still makes the day partial.
fn lineage<'a>(dags: &'a [ActiveDag], table: &'a TableName) -> Vec<&'a TableName> {
    let mut tables = vec![table];
    let mut newest = table;
    let writes =
        |dag: &&ActiveDag, table| dag.present && make::outputs(&dag.version).contains(table);
    while let Some(dag) = dags.iter().find(|dag| writes(dag, newest))
        && let Some(schedule) = dag.on_close()
        && !tables.contains(&&schedule.table)
    {
        newest = &schedule.table;
        tables.push(newest);
    }
    tables
}
