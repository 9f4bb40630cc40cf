//! Makes runs, inside the transaction that mirrors what they are made for.

use super::fate;
use super::fate::{Cause, Fate};
use crate::error::Error;
use crate::model::closing::Closed;
use crate::model::dag::{DagVersion, OnClose, Schedule, Work};
use crate::model::due::DueRange;
use crate::model::job::{BatchJob, JobKind};
use crate::model::name::{Name, TableName};
use crate::model::run::{Class, Input, Run, RunKind, RunState, Subject};
use crate::model::time::Micros;
use crate::store::Tx;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::info;

/// A DAG of the project's files as they are now, with its newest version.
#[derive(Clone, Debug)]
pub struct ActiveDag {
    pub hash: String,
    pub version: Arc<DagVersion>,
    pub paused: bool,
    pub present: bool,
    /// Not so: its version only stands for one that cannot be read.
    pub readable: bool,
}

impl ActiveDag {
    pub fn name(&self) -> &Name {
        &self.version.dag.name
    }

    pub fn on_close(&self) -> Option<&OnClose> {
        match &self.version.dag.schedule {
            Schedule::OnClose(on_close) => Some(on_close),
            Schedule::Manual => None,
        }
    }

    /// The schedule, if it waits for `table` and the files still have it.
    pub fn waits_for(&self, table: &TableName) -> Option<&OnClose> {
        self.on_close().filter(|on_close| self.present && on_close.table == *table)
    }
}

/// The batch jobs that a DAG's own tasks run.
pub fn batches(version: &DagVersion) -> impl Iterator<Item = &BatchJob> {
    version.dag.tasks.iter().filter_map(|task| match &task.work {
        Work::Batch(job) => match &version.jobs.get(job)?.kind {
            JobKind::Batch(batch) => Some(batch),
            JobKind::Feed(_) | JobKind::Stream(_) => None,
        },
        Work::Exec { .. } | Work::Test(_) => None,
    })
}

/// Whether a DAG's own tasks load the warehouse.
pub fn loads(version: &DagVersion) -> bool {
    batches(version).any(|batch| batch.to_warehouse.is_some())
}

/// The lake tables that a DAG's own tasks write.
pub fn outputs(version: &DagVersion) -> BTreeSet<TableName> {
    batches(version).filter_map(|batch| batch.to_lake.clone()).collect()
}

/// Gives every DAG that waits for the table its run, or notes that a range is due.
///
/// `carried` says which DAGs have outputs, and whether those know the closing: for what a new store
/// has found.
pub async fn after_closing(
    tx: &mut Tx,
    dags: &[ActiveDag],
    closed: &Closed,
    cause: Cause,
    carried: &BTreeMap<Name, Carried>,
    now: Micros,
) -> Result<(), Error> {
    for dag in dags {
        let Some(schedule) = dag.waits_for(&closed.table) else { continue };
        let carried = carried.get(dag.name());
        // To a DAG that has seen no closing before, this is the first; and what had begun goes on.
        let is_first = matches!(carried, Some(Carried::Nothing | Carried::InLake(_)));
        let late = closed.late && !is_first;
        match fate::of_closing(&Closed { late, ..closed.clone() }, schedule, cause) {
            Fate::Nothing => {}
            Fate::Due { key, start, end } => {
                let (dag, asked) = (dag.name().clone(), cause == Cause::Asked);
                tx.make_due(&DueRange { dag, key, start, end, asked, since: now }).await?;
            }
            Fate::Run { state, class } => {
                let is_done = matches!(carried, Some(Carried::This(_)));
                let state = if is_done { RunState::Succeeded } else { state };
                let mut of = of_closed(closed);
                // A schedule that waited for another table before has left numbers of that one.
                let newest = tx.newest_number(dag.name(), &of.key).await?;
                let after = newest.map_or(0, |newest| newest + 1);
                of.n = of.n.max(after).max(carried.map_or(0, |carried| carried.next()));
                let mut new = new_run(dag, RunKind::Close, of, state, class, now);
                if is_done {
                    new.ended = Some(now);
                    new.marked_by = Some(FOUND.into());
                }
                add(tx, dag, new, now).await?;
            }
        }
    }
    Ok(())
}

/// Which closing of a hive partition all outputs of a DAG carry, and the highest number of a run that
/// one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// This one, or a newer one.
    This(u32),
    /// Likewise, but the DAG loads the warehouse too, and only the lost store knew whether it had.
    InLake(u32),
    Older(u32),
    Nothing,
}

