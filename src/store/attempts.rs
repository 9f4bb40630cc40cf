//! Attempts: one try of a task or of a compaction, or one life of a stream, and the process that it is.
//!
//! The scheduler queues attempts, the supervisor starts and ends them, the process itself reports
//! its result. Every change is guarded by the state that it expects, so that a second try of it, or
//! a zombie, changes nothing.

use super::Store;
use super::Tx;
use super::columns::Columns;
use super::compactions;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::commit::Compact;
use crate::model::name::Name;
use crate::model::run::AttemptKind;
use crate::model::run::AttemptState;
use crate::model::time::Micros;
use sqlx::sqlite::SqliteRow;

/// In the result of a feed: whether its source has ended, so that it has nothing more to send.
pub const COMPLETE: &str = "complete";

#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Also the name of its folder; ends in random characters.
    pub id: String,
    pub owner: Owner,
    pub kind: AttemptKind,
    /// Hash of the dag version that it runs.
    pub version: String,
    /// For a stream, the content hash of job and topic that it was started with.
    pub content: Option<String>,
    /// Counted from 1.
    pub tries: u32,
    /// Higher than that of every earlier attempt of the same owner.
    pub epoch: u64,
    pub state: AttemptState,
    /// Why it is to stop, once that has been decided.
    pub stop: Option<String>,
    pub stop_at: Option<Micros>,
    pub process: Option<Process>,
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub failure: Option<Failure>,
    /// What it returned: an exec task's output, a batch's rows and files.
    pub result: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Owner {
    /// By id, `dag.stream`.
    Stream(String),
    Task {
        run: String,
        task: Name,
    },
    /// It makes a closing of records that are published on close.
    Closing(Compact),
}

/// What identifies a process for good: pids come again.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub host: String,
    /// Of the shim, which leads the process group.
    pub pid: i32,
    /// Its start time in clock ticks since boot.
    pub pid_start: u64,
    pub boot_id: String,
}

/// Why an attempt failed, as shown to people.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub kind: ErrorKind,
    pub error: String,
    pub remedy: Option<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind, error: error.to_string(), remedy: error.remedy.clone() }
    }
}

/// How a process ended, as its shim saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// One of the states that have ended.
    pub state: AttemptState,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Kept only where the process itself has not reported why.
    pub failure: Option<Failure>,
    /// Likewise.
    pub result: Option<serde_json::Value>,
}

impl Store {
    pub async fn attempt(&self, id: &str) -> Result<Option<Attempt>, Error> {
        let query = sqlx::query("SELECT * FROM attempts WHERE id = ?").bind(id);
        query.fetch_optional(&self.reader).await?.as_ref().map(attempt).transpose()
    }

