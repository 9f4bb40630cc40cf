//! What the daemon has decided and what came of it, in one database.
//!
//! The lake is the truth about data; this store is the truth about runs, attempts and requests, and
//! a mirror of the lake's log and closings so that a decision needs no listing. The daemon decides,
//! attempts write only their own rows, command lines read and leave requests: all at the same time.
//!
//! The nouns are the model's; here they are only read and written, each in one SQL text that every
//! dialect of `db` understands.

pub mod attempts;
pub mod closings;
pub mod compactions;
pub mod dags;
mod db;
pub mod holds;
mod ids;
pub mod leases;
pub mod loads;
pub mod pages;
pub mod problems;
pub mod progress;
pub mod requests;
pub mod retention;
pub mod runs;
pub mod streams;
pub mod tables;

#[cfg(test)]
use crate::crash::Fate;
use crate::error::{Doing, Error, ErrorKind};
use db::{Database, Transaction, query};
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

const LAKE_ID: &str = "lake_id";

/// The state store of one environment of a project.
#[derive(Clone, Debug)]
pub struct Store {
    db: Database,
    place: Arc<Place>,
    /// The epoch under which this handle decides; `None` for attempts and command lines.
    leads: Option<u64>,
    #[cfg(test)]
    faults: testing::Faults,
}

/// The file that was opened: its path, and what no other file has.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// A write transaction; gone without a trace unless committed.
pub struct Tx {
    own: Transaction,
    #[cfg(test)]
    fate: Fate,
}

impl Store {
    /// Opens the store at `path`, creating it and bringing its schema up to date.
    ///
    /// Its files are for this account alone. One that a newer version has written is refused (`Input`).
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let doing = || format!("open the state store {}", path.display());
        let place = create(path).map_err(|err| Error::new(ErrorKind::Input, err)).doing(doing)?;
        let store = Self {
            db: Database::at(path),
            place: Arc::new(place),
            leads: None,
            #[cfg(test)]
            faults: testing::Faults::default(),
        };
        store.db.migrate().await.doing(doing)?;
        Ok(store)
    }

    /// Opens the store at `path` if there is one.
    pub async fn open_existing(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        Self::open(path).await.map(Some)
    }

    /// Opens the store that the daemon has made; `Input` if it has been removed since.
    ///
    /// For the daemon's own processes: an empty store in its place would know none of their work.
    pub async fn open_made(path: &Path) -> Result<Self, Error> {
        Self::open_existing(path).await?.ok_or_else(|| gone(path))
    }

    /// `Input` if the file has been removed or replaced since it was opened: what is written now is lost
    /// when the last process closes it.
    pub fn check_place(&self) -> Result<(), Error> {
        let Place { path, device, inode } = &*self.place;
        match fs::metadata(path) {
            Ok(found) if (found.dev(), found.ino()) == (*device, *inode) => Ok(()),
            Err(err) if err.kind() != io::ErrorKind::NotFound => Ok(()), // It can't be told now.
            Ok(_) | Err(_) => Err(gone(path)),
        }
    }

    /// What is wrong in the database; `None` if it is whole.
    pub async fn damage(&self) -> Result<Option<String>, Error> {
        self.db.damage().await
    }

    /// Begins a write transaction; waits for the other writers of this machine.
    ///
    /// `Fenced` where this handle has led and another one leads now.
    pub async fn begin(&self) -> Result<Tx, Error> {
        let doing = || "begin a transaction in the state store".into();
        #[cfg(test)]
        let fate = self.faults.begin().doing(doing)?;
        let mut own = self.db.begin().await.doing(doing)?;
        if let Some(epoch) = self.leads {
            leases::check(&mut own, epoch).await.doing(doing)?;
        }
        Ok(Tx {
            own,
            #[cfg(test)]
            fate,
        })
    }

    /// Begins a transaction that sees one state of the store throughout and writes nothing.
    pub async fn snapshot(&self) -> Result<Tx, Error> {
        let own = self.db.snapshot().await.doing(|| "read the state store".into())?;
        Ok(Tx {
            own,
            #[cfg(test)]
            fate: Fate::Answered,
        })
    }

    /// Waits until every connection is closed, so that the file may be moved.
    pub async fn close(&self) {
        self.db.close().await;
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
        let query = query("SELECT value FROM meta WHERE key = $1").bind(key);
        let row = query.fetch_optional(self.conn()).await?;
        row.map(|row| row.text("value")).transpose()
    }

    async fn set_meta(&mut self, key: &str, value: &str) -> Result<(), Error> {
        query(
            "INSERT INTO meta (key, value) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    fn conn(&mut self) -> &mut Transaction {
        &mut self.own
    }
}

/// Makes the file where there is none, and keeps it and what SQLite puts beside it from other accounts,
/// also where an earlier version made them readable.
fn create(path: &Path) -> io::Result<Place> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let found = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?.metadata()?;
    for beside in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(beside);
        match fs::set_permissions(PathBuf::from(file), Permissions::from_mode(0o600)) {
            // A file of another account that we may use is that account's to close.
            Err(err)
                if !matches!(
                    err.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Err(err);
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(Place { path: path.to_owned(), device: found.dev(), inode: found.ino() })
}

fn gone(path: &Path) -> Error {
    let problem = format!(
        "the state store {} has been removed or replaced while the project is up",
        path.display()
    );
    Error::new(ErrorKind::Input, problem).remedy(
        "put it back, or end `tidemill up` and start it again: a new store takes over what the lake says",
    )
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

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod pages_tests;
#[cfg(test)]
mod repeat_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
