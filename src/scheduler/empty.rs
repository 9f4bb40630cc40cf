//! Runs of ranges that passed without rows, where a schedule wants them (`empty = "run"`).

use super::frontier::STRETCH_MAX;
use super::make::ActiveDag;
use super::{fate, make};
use crate::error::Error;
use crate::model::dag::{Empty, OnClose};
use crate::model::hive::{PartitionBy, PartitionKey};
use crate::model::name::TableName;
use crate::model::run::{Class, RunKind, RunState, Subject};
use crate::model::time::Micros;
use crate::store::Tx;
use tracing::warn;

/// Ranges that one step looks at for each DAG; the frontier waits for the rest.
const TURN: usize = 1_000;

/// Gives the ranges that the frontier passes their runs; returns how far it may go.
pub async fn pass(
    tx: &mut Tx,
    dags: &[ActiveDag],
    table: &TableName,
    (before, frontier): (Micros, Micros),
    now: Micros,
) -> Result<Micros, Error> {
    let mut until = frontier;
    for dag in dags {
        let wanted = dag.waits_for(table).filter(|schedule| schedule.empty == Empty::Run);
        let Some(schedule) = wanted else { continue };
        let passing = Passing { dag, schedule, layout: fate::layout(schedule), now };
        until = until.min(passing.pass(tx, (before, frontier)).await?);
    }
    Ok(until)
}

/// One DAG whose ranges pass.
struct Passing<'a> {
    dag: &'a ActiveDag,
    schedule: &'a OnClose,
    layout: PartitionBy,
    now: Micros,
}

impl Passing<'_> {
    async fn pass(
        &self,
        tx: &mut Tx,
        (before, frontier): (Micros, Micros),
    ) -> Result<Micros, Error> {
        let table = &self.schedule.table;
        let first = self.schedule.start.unwrap_or(Micros::MIN);
        let mut key = self.layout.key_of(before.max(first));
        let mut no_rows_until = Micros::MIN;
        for _ in 0..TURN {
            let range @ (start, end) = self.layout.range(&key);
            if end > frontier {
                return Ok(frontier);
            }
            // A day that was skipped is none.
            let is_wanted = end > before && start >= first && start < end;
            if is_wanted && start >= no_rows_until {
                if !tx.newest_closed(table, range).await?.is_empty() {
                    key = key.next();
                    continue;
                }
                let next = tx.first_closed_from(table, end).await?.unwrap_or(frontier);
                no_rows_until = next.min(frontier);
                if self.is_too_long(&key, (start, no_rows_until)) {
                    key = self.layout.key_of(no_rows_until);
                    continue;
                }
            }
            if is_wanted {
                self.run(tx, key, range).await?;
            }
            key = key.next();
        }
        Ok(self.layout.range(&key).0.min(frontier))
    }

    /// Says so, too: what has no run is looked for.
    fn is_too_long(&self, key: &PartitionKey, (start, until): (Micros, Micros)) -> bool {
        let grain = self.schedule.grain;
        let ranges = until.since(start).as_micros() / grain.shortest().as_micros();
        if ranges <= u128::from(STRETCH_MAX) {
            return false;
        }
        let (dag, table, last) = (self.dag.name(), &self.schedule.table, self.layout.key_of(until));
        warn!(dag.name = %dag, table = %table, "{dag} gets no runs of the {ranges} {grain}s without rows from {key} to {last}: more than {STRETCH_MAX} in a row come from a wrong event time. See which rows {table} has before {key}");
        true
    }

    async fn run(
        &self,
        tx: &mut Tx,
        key: PartitionKey,
        (start, end): (Micros, Micros),
    ) -> Result<(), Error> {
        let (table, grain) = (self.schedule.table.clone(), self.schedule.grain);
        let others = tx.newest_number_of_others(self.dag.name(), &table, &key).await?;
        let n = others.map_or(0, |newest| newest + 1);
        let of = Subject { table, grain, key, n, start, end, partial: false };
        let (state, class) = (RunState::Queued, Class::Live);
        let new = make::new_run(self.dag, RunKind::Close, of, state, class, self.now);
        make::add(tx, self.dag, new, self.now).await?;
        Ok(())
    }
}
