//! What people ask the daemon to do, and what came of it: the audit log.
//!
//! A command line writes a row and pings; the daemon applies it and writes the outcome in the same
//! transaction, so that no request takes effect twice.

use super::Store;
use super::Tx;
use super::attempts::Failure;
use super::columns::Columns;
use super::columns::to_json;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::name::TableName;
use crate::model::run::RunState;
use crate::model::time::Micros;
use serde::Deserialize;
use serde::Serialize;
use sqlx::sqlite::SqliteRow;

/// A verb with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    PauseDag {
        dag: Name,
    },
    UnpauseDag {
        dag: Name,
    },
    /// The outcome is the id of the run.
    TriggerDag {
        dag: Name,
        key: Option<PartitionKey>,
    },
    /// Runs it again with the newest version of the DAG; a held run is let go.
    ClearRun {
        dag: Name,
        run: String,
        only_failed: bool,
    },
    /// `succeeded` or `failed`.
    MarkRun {
        dag: Name,
        run: String,
        to: RunState,
    },
    /// By id, `dag.stream`.
    StartStream {
        stream: String,
    },
    StopStream {
        stream: String,
    },
    /// Closes as it is, marked partial.
    ClosePartition {
        table: TableName,
        key: PartitionKey,
    },
    /// Closes again with what is there now, for every DAG on the table, whatever its `on_late`.
    ReopenPartition {
        table: TableName,
        key: PartitionKey,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: i64,
    pub verb: Verb,
    pub who: String,
    pub created: Micros,
    pub applied: Option<Micros>,
    /// What was done, as shown to the one who asked.
    pub outcome: Option<String>,
    pub failure: Option<Failure>,
}

impl Verb {
    /// `pause_dag`, as it is stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PauseDag { .. } => "pause_dag",
            Self::UnpauseDag { .. } => "unpause_dag",
            Self::TriggerDag { .. } => "trigger_dag",
            Self::ClearRun { .. } => "clear_run",
            Self::MarkRun { .. } => "mark_run",
            Self::StartStream { .. } => "start_stream",
            Self::StopStream { .. } => "stop_stream",
            Self::ClosePartition { .. } => "close_partition",
            Self::ReopenPartition { .. } => "reopen_partition",
        }
    }
}

impl Store {
    /// Leaves a request for the daemon (ping it then) and returns its number.
    pub async fn ask(&self, verb: &Verb, who: &str, now: Micros) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        let done =
            sqlx::query("INSERT INTO requests (verb, args, who, created_us) VALUES (?, ?, ?, ?)")
                .bind(verb.name())
                .bind(to_json(verb))
                .bind(who)
                .bind(now.0)
                .execute(tx.conn())
                .await?;
        tx.commit().await?;
        Ok(done.last_insert_rowid())
    }

    pub async fn request(&self, id: i64) -> Result<Option<Request>, Error> {
        let query = sqlx::query("SELECT * FROM requests WHERE id = ?").bind(id);
        query.fetch_optional(&self.reader).await?.as_ref().map(request).transpose()
    }

    /// Those not yet applied, in the order in which they were made.
    pub async fn open_requests(&self) -> Result<Vec<Request>, Error> {
        let rows = sqlx::query("SELECT * FROM requests WHERE applied_us IS NULL ORDER BY id")
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(request).collect()
    }

    /// The newest, newest first.
    pub async fn requests(&self, most: u32) -> Result<Vec<Request>, Error> {
        let rows = sqlx::query("SELECT * FROM requests ORDER BY id DESC LIMIT ?")
            .bind(most)
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(request).collect()
    }
}

impl Tx {
    /// Writes the outcome; false if it has one already.
    pub async fn finish_request(
        &mut self,
        id: i64,
        outcome: Result<&str, &Error>,
        now: Micros,
    ) -> Result<bool, Error> {
        let failure = outcome.err();
        let done = sqlx::query(
            "UPDATE requests SET applied_us = ?, outcome = ?, error_kind = ?, error = ?, remedy = ?
             WHERE id = ? AND applied_us IS NULL",
        )
        .bind(now.0)
        .bind(outcome.ok())
        .bind(failure.map(|error| error.kind.as_str()))
        .bind(failure.map(ToString::to_string))
        .bind(failure.and_then(|error| error.remedy.as_ref()))
        .bind(id)
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn request(row: &SqliteRow) -> Result<Request, Error> {
    let failure = match row.text_opt("error")? {
        Some(error) => {
            let kind = row.parse_opt("error_kind")?.unwrap_or(ErrorKind::Bug);
            Some(Failure { kind, error, remedy: row.text_opt("remedy")? })
        }
        None => None,
    };
    Ok(Request {
        id: row.int("id")?,
        verb: row.json("args")?,
        who: row.text("who")?,
        created: row.time("created_us")?,
        applied: row.time_opt("applied_us")?,
        outcome: row.text_opt("outcome")?,
        failure,
    })
}
