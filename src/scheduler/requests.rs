//! What people ask for, carried out together with its outcome in one transaction.

use super::Scheduler;
use super::StepOutcome;
use super::close::Closer;
use super::fate::Cause;
use super::make;
use super::make::Current;
use super::tail;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::name::TableName;
use crate::model::run::Desired;
use crate::model::run::RunKind;
use crate::model::run::RunState;
use crate::model::time::Micros;
use crate::store::Tx;
use crate::store::requests::Request;
use crate::store::requests::Verb;
use crate::store::runs::Class;
use crate::store::runs::Of;
use crate::store::runs::Run;
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::info;
use tracing::warn;

/// A request that cannot be carried out yet, as while an output is being replaced, is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Carries out every open request; what a person can mend becomes the request's outcome. One that
    /// waits for an attempt holds up those on the same table, and no others: who would stop what fills
    /// the slots must be heard.
    pub(super) async fn apply_requests(
        &mut self,
        now: Micros,
        outcome: &mut StepOutcome,
    ) -> Result<(), Error> {
        let mut sorting = BTreeSet::new();
        for request in self.store.open_requests().await? {
            let table = table_of(&request.verb);
            if table.is_some_and(|table| sorting.contains(table)) {
                continue;
            }
            let applied = self.apply_request(&request, now).await;
            let (mut tx, result) = match applied {
                Ok(Some((tx, done))) => (tx, Ok(done)),
                Ok(None) => {
                    sorting.extend(table.cloned());
                    continue;
                }
                // Later ones may rest on it, and nothing else does.
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    warn!(request.id, %error, "cannot apply request {} now; trying again", request.id);
                    outcome.next_wake = outcome.next_wake.min(now.plus(RETRY_AFTER));
                    return Ok(());
                }
                Err(error) => (self.store.begin().await?, Err(error)),
            };
            tx.finish_request(request.id, result.as_deref(), now).await?;
            tx.commit().await?;
            let (verb, who) = (request.verb.name(), &request.who);
            info!(request.id, verb, who, "{verb} by {who}: {}", told(&result));
            outcome.requests.push(request.id);
            outcome.attempts_changed = true;
        }
        Ok(())
    }

    async fn apply_request(
        &mut self,
        request: &Request,
        now: Micros,
    ) -> Result<Option<(Tx, String)>, Error> {
        let done = match &request.verb {
            Verb::PauseDag { dag } => self.pause(dag, true).await?,
            Verb::UnpauseDag { dag } => self.pause(dag, false).await?,
            Verb::TriggerDag { dag, key } => self.trigger(dag, key.as_ref(), now).await?,
            Verb::ClearRun { dag, run, only_failed } => self.clear(dag, run, *only_failed).await?,
            Verb::MarkRun { dag, run, to } => self.mark(dag, run, *to, &request.who, now).await?,
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

    async fn pause(&self, dag: &Name, paused: bool) -> Result<(Tx, String), Error> {
        let mut tx = self.store.begin().await?;
        if !tx.set_paused(dag, paused).await? {
            return Err(no_dag(dag));
        }
        let told = if paused {
            format!("{dag} is paused: its runs wait, its streams go on")
        } else {
            format!("{dag} is active")
        };
        Ok((tx, told))
    }

    async fn want(&self, stream: &str, desired: Desired) -> Result<(Tx, String), Error> {
        let mut tx = self.store.begin().await?;
        if !tx.set_desired(stream, desired).await? {
            return Err(input(format!("no stream is named `{stream}`"))
                .remedy("`tidemill streams list` lists them all"));
        }
        let told = match desired {
            Desired::Running => format!("{stream} is to run"),
            Desired::Stopped => format!("{stream} is to commit what it holds, and stop"),
        };
        Ok((tx, told))
    }

    async fn trigger(
        &mut self,
        dag: &Name,
        key: Option<&PartitionKey>,
        now: Micros,
    ) -> Result<(Tx, String), Error> {
        let current = self.current_of(dag).await?;
        let new = match (current.on_close(), key) {
            (Some(_), Some(key)) => {
                let of = self.of_key(&current, key).await?;
                make::new_run(&current, RunKind::Manual, of, RunState::Queued, Class::Manual, now)
            }
            (None, Some(_)) => {
                return Err(input(format!(
                    "{dag} waits for no table, so it has no partition keys"
                ))
                .remedy(format!("tidemill dags trigger {dag}")));
            }
            (_, None) if make::batches(&current.version).next().is_some() => {
                return Err(input(format!("{dag} works on a hive partition, and none is named"))
                    .remedy("name one that has closed: --partition-key 2026-11-20T05"));
            }
            (_, None) => make::plain_run(&current, now),
        };
        let mut tx = self.store.begin().await?;
        make::add(&mut tx, &current, &new, now).await?;
        Ok((tx, new.id))
    }

    /// What a run by hand works on: the newest closing, or the range under its newest number.
    async fn of_key(&self, dag: &Current, key: &PartitionKey) -> Result<Of, Error> {
        let Some(schedule) = dag.on_close() else { return Err(no_dag(dag.name())) };
        let grain = schedule.grain;
        if key.grain != grain {
            return Err(input(format!("{} runs by {grain}, and {key} is no {grain}", dag.name())));
        }
        let (start, end) = super::fate::layout(schedule).range(key);
        let closed = self.store.newest_closed(&schedule.table, (start, end)).await?;
        if closed.is_empty() {
            return Err(input(format!("{key} of {} has not closed", schedule.table)).remedy(
                format!(
                    "`tidemill partitions show {} {key}` says what it waits for",
                    schedule.table
                ),
            ));
        }
        let own = closed.iter().find(|closed| closed.key == *key).map_or(1, |closed| closed.n);
        let newest = self.store.snapshot().await?.newest_number(dag.name(), key).await?;
        let carried = super::outputs::highest_number(&self.lake, &dag.version, key).await?;
        let n = own.max(newest.unwrap_or(0)).max(carried);
        let partial = closed.iter().any(|closed| closed.partial);
        Ok(Of { table: schedule.table.clone(), grain, key: *key, n, start, end, partial })
    }

    async fn clear(
        &mut self,
        dag: &Name,
        run: &str,
        only_failed: bool,
    ) -> Result<(Tx, String), Error> {
        let run = self.store.find_run(dag, run).await?;
        let id = &run.id;
        match run.state {
            RunState::Held | RunState::Succeeded | RunState::Failed => {}
            RunState::Queued => return Err(input(format!("{id} is queued already"))),
            RunState::Running => {
                return Err(input(format!("{id} is running")).remedy(format!(
                    "wait for it, or end it: tidemill runs mark {dag} {id} failed"
                )));
            }
            RunState::Superseded => return Err(superseded(&run)),
        }
        let newest = self.current_of(dag).await?;
        let mut tx = self.store.begin().await?;
        if let Some(of) = &run.of {
            let newest = tx.newest_number(dag, &of.key).await?.unwrap_or(0);
            if newest > of.n {
                return Err(input(format!("{} has closed again since {id}", of.key)).remedy(
                    format!("clear the run of revision {newest}: tidemill runs list {dag}"),
                ));
            }
        }
        tx.clear_run(id, &newest.hash, only_failed).await?;
        make::pin_new_reads(&mut tx, &newest, &run).await?;
        Ok((tx, format!("{id} is queued with dag version {}", newest.hash.get(..7).unwrap_or(""))))
    }

    async fn mark(
        &self,
        dag: &Name,
        run: &str,
        to: RunState,
        who: &str,
        now: Micros,
    ) -> Result<(Tx, String), Error> {
        let run = self.store.find_run(dag, run).await?;
        match (run.state, to) {
            (RunState::Superseded, _) => return Err(superseded(&run)),
            (_, RunState::Succeeded | RunState::Failed) => {}
            (_, RunState::Held | RunState::Queued | RunState::Running | RunState::Superseded) => {
                return Err(input(format!("a run cannot be marked {to}"))
                    .remedy("mark it success or failed"));
            }
        }
        let mut tx = self.store.begin().await?;
        tx.mark_run(&run.id, to, who, now).await?;
        Ok((tx, format!("{} is marked {to}", run.id)))
    }

    /// `None`: it will be done when an attempt has sorted the rows.
    async fn close_by_hand(
        &mut self,
        table: &TableName,
        key: &PartitionKey,
        cause: Cause,
        now: Micros,
    ) -> Result<Option<(Tx, String)>, Error> {
        let found = self.store.table(table).await?.ok_or_else(|| {
            input(format!("no lake table is named `{table}`"))
                .remedy("the tables are those that the project's jobs write: `tidemill status`")
        })?;
        if !found.is_streamed() {
            return Err(input(format!("{table} is written by a batch, run by run")).remedy(
                format!("clear the run of {key}: `tidemill runs list {}` lists them", found.dag),
            ));
        }
        if key.grain != found.table.partition_by.grain {
            let grain = found.table.partition_by.grain;
            return Err(input(format!("{table} is cut by {grain}, and {key} is no {grain}")));
        }
        tail::tail(&self.store, &self.lake, &found, now).await?;
        let found = self.store.table(table).await?.unwrap_or(found);
        let open = self.store.open_partitions(table).await?;
        let newest = self.store.newest_closed_of(table, key).await?;
        match (cause, newest) {
            (Cause::Asked, None) => {
                return Err(input(format!("{key} of {table} has not closed yet")).remedy(format!(
                    "close it as it is: tidemill partitions close {table} {key} --force"
                )));
            }
            (Cause::Frontier | Cause::Found, _) if !open.iter().any(|open| open.key == *key) => {
                return Err(input(format!("{key} of {table} has no rows that are not closed")));
            }
            _ => {}
        }
        self.looks.remove(table);
        let dags = self.current().await?;
        let (store, lake, launched) = (&self.store, &self.lake, &self.launched);
        let (parallelism, dags) = (self.parallelism, dags.as_slice());
        let closer = Closer { store, lake, dags, now, parallelism, launched };
        let Some((tx, closing)) = closer.close_asked(&found, key, cause).await? else {
            return Ok(None);
        };
        let partial = if closing.partial { ", marked partial" } else { "" };
        let (n, rows, files) = (closing.n, closing.rows, closing.files.len());
        let told = format!(
            "{key} of {table} is closed, revision {n}: {rows} rows in {files} files{partial}"
        );
        Ok(Some((tx, told)))
    }

    async fn current_of(&mut self, dag: &Name) -> Result<Current, Error> {
        let current = self.current().await?;
        current.into_iter().find(|current| current.name() == dag).ok_or_else(|| no_dag(dag))
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

fn told(result: &Result<String, Error>) -> String {
    match result {
        Ok(told) => told.clone(),
        Err(error) => error.to_string(),
    }
}

fn input(problem: String) -> Error {
    Error::new(ErrorKind::Input, problem)
}

fn no_dag(dag: &Name) -> Error {
    input(format!("no DAG is named `{dag}`")).remedy("`tidemill dags list` lists them all")
}

fn superseded(run: &Run) -> Error {
    let by = run.superseded_by.as_deref().unwrap_or("a newer one");
    input(format!("{} never ran: {by} took its place", run.id)).remedy(format!("name {by}"))
}
