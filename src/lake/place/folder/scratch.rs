//! Where files are written before they get their names.
//!
//! Each process has a folder of its own and holds a lock in it for as long as it lives. What a
//! killed one left there is known by its lock being free, and swept by the next: no clock, no age.

use object_store::PutPayload;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};
use uuid::Uuid;

const LOCK: &str = "lock";

#[derive(Debug)]
pub struct Scratch {
    /// Holds the folders of all processes.
    all: PathBuf,
    /// Made by the first write, so that who only reads leaves no trace.
    own: Mutex<Option<Own>>,
}

#[derive(Debug)]
struct Own {
    folder: PathBuf,
    /// Its lock ends with the process.
    _lock: File,
}

impl Scratch {
    pub fn within(all: PathBuf) -> Self {
        Self { all, own: Mutex::new(None) }
    }

    /// Makes a new file, and says where it is.
    pub fn begin(&self) -> io::Result<(File, PathBuf)> {
        let path = self.own()?.join(Uuid::new_v4().simple().to_string());
        Ok((File::create_new(&path)?, path))
    }

    /// Writes a new file, durably, and returns where it is.
    pub fn write(&self, payload: &PutPayload) -> io::Result<PathBuf> {
        let (mut file, path) = self.begin()?;
        let written = (|| {
            payload.iter().try_for_each(|chunk| file.write_all(chunk))?;
            file.sync_all()
        })();
        if written.is_err() {
            // A full disk must not be kept full by what did not fit.
            let _ = fs::remove_file(&path);
        }
        written.map(|()| path)
    }

    fn own(&self) -> io::Result<PathBuf> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = own.as_ref().filter(|own| own.folder.exists()) {
            return Ok(own.folder.clone());
        }
        fs::create_dir_all(&self.all)?;
        sweep(&self.all)?;
        let made = loop {
            if let Some(made) = claim(self.all.join(Uuid::new_v4().simple().to_string()))? {
                break made;
            }
        };
        Ok(own.insert(made).folder.clone())
    }
}

/// Makes and locks a folder; `None` if a sweeper came between.
fn claim(folder: PathBuf) -> io::Result<Option<Own>> {
    fs::create_dir(&folder)?;
    let path = folder.join(LOCK);
    let lock = match File::create_new(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // From here on a sweeper can only fail, unless it was faster and has taken the file away.
    let ours = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && path.exists();
    Ok(ours.then_some(Own { folder, _lock: lock }))
}

/// Removes the folders of processes that are no more.
fn sweep(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let folder = entry?.path();
        let Ok(lock) = File::open(folder.join(LOCK)) else {
            let _ = fs::remove_dir(&folder); // Only if it is empty; if not, its owner is at work.
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Two sweepers may meet here; what one has removed the other does not find.
            let _ = fs::remove_dir_all(&folder);
        }
    }
    Ok(())
}
