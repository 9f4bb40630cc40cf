//! What people ask for, carried out together with its outcome in one transaction.

use super::closing::{Asked, Closer};
use super::fate::Cause;
use super::make::ActiveDag;
use super::{Scheduler, StepOutcome, make, tail};
use crate::error::{Error, ErrorKind};
use crate::model::attempt::Failure;
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::request::{Answer, Outcome, Refusal, Request, Verb};
use crate::model::run::{Class, Run, RunKind, RunState, Subject};
use crate::model::stored::encode;
use crate::model::stream::Desired;
use crate::model::time::Micros;
use crate::store::Tx;
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::{info, warn};

/// A request that cannot be carried out yet, as while an output is being replaced, is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request could not be carried out.
enum Stop {
    Refused(Refusal),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Scheduler {
    /// Carries out every open request; why one is not carried out becomes its answer. One that
    /// waits for an attempt holds up those on the same table, and no others: who would stop what fills
    /// the slots must be heard.
    pub(super) async fn apply_requests(
        &mut self,
        now: Micros,
        outcome: &mut StepOutcome,
    ) -> Result<(), Error> {
        self.asked.clear();
        let mut sorting = BTreeSet::new();
        let open = self.store.open_requests().await?;
        for (id, error) in &open.unreadable {
            self.refuse(*id, error, now).await?;
            outcome.requests.push(*id);
        }
        for request in open.readable {
            let table = table_of(&request.verb);
            if table.is_some_and(|table| sorting.contains(table)) {
                continue;
            }
            let applied = self.apply_request(&request, now).await;
            let (mut tx, answer) = match applied {
                Ok(Some((tx, done))) => (tx, Answer::Done(done)),
                Ok(None) => {
                    sorting.extend(table.cloned());
                    continue;
                }
                // Later ones may rest on it, and nothing else does.
                Err(Stop::Error(error)) if error.kind == ErrorKind::Unavailable => {
                    warn!(request.id, %error, "cannot apply request {} now; trying again", request.id);
                    outcome.next_wake = outcome.next_wake.min(now.plus(RETRY_AFTER));
                    return Ok(());
                }
                Err(Stop::Error(error)) => {
                    let failed = Refusal::Failed(Failure::from(&error));
                    (self.store.begin().await?, Answer::Refused(failed))
                }
                Err(Stop::Refused(refusal)) => {
                    (self.store.begin().await?, Answer::Refused(refusal))
                }
            };
            tx.finish_request(request.id, &answer, now).await?;
            tx.commit().await?;
            let (verb, who) = (request.verb.name(), &request.actor.who);
            info!(request.id, verb, who, "{verb} by {who}: {}", encode(&answer));
            outcome.requests.push(request.id);
            outcome.attempts_changed = true;
        }
        Ok(())
    }

    /// Answers a request that cannot be read.
    async fn refuse(&self, id: i64, error: &Error, now: Micros) -> Result<(), Error> {
        let failed = Failure { error: format!("request {id}: {error}"), ..Failure::from(error) };
        warn!(request.id = id, "refused {}", failed.error);
        let mut tx = self.store.begin().await?;
        tx.finish_request(id, &Answer::Refused(Refusal::Failed(failed)), now).await?;
        tx.commit().await
    }

    async fn apply_request(
        &mut self,
        request: &Request,
        now: Micros,
    ) -> Result<Option<(Tx, Outcome)>, Stop> {
        let done = match &request.verb {
            Verb::PauseDag { dag } => self.pause(dag, true).await?,
            Verb::UnpauseDag { dag } => self.pause(dag, false).await?,
            Verb::TriggerDag { dag, key } => self.trigger(dag, key.as_ref(), now).await?,
            Verb::ClearRun { dag, run, only_failed } => {
                self.clear(dag, run, *only_failed, now).await?
            }
            Verb::MarkRun { dag, run, to } => {
                self.mark(dag, run, *to, &request.actor.who, now).await?
            }
            Verb::StartStream { stream } => self.want(stream, Desired::Running).await?,
            Verb::StopStream { stream } => self.want(stream, Desired::Stopped).await?,
            Verb::ClosePartition { table, key } => {
                return self.close_by_hand(table, key, Cause::Frontier, now).await;
            }
            Verb::ReopenPartition { table, key } => {
                return self.close_by_hand(table, key, Cause::Asked, now).await;
            }
        };
        Ok(Some(done))
    }

    async fn pause(&self, dag: &Name, paused: bool) -> Result<(Tx, Outcome), Stop> {
        let mut tx = self.store.begin().await?;
        if !tx.set_paused(dag, paused).await? {
            return Err(Refusal::NoDag { dag: dag.clone() }.into());
        }
        let dag = dag.clone();
        let done = if paused { Outcome::DagPaused { dag } } else { Outcome::DagUnpaused { dag } };
        Ok((tx, done))
    }

    async fn want(&self, stream: &str, desired: Desired) -> Result<(Tx, Outcome), Stop> {
        let mut tx = self.store.begin().await?;
        let stream = stream.to_owned();
        if !tx.set_desired(&stream, desired).await? {
            return Err(Refusal::NoStream { stream }.into());
        }
        Ok((tx, Outcome::StreamWanted { stream, desired }))
    }

    async fn trigger(
        &mut self,
        dag: &Name,
        key: Option<&PartitionKey>,
        now: Micros,
    ) -> Result<(Tx, Outcome), Stop> {
        let current = self.current_of(dag, now).await?;
        let new = match (current.on_close(), key) {
            (Some(_), Some(key)) => {
                let of = self.of_key(&current, key).await?;
                make::new_run(&current, RunKind::Manual, of, RunState::Queued, Class::Manual, now)
            }
            (None, Some(_)) => return Err(Refusal::HasNoKeys { dag: dag.clone() }.into()),
            (_, None) if make::batches(&current.version).next().is_some() => {
                return Err(Refusal::NeedsKey { dag: dag.clone() }.into());
            }
            (_, None) => make::plain_run(&current, now),
        };
        let mut tx = self.store.begin().await?;
        let added = make::add(&mut tx, &current, new, now).await?;
        let run =
            added.ok_or_else(|| Error::new(ErrorKind::Bug, "a run by hand was made before"))?;
        Ok((tx, Outcome::RunTriggered { dag: dag.clone(), run: run.id }))
    }

    /// What a run by hand works on: the newest closing, or the range under its newest number.
    async fn of_key(&self, dag: &ActiveDag, key: &PartitionKey) -> Result<Subject, Stop> {
        let name = || dag.name().clone();
        let Some(schedule) = dag.on_close() else {
            return Err(Refusal::NoDag { dag: name() }.into());
        };
        let (grain, key) = (schedule.grain, *key);
        if key.grain != grain {
            return Err(Refusal::DagGrain { dag: name(), grain, key }.into());
        }
        let (start, end) = super::fate::layout(schedule).range(&key);
        let closed = self.store.newest_closed(&schedule.table, (start, end)).await?;
        if closed.is_empty() {
            return Err(Refusal::NotClosed { table: schedule.table.clone(), key }.into());
        }
        let own = closed.iter().find(|closed| closed.key == key).map_or(1, |closed| closed.n);
        let newest = self.store.snapshot().await?.newest_number(dag.name(), &key).await?;
        let carried = super::outputs::highest_number(&self.lake, &dag.version, &key).await?;
        let n = own.max(newest.unwrap_or(0)).max(carried);
        let partial = closed.iter().any(|closed| closed.partial);
        Ok(Subject { table: schedule.table.clone(), grain, key, n, start, end, partial })
    }

    async fn clear(
        &mut self,
        dag: &Name,
        run: &str,
        only_failed: bool,
        now: Micros,
    ) -> Result<(Tx, Outcome), Stop> {
        let run = self.run_named(dag, run).await?;
        let (dag, id) = (dag.clone(), run.id.clone());
        match run.state {
            RunState::Held | RunState::Succeeded | RunState::Failed => {}
            RunState::Queued => return Err(Refusal::RunQueued { run: id }.into()),
            RunState::Running => return Err(Refusal::RunRunning { dag, run: id }.into()),
            RunState::Superseded => return Err(superseded(run)),
        }
        let current = self.current_of(&dag, now).await?;
        let mut tx = self.store.begin().await?;
        if let Some(of) = &run.subject {
            let newest = tx.newest_number(&dag, &of.key).await?.unwrap_or(0);
            if newest > of.n {
                return Err(Refusal::ClosedAgain { dag, run: id, key: of.key, newest }.into());
            }
        }
        tx.clear_run(&id, &current.hash, only_failed).await?;
        make::pin_new_reads(&mut tx, &current, &run).await?;
        Ok((tx, Outcome::RunCleared { dag, run: id, version: current.hash }))
    }

    async fn mark(
        &self,
        dag: &Name,
        run: &str,
        to: RunState,
        who: &str,
        now: Micros,
    ) -> Result<(Tx, Outcome), Stop> {
        let run = self.run_named(dag, run).await?;
        match (run.state, to) {
            (RunState::Superseded, _) => return Err(superseded(run)),
            (_, RunState::Succeeded | RunState::Failed) => {}
            (_, RunState::Held | RunState::Queued | RunState::Running | RunState::Superseded) => {
                return Err(Refusal::CannotMark { to }.into());
            }
        }
        let mut tx = self.store.begin().await?;
        tx.mark_run(&run.id, to, who, now).await?;
        Ok((tx, Outcome::RunMarked { dag: dag.clone(), run: run.id, to }))
    }

    /// The run that is meant; its id may lack the random end.
    async fn run_named(&self, dag: &Name, named: &str) -> Result<Run, Stop> {
        let (dag, run) = (dag.clone(), named.to_owned());
        let mut runs = self.store.runs_named(&dag, &run).await?;
        if runs.len() > 1 {
            let meant = runs.into_iter().map(|run| run.id).collect();
            return Err(Refusal::ManyRuns { dag, run, meant }.into());
        }
        runs.pop().ok_or_else(|| Refusal::NoRun { dag, run }.into())
    }

    /// `None`: it will be done when an attempt has sorted the rows.
    async fn close_by_hand(
        &mut self,
        table: &TableName,
        key: &PartitionKey,
        cause: Cause,
        now: Micros,
    ) -> Result<Option<(Tx, Outcome)>, Stop> {
        let (name, key) = (|| table.clone(), *key);
        let found = self.store.table(table).await?;
        let found = found.ok_or_else(|| Refusal::NoTable { table: name() })?;
        if !found.is_streamed() {
            return Err(Refusal::WrittenByBatch { table: name(), dag: found.dag, key }.into());
        }
        let grain = found.table.partition_by.grain;
        if key.grain != grain {
            return Err(Refusal::TableGrain { table: name(), grain, key }.into());
        }
        tail::tail(&self.store, &self.lake, &found, now).await?;
        let found = self.store.table(table).await?.unwrap_or(found);
        let open = self.store.open_partitions(table).await?;
        let newest = self.store.newest_closed_of(table, &key).await?;
        match (cause, newest) {
            (Cause::Asked, None) => return Err(Refusal::NeverClosed { table: name(), key }.into()),
            (Cause::Frontier | Cause::Found, _) if !open.iter().any(|open| open.key == key) => {
                return Err(Refusal::NothingOpen { table: name(), key }.into());
            }
            _ => {}
        }
        self.looks.remove(table);
        let dags = self.current(now).await?;
        let (store, lake, dags) = (&self.store, &self.lake, dags.as_slice());
        let closer = Closer { store, lake, dags, now };
        let (tx, closing) = match closer.close_asked(&found, &key, cause).await? {
            Asked::Closed(tx, closing) => (tx, closing),
            Asked::Waits(wanted) => {
                self.asked.extend(wanted);
                return Ok(None);
            }
        };
        let (n, rows, partial) = (closing.n, closing.rows, closing.partial);
        let files = closing.files.len() as u64;
        Ok(Some((tx, Outcome::PartitionClosed { table: name(), key, n, rows, files, partial })))
    }

    async fn current_of(&mut self, dag: &Name, now: Micros) -> Result<ActiveDag, Stop> {
        let current = self.current(now).await?;
        let found = current.into_iter().find(|current| current.name() == dag);
        let found = found.ok_or_else(|| Stop::from(Refusal::NoDag { dag: dag.clone() }))?;
        if !found.readable {
            self.store.version(&found.hash).await?; // Says why.
        }
        Ok(found)
    }
}

/// The table whose hive partition is meant.
fn table_of(verb: &Verb) -> Option<&TableName> {
    match verb {
        Verb::ClosePartition { table, .. } | Verb::ReopenPartition { table, .. } => Some(table),
        Verb::PauseDag { .. }
        | Verb::UnpauseDag { .. }
        | Verb::TriggerDag { .. }
        | Verb::ClearRun { .. }
        | Verb::MarkRun { .. }
        | Verb::StartStream { .. }
        | Verb::StopStream { .. } => None,
    }
}

fn superseded(run: Run) -> Stop {
    Refusal::RunSuperseded { run: run.id, by: run.superseded_by }.into()
}
