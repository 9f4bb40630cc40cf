//! Closings from the lake's log; runs, tasks and attempts from closings.
//!
//! A reconciler: each [`Scheduler::step`] reads facts, asks the pure plans ([`frontier`], [`fate`],
//! [`plan`]) and applies what they say, every part safe to repeat. A ping or a timer says only *look
//! again*, so the common case, a restart and the loss of the store go one way.

mod apply;
mod close;
mod compact;
pub mod fate;
pub mod frontier;
pub mod make;
mod outputs;
pub mod plan;
mod ranges;
mod requests;
pub mod retry;
mod tail;

use crate::error::{Doing, Error};
use crate::lake::Lake;
use crate::model::dag::DagVersion;
use crate::model::name::TableName;
use crate::model::table::LakeTable;
use crate::model::time::Micros;
use crate::store::Store;
use apply::Versions;
use close::{Closer, Looked};
use make::ActiveDag;
use outputs::Outputs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::warn;

/// A commit whose ping was lost is found after this time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Passes of one step: an end makes a closing, a closing a run, a run its end if it has no tasks.
const PASSES_MAX: usize = 20;

/// Versions that stay parsed; runs at work share a handful.
const VERSIONS_MAX: usize = 256;

#[derive(Debug)]
pub struct Scheduler {
    store: Store,
    lake: Lake,
    parallelism: u32,
    versions: Versions,
    looks: BTreeMap<TableName, Look>,
    /// A compaction was queued, of which the supervisor is to be told.
    launched: AtomicBool,
}

/// How a table was left by the last look at it.
#[derive(Debug)]
struct Look {
    table: LakeTable,
    looked: Looked,
    at: Micros,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// When to step again if no ping comes before; at once where attempts had to be told of first.
    pub next_wake: Micros,
    /// Attempts wait for the supervisor, or are to stop.
    pub attempts_changed: bool,
    /// Requests that now have an outcome.
    pub requests: Vec<i64>,
}

impl Scheduler {
    /// `parallelism`: attempts of tasks at once.
    pub fn new(store: Store, lake: Lake, parallelism: u32) -> Self {
        let (versions, looks) = (BTreeMap::new(), BTreeMap::new());
        let launched = AtomicBool::new(false);
        Self { store, lake, parallelism, versions, looks, launched }
    }

    /// Looks at everything once and does what is due.
    ///
    /// A table that cannot be read is warned of and tried again; it holds nothing else up.
    pub async fn step(&mut self, now: Micros) -> Result<StepOutcome, Error> {
        let mut outcome = StepOutcome {
            next_wake: now.plus(LOOK_EVERY),
            attempts_changed: false,
            requests: Vec::new(),
        };
        self.apply_requests(now, &mut outcome).await?;
        outcome.attempts_changed |= self.launched.swap(false, Ordering::Relaxed);
        let dags = self.current().await?;
        // What has ended comes first: the next attempt of a chain must not wait for the disk.
        self.plan(&dags, now, &mut outcome).await?;
        if outcome.attempts_changed {
            return Ok(StepOutcome { next_wake: now, ..outcome });
        }
        self.close_tables(&dags, now, &mut outcome).await?;
        outcome.attempts_changed |= self.launched.swap(false, Ordering::Relaxed);
        for _ in 0..PASSES_MAX {
            let closed = self.close_outputs(&dags, now).await?;
            let due = ranges::run_due(&self.store, &self.lake, &dags, now).await?;
            let planned = self.plan(&dags, now, &mut outcome).await?;
            if outcome.attempts_changed {
                return Ok(StepOutcome { next_wake: now, ..outcome });
            }
            if !closed && !due && !planned {
                break;
            }
        }
        Ok(outcome)
    }

    /// The DAGs with their newest versions.
    async fn current(&mut self) -> Result<Vec<ActiveDag>, Error> {
        let mut current = Vec::new();
        for dag in self.store.dags().await? {
            let version = self.version(&dag.version).await?;
            let (hash, paused, present) = (dag.version, dag.paused, dag.present);
            current.push(ActiveDag { hash, version, paused, present });
        }
        Ok(current)
    }

    async fn version(&mut self, hash: &str) -> Result<Arc<DagVersion>, Error> {
        if let Some(version) = self.versions.get(hash) {
            return Ok(version.clone());
        }
        if self.versions.len() >= VERSIONS_MAX {
            self.versions.clear();
        }
        let version = Arc::new(self.store.version(hash).await?);
        self.versions.insert(hash.to_owned(), version.clone());
        Ok(version)
    }

