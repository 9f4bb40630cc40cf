//! Runs, their tasks, and the closings that each run reads.

use super::attempts::failure;
use super::dags::grain_of;
use super::db::{Query, Row, query};
use super::{Store, Tx};
use crate::error::{Error, ErrorKind};
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::run::{Input, Run, RunState, Subject};
use crate::model::task::TaskInstance;
use crate::model::time::Micros;
use std::collections::BTreeMap;

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub dag: Option<Name>,
    pub state: Option<RunState>,
    pub key: Option<PartitionKey>,
    /// 0 means all.
    pub most: u32,
}

impl Store {
    pub async fn runs(&self, wanted: &Wanted) -> Result<Vec<Run>, Error> {
        let rows = listing(wanted).fetch_all(&self.db).await?;
        rows.iter().map(run).collect()
    }

    /// The run with this id.
    pub async fn run(&self, id: &str) -> Result<Option<Run>, Error> {
        let query = query("SELECT * FROM runs WHERE id = $1").bind(id);
        query.fetch_optional(&self.db).await?.as_ref().map(run).transpose()
    }

    /// The runs that a person may mean: by id, with or without the random end.
    pub async fn runs_named(&self, dag: &Name, id: &str) -> Result<Vec<Run>, Error> {
        let rows = query(
            "SELECT * FROM runs WHERE dag = $1 AND (id = $2 OR (length(id) = length($2) + 5
               AND substr(id, 1, length($2) + 1) = $2 || '-')) ORDER BY id",
        )
        .bind(dag.as_str())
        .bind(id)
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(run).collect()
    }

    /// The run that a person means. `Input` if none, or more than one, is meant.
    pub async fn find_run(&self, dag: &Name, id: &str) -> Result<Run, Error> {
        let mut runs = self.runs_named(dag, id).await?;
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
    pub async fn tasks(&self, run: &str) -> Result<Vec<TaskInstance>, Error> {
        let query = query("SELECT * FROM tasks WHERE run = $1 ORDER BY position").bind(run);
        query.fetch_all(&self.db).await?.iter().map(task).collect()
    }

    /// What the tasks of a run that succeeded returned, by task.
    pub async fn outputs(&self, run: &str) -> Result<BTreeMap<Name, serde_json::Value>, Error> {
        let tasks = self.tasks(run).await?;
        Ok(tasks.into_iter().filter_map(|task| Some((task.name, task.output?))).collect())
    }

    /// The closings that a run reads, by table and key.
    pub async fn inputs(&self, run: &str) -> Result<Vec<Input>, Error> {
        let query = query("SELECT * FROM run_inputs WHERE run = $1 ORDER BY table_name, key");
        query.bind(run).fetch_all(&self.db).await?.iter().map(input).collect()
    }
}

impl Store {
    /// The runs that read a hive partition, each with the number of the closing, oldest first.
    pub async fn readers_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<(Run, u32)>, Error> {
        let rows = query(
            "SELECT runs.*, run_inputs.n AS read_n FROM run_inputs JOIN runs ON runs.id = run_inputs.run
             WHERE run_inputs.table_name = $1 AND run_inputs.key = $2
             ORDER BY runs.created_us, runs.id",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(|row| Ok((run(row)?, row.number("read_n")?))).collect()
    }
}

/// The runs that are wanted, newest first. Each combination has an index that ends at the last one shown.
fn listing(wanted: &Wanted) -> Query {
    let mut values: Vec<String> = Vec::new();
    let mut is = |column: &str, value: String| {
        values.push(value);
        format!("{column} = ${}", values.len())
    };
    let dag = wanted.dag.as_ref().map(|dag| is("dag", dag.to_string()));
    let key = wanted.key.map(|key| is("key", key.to_string()));
    let state = wanted.state.map(|state| is("state", state.to_string()));
    let newest = "ORDER BY created_us DESC, start_us DESC, id LIMIT";
    let limit = values.len() + 1;
    let runs = match (&dag, &key, &state) {
        (None, None, None) => "runs WHERE TRUE".to_owned(),
        (Some(dag), None, None) => format!("runs WHERE {dag}"),
        (Some(dag), None, Some(state)) => format!("runs WHERE {dag} AND {state}"),
        (Some(dag), Some(key), _) => {
            format!("runs {{index runs_by_key}} WHERE {dag} AND {key}")
        }
        (None, Some(key), _) => format!(
            "runs {{index runs_by_partition}}
             WHERE table_name IN (SELECT name FROM tables) AND {key}"
        ),
        // The newest of each DAG in that state, of which the newest are shown.
        (None, None, Some(state)) => format!(
            "runs WHERE id IN (SELECT own.id FROM dags JOIN runs AS own ON own.id IN
               (SELECT id FROM runs WHERE dag = dags.name AND {state} {newest} ${limit}))"
        ),
    };
    let state =
        state.filter(|_| key.is_some()).map_or(String::new(), |state| format!("AND {state}"));
    let sql = format!("SELECT * FROM {runs} {state} {newest} ${limit}");
    let most = if wanted.most == 0 { i64::MAX } else { i64::from(wanted.most) };
    values.into_iter().fold(query(sql), Query::bind).bind(most)
}

