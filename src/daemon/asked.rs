//! What asks a project to go down: signals, and the end of the process that `up` was started by.

use crate::error::{Doing, Error, ErrorKind};
use std::io::Read;
use std::{fs, io};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How the project is to go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This process only: attempts continue.
    Leave,
    /// Everything, in good order.
    Stop,
}

pub struct Askers {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone, and the person at it. `None` where `nohup` has said to take no notice.
    hangup: Option<Signal>,
    /// Ends when nobody holds the other end of our stdin any more.
    parent: Option<oneshot::Receiver<()>>,
}

impl Askers {
    /// `with_stdin`: the process that started us holds our stdin open as long as the project is wanted. So its
    /// death is noticed, however it comes.
    pub fn new(with_stdin: bool) -> Result<Self, Error> {
        let unavailable = |error| Error::new(ErrorKind::Unavailable, error);
        let listen = |kind| signal(kind).map_err(unavailable).doing(|| "hear signals".into());
        let hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
        let parent = if with_stdin {
            Some(end_of_stdin().map_err(unavailable).doing(|| "watch stdin".into())?)
        } else {
            None
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup,
            parent,
        })
    }

    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Leave,
            _ = self.interrupt.recv() => Asked::Stop,
            () = hung_up(&mut self.hangup) => Asked::Stop,
            () = orphaned(&mut self.parent) => Asked::Stop,
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn orphaned(parent: &mut Option<oneshot::Receiver<()>>) {
    match parent {
        Some(end) => drop(end.await),
        None => std::future::pending().await,
    }
    *parent = None; // Told once; a second time would mean to kill.
}

/// On a thread of its own, which nobody waits for: it may never end.
fn end_of_stdin() -> io::Result<oneshot::Receiver<()>> {
    let (tell, end) = oneshot::channel();
    let read = move || {
        let mut ignored = [0; 256];
        let mut stdin = io::stdin();
        while stdin.read(&mut ignored).is_ok_and(|read| read > 0) {}
        tell.send(()).ok(); // Nobody listens once the project is down.
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read)?;
    Ok(end)
}

/// Whether we were started with SIGHUP ignored; to listen to it would undo that.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status, SignalKind::hangup())
}

fn ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_tells_each_signal_that_is_ignored() {
        let status = "Name:\ttidemill\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert!(ignored(status, SignalKind::hangup()));
        assert!(!ignored(status, SignalKind::interrupt()));
        assert!(ignored(status, SignalKind::pipe()));
        assert!(!ignored("", SignalKind::hangup()));
    }
}