    async fn close_tables(
        &mut self,
        dags: &[ActiveDag],
        now: Micros,
        outcome: &mut StepOutcome,
    ) -> Result<(), Error> {
        let mut tables = self.store.tables().await?;
        tables.retain(|table| table.present);
        // Batches first: what they have written already decides whether a found closing runs.
        tables.sort_by_key(LakeTable::is_streamed);
        for table in tables {
            let name = table.table.name.clone();
            match self.close_table(dags, table, now).await {
                Ok(Some(wake)) => outcome.next_wake = outcome.next_wake.min(wake),
                Ok(None) => {}
                Err(error) => {
                    self.looks.remove(&name);
                    warn!(table = %name, %error, "cannot close {name} now; trying again");
                }
            }
        }
        Ok(())
    }

    /// Closes what is due of one table and says when to look at it again.
    async fn close_table(
        &mut self,
        dags: &[ActiveDag],
        table: LakeTable,
        now: Micros,
    ) -> Result<Option<Micros>, Error> {
        let name = table.table.name.clone();
        let is_new =
            table.is_streamed() && tail::tail(&self.store, &self.lake, &table, now).await?;
        let (store, lake) = (&self.store, &self.lake);
        if !table.adopted {
            Outputs { store, lake, dags, now }.adopt(&table).await?;
        } else if !table.is_streamed() {
            return Ok(None);
        } else if let Some(look) =
            self.looks.get(&name).filter(|look| !is_new && look.table == table)
            && !look.looked.pending
            && look.looked.wake.is_none_or(|at| now < at)
            // A clock that was set back makes what it says of waiting untrue.
            && look.at <= now
        {
            return Ok(look.looked.wake);
        }
        let Some(table) = store.table(&name).await?.filter(LakeTable::is_streamed) else {
            return Ok(None);
        };
        let (parallelism, launched) = (self.parallelism, &self.launched);
        let closer = Closer { store, lake, dags, now, parallelism, launched };
        let looked = closer.close_due(&table).await.doing(|| format!("close {name}"))?;
        if let Some(table) = store.table(&name).await? {
            self.looks.insert(name, Look { table, looked, at: now });
        }
        Ok(looked.wake)
    }

    /// Closes the outputs of runs that succeeded; says whether there were any.
    async fn close_outputs(&mut self, dags: &[ActiveDag], now: Micros) -> Result<bool, Error> {
        let mut any = false;
        for run in self.store.unclosed().await? {
            let version = self.version(&run.version).await?;
            let outputs = Outputs { store: &self.store, lake: &self.lake, dags, now };
            match outputs.close(&run, &version).await {
                Ok(()) => any = true,
                Err(error) => {
                    warn!(run.id = %run.id, dag.name = %run.dag, %error, "cannot close the output of {}; trying again", run.id);
                }
            }
        }
        Ok(any)
    }

    /// Starts, launches, retries and ends; says whether anything changed that may lead further.
    async fn plan(
        &mut self,
        dags: &[ActiveDag],
        now: Micros,
        outcome: &mut StepOutcome,
    ) -> Result<bool, Error> {
        let mut facts = apply::facts(&self.store, dags, self.parallelism).await?;
        let active = facts.active.iter().map(|active| &active.run);
        let queued = facts.dags.values().flat_map(|dag| &dag.queued);
        let hashes: Vec<String> = active.chain(queued).map(|run| run.version.clone()).collect();
        for hash in hashes {
            let version = self.version(&hash).await?;
            facts.versions.insert(hash, version);
        }
        let plan = plan::plan(&facts, now);
        if let Some(wake) = plan.wake {
            outcome.next_wake = outcome.next_wake.min(wake);
        }
        if plan.actions.is_empty() {
            return Ok(false);
        }
        let all = apply::apply(&self.store, &facts, &plan.actions, now).await?;
        let mut again = !all;
        for action in &plan.actions {
            match action {
                plan::Action::Launch { .. } | plan::Action::Stop { .. } => {
                    outcome.attempts_changed = true;
                }
                plan::Action::End { .. } => again = true,
                plan::Action::Start { .. } | plan::Action::Change { .. } => {}
            }
        }
        Ok(again)
    }
}

#[cfg(test)]
mod tests;
