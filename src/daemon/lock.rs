//! One daemon a project: whoever holds the lock decides.

use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::time::Micros;
use rustix::fs::FlockOperation;
use rustix::fs::flock;
use rustix::io::Errno;
use serde::Deserialize;
use serde::Serialize;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::path::Path;

/// The daemon that holds a project, as it has written itself down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub started: Micros,
    pub version: String,
    /// It has accepted the project's files, adopted what ran, and takes requests.
    pub ready: bool,
}

/// Held as long as it lives, and by nobody after a crash: the kernel lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Refused (`Input`) while another daemon holds the project whose state is in `home`.
    pub fn take(home: &Path, holder: &Holder) -> Result<Self, Error> {
        let path = home.join("daemon.lock");
        let doing = || format!("lock {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::new(ErrorKind::Input, error))
            .doing(doing)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(held(read(&file).as_ref())),
            Err(error) => return Err(Error::new(ErrorKind::Input, error)).doing(doing),
        }
        let lock = Self { file };
        lock.write(holder).doing(doing)?;
        Ok(lock)
    }

    /// Tells whoever asks how far we are.
    pub fn write(&self, holder: &Holder) -> Result<(), Error> {
        let text = serde_json::to_vec(holder).expect("our own types have string keys");
        let mut file = &self.file;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(&text))
            .map_err(|error| Error::new(ErrorKind::Unavailable, error))
    }
}

/// The daemon that holds the project whose state is in `home`, if there is one.
pub fn holder(home: &Path) -> Option<Holder> {
    let file = File::open(home.join("daemon.lock")).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => read(&file),
        Ok(()) | Err(_) => None,
    }
}

fn read(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn held(holder: Option<&Holder>) -> Error {
    let who = holder.map_or("another daemon".into(), |holder| format!("pid {}", holder.pid));
    let stop = holder.map_or(String::new(), |holder| {
        format!(", or end it: kill -INT {} (its streams commit first)", holder.pid)
    });
    Error::new(ErrorKind::Input, format!("this project is up already: {who}"))
        .remedy(format!("use it as it is{stop}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Holder {
        Holder { pid: 4711, started: Micros(1), version: "0.1.0".into(), ready: false }
    }

    #[test]
    fn a_second_daemon_is_refused_and_told_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let _first = Lock::take(home.path(), &me()).unwrap();
        let error = Lock::take(home.path(), &me()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert_eq!(error.to_string(), "this project is up already: pid 4711");
    }

    #[test]
    fn the_holder_is_told_while_it_lives_and_not_after() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(holder(home.path()), None);
        let lock = Lock::take(home.path(), &me()).unwrap();
        lock.write(&Holder { ready: true, ..me() }).unwrap();
        assert_eq!(holder(home.path()), Some(Holder { ready: true, ..me() }));
        drop(lock);
        assert_eq!(holder(home.path()), None);
    }
}
