//! One daemon for each project: the holder of the lock.
//!
//! On one machine the kernel's lock says who that is, and lets go when its holder dies. A folder that
//! two machines share may not carry that lock from one to the other; so the holder also writes itself
//! down again and again, and each side looks at what the other has written: who comes waits whether the
//! last holder still does, and a holder that finds another one's name was considered dead, and ends.

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::time::Micros;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often a holder writes itself down.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// Enough for a few beats, and for a network file system that shows an older state of a file.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// A beat changes a digit in place: a process that reads meanwhile still finds a holder.
const BLOCK_BYTES: usize = 4096;

/// The daemon that holds a project, as it has written itself down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    pub started: Micros,
    pub version: String,
    /// It has accepted the project's files, adopted what ran, and takes requests.
    pub ready: bool,
    /// Settings that were edited since, and count from its next start.
    pub restart_for: Vec<String>,
    /// How often it has written itself down.
    pub beat: u64,
}

impl Holder {
    fn is(&self, other: &Self) -> bool {
        (&self.host, self.pid, self.started) == (&other.host, other.pid, other.started)
    }
}

/// Held as long as it lives, and by nobody after a crash: the kernel lets go.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
    me: Mutex<Holder>,
}

impl Lock {
    /// Refused (`Input`) while another daemon holds the project whose state is in `home`.
    pub async fn take(home: &Path, me: Holder, clock: &Clock) -> Result<Self, Error> {
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
            Err(Errno::WOULDBLOCK) => return Err(held(read(&path).as_ref(), &me)),
            Err(error) => return Err(Error::new(ErrorKind::Input, error)).doing(doing),
        }
        if let Some(last) = read(&path).filter(|last| last.host != me.host) {
            info!("last up on host {}; waiting whether it still is", last.host);
            clock.sleep(QUIET_FOR).await;
            if let Some(now) = read(&path).filter(|now| *now != last) {
                return Err(held(Some(&now), &me));
            }
        }
        let lock = Self { path, file, me: Mutex::new(me) };
        lock.tell(|_| {})?;
        Ok(lock)
    }

    /// Tells the asker what has changed about us.
    pub fn tell(&self, change: impl FnOnce(&mut Holder)) -> Result<(), Error> {
        let mut me = self.me.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut me);
        let mut text = serde_json::to_vec(&*me).expect("our own types have string keys");
        text.resize(text.len().next_multiple_of(BLOCK_BYTES), b' ');
        let mut file = &self.file;
        file.rewind()
            .and_then(|()| file.write_all(&text))
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|error| Error::new(ErrorKind::Unavailable, error))
            .doing(|| format!("write {}", self.path.display()))
    }

    /// Writes ourselves down until `stop`; fails (`Fenced`) once another daemon has.
    pub async fn beat(&self, clock: Clock, stop: CancellationToken) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = clock.sleep(BEAT_EVERY) => {}
            }
            self.check()?;
            if let Err(error) = self.tell(|me| me.beat += 1) {
                warn!(%error, "could not write ourselves down; trying again");
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let me = self.me.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match read(&self.path) {
            Some(other) if !other.is(&me) => {
                let problem = format!("pid {} on host {} has taken over", other.pid, other.host);
                Err(Error::new(ErrorKind::Fenced, problem).remedy(
                    "a project has one daemon: attempts continue, and that daemon controls them now",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Lock {
    /// Nobody need wait for us.
    fn drop(&mut self) {
        if self.check().is_ok() {
            drop(self.file.set_len(0));
        }
    }
}

/// The daemon that holds the project whose state is in `home`, if there is one.
pub fn holder(home: &Path) -> Option<Holder> {
    let path = home.join("daemon.lock");
    let file = File::open(&path).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => read(&path),
        Ok(()) | Err(_) => None,
    }
}

/// Opened again: a network file system shows what others wrote only then.
fn read(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn held(holder: Option<&Holder>, me: &Holder) -> Error {
    let who = match holder {
        Some(holder) if holder.host == me.host => format!("pid {}", holder.pid),
        Some(holder) => format!("pid {} on host {}", holder.pid, holder.host),
        None => "another daemon".into(),
    };
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
        Holder { pid: 4711, host: "a".into(), started: Micros(1), ..Holder::default() }
    }

    /// What a daemon leaves that was killed.
    fn killed(home: &Path, holder: &Holder) {
        std::fs::write(home.join("daemon.lock"), serde_json::to_vec(holder).unwrap()).unwrap();
    }

    async fn take(home: &Path, holder: Holder) -> Result<Lock, Error> {
        Lock::take(home, holder, &Clock::system()).await
    }

    #[tokio::test]
    async fn a_second_daemon_is_refused_and_told_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let _first = take(home.path(), me()).await.unwrap();
        let error = take(home.path(), me()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        assert_eq!(error.to_string(), "this project is up already: pid 4711");
    }

    #[tokio::test]
    async fn the_holder_is_told_while_it_lives_and_not_after() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(holder(home.path()), None);
        let lock = take(home.path(), me()).await.unwrap();
        lock.tell(|me| me.ready = true).unwrap();
        assert_eq!(holder(home.path()), Some(Holder { ready: true, ..me() }));
        drop(lock);
        assert_eq!(holder(home.path()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_of_another_host_that_still_writes_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        killed(home.path(), &me());
        let elsewhere = Holder { host: "b".into(), ..me() };
        let beats = async {
            Clock::system().sleep(BEAT_EVERY).await;
            killed(home.path(), &Holder { beat: 1, ..me() });
        };
        let (taken, ()) = tokio::join!(take(home.path(), elsewhere), beats);
        let told = taken.unwrap_err().to_string();
        assert_eq!(told, "this project is up already: pid 4711 on host a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_of_another_host_that_has_gone_silent_is_followed_and_finds_that_out() {
        let home = tempfile::tempdir().unwrap();
        let silent = take(home.path(), me()).await.unwrap();
        flock(&silent.file, FlockOperation::Unlock).unwrap(); // As where locks are not shared.
        let next = take(home.path(), Holder { host: "b".into(), ..me() }).await.unwrap();
        let ended = silent.beat(Clock::system(), CancellationToken::new()).await;
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Fenced);
        drop(silent);
        assert_eq!(read(&home.path().join("daemon.lock")).unwrap().host, "b");
        drop(next);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_clean_end_no_other_host_waits() {
        let home = tempfile::tempdir().unwrap();
        drop(take(home.path(), me()).await.unwrap());
        let began = tokio::time::Instant::now();
        take(home.path(), Holder { host: "b".into(), ..me() }).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
