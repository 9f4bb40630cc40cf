//! What the daemon has decided and what came of it, in one `SQLite` file.
//!
//! The lake is the truth about data; this file is the truth about runs, attempts and requests, and
//! a mirror of the lake's log and closings so that a decision needs no listing. The daemon decides,
//! attempts write only their own rows, command lines read and leave requests: all at the same time.

pub mod attempts;
pub mod closings;
mod columns;
pub mod compactions;
pub mod dags;
pub mod holds;
pub mod loads;
pub mod progress;
pub mod requests;
pub mod retention;
pub mod runs;
pub mod streams;
pub mod tables;

use crate::clock::Clock;
#[cfg(test)]
use crate::crash::Fate;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::Sqlite;
use sqlx::SqliteConnection;
use sqlx::SqlitePool;
use sqlx::Transaction;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteJournalMode;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::sqlite::SqliteSynchronous;
use std::path::Path;
use std::time::Duration;

/// Migration `n` stands at place `n - 1`; what has been released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_start.sql"),
    include_str!("migrations/0002_retention.sql"),
    include_str!("migrations/0003_loads.sql"),
    include_str!("migrations/0004_compactions.sql"),
    include_str!("migrations/0005_behind.sql"),
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

const LAKE_ID: &str = "lake_id";

/// The state store of one environment of a project.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection, so that writers of this process queue here, in order, and not in `SQLite`,
    /// whose waiting is a sleep.
    writer: SqlitePool,
    reader: SqlitePool,
    #[cfg(test)]
    faults: testing::Faults,
}

/// A write transaction; gone without a trace unless committed.
pub struct Tx {
    own: Transaction<'static, Sqlite>,
    #[cfg(test)]
    fate: Fate,
}

impl Store {
    /// Opens the store at `path`, creating it and bringing its schema up to date.
    ///
    /// A file that a newer version has written is refused (`Input`).
    pub async fn open(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|err| Error::new(ErrorKind::Input, err))
                .doing(|| format!("create the folder {}", folder.display()))?;
        }
        let store = Self::connect(path, true);
        store.migrate().await.doing(|| format!("open the state store {}", path.display()))?;
        Ok(store)
    }

    /// Opens the store at `path` if there is one.
    pub async fn open_existing(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        Self::open(path).await.map(Some)
    }

    /// What SQLite finds wrong in the file; `None` if it is whole.
    pub async fn damage(&self) -> Result<Option<String>, Error> {
        let found: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.reader).await?;
        Ok((found != "ok").then_some(found))
    }

    fn connect(path: &Path, create: bool) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
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
            #[cfg(test)]
            faults: testing::Faults::default(),
        }
    }

    async fn migrate(&self) -> Result<(), Error> {
        let newest = i64::try_from(MIGRATIONS.len()).expect("a handful");
        let found = self.first_look().await?;
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
        let found = schema(tx.conn()).await?; // Again, for another process may have been faster.
        for (index, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0))
        {
            sqlx::raw_sql(*sql)
                .execute(tx.conn())
                .await
                .doing(|| format!("apply migration {}", index + 1))?;
        }
        let version = format!("PRAGMA user_version = {newest}");
        sqlx::raw_sql(AssertSqlSafe(version)).execute(tx.conn()).await?;
        tx.commit().await
    }

    /// The number of the schema, over a first connection.
    ///
    /// A new file has to be told how to keep its journal, and of those who tell it at once SQLite turns
    /// all but one away, without the wait that a busy file has otherwise.
    async fn first_look(&self) -> Result<i64, sqlx::Error> {
        let mut tries = 0;
        loop {
            let looked = async { schema(&mut *self.reader.acquire().await?).await };
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
    pub async fn begin(&self) -> Result<Tx, Error> {
        let doing = || "begin a transaction in the state store".into();
        #[cfg(test)]
        let fate = self.faults.begin().doing(doing)?;
        let own = self.writer.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
        Ok(Tx {
            own,
            #[cfg(test)]
            fate,
        })
    }

    /// Begins a transaction that sees one state of the store throughout and writes nothing.
    pub async fn snapshot(&self) -> Result<Tx, Error> {
        let own = self.reader.begin().await.doing(|| "read the state store".into())?;
        Ok(Tx {
            own,
            #[cfg(test)]
            fate: Fate::Answered,
        })
    }

    /// Waits until every connection is closed, so that the file may be moved.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }

    /// The lake that the store mirrors, once a daemon has tied it to one.
    pub async fn lake_id(&self) -> Result<Option<String>, Error> {
        self.snapshot().await?.meta(LAKE_ID).await
    }

    /// Ties the store to the lake that it mirrors; `Input` if it is tied to another one.
    pub async fn bind_lake(&self, lake_id: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let Some(bound) = tx.meta(LAKE_ID).await? else {
            tx.set_meta(LAKE_ID, lake_id).await?;
            return tx.commit().await;
        };
        tied(&bound, lake_id)
    }

    /// `Input` if the store is tied to another lake; ties it to none.
    pub async fn admits_lake(&self, lake_id: &str) -> Result<(), Error> {
        self.lake_id().await?.map_or(Ok(()), |bound| tied(&bound, lake_id))
    }
}

impl Tx {
    pub async fn commit(self) -> Result<(), Error> {
        let doing = || "commit to the state store".into();
        #[cfg(test)]
        testing::before_commit(self.fate).doing(doing)?;
        self.own.commit().await.doing(doing)?;
        #[cfg(test)]
        testing::after_commit(self.fate).doing(doing)?;
        Ok(())
    }

    async fn meta(&mut self, key: &str) -> Result<Option<String>, Error> {
        let query = sqlx::query_scalar("SELECT value FROM meta WHERE key = ?").bind(key);
        Ok(query.fetch_optional(self.conn()).await?)
    }

    async fn set_meta(&mut self, key: &str, value: &str) -> Result<(), Error> {
        sqlx::query("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value")
            .bind(key)
            .bind(value)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.own
    }
}

fn tied(bound: &str, lake_id: &str) -> Result<(), Error> {
    if bound == lake_id {
        return Ok(());
    }
    let problem =
        format!("the state store mirrors lake {bound}, and lake.url names lake {lake_id}");
    Err(Error::new(ErrorKind::Input, problem).remedy(
        "set the former lake.url, or another state.url: a new store takes over what the lake says",
    ))
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

/// Four random characters that end an id, so that no lost store gives it out twice.
pub fn random_end() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random: u32 = rand::random();
    (0..4).map(|i| char::from(LETTERS[(random >> (5 * i)) as usize % 32])).collect()
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

#[cfg(test)]
mod repeat_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
