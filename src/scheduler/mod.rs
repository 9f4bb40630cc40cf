//! Closings from the lake's log; runs, tasks and attempts from closings.
//!
//! A reconciler: each [`Scheduler::step`] reads facts, asks the pure plans ([`frontier`], [`fate`],
//! [`plan`]) and applies what they say, every part safe to repeat. A ping or a timer says only *look
//! again*, so the common case, a restart and the loss of the store go one way.

// Over 400 lines: the steps of one turn in their order.

mod apply;
mod close;
mod closing;
mod compact;
mod empty;
pub mod explain;
pub mod fate;
pub mod frontier;
pub mod make;
mod outputs;
pub mod plan;
mod ranges;
mod requests;
pub mod retry;
mod tail;
mod troubles;
mod turn;
mod unreadable;

use crate::error::{Doing, Error, ErrorKind};
use crate::lake::Lake;
use crate::model::commit::Compact;
use crate::model::dag::DagVersion;
use crate::model::name::TableName;
use crate::model::problem::{About, Problem};
use crate::model::table::LakeTable;
use crate::model::time::Micros;
use crate::store::Store;
use apply::Versions;
use closing::{Closer, Looked};
use make::ActiveDag;
use outputs::Outputs;
use plan::slots::Holder;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;
use troubles::Troubles;
use turn::Turn;

/// A commit whose ping was lost is found after this time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Passes of one step: an end makes a closing, a closing a run, a run its end if it has no tasks.
const PASSES_MAX: usize = 20;

/// An output that could not be closed is tried again this much later.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Versions that stay parsed; runs at work share a handful.
const VERSIONS_MAX: usize = 256;

#[derive(Debug)]
pub struct Scheduler {
    store: Store,
    lake: Lake,
    parallelism: u32,
    versions: Versions,
    looks: BTreeMap<TableName, Look>,
    /// The table that has used up the last turn of closings: the next turn begins behind it.
    served: Option<TableName>,
    /// Runs whose output could not be closed, and when that is tried again.
    retries: BTreeMap<String, (Micros, Option<About>)>,
    /// Versions and tables that cannot be read.
    troubles: Troubles,
    /// Tables of which no hive partition is known to be unable to close.
    sound: BTreeSet<TableName>,
    /// Closings by hand for which attempts are to sort the rows first.
    asked: Vec<Compact>,
    /// Who gets the next slot where tasks and closings hold as many.
    next: Holder,
}

/// How a table was left by the last look at it.
#[derive(Debug)]
struct Look {
    table: LakeTable,
    looked: Looked,
    at: Micros,
}

impl Look {
    /// Whether looking once more would find the same.
    fn is_current(&self, table: &LakeTable, now: Micros) -> bool {
        self.table == *table
            && !self.looked.pending
            && self.looked.wake.is_none_or(|at| now < at)
            // A clock that was set back makes what it says of waiting untrue.
            && self.at <= now
    }
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
    /// `parallelism`: attempts at once, streams apart.
    pub fn new(store: Store, lake: Lake, parallelism: u32) -> Self {
        let (versions, looks, retries) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (served, asked, next, sound) = (None, Vec::new(), Holder::default(), BTreeSet::new());
        let troubles = Troubles::default();
        Self {
            store,
            lake,
            parallelism,
            versions,
            looks,
            served,
            retries,
            troubles,
            sound,
            asked,
            next,
        }
    }

    /// Looks at everything once and does what is due, of each kind of work no more than a turn: whatever
    /// the backlog, requests are answered and attempts are made between two turns.
    ///
    /// A table that cannot be read is warned of and tried again; it holds nothing else up.
    pub async fn step(&mut self, now: Micros) -> Result<StepOutcome, Error> {
        let mut outcome = StepOutcome {
            next_wake: now.plus(LOOK_EVERY),
            attempts_changed: false,
            requests: Vec::new(),
        };
        self.apply_requests(now, &mut outcome).await?;
        let dags = self.current(now).await?;
        // What has ended comes first: the next attempt of a chain must not wait for the disk.
        self.plan(&dags, now, &mut outcome).await?;
        if outcome.attempts_changed {
            return Ok(StepOutcome { next_wake: now, ..outcome });
        }
        self.close_tables(&dags, now, &mut outcome).await?;
        let (mut outputs, mut due) = (Turn::of(turn::CLOSINGS), Turn::of(turn::RANGES));
        for _ in 0..PASSES_MAX {
            let closed = self.close_outputs(&dags, now, &mut outputs, &mut outcome).await?;
            let run = ranges::run_due(&self.store, &self.lake, &dags, now, &mut due).await?;
            let planned = self.plan(&dags, now, &mut outcome).await?;
            if outcome.attempts_changed || outputs.is_over() || due.is_over() {
                return Ok(StepOutcome { next_wake: now, ..outcome });
            }
            if !closed && !run && !planned {
                return Ok(outcome);
            }
        }
        Ok(StepOutcome { next_wake: now, ..outcome })
    }

