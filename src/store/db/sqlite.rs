//! SQLite: how the file is opened, what it calls things, and what its errors mean.

use super::{Query, Row, Value, replace_words};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use sqlx::query::Query as SqlxQuery;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, Sqlite, SqliteConnection, SqlitePool};
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// Migration `n` stands at place `n - 1`; what has been released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_start.sql"),
    include_str!("../migrations/sqlite/0002_retention.sql"),
    include_str!("../migrations/sqlite/0003_loads.sql"),
    include_str!("../migrations/sqlite/0004_compactions.sql"),
    include_str!("../migrations/sqlite/0005_behind.sql"),
    include_str!("../migrations/sqlite/0006_problems.sql"),
    include_str!("../migrations/sqlite/0007_leases.sql"),
    include_str!("../migrations/sqlite/0008_requests.sql"),
    include_str!("../migrations/sqlite/0009_stop_reason.sql"),
    include_str!("../migrations/sqlite/0010_pages.sql"),
    include_str!("../migrations/sqlite/0011_run_failures.sql"),
];

/// Longer than any of our transactions; a command line then says who holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who makes a store beside others has it after so many tries at most.
const OPEN_TRIES: u32 = 100;
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// SQLite's code of a file that another connection holds.
const BUSY: u32 = 5;

/// FULL: what a person was told is done, and which epoch was given out, survive a power cut too.
/// Measured: 0.24 ms a commit, against 0.02 ms for NORMAL; a task takes three.
#[cfg(not(test))]
const SYNCHRONOUS: SqliteSynchronous = SqliteSynchronous::Full;
/// No test cuts the power, and those that kill at every transaction make thousands.
#[cfg(test)]
const SYNCHRONOUS: SqliteSynchronous = SqliteSynchronous::Off;

/// Screens and the scheduler read side by side; more would only hold file handles.
const READERS_MAX: u32 = 3;

/// One file, by its connections.
#[derive(Clone, Debug)]
pub struct Database {
    /// One connection, so that writers of this process queue here, in order, and not in SQLite,
    /// whose waiting is a sleep.
    writer: SqlitePool,
    reader: SqlitePool,
}

/// Gone without a trace unless committed.
pub struct Transaction(sqlx::Transaction<'static, Sqlite>);

impl Database {
    /// Connects to the file at `path` when it is first asked for something.
    pub fn at(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SYNCHRONOUS)
            .foreign_keys(true);
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .min_connections(0)
                .after_release(|conn, _| Box::pin(is_at_rest(conn)))
        };
        Self {
            writer: pool(1).connect_lazy_with(options.clone()),
            reader: pool(READERS_MAX).connect_lazy_with(options),
        }
    }

    /// Brings the schema up to date; `Input` if a newer version has written the file.
    pub async fn migrate(&self) -> Result<(), Error> {
        let newest = i64::try_from(MIGRATIONS.len()).expect("a handful");
        let found = self.first_look(newest).await?;
        if found > newest {
            return Err(Error::new(
                ErrorKind::Input,
                format!("its schema is number {found}, and this version knows up to {newest}"),
            )
            .remedy("run the newer tidemill that wrote it, or set another file as state.url"));
        }
        if found == newest {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let found = schema(&mut tx.0).await?; // Again, for another process may have been faster.
        for (index, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0))
        {
            tx.run(*sql).await.doing(|| format!("apply migration {}", index + 1))?;
        }
        tx.run(format!("PRAGMA user_version = {newest}")).await?;
        tx.commit().await
    }

    /// The number of the schema, over a first connection. It is closed if the schema is to change: sqlx
    /// would read rows by the columns that the connection knew before, and panic.
    ///
    /// A new file has to be told how to keep its journal, and of those who tell it at once SQLite turns
    /// all but one away, without the wait that a busy file has otherwise.
    async fn first_look(&self, newest: i64) -> Result<i64, sqlx::Error> {
        let mut tries = 0;
        loop {
            let looked = async {
                let mut connection = self.reader.acquire().await?;
                let found = schema(&mut connection).await?;
                if found != newest {
                    connection.close().await?;
                }
                Ok(found)
            };
            match looked.await {
                Err(error) if tries < OPEN_TRIES && code(&error) == Some(BUSY) => {
                    tries += 1;
                    Clock::system().sleep(OPEN_PAUSE).await;
                }
                looked => return looked,
            }
        }
    }

    /// Begins a write transaction; waits for the other writers of this machine.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// Begins a transaction that sees one state of the store throughout and writes nothing.
    pub async fn snapshot(&self) -> Result<Transaction, Error> {
        Ok(Transaction(self.reader.begin().await?))
    }

    /// What SQLite finds wrong in the file; `None` if it is whole.
    pub async fn damage(&self) -> Result<Option<String>, Error> {
        let found: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.reader).await?;
        Ok((found != "ok").then_some(found))
    }

    /// Waits until every connection is closed, so that the file may be moved.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }

    pub(super) async fn fetch_all(&self, query: Query) -> Result<Vec<Row>, Error> {
        let rows = prepare(query).fetch_all(&self.reader).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    pub(super) async fn fetch_optional(&self, query: Query) -> Result<Option<Row>, Error> {
        Ok(prepare(query).fetch_optional(&self.reader).await?.map(Row))
    }

    /// A writer that gives up soon on a file that is held, as it would after its whole wait.
    #[cfg(test)]
    pub async fn wait_only(&self, wait: Duration) {
        let mut writer = self.writer.acquire().await.unwrap();
        let sql = format!("PRAGMA busy_timeout = {}", wait.as_millis());
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *writer).await.unwrap();
    }
}