impl Carried {
    /// The same of a DAG that also loads the warehouse: a batch may have been killed between the two,
    /// so it runs again, and loads the same.
    #[must_use]
    pub fn unless_loaded(self) -> Self {
        match self {
            Self::This(n) => Self::InLake(n),
            Self::InLake(_) | Self::Older(_) | Self::Nothing => self,
        }
    }

    /// The lowest number that a run of the closing may have.
    fn next(self) -> u32 {
        match self {
            Self::This(n) | Self::InLake(n) => n,
            Self::Older(n) => n + 1,
            Self::Nothing => 0,
        }
    }
}

/// Who has marked runs that a new store found to be done.
pub const FOUND: &str = "found in the lake";

fn of_closed(closed: &Closed) -> Subject {
    Subject {
        table: closed.table.clone(),
        grain: closed.key.grain,
        key: closed.key,
        n: closed.n,
        start: closed.start,
        end: closed.end,
        partial: closed.partial,
    }
}

/// A run that is yet to be added; its id gets a random end then.
pub fn new_run(
    dag: &ActiveDag,
    kind: RunKind,
    of: Subject,
    state: RunState,
    class: Class,
    now: Micros,
) -> Run {
    let id = match kind {
        RunKind::Close => format!("close-{}-r{}", of.key, of.n),
        RunKind::Manual => manual_id(now),
    };
    Run { subject: Some(of), state, class, ..manual_run(dag, kind, id, now) }
}

/// A run of nothing in particular.
pub fn plain_run(dag: &ActiveDag, now: Micros) -> Run {
    manual_run(dag, RunKind::Manual, manual_id(now), now)
}

fn manual_run(dag: &ActiveDag, kind: RunKind, id: String, now: Micros) -> Run {
    Run {
        id,
        dag: dag.name().clone(),
        version: dag.hash.clone(),
        kind,
        class: Class::Manual,
        subject: None,
        state: RunState::Queued,
        created: now,
        started: None,
        ended: None,
        superseded_by: None,
        marked_by: None,
        failure: None,
    }
}

fn manual_id(now: Micros) -> String {
    format!("manual-{}", now.timestamp().strftime("%Y%m%dT%H%M%SZ"))
}

/// Pins what the DAG's newest version reads and the version before did not. Without this a run that
/// is cleared would take such a table for empty.
pub async fn pin_new_reads(tx: &mut Tx, dag: &ActiveDag, run: &Run) -> Result<(), Error> {
    let pinned = tx.pinned(&run.id).await?;
    let inputs = inputs(tx, dag, run, &pinned).await?;
    tx.pin(&run.id, &inputs).await
}

/// The newest closings of the tables that a run reads, but for those that are `pinned` already.
async fn inputs(
    tx: &mut Tx,
    dag: &ActiveDag,
    run: &Run,
    pinned: &BTreeSet<TableName>,
) -> Result<Vec<Input>, Error> {
    let Some(of) = &run.subject else { return Ok(Vec::new()) };
    let mut tables = BTreeSet::from([of.table.clone()]);
    tables.extend(batches(&dag.version).flat_map(|batch| batch.reads.iter().cloned()));
    let mut inputs = Vec::new();
    for table in tables.difference(pinned) {
        inputs.extend(tx.newest_inputs(table, (of.start, of.end)).await?);
    }
    Ok(inputs)
}

/// Adds a run with the closings that it reads, as they are now, in place of older ones that wait.
///
/// Its id gets a random end that no other run has. `None` if the DAG has the run of this closing
/// already: by table, key and number, never because an id was taken.
pub async fn add(
    tx: &mut Tx,
    dag: &ActiveDag,
    run: Run,
    now: Micros,
) -> Result<Option<Run>, Error> {
    let run = Run { id: tx.free_run_id(&run.id).await?, ..run };
    let inputs = inputs(tx, dag, &run, &BTreeSet::new()).await?;
    if !tx.add_run(&run, &inputs).await? {
        let named = run.subject.as_ref().map(|of| format!("{}, revision {}", of.key, of.n));
        info!(dag.name = %run.dag, "{} has its run of {} already", run.dag, named.unwrap_or_default());
        return Ok(None);
    }
    tx.supersede(&run, now).await?;
    Ok(Some(run))
}
