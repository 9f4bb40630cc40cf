//! Attempts: one try of a task or of a compaction, or one life of a stream, and the process that it is.

use super::commit::Compact;
use super::duration::show_duration;
use super::name::Name;
use super::states::states;
use super::time::Micros;
use crate::error::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// In the result of a feed: whether its source has ended, so that it has nothing more to send.
pub const COMPLETE: &str = "complete";

states! {
    /// Where one try of a task, or one life of a stream, stands.
    AttemptState {
        /// Decided, not yet started.
        Queued = "queued",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// Stopped because we asked for it.
        Stopped = "stopped",
        /// Its shim is gone and left no status.
        Unknown = "unknown",
    }
}

states! {
    /// What an attempt runs.
    AttemptKind {
        Feed = "feed",
        Stream = "stream",
        Batch = "batch",
        Exec = "exec",
        Test = "test",
        Compact = "compact",
    }
}

states! {
    /// Why an attempt is to stop.
    StopReason {
        /// It has run for as long as its task may.
        TimedOut = "timed_out",
        /// A person has said how its run ends.
        Marked = "marked",
        /// Its run has failed, whatever the task does.
        RunFailed = "run_failed",
        /// The project goes down.
        Shutdown = "shutdown",
        /// A person has stopped the stream.
        Asked = "asked",
        /// The project's files have the stream no more.
        Gone = "gone",
        Superseded = "superseded",
        Edited = "edited",
    }
}

/// The decision that an attempt is to stop. The supervisor carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub reason: StopReason,
    /// As shown to people; nothing is decided by it.
    pub why: String,
    pub at: Micros,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Also the name of its folder; ends in random characters.
    pub id: String,
    pub owner: Owner,
    pub kind: AttemptKind,
    /// Hash of the dag version that it runs.
    pub version: String,
    /// For a stream, the content hash of job and topic that it was started with.
    pub content: Option<String>,
    /// Counted from 1.
    pub tries: u32,
    /// Higher than that of every earlier attempt of the same owner.
    pub epoch: u64,
    pub state: AttemptState,
    /// Why it is to stop, once that has been decided.
    pub stop: Option<Stop>,
    pub process: Option<Process>,
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub failure: Option<Failure>,
    /// What it returned: an exec task's output, a batch's rows and files.
    pub result: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Owner {
    /// By id, `dag.stream`.
    Stream(String),
    Task {
        run: String,
        task: Name,
    },
    /// It makes a closing of records that are published on close.
    Closing(Compact),
}

/// What identifies a process for good: pids come again.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub host: String,
    /// Of the shim, which leads the process group.
    pub pid: i32,
    /// Its start time in clock ticks since boot.
    pub pid_start: u64,
    pub boot_id: String,
}

/// Why an attempt failed, as shown to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: ErrorKind,
    pub error: String,
    pub remedy: Option<String>,
}

/// How a process ended, as its shim saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// One of the states that have ended.
    pub state: AttemptState,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Kept only where the process itself has not reported why.
    pub failure: Option<Failure>,
    /// Likewise.
    pub result: Option<serde_json::Value>,
}

impl StopReason {
    /// As shown to people.
    pub fn why(self) -> &'static str {
        match self {
            Self::TimedOut => "timed out",
            Self::Marked => "its run was marked by hand",
            Self::RunFailed => "its run has failed",
            Self::Shutdown => "tidemill is stopping",
            Self::Asked => "asked for by a person",
            Self::Gone => "it is gone from the project's files",
            Self::Superseded => "a newer attempt has taken over",
            Self::Edited => "its job or topic has been edited",
        }
    }
}

impl Stop {
    pub fn new(reason: StopReason, at: Micros) -> Self {
        Self { reason, why: reason.why().to_owned(), at }
    }

    pub fn timed_out(after: Duration, at: Micros) -> Self {
        let reason = StopReason::TimedOut;
        Self { reason, why: format!("{} after {}", reason.why(), show_duration(after)), at }
    }
}

impl Attempt {
    /// Whether it is to stop for this reason.
    pub fn stops_for(&self, reason: StopReason) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.reason == reason)
    }
}

impl AttemptState {
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped | Self::Unknown)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind, error: error.to_string(), remedy: error.remedy.clone() }
    }
}