    /// Those queued or running, oldest first: what the supervisor starts, watches and adopts.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM attempts WHERE state IN ('queued', 'running') ORDER BY created_us, id",
        )
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(attempt).collect()
    }

    /// All attempts of a run, by task and epoch.
    pub async fn attempts_of_run(&self, run: &str) -> Result<Vec<Attempt>, Error> {
        let query = sqlx::query("SELECT * FROM attempts WHERE run = ? ORDER BY task, epoch");
        let rows = query.bind(run).fetch_all(&self.reader).await?;
        rows.iter().map(attempt).collect()
    }

    /// The newest attempts of a stream, newest first.
    pub async fn attempts_of_stream(&self, id: &str, most: u32) -> Result<Vec<Attempt>, Error> {
        let rows =
            sqlx::query("SELECT * FROM attempts WHERE stream = ? ORDER BY epoch DESC LIMIT ?")
                .bind(id)
                .bind(most)
                .fetch_all(&self.reader)
                .await?;
        rows.iter().map(attempt).collect()
    }

    /// Its process runs. False if it was not queued any more: then the process must be ended.
    pub async fn attempt_started(
        &self,
        id: &str,
        process: &Process,
        now: Micros,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE attempts SET state = 'running', host = ?, pid = ?, pid_start = ?, boot_id = ?,
               started_us = ?
             WHERE id = ? AND state = 'queued'",
        )
        .bind(&process.host)
        .bind(process.pid)
        .bind(super::columns::sql(process.pid_start))
        .bind(&process.boot_id)
        .bind(now.0)
        .bind(id)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// The process tells its own result or failure, just before it exits.
    ///
    /// False if the attempt has been given up meanwhile; what was told is not kept.
    pub async fn report(
        &self,
        id: &str,
        result: Option<&serde_json::Value>,
        failure: Option<&Failure>,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE attempts SET result = ?, error_kind = ?, error = ?, remedy = ?
             WHERE id = ? AND state IN ('queued', 'running')",
        )
        .bind(result.map(ToString::to_string))
        .bind(failure.map(|failure| failure.kind.as_str()))
        .bind(failure.map(|failure| &failure.error))
        .bind(failure.and_then(|failure| failure.remedy.as_ref()))
        .bind(id)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Its process has been seen to end. False if that was known already.
    pub async fn attempt_ended(&self, id: &str, ended: &Ended, now: Micros) -> Result<bool, Error> {
        let failure = ended.failure.as_ref();
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE attempts SET state = ?, exit_code = ?, signal = ?, ended_us = ?,
               error_kind = coalesce(error_kind, ?), error = coalesce(error, ?),
               remedy = coalesce(remedy, ?), result = coalesce(result, ?)
             WHERE id = ? AND state IN ('queued', 'running')",
        )
        .bind(ended.state.as_str())
        .bind(ended.exit_code)
        .bind(ended.signal)
        .bind(now.0)
        .bind(failure.map(|failure| failure.kind.as_str()))
        .bind(failure.map(|failure| &failure.error))
        .bind(failure.and_then(|failure| failure.remedy.as_ref()))
        .bind(ended.result.as_ref().map(ToString::to_string))
        .bind(id)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Decides that an attempt is to stop; the supervisor carries it out. The first reason stays.
    pub async fn ask_to_stop(&self, id: &str, why: &str, now: Micros) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.ask_to_stop(id, why, now).await?;
        tx.commit().await
    }
}

impl Tx {
    /// See [`Store::ask_to_stop`].
    pub async fn ask_to_stop(&mut self, id: &str, why: &str, now: Micros) -> Result<(), Error> {
        sqlx::query(
            "UPDATE attempts SET stop = ?, stop_us = ?
             WHERE id = ? AND stop IS NULL AND state IN ('queued', 'running')",
        )
        .bind(why)
        .bind(now.0)
        .bind(id)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

pub(super) fn attempt(row: &SqliteRow) -> Result<Attempt, Error> {
    let owner = match (row.text_opt("stream")?, compactions::compact(row)?) {
        (Some(stream), _) => Owner::Stream(stream),
        (None, Some(compact)) => Owner::Closing(compact),
        (None, None) => {
            Owner::Task { run: row.text_opt("run")?.unwrap_or_default(), task: row.parse("task")? }
        }
    };
    let process = match (row.text_opt("host")?, row.text_opt("boot_id")?) {
        (Some(host), Some(boot_id)) => Some(Process {
            host,
            pid: row.number("pid")?,
            pid_start: row.number("pid_start")?,
            boot_id,
        }),
        _ => None,
    };
    Ok(Attempt {
        id: row.text("id")?,
        owner,
        kind: row.parse("kind")?,
        version: row.text("version")?,
        content: row.text_opt("content")?,
        tries: row.number("try")?,
        epoch: row.number("epoch")?,
        state: row.parse("state")?,
        stop: row.text_opt("stop")?,
        stop_at: row.time_opt("stop_us")?,
        process,
        created: row.time("created_us")?,
        started: row.time_opt("started_us")?,
        ended: row.time_opt("ended_us")?,
        exit_code: row.number_opt("exit_code")?,
        signal: row.number_opt("signal")?,
        failure: failure(row)?,
        result: row.json_opt("result")?,
    })
}

fn failure(row: &SqliteRow) -> Result<Option<Failure>, Error> {
    let Some(error) = row.text_opt("error")? else { return Ok(None) };
    let kind = row.parse_opt("error_kind")?.unwrap_or(ErrorKind::Unavailable);
    Ok(Some(Failure { kind, error, remedy: row.text_opt("remedy")? }))
}
