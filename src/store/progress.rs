//! What the scheduler changes in runs and tasks, each step guarded by the state that it expects.

use super::attempts::attempt;
use super::db::{Row, query, to_json};
use super::runs::{run, task};
use super::{Store, Tx};
use crate::error::Error;
use crate::model::attempt::{Attempt, Failure, StopReason};
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::run::{ActiveRun, Run, RunState};
use crate::model::task::{TaskInstance, TaskState};
use crate::model::time::Micros;
use std::collections::BTreeSet;

/// A change of a task, kept only where it still stands as `from`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskChange<'a> {
    pub run: &'a str,
    pub task: &'a Name,
    pub from: TaskState,
    pub to: TaskState,
    pub tries: u32,
    pub lost: u32,
    pub next_try: Option<Micros>,
}

impl Tx {
    /// The runs at work.
    pub async fn active(&mut self) -> Result<Vec<ActiveRun>, Error> {
        let rows = query(
            "SELECT * FROM runs WHERE state = 'running' ORDER BY class, created_us, start_us, id",
        )
        .fetch_all(self.conn())
        .await?;
        let mut active = Vec::with_capacity(rows.len());
        for row in &rows {
            let run = run(row)?;
            let tasks = self.tasks_with_attempts(&run.id).await?;
            active.push(ActiveRun { run, tasks });
        }
        Ok(active)
    }

    async fn tasks_with_attempts(
        &mut self,
        run: &str,
    ) -> Result<Vec<(TaskInstance, Option<Attempt>)>, Error> {
        let tasks = query("SELECT * FROM tasks WHERE run = $1 ORDER BY position")
            .bind(run)
            .fetch_all(self.conn())
            .await?;
        // Only attempts of tasks at work decide anything.
        let attempts = query(
            "SELECT attempts.* FROM tasks JOIN attempts ON attempts.id = tasks.attempt
             WHERE tasks.run = $1 AND tasks.state = 'running'",
        )
        .bind(run)
        .fetch_all(self.conn())
        .await?;
        let attempts = attempts.iter().map(attempt).collect::<Result<Vec<_>, _>>()?;
        let with_attempt = |row| {
            let task = task(row)?;
            let id = task.attempt.as_deref();
            let newest = attempts.iter().find(|attempt| Some(attempt.id.as_str()) == id).cloned();
            Ok((task, newest))
        };
        tasks.iter().map(with_attempt).collect()
    }

    /// The first `most` queued runs of a DAG, in the order in which they may start.
    pub async fn queued(&mut self, dag: &Name, most: u32) -> Result<Vec<Run>, Error> {
        let rows = query(
            "SELECT * FROM runs WHERE dag = $1 AND state = 'queued'
             ORDER BY class, created_us, start_us, id LIMIT $2",
        )
        .bind(dag.as_str())
        .bind(most)
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(run).collect()
    }

    /// DAG and partition key of every run with an attempt that has not been seen to end.
    pub async fn busy(&mut self) -> Result<Vec<(Name, Option<PartitionKey>, String)>, Error> {
        let rows = query(
            "SELECT DISTINCT runs.dag, runs.key, runs.id FROM attempts JOIN runs ON runs.id = attempts.run
             WHERE attempts.state IN ('queued', 'running')",
        )
        .fetch_all(self.conn())
        .await?;
        let busy = |row: &Row| Ok((row.parse("dag")?, row.parse_opt("key")?, row.text("id")?));
        rows.iter().map(busy).collect()
    }

    /// How many attempts of tasks are queued or running, and how many that make a closing.
    pub async fn slots_held(&mut self) -> Result<(u32, u32), Error> {
        let row = query(
            "SELECT count(CASE WHEN table_name IS NULL THEN 1 END) AS tasks,
               count(table_name) AS closings FROM attempts
             WHERE state IN ('queued', 'running') AND stream IS NULL",
        )
        .fetch_one(self.conn())
        .await?;
        Ok((row.number("tasks")?, row.number("closings")?))
    }

