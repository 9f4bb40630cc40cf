//! Ends the process, as `kill -9` does, at a named point that a test has mined.
//!
//! Every kill at a random moment misses most of the moments that matter, which are short. So the
//! steps between which a crash needs different recovery have names, and where the variable
//! `TIDEMILL_CRASH_POINTS` names a folder, a file there of a point's name goes off once, in whichever
//! process comes by first: it gets that process's number behind its name, and the process is gone.
//! Without the variable, as everywhere but in tests, a point is one look at a constant. Whoever could
//! set it for a process of ours could as well kill that process.

use rustix::process::{Signal, getpid, kill_process};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

pub const VARIABLE: &str = "TIDEMILL_CRASH_POINTS";

/// Comes by a point; does not return if it was mined.
pub fn point(name: &str) {
    let Some(mines) = mines() else { return };
    let gone_off = mines.join(format!("{name}.{}", std::process::id()));
    if fs::rename(mines.join(name), gone_off).is_ok() {
        kill_process(getpid(), Signal::KILL).ok();
    }
}

/// Lets what is in the folder `cause` count from now on: points mean more after some causes than
/// after others.
pub fn because(cause: &str) {
    let Some(mines) = mines() else { return };
    for mine in fs::read_dir(mines.join(cause)).into_iter().flatten().flatten() {
        // Another process may have been quicker.
        drop(fs::rename(mine.path(), mines.join(mine.file_name())));
    }
}

fn mines() -> Option<&'static Path> {
    static MINES: OnceLock<Option<PathBuf>> = OnceLock::new();
    MINES.get_or_init(|| env::var_os(VARIABLE).map(PathBuf::from)).as_deref()
}

/// Which call to a layer goes wrong, counted from 0, and how: for the tests of its callers.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    /// It never arrives, and the caller is dead: nothing that follows arrives either.
    Before(usize),
    /// It takes effect; nothing that follows arrives.
    After(usize),
    /// It fails without effect; what follows is answered.
    Error(usize),
    /// It takes effect and its answer is lost; what follows is answered.
    Lost(usize),
}

/// What becomes of one call.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// It has no effect, and an error for an answer.
    Refused,
    /// It takes effect, and has an error for an answer.
    Unanswered,
}

#[cfg(test)]
impl Crash {
    /// Ends the caller, in both ways.
    pub const KILLS: [fn(usize) -> Self; 2] = [Self::Before, Self::After];
    /// Passes, in both ways: the caller continues.
    pub const TROUBLES: [fn(usize) -> Self; 2] = [Self::Error, Self::Lost];

    pub fn at(self) -> usize {
        let (Self::Before(at) | Self::After(at) | Self::Error(at) | Self::Lost(at)) = self;
        at
    }

    pub fn fate(self, call: usize) -> Fate {
        match self {
            Self::Before(at) if call >= at => Fate::Refused,
            Self::After(at) if call > at => Fate::Refused,
            Self::Error(at) if call == at => Fate::Refused,
            Self::After(at) | Self::Lost(at) if call == at => Fate::Unanswered,
            Self::Before(_) | Self::After(_) | Self::Error(_) | Self::Lost(_) => Fate::Answered,
        }
    }
}
