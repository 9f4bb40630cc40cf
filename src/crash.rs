//! Ends the process, as `kill -9` does, at a named point that a test has mined.
//!
//! Every kill at a random moment misses most of the moments that matter, which are short. So the
//! steps between which a crash is told apart by what comes next have names, and where the variable
//! `TIDEMILL_CRASH_POINTS` names a folder, a file there of a point's name goes off once, in whichever
//! process comes by first: it gets that process's number behind its name, and the process is gone.
//! Without the variable, as everywhere but in tests, a point is one look at a constant. Whoever could
//! set it for a process of ours could as well kill that process.

use rustix::process::Signal;
use rustix::process::getpid;
use rustix::process::kill_process;
use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

pub const VARIABLE: &str = "TIDEMILL_CRASH_POINTS";

/// Comes by a point; does not return if it was mined.
pub fn point(name: &str) {
    let Some(mines) = mines() else { return };
    let gone_off = mines.join(format!("{name}.{}", std::process::id()));
    if fs::rename(mines.join(name), gone_off).is_ok() {
        kill_process(getpid(), Signal::KILL).ok();
    }
}

/// Lets what lies in the folder `cause` count from now on: points mean more after some causes than
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
