//! Runs, their tasks, and the closings that each run reads.

use super::Store;
use super::Tx;
use super::columns::Columns;
use super::dags::grain_of;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::hive::Grain;
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::name::TableName;
use crate::model::run::RunKind;
use crate::model::run::RunState;
use crate::model::run::TaskState;
use crate::model::time::Micros;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// A DAG at work for one trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// `close-2026-11-20T05-r2-k3f9`.
    pub id: String,
    pub dag: Name,
    /// Hash of the dag version that it is pinned to.
    pub version: String,
    pub kind: RunKind,
    pub class: Class,
    /// What it works on; `None` for a manual run without a partition key.
    pub of: Option<Of>,
    pub state: RunState,
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    /// The run of a newer closing that took its place.
    pub superseded_by: Option<String>,
    /// Who decided its state by hand.
    pub marked_by: Option<String>,
}

/// The hive partition, or coarser range, that a run works on.
#[derive(Clone, Debug, PartialEq)]
pub struct Of {
    /// The table whose closing made the run.
    pub table: TableName,
    pub grain: Grain,
    pub key: PartitionKey,
    /// The revision: the closing's number, or how often the range has come up. 0 where a hive
    /// partition passed without rows.
    pub n: u32,
    /// The half-open data interval.
    pub start: Micros,
    pub end: Micros,
    /// Made from a closing that was forced, or cut by the first offset.
    pub partial: bool,
}

/// Who goes first; the smaller one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Manual,
    Live,
    Reopened,
    Backfill,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub name: Name,
    pub state: TaskState,
    /// Tries that count against `retries`.
    pub tries: u32,
    /// Tries lost through no fault of the task.
    pub lost: u32,
    pub epoch: u64,
    pub next_try: Option<Micros>,
    /// The newest attempt.
    pub attempt: Option<String>,
    pub output: Option<serde_json::Value>,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub marked_by: Option<String>,
}

/// A closing that a run reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    pub table: TableName,
    pub key: PartitionKey,
    pub n: u32,
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub dag: Option<Name>,
    pub state: Option<RunState>,
    pub key: Option<PartitionKey>,
    /// 0 means all.
    pub most: u32,
}

impl Class {
    pub fn number(self) -> i64 {
        self as i64
    }
}

impl TryFrom<i64> for Class {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        [Self::Manual, Self::Live, Self::Reopened, Self::Backfill]
            .into_iter()
            .find(|class| class.number() == number)
            .ok_or_else(|| format!("no class of runs has the number {number}"))
    }
}

impl Store {
    pub async fn runs(&self, wanted: &Wanted) -> Result<Vec<Run>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM runs WHERE (?1 IS NULL OR dag = ?1) AND (?2 IS NULL OR state = ?2)
               AND (?3 IS NULL OR key = ?3)
             ORDER BY created_us DESC, start_us DESC, id LIMIT ?4",
        )
        .bind(wanted.dag.as_ref().map(Name::as_str))
        .bind(wanted.state.map(RunState::as_str))
        .bind(wanted.key.map(|key| key.to_string()))
        .bind(if wanted.most == 0 { -1 } else { i64::from(wanted.most) })
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(run).collect()
    }

    /// The run with this id.
    pub async fn run(&self, id: &str) -> Result<Option<Run>, Error> {
        let query = sqlx::query("SELECT * FROM runs WHERE id = ?").bind(id);
        query.fetch_optional(&self.reader).await?.as_ref().map(run).transpose()
    }

    /// The run that a person means: its id, with or without the random end. `Input` if none, or
    /// more than one, is meant.
    pub async fn find_run(&self, dag: &Name, id: &str) -> Result<Run, Error> {
        let rows = sqlx::query(
            "SELECT * FROM runs WHERE dag = ?1 AND (id = ?2 OR (length(id) = length(?2) + 5
               AND substr(id, 1, length(?2) + 1) = ?2 || '-')) ORDER BY id",
        )
        .bind(dag.as_str())
        .bind(id)
        .fetch_all(&self.reader)
        .await?;
        let mut runs = rows.iter().map(run).collect::<Result<Vec<_>, _>>()?;
        if runs.len() > 1 {
            let ids: Vec<_> = runs.iter().map(|run| run.id.as_str()).collect();
            return Err(Error::new(
                ErrorKind::Input,
                format!("`{id}` means more than one run of {dag}"),
            )
            .remedy(format!("write one of them out: {}", ids.join(", "))));
        }
        runs.pop().ok_or_else(|| {
            Error::new(ErrorKind::Input, format!("{dag} has no run named `{id}`"))
                .remedy(format!("`tidemill runs list {dag}` lists them"))
        })
    }

    /// The tasks of a run in the order of the DAG; none before it has started.
    pub async fn tasks(&self, run: &str) -> Result<Vec<Task>, Error> {
        let query = sqlx::query("SELECT * FROM tasks WHERE run = ? ORDER BY position").bind(run);
        query.fetch_all(&self.reader).await?.iter().map(task).collect()
    }

    /// What the tasks of a run that succeeded returned, by task.
    pub async fn outputs(&self, run: &str) -> Result<BTreeMap<Name, serde_json::Value>, Error> {
        let tasks = self.tasks(run).await?;
        Ok(tasks.into_iter().filter_map(|task| Some((task.name, task.output?))).collect())
    }

    /// The closings that a run reads, by table and key.
    pub async fn inputs(&self, run: &str) -> Result<Vec<Input>, Error> {
        let query = sqlx::query("SELECT * FROM run_inputs WHERE run = ? ORDER BY table_name, key");
        query.bind(run).fetch_all(&self.reader).await?.iter().map(input).collect()
    }
}

