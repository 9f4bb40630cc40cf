//! Attempts: one try of a task or of a compaction, or one life of a stream, and the process that it is.
//!
//! The scheduler queues attempts, the supervisor starts and ends them, the process itself reports
//! its result. Every change is guarded by the state that it expects, so that a second try of it, or
//! a zombie, changes nothing.

use super::db::{Row, query};
use super::{Store, Tx};
use crate::error::{Error, ErrorKind};
use crate::model::attempt::{Attempt, Ended, Failure, Owner, Process, Stop, StopReason};
use crate::model::commit::Compact;
use crate::model::time::Micros;

impl Store {
    pub async fn attempt(&self, id: &str) -> Result<Option<Attempt>, Error> {
        let query = query("SELECT * FROM attempts WHERE id = $1").bind(id);
        query.fetch_optional(&self.db).await?.as_ref().map(attempt).transpose()
    }

    /// Those queued or running, oldest first: what the supervisor starts, watches and adopts.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>, Error> {
        let rows = query(
            "SELECT * FROM attempts WHERE state IN ('queued', 'running') ORDER BY created_us, id",
        )
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(attempt).collect()
    }

    /// All attempts of a run, by task and epoch.
    pub async fn attempts_of_run(&self, run: &str) -> Result<Vec<Attempt>, Error> {
        let query = query("SELECT * FROM attempts WHERE run = $1 ORDER BY task, epoch");
        let rows = query.bind(run).fetch_all(&self.db).await?;
        rows.iter().map(attempt).collect()
    }

    /// The newest attempts of a stream, newest first.
    pub async fn attempts_of_stream(&self, id: &str, most: u32) -> Result<Vec<Attempt>, Error> {
        let rows = query("SELECT * FROM attempts WHERE stream = $1 ORDER BY epoch DESC LIMIT $2")
            .bind(id)
            .bind(most)
            .fetch_all(&self.db)
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
        let done = query(
            "UPDATE attempts SET state = 'running', host = $1, pid = $2, pid_start = $3, boot_id = $4,
               started_us = $5
             WHERE id = $6 AND state = 'queued'",
        )
        .bind(&process.host)
        .bind(process.pid)
        .bind(process.pid_start)
        .bind(&process.boot_id)
        .bind(now.0)
        .bind(id)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done > 0)
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
        let done = query(
            "UPDATE attempts SET result = $1, error_kind = $2, error = $3, remedy = $4
             WHERE id = $5 AND state IN ('queued', 'running')",
        )
        .bind(result.map(ToString::to_string))
        .bind(failure.map(|failure| failure.kind.as_str()))
        .bind(failure.map(|failure| &failure.error))
        .bind(failure.and_then(|failure| failure.remedy.as_ref()))
        .bind(id)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done > 0)
    }

    /// Its process has been seen to end. False if that was known already.
    pub async fn attempt_ended(&self, id: &str, ended: &Ended, now: Micros) -> Result<bool, Error> {
        let failure = ended.failure.as_ref();
        let mut tx = self.begin().await?;
        let done = query(
            "UPDATE attempts SET state = $1, exit_code = $2, signal = $3, ended_us = $4,
               error_kind = coalesce(error_kind, $5), error = coalesce(error, $6),
               remedy = coalesce(remedy, $7), result = coalesce(result, $8)
             WHERE id = $9 AND state IN ('queued', 'running')",
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
        Ok(done > 0)
    }

    /// Decides that an attempt is to stop; the supervisor carries it out. The first reason stays.
    pub async fn ask_to_stop(&self, id: &str, stop: &Stop) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.ask_to_stop(id, stop).await?;
        tx.commit().await
    }
}

impl Tx {
    /// See [`Store::ask_to_stop`].
    pub async fn ask_to_stop(&mut self, id: &str, stop: &Stop) -> Result<(), Error> {
        query(
            "UPDATE attempts SET stop_reason = $1, stop = $2, stop_us = $3
             WHERE id = $4 AND stop IS NULL AND state IN ('queued', 'running')",
        )
        .bind(stop.reason.as_str())
        .bind(&stop.why)
        .bind(stop.at.0)
        .bind(id)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

pub(super) fn attempt(row: &Row) -> Result<Attempt, Error> {
    let owner = match (row.text_opt("stream")?, compact(row)?) {
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
        stop: stop(row)?,
        process,
        created: row.time("created_us")?,
        started: row.time_opt("started_us")?,
        ended: row.time_opt("ended_us")?,
        exit_code: row.number_opt("exit_code")?,
        signal: row.number_opt("signal")?,
        failure: failure(row)?,
        result: row.told("result")?,
    })
}

fn stop(row: &Row) -> Result<Option<Stop>, Error> {
    let (Some(why), Some(at)) = (row.text_opt("stop")?, row.time_opt("stop_us")?) else {
        return Ok(None);
    };
    // A migration has given the older rows their reason.
    let reason = row.parse_opt("stop_reason")?.unwrap_or(StopReason::Asked);
    Ok(Some(Stop { reason, why, at }))
}

pub(super) fn failure(row: &Row) -> Result<Option<Failure>, Error> {
    let Some(error) = row.text_opt("error")? else { return Ok(None) };
    let kind = row.parse_opt("error_kind")?.unwrap_or(ErrorKind::Unavailable);
    Ok(Some(Failure { kind, error, remedy: row.text_opt("remedy")? }))
}

/// What the attempt makes; `None` if it belongs to a stream or a task.
fn compact(row: &Row) -> Result<Option<Compact>, Error> {
    let Some(table) = row.parse_opt("table_name")? else { return Ok(None) };
    Ok(Some(Compact {
        table,
        key: row.parse("key")?,
        n: row.number("n")?,
        partial: row.flag("partial")?,
        complete: row.flag("complete")?,
        frontier: row.time("frontier_us")?,
    }))
}