    /// The DAGs with their newest versions. One that cannot be read is a problem of its DAG alone.
    async fn current(&mut self, now: Micros) -> Result<Vec<ActiveDag>, Error> {
        let (mut current, mut unreadable) = (Vec::new(), BTreeSet::new());
        for dag in self.store.dags().await? {
            let found = match self.version(&dag.version).await? {
                Ok(version) => {
                    let (hash, paused, present) = (dag.version, dag.paused, dag.present);
                    ActiveDag { hash, version, paused, present, readable: true }
                }
                Err(error) => {
                    let (name, hash) = (dag.name.clone(), dag.version.clone());
                    let about = About::Version { dag: name, hash };
                    self.troubles.note(&self.store, about.clone(), &error, now).await?;
                    unreadable.insert(about);
                    unreadable::stand_in(&self.store, dag).await?
                }
            };
            current.push(found);
        }
        let stands =
            |about: &About| !matches!(about, About::Version { .. }) || unreadable.contains(about);
        self.troubles.settle_but(&self.store, stands).await?;
        Ok(current)
    }

    /// A version, or why it cannot be read.
    async fn version(&mut self, hash: &str) -> Result<Result<Arc<DagVersion>, Error>, Error> {
        if let Some(version) = self.versions.get(hash) {
            return Ok(Ok(version.clone()));
        }
        if self.versions.len() >= VERSIONS_MAX {
            self.versions.clear();
        }
        match self.store.version(hash).await {
            Ok(version) => {
                let version = Arc::new(version);
                self.versions.insert(hash.to_owned(), version.clone());
                Ok(Ok(version))
            }
            Err(error) if error.kind == ErrorKind::Unavailable => Err(error),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn close_tables(
        &mut self,
        dags: &[ActiveDag],
        now: Micros,
        outcome: &mut StepOutcome,
    ) -> Result<(), Error> {
        let mut tables = self.readable_tables(now).await?;
        tables.retain(|table| table.present);
        self.looks.retain(|name, _| tables.iter().any(|its| its.table.name == *name));
        // Batches first: what they have written already decides whether a found closing runs.
        let served = self.served.as_ref();
        tables.sort_by_key(|its| {
            let has_been = served.is_some_and(|served| its.table.name <= *served);
            (its.is_streamed(), has_been)
        });
        let mut turn = Turn::of(turn::CLOSINGS);
        for table in tables {
            let name = table.table.name.clone();
            if turn.is_used_up() && table.is_streamed() {
                outcome.next_wake = now;
                break;
            }
            match self.close_table(dags, table, now, &mut turn).await {
                Ok(wake) => {
                    outcome.next_wake = outcome.next_wake.min(wake.unwrap_or(Micros::MAX));
                    let about = About::Table { table: name.clone() };
                    self.troubles.settle(&self.store, &about).await?;
                }
                Err(error) => {
                    self.looks.remove(&name);
                    warn!(table = %name, %error, "cannot close {name} now; trying again");
                    self.tell_of_first(&name, &error, now).await?;
                }
            }
            if turn.is_used_up() {
                self.served = Some(name);
            }
        }
        Ok(())
    }

    /// All tables but those whose row cannot be read.
    async fn readable_tables(&self, now: Micros) -> Result<Vec<LakeTable>, Error> {
        for (table, error) in self.store.unreadable_tables().await? {
            self.troubles.note(&self.store, About::Table { table }, &error, now).await?;
        }
        self.store.tables().await
    }

    /// Closes what is due of one table and says when to look at it again.
    async fn close_table(
        &mut self,
        dags: &[ActiveDag],
        table: LakeTable,
        now: Micros,
        turn: &mut Turn,
    ) -> Result<Option<Micros>, Error> {
        let name = table.table.name.clone();
        let is_new =
            table.is_streamed() && tail::tail(&self.store, &self.lake, &table, now).await?;
        let (store, lake) = (&self.store, &self.lake);
        let before = self.looks.get(&name);
        if !table.adopted {
            Outputs { store, lake, dags, now }.adopt(&table).await?;
        } else if !table.is_streamed() {
            return Ok(None);
        } else if let Some(look) = before.filter(|look| !is_new && look.is_current(&table, now)) {
            return Ok(look.looked.wake);
        }
        let Some(table) = store.table(&name).await?.filter(LakeTable::is_streamed) else {
            return Ok(None);
        };
        let closer = Closer { store, lake, dags, now };
        let before = before.map(|look| &look.looked);
        let mut looked =
            closer.close_due(&table, before, turn).await.doing(|| format!("close {name}"))?;
        if looked.more {
            looked.at_latest(now);
        }
        self.tell(&name, &mut looked).await?;
        let wake = looked.wake;
        if let Some(table) = self.store.table(&name).await? {
            self.looks.insert(name, Look { table, looked, at: now });
        }
        Ok(wake)
    }

    /// Writes down what of a table cannot close, and that the rest can.
    async fn tell(&mut self, name: &TableName, looked: &mut Looked) -> Result<(), Error> {
        for problem in looked.problems.drain(..) {
            self.store.note_problem(&problem).await?;
        }
        if !looked.retries.is_empty() {
            self.sound.remove(name);
        }
        if !self.sound.contains(name) {
            self.store.settle_closings_but(name, looked.retries.keys().copied()).await?;
        }
        if looked.retries.is_empty() {
            self.sound.insert(name.clone());
        }
        Ok(())
    }

    /// Nothing of the table can close: so the first hive partition that is open cannot.
    async fn tell_of_first(
        &mut self,
        name: &TableName,
        error: &Error,
        now: Micros,
    ) -> Result<(), Error> {
        let is_first = self.sound.remove(name);
        if is_first && error.kind == ErrorKind::Unavailable {
            return Ok(()); // It may be over at the next look.
        }
        let Some(table) = self.store.table(name).await? else { return Ok(()) };
        let open = self.store.open_partitions(name).await?.first().map(|open| open.key);
        let next = table.frontier.map(|frontier| table.table.partition_by.key_of(frontier));
        let Some(key) = open.or(next) else {
            // It has not begun to close.
            let about = About::Table { table: name.clone() };
            return self.troubles.note(&self.store, about, error, now).await;
        };
        let about = About::Closing { table: name.clone(), key };
        self.store.note_problem(&Problem::of(about, error, now)).await
    }

    /// Closes the outputs of runs that succeeded; says whether any has closed.
    async fn close_outputs(
        &mut self,
        dags: &[ActiveDag],
        now: Micros,
        turn: &mut Turn,
        outcome: &mut StepOutcome,
    ) -> Result<bool, Error> {
        let mut any = false;
        let mut retries = BTreeMap::new();
        for run in self.store.unclosed().await? {
            let failed = self.retries.get(&run.id).cloned();
            let waits = failed.as_ref().filter(|(at, _)| !at.is_due(RETRY_AFTER, now));
            if let Some((at, _)) = waits {
                outcome.next_wake = outcome.next_wake.min(*at);
            }
            if waits.is_some() || turn.take(1) == 0 {
                retries.extend(failed.map(|failed| (run.id, failed)));
                continue;
            }
            let version = match self.version(&run.version).await? {
                Ok(version) => version,
                Err(error) => {
                    unreadable::fail(&self.store, &run, &error, now).await?;
                    continue;
                }
            };
            let outputs = Outputs { store: &self.store, lake: &self.lake, dags, now };
            match outputs.close(&run, &version).await {
                Ok(()) => any = true,
                Err(error) => {
                    warn!(run.id = %run.id, dag.name = %run.dag, %error, "cannot close the output of {}; trying again", run.id);
                    let about = outputs::first_of(&run, &version);
                    if let Some(about) = about.clone() {
                        self.store.note_problem(&Problem::of(about, &error, now)).await?;
                    }
                    retries.insert(run.id, (now.plus(RETRY_AFTER), about));
                }
            }
        }
        for (run, (_, about)) in &self.retries {
            if let (false, Some(about)) = (retries.contains_key(run), about) {
                self.store.settle_problem(about).await?;
            }
        }
        self.retries = retries;
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
        facts.slots.next = self.next;
        facts.wanted = self.wanted();
        let mut unreadable = BTreeMap::new();
        for hash in facts.hashes() {
            match self.version(&hash).await? {
                Ok(version) => drop(facts.versions.insert(hash, version)),
                Err(error) => drop(unreadable.insert(hash, error)),
            }
        }
        // Their attempts are to stop.
        outcome.attempts_changed |=
            unreadable::fail_runs(&self.store, &mut facts, &unreadable, now).await?;
        let plan = plan::plan(&facts, now);
        if let Some(wake) = plan.wake {
            outcome.next_wake = outcome.next_wake.min(wake);
        }
        if plan.actions.is_empty() {
            return Ok(false);
        }
        let all = apply::apply(&self.store, &facts, &plan.actions, now).await?;
        self.next = plan.slots.next;
        let mut again = !all;
        for action in &plan.actions {
            match action {
                plan::Action::Launch { .. } | plan::Action::Stop { .. } => {
                    outcome.attempts_changed = true;
                }
                plan::Action::Compact(compact) => {
                    outcome.attempts_changed = true;
                    self.is_launched(compact);
                }
                plan::Action::End { .. } => again = true,
                plan::Action::Start { .. } | plan::Action::Change { .. } => {}
            }
        }
        Ok(again)
    }

    /// The closings that attempts are to make: first those that persons wait for, then the tables' in
    /// turn.
    fn wanted(&self) -> Vec<Compact> {
        let wanted = self.looks.values().flat_map(|look| look.looked.wanted.iter().enumerate());
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort_by_key(|(place, _)| *place);
        self.asked.iter().chain(wanted.into_iter().map(|(_, compact)| compact)).cloned().collect()
    }

    /// An attempt makes the closing: its end is to be looked for.
    fn is_launched(&mut self, compact: &Compact) {
        self.asked.retain(|asked| asked != compact);
        if let Some(look) = self.looks.get_mut(&compact.table) {
            look.looked.wanted.retain(|wanted| wanted != compact);
            look.looked.pending = true;
        }
    }
}

#[cfg(test)]
mod tests;