impl Tx {
    /// Adds a run with its inputs; false if the DAG has one of this table, key and number already.
    /// Its id must be free ([`Tx::free_run_id`]).
    pub async fn add_run(&mut self, run: &Run, inputs: &[Input]) -> Result<bool, Error> {
        let of = run.subject.as_ref();
        let done = query(
            "INSERT INTO runs (id, dag, version, kind, class, table_name, grain, key, n, start_us,
               end_us, partial, state, created_us, started_us, ended_us, marked_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             ON CONFLICT (dag, table_name, key, n) WHERE kind = 'close' DO NOTHING",
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
        .bind(run.marked_by.as_ref())
        .execute(self.conn())
        .await?;
        if done == 0 {
            return Ok(false);
        }
        self.pin(&run.id, inputs).await?;
        Ok(true)
    }

    /// Lets a run read these closings too.
    pub async fn pin(&mut self, run: &str, inputs: &[Input]) -> Result<(), Error> {
        for input in inputs {
            query("INSERT INTO run_inputs (run, table_name, key, n) VALUES ($1, $2, $3, $4)")
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
        let claimed = query(
            "UPDATE tasks SET state = 'running', epoch = epoch + 1, next_try_us = NULL,
               attempt = $1 || '-' || $2 || '-' || (epoch + 1), started_us = coalesce(started_us, $3)
             WHERE run = $1 AND task = $2 AND state = 'waiting' RETURNING epoch",
        )
        .bind(launch.run)
        .bind(launch.task.as_str())
        .bind(now.0)
        .fetch_optional(self.conn())
        .await?;
        let Some(claimed) = claimed else { return Ok(None) };
        let epoch = claimed.int("epoch")?;
        let id = format!("{}-{}-{epoch}", launch.run, launch.task);
        query(
            "INSERT INTO attempts (id, run, task, kind, version, try, epoch, state, created_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', $8)",
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

pub(super) fn run(row: &Row) -> Result<Run, Error> {
    let subject = match (row.parse_opt("table_name")?, grain_of(row, "grain")?) {
        (Some(table), Some(grain)) => Some(Subject {
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
        subject,
        state: row.parse("state")?,
        created: row.time("created_us")?,
        started: row.time_opt("started_us")?,
        ended: row.time_opt("ended_us")?,
        superseded_by: row.text_opt("superseded_by")?,
        marked_by: row.text_opt("marked_by")?,
        failure: failure(row)?,
    })
}

pub(super) fn task(row: &Row) -> Result<TaskInstance, Error> {
    Ok(TaskInstance {
        name: row.parse("task")?,
        state: row.parse("state")?,
        tries: row.number("tries")?,
        lost: row.number("lost")?,
        epoch: row.number("epoch")?,
        next_try: row.time_opt("next_try_us")?,
        attempt: row.text_opt("attempt")?,
        output: row.told("output")?,
        started: row.time_opt("started_us")?,
        ended: row.time_opt("ended_us")?,
        marked_by: row.text_opt("marked_by")?,
    })
}

fn input(row: &Row) -> Result<Input, Error> {
    Ok(Input { table: row.parse("table_name")?, key: row.parse("key")?, n: row.number("n")? })
}