impl Transaction {
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }

    /// Runs statements without values, several in one text; for migrations and tests.
    pub async fn run(&mut self, sql: impl Into<Cow<'static, str>>) -> Result<(), Error> {
        let sql: Cow<'static, str> = sql.into();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.0).await?;
        Ok(())
    }

    pub(super) async fn execute(&mut self, query: Query) -> Result<u64, Error> {
        Ok(prepare(query).execute(&mut *self.0).await?.rows_affected())
    }

    pub(super) async fn fetch_all(&mut self, query: Query) -> Result<Vec<Row>, Error> {
        let rows = prepare(query).fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    pub(super) async fn fetch_optional(&mut self, query: Query) -> Result<Option<Row>, Error> {
        Ok(prepare(query).fetch_optional(&mut *self.0).await?.map(Row))
    }
}

fn prepare(query: Query) -> SqlxQuery<'static, Sqlite, SqliteArguments> {
    let Query { sql, values } = query;
    let sql = AssertSqlSafe(replace_words(sql, word));
    values.into_iter().fold(sqlx::query(sql), |prepared, value| match value {
        Value::Int(number) => prepared.bind(number),
        Value::Text(text) => prepared.bind(text),
        Value::Flag(flag) => prepared.bind(flag),
    })
}

/// What stands for a word in braces; see the module above.
fn word(name: &str, argument: &str) -> String {
    match name {
        "list" => format!("(SELECT value FROM json_each({argument}))"),
        "index" => format!("INDEXED BY {argument}"),
        "lock" => String::new(), // Write transactions come one after the other.
        _ => unreachable!("no dialect knows the word `{name}`"),
    }
}

/// Whether a connection may be used again. A full disk makes SQLite roll back by itself, of which sqlx
/// does not know: it would refuse each further transaction as one within another.
async fn is_at_rest(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    conn.ping().await?; // Behind the rollback of what was dropped.
    Ok(!conn.is_in_transaction())
}

async fn schema(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    conn.ping().await?;
    sqlx::query_scalar("PRAGMA user_version").fetch_one(conn).await
}

/// SQLite's code of an error, without what extends it.
fn code(err: &sqlx::Error) -> Option<u32> {
    let extended = err.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(extended % 256)
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        let unavailable = match &err {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => true,
            // 6 locked, 10 I/O, 13 disk full, 14 cannot open.
            err => matches!(code(err), Some(BUSY | 6 | 10 | 13 | 14)),
        };
        if unavailable {
            return Self::new(ErrorKind::Unavailable, err).remedy(
                "see that the disk of the state store has room and that no process holds it",
            );
        }
        Self::new(ErrorKind::Bug, err)
    }
}
