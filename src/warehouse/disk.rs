//! Files that are whole or absent, and on disk when we say so.

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::hive::{Grain, PartitionKey};
use crate::model::name::TableName;
use bytes::Bytes;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The loads of a table are short, so who waits this long meets one that is stopped.
const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn unavailable(err: io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::PermissionDenied => Error::new(ErrorKind::Input, err)
            .remedy("let this account write the folder of the local warehouse"),
        _ => Error::new(ErrorKind::Unavailable, err),
    }
}

/// One call to the file system: where a test lets one go wrong.
fn call<T>(run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    #[cfg(test)]
    return testing::call(run);
    #[cfg(not(test))]
    run()
}

/// Waits for the lock of a table; the system frees it when its holder dies.
pub(super) async fn lock(path: &Path, clock: &Clock) -> Result<File, Error> {
    let doing = || format!("lock {}", path.display());
    make_folder(path.parent()).doing(doing)?;
    // The file stays: if it were deleted, two could hold locks of one name.
    let file = call(|| File::options().create(true).append(true).open(path));
    let file = file.map_err(unavailable).doing(doing)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(err)) => return Err(unavailable(err)).doing(doing),
            Err(TryLockError::WouldBlock) if waited >= WAIT_MAX => {
                let problem = format!("another process holds {}", path.display());
                return Err(Error::new(ErrorKind::Unavailable, problem)
                    .remedy("see which one with `fuser`; a stopped attempt frees it when killed"));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        clock.sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
}

/// Where files are written before they are renamed to their names; one writer at a time.
pub(super) struct Stage(PathBuf);

impl Stage {
    /// Clears what a killed writer left; only under the table's lock.
    pub(super) fn clear(folder: &Path) -> Result<Self, Error> {
        match call(|| fs::remove_dir_all(folder)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                return Err(unavailable(err)).doing(|| format!("clear {}", folder.display()));
            }
            Ok(()) | Err(_) => {}
        }
        make_folder(Some(folder))?;
        Ok(Self(folder.to_owned()))
    }

    /// Puts a file of these bytes in the place of the one at `path`, if there is one, in one step.
    pub(super) fn put(&self, bytes: &[u8], path: &Path) -> Result<(), Error> {
        self.put_by(path, |file| call(|| file.write_all(bytes)))
    }

    /// Puts a copy of another file there, of any size.
    pub(super) fn copy(&self, from: &Path, path: &Path) -> Result<(), Error> {
        self.put_by(path, |file| {
            let mut from = call(|| File::open(from))?;
            call(|| io::copy(&mut from, file)).map(|_| ())
        })
    }

    fn put_by(
        &self,
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), Error> {
        let staged = self.0.join("next");
        let written = call(|| File::create(&staged)).and_then(|mut file| {
            write(&mut file)?;
            call(|| file.sync_all())
        });
        written.map_err(unavailable).doing(|| format!("write {}", staged.display()))?;
        make_folder(path.parent())?;
        let renamed = call(|| fs::rename(&staged, path)).and_then(|()| sync_folder(path.parent()));
        renamed.map_err(unavailable).doing(|| format!("rename to {}", path.display()))
    }
}

/// Makes a folder and those above it; their names are on disk when it returns.
fn make_folder(folder: Option<&Path>) -> Result<(), Error> {
    let Some(folder) = folder.filter(|folder| !folder.is_dir()) else { return Ok(()) };
    make_folder(folder.parent())?;
    let made = match call(|| fs::create_dir(folder)) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    let synced = made.and_then(|()| sync_folder(folder.parent()));
    synced.map_err(unavailable).doing(|| format!("make the folder {}", folder.display()))
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    folder.map_or(Ok(()), |folder| call(|| File::open(folder)?.sync_all()))
}

pub(super) fn read(path: &Path) -> Result<Option<Bytes>, Error> {
    match call(|| fs::read(path)) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(unavailable(err)).doing(|| format!("read {}", path.display())),
    }
}

/// A file and its size.
pub(super) fn open(path: &Path) -> Result<Option<(File, u64)>, Error> {
    let opened = call(|| File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))));
    match opened {
        Ok((bytes, file)) => Ok(Some((file, bytes))),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(unavailable(err)).doing(|| format!("open {}", path.display())),
    }
}

/// The names of the tables that have a folder in `folder`.
pub(super) fn names(folder: &Path) -> Result<Vec<TableName>, Error> {
    let names = folders(folder)?.into_iter();
    Ok(names.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
}

/// The folders of a table's hive partitions, with their keys.
pub(super) fn partitions(
    table: &Path,
    grain: Grain,
) -> Result<Vec<(PathBuf, PartitionKey)>, Error> {
    let mut leaves = folders(table)?;
    if grain == Grain::Hour {
        let days = leaves;
        leaves = Vec::new();
        for day in days {
            leaves.extend(folders(&day)?);
        }
    }
    let key = |leaf: &PathBuf| {
        let path = leaf.strip_prefix(table).ok()?.to_str()?;
        let values: Vec<&str> =
            path.split('/').filter_map(|part| Some(part.split_once('=')?.1)).collect();
        let key: PartitionKey = values.join("T").parse().ok()?;
        (key.grain == grain && key.path() == path).then_some(key)
    };
    Ok(leaves.into_iter().filter_map(|leaf| key(&leaf).map(|key| (leaf, key))).collect())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(unavailable(err)).doing(|| format!("list {}", folder.display())),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<io::Result<Vec<PathBuf>>>().map_err(unavailable);
    let mut folders = paths.doing(|| format!("list {}", folder.display()))?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
pub(super) mod testing {
    use crate::crash::{Crash, Fate};
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static PLAN: Cell<Option<(Crash, usize)>> = const { Cell::new(None) };
    }

    /// Lets a call of this thread go wrong from now on; `None`: no more. Returns whether the one
    /// before was reached.
    pub fn plan(crash: Option<Crash>) -> bool {
        let before = PLAN.replace(crash.map(|crash| (crash, 0)));
        before.is_some_and(|(crash, calls)| calls > crash.at())
    }

    pub fn call<T>(run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some((crash, calls)) = PLAN.get() else { return run() };
        PLAN.set(Some((crash, calls + 1)));
        let gone = || io::Error::other("as if the process were gone");
        match crash.fate(calls) {
            Fate::Answered => run(),
            Fate::Refused => Err(gone()),
            Fate::Unanswered => {
                drop(run());
                Err(gone())
            }
        }
    }
}
