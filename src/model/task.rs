//! The tasks of a run. What a task does is in the DAG's version (`dag::Task`).

use super::name::Name;
use super::states::states;
use super::time::Micros;

states! {
    /// Where a task of a run stands.
    TaskState {
        /// Waits for its tasks before it, for a slot or for its retry's time.
        Waiting = "waiting",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// A task before it failed for good.
        UpstreamFailed = "upstream_failed",
        /// It is not wanted in this run, and that is no failure.
        Skipped = "skipped",
    }
}

/// Which task of which run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId {
    pub run: String,
    pub task: Name,
}

/// A task of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInstance {
    pub name: Name,
    pub state: TaskState,
    /// Tries that count against `retries`.
    pub tries: u32,
    /// Tries lost through no fault of the task.
    pub lost: u32,
    pub epoch: u64,
    pub next_try: Option<Micros>,
    /// The newest attempt.
    pub attempt: Option<String>,
    pub output: Option<serde_json::Value>,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    pub marked_by: Option<String>,
}