impl Store {
    /// The runs that read a hive partition, each with the number of the closing, oldest first.
    pub async fn readers_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<(Run, u32)>, Error> {
        let rows = sqlx::query(
            "SELECT runs.*, run_inputs.n AS read_n FROM run_inputs JOIN runs ON runs.id = run_inputs.run
             WHERE run_inputs.table_name = ? AND run_inputs.key = ?
             ORDER BY runs.created_us, runs.id",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(|row| Ok((run(row)?, row.number("read_n")?))).collect()
    }
}

impl Tx {
    /// Adds a run with its inputs; false if its closing has made one before.
    pub async fn add_run(&mut self, run: &Run, inputs: &[Input]) -> Result<bool, Error> {
        let of = run.of.as_ref();
        let done = sqlx::query(
            "INSERT INTO runs (id, dag, version, kind, class, table_name, grain, key, n, start_us,
               end_us, partial, state, created_us, started_us, ended_us, marked_by)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(&run.id)
        .bind(run.dag.as_str())
        .bind(&run.version)
        .bind(run.kind.as_str())
        .bind(run.class.number())
        .bind(of.map(|of| of.table.as_str()))
        .bind(of.map(|of| of.grain.as_str()))
        .bind(of.map(|of| of.key.to_string()))
        .bind(of.map(|of| of.n))
        .bind(of.map(|of| of.start.0))
        .bind(of.map(|of| of.end.0))
        .bind(of.is_some_and(|of| of.partial))
        .bind(run.state.as_str())
        .bind(run.created.0)
        .bind(run.started.map(|at| at.0))
        .bind(run.ended.map(|at| at.0))
        .bind(&run.marked_by)
        .execute(self.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.pin(&run.id, inputs).await?;
        Ok(true)
    }

    /// Lets a run read these closings too.
    pub async fn pin(&mut self, run: &str, inputs: &[Input]) -> Result<(), Error> {
        for input in inputs {
            sqlx::query("INSERT INTO run_inputs (run, table_name, key, n) VALUES (?, ?, ?, ?)")
                .bind(run)
                .bind(input.table.as_str())
                .bind(input.key.to_string())
                .bind(input.n)
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }

    /// Queues a new attempt of a waiting task under the next epoch, which fences all older ones.
    ///
    /// `None` if the task does not wait any more.
    pub async fn launch_task(
        &mut self,
        launch: &Launch<'_>,
        now: Micros,
    ) -> Result<Option<String>, Error> {
        let claimed: Option<i64> = sqlx::query_scalar(
            "UPDATE tasks SET state = 'running', epoch = epoch + 1, next_try_us = NULL,
               attempt = ?1 || '-' || ?2 || '-' || (epoch + 1), started_us = coalesce(started_us, ?3)
             WHERE run = ?1 AND task = ?2 AND state = 'waiting' RETURNING epoch",
        )
        .bind(launch.run)
        .bind(launch.task.as_str())
        .bind(now.0)
        .fetch_optional(self.conn())
        .await?;
        let Some(epoch) = claimed else { return Ok(None) };
        let id = format!("{}-{}-{epoch}", launch.run, launch.task);
        sqlx::query(
            "INSERT INTO attempts (id, run, task, kind, version, try, epoch, state, created_us)
             VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
        )
        .bind(&id)
        .bind(launch.run)
        .bind(launch.task.as_str())
        .bind(launch.kind)
        .bind(launch.version)
        .bind(launch.tries)
        .bind(epoch)
        .bind(now.0)
        .execute(self.conn())
        .await?;
        Ok(Some(id))
    }
}

/// What [`Tx::launch_task`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    pub run: &'a str,
    pub task: &'a Name,
    /// An `AttemptKind`, as text.
    pub kind: &'a str,
    pub version: &'a str,
    /// Which try it is, counted from 1.
    pub tries: u32,
}

pub(super) fn run(row: &SqliteRow) -> Result<Run, Error> {
    let of = match (row.parse_opt("table_name")?, grain_of(row, "grain")?) {
        (Some(table), Some(grain)) => Some(Of {
            table,
            grain,
            key: row.parse("key")?,
            n: row.number("n")?,
            start: row.time("start_us")?,
            end: row.time("end_us")?,
            partial: row.flag("partial")?,
        }),
        _ => None,
    };
    Ok(Run {
        id: row.text("id")?,
        dag: row.parse("dag")?,
        version: row.text("version")?,
        kind: row.parse("kind")?,
        class: row.number("class")?,
        of,
        state: row.parse("state")?,
        created: row.time("created_us")?,
        started: row.time_opt("started_us")?,
        ended: row.time_opt("ended_us")?,
        superseded_by: row.text_opt("superseded_by")?,
        marked_by: row.text_opt("marked_by")?,
    })
}

pub(super) fn task(row: &SqliteRow) -> Result<Task, Error> {
    Ok(Task {
        name: row.parse("task")?,
        state: row.parse("state")?,
        tries: row.number("tries")?,
        lost: row.number("lost")?,
        epoch: row.number("epoch")?,
        next_try: row.time_opt("next_try_us")?,
        attempt: row.text_opt("attempt")?,
        output: row.json_opt("output")?,
        started: row.time_opt("started_us")?,
        ended: row.time_opt("ended_us")?,
        marked_by: row.text_opt("marked_by")?,
    })
}

fn input(row: &SqliteRow) -> Result<Input, Error> {
    Ok(Input { table: row.parse("table_name")?, key: row.parse("key")?, n: row.number("n")? })
}