    /// Starts a queued run: its tasks get rows, unless it has been cleared and they are kept.
    pub async fn start_run(&mut self, id: &str, tasks: &[Name], now: Micros) -> Result<(), Error> {
        let done = query(
            "UPDATE runs SET state = 'running', started_us = $1, ended_us = NULL
             WHERE id = $2 AND state = 'queued'",
        )
        .bind(now.0)
        .bind(id)
        .execute(self.conn())
        .await?;
        if done == 0 {
            return Ok(());
        }
        let names: Vec<_> = tasks.iter().map(Name::as_str).collect();
        query("DELETE FROM tasks WHERE run = $1 AND task NOT IN {list $2}")
            .bind(id)
            .bind(to_json(&names))
            .execute(self.conn())
            .await?;
        for (position, task) in tasks.iter().enumerate() {
            query(
                "INSERT INTO tasks (run, task, position, state) VALUES ($1, $2, $3, 'waiting')
                 ON CONFLICT (run, task) DO UPDATE SET position = excluded.position",
            )
            .bind(id)
            .bind(task.as_str())
            .bind(position as u64)
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    /// Changes a task; one that succeeded takes over what its attempt returned.
    pub async fn change_task(&mut self, change: &TaskChange<'_>, now: Micros) -> Result<(), Error> {
        let ended = !matches!(change.to, TaskState::Waiting | TaskState::Running);
        query(
            "UPDATE tasks SET state = $1, tries = $2, lost = $3, next_try_us = $4, ended_us = $5,
               output = CASE WHEN $1 = 'succeeded'
                 THEN (SELECT result FROM attempts WHERE attempts.id = tasks.attempt) END
             WHERE run = $6 AND task = $7 AND state = $8",
        )
        .bind(change.to.as_str())
        .bind(change.tries)
        .bind(change.lost)
        .bind(change.next_try.map(|at| at.0))
        .bind(ended.then_some(now.0))
        .bind(change.run)
        .bind(change.task.as_str())
        .bind(change.from.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Ends a run at work.
    pub async fn end_run(&mut self, id: &str, state: RunState, now: Micros) -> Result<(), Error> {
        query("UPDATE runs SET state = $1, ended_us = $2 WHERE id = $3 AND state = 'running'")
            .bind(state.as_str())
            .bind(now.0)
            .bind(id)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Lets run `by` take the place of older runs of the same partition that have not started.
    pub async fn supersede(&mut self, by: &Run, now: Micros) -> Result<(), Error> {
        let Some(of) = &by.subject else { return Ok(()) };
        // A run that waits for a person keeps those from running that nobody needs to be asked for.
        let and_queued = by.state != RunState::Held;
        query(
            "UPDATE runs SET state = 'superseded', superseded_by = $1, ended_us = $2
             WHERE dag = $3 AND key = $4 AND n < $5 AND id <> $1
               AND (state = 'held' OR (state = 'queued' AND $6))",
        )
        .bind(&by.id)
        .bind(now.0)
        .bind(by.dag.as_str())
        .bind(of.key.to_string())
        .bind(of.n)
        .bind(and_queued)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The highest number that a run of this DAG has for the partition, if it has a run at all,
    /// whatever table the DAG waited for then: no output goes back.
    pub async fn newest_number(
        &mut self,
        dag: &Name,
        key: &PartitionKey,
    ) -> Result<Option<u32>, Error> {
        let query = query("SELECT max(n) AS n FROM runs WHERE dag = $1 AND key = $2")
            .bind(dag.as_str())
            .bind(key.to_string());
        query.fetch_one(self.conn()).await?.number_opt("n")
    }

    /// The same of the runs that were made for other tables than this.
    pub async fn newest_number_of_others(
        &mut self,
        dag: &Name,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<u32>, Error> {
        let query =
            query("SELECT max(n) AS n FROM runs WHERE dag = $1 AND key = $2 AND table_name <> $3");
        let query = query.bind(dag.as_str()).bind(key.to_string()).bind(table.as_str());
        query.fetch_one(self.conn()).await?.number_opt("n")
    }

    /// Queues an ended or held run again, all of its tasks or those that have not succeeded.
    pub async fn clear_run(
        &mut self,
        id: &str,
        version: &str,
        only_failed: bool,
    ) -> Result<(), Error> {
        query(
            "UPDATE runs SET state = 'queued', version = $1, ended_us = NULL, marked_by = NULL,
               closed = FALSE, error_kind = NULL, error = NULL, remedy = NULL WHERE id = $2",
        )
        .bind(version)
        .bind(id)
        .execute(self.conn())
        .await?;
        query(
            "UPDATE tasks SET state = 'waiting', tries = 0, lost = 0, next_try_us = NULL,
               output = NULL, started_us = NULL, ended_us = NULL, marked_by = NULL
             WHERE run = $1 AND NOT ($2 AND state = 'succeeded')",
        )
        .bind(id)
        .bind(only_failed)
        .execute(self.conn())
        .await?;
        // What it has loaded may be gone since, or replaced: none of its jobs is taken over.
        query("UPDATE loads SET content = '' WHERE run = $1").bind(id).execute(self.conn()).await?;
        Ok(())
    }

    /// The tables of which the run reads closings.
    pub async fn pinned(&mut self, run: &str) -> Result<BTreeSet<TableName>, Error> {
        let rows = query("SELECT DISTINCT table_name FROM run_inputs WHERE run = $1")
            .bind(run)
            .fetch_all(self.conn())
            .await?;
        rows.iter().map(|row| row.parse("table_name")).collect()
    }

    /// Ends a run by hand: its open attempts are asked to stop, its open tasks end likewise.
    pub async fn mark_run(
        &mut self,
        id: &str,
        to: RunState,
        who: &str,
        now: Micros,
    ) -> Result<(), Error> {
        let task = if to == RunState::Succeeded { TaskState::Succeeded } else { TaskState::Failed };
        query(
            "UPDATE runs SET state = $1, marked_by = $2, ended_us = $3, closed = FALSE,
               error_kind = NULL, error = NULL, remedy = NULL WHERE id = $4",
        )
        .bind(to.as_str())
        .bind(who)
        .bind(now.0)
        .bind(id)
        .execute(self.conn())
        .await?;
        self.end_tasks(id, task, Some(who), now).await?;
        let why = format!("{who} marked the run {to}");
        self.stop_attempts(id, (StopReason::Marked, &why), now).await
    }

    /// Ends a run that cannot go on, whatever its tasks say; false if it does not wait or work any more,
    /// and has closed what it has written.
    pub async fn fail_run(
        &mut self,
        id: &str,
        failure: &Failure,
        now: Micros,
    ) -> Result<bool, Error> {
        let done = query(
            "UPDATE runs SET state = 'failed', ended_us = $1, error_kind = $2, error = $3, remedy = $4
             WHERE id = $5 AND (state IN ('queued', 'running') OR (state = 'succeeded' AND NOT closed))",
        )
        .bind(now.0)
        .bind(failure.kind.as_str())
        .bind(&failure.error)
        .bind(failure.remedy.as_ref())
        .bind(id)
        .execute(self.conn())
        .await?;
        if done == 0 {
            return Ok(false);
        }
        self.end_tasks(id, TaskState::Failed, None, now).await?;
        self.stop_attempts(id, (StopReason::RunFailed, StopReason::RunFailed.why()), now).await?;
        Ok(true)
    }

    /// Ends a run's open tasks; as succeeded, the failed ones too.
    async fn end_tasks(
        &mut self,
        run: &str,
        to: TaskState,
        who: Option<&str>,
        now: Micros,
    ) -> Result<(), Error> {
        query(
            "UPDATE tasks SET state = $1, marked_by = $2, ended_us = $3
             WHERE run = $4 AND (state IN ('waiting', 'running')
               OR ($1 = 'succeeded' AND state <> 'succeeded'))",
        )
        .bind(to.as_str())
        .bind(who)
        .bind(now.0)
        .bind(run)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    async fn stop_attempts(
        &mut self,
        run: &str,
        (reason, why): (StopReason, &str),
        now: Micros,
    ) -> Result<(), Error> {
        query(
            "UPDATE attempts SET stop_reason = $1, stop = $2, stop_us = $3
             WHERE run = $4 AND stop IS NULL AND state IN ('queued', 'running')",
        )
        .bind(reason.as_str())
        .bind(why)
        .bind(now.0)
        .bind(run)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The tables that the run writes have closed.
    pub async fn set_closed(&mut self, run: &str) -> Result<(), Error> {
        query("UPDATE runs SET closed = TRUE WHERE id = $1").bind(run).execute(self.conn()).await?;
        Ok(())
    }
}

impl Store {
    /// Runs that succeeded and whose output has not closed yet, oldest first. One that was marked
    /// while an attempt was at work waits for its end: until then it may write.
    pub async fn unclosed(&self) -> Result<Vec<Run>, Error> {
        let rows = query(
            "SELECT * FROM runs {index runs_not_closed} WHERE state = 'succeeded' AND NOT closed
               AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.run = runs.id
                 AND attempts.state IN ('queued', 'running'))
             ORDER BY ended_us, id",
        )
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(run).collect()
    }
}
