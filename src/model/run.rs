//! Runs: a DAG at work for one trigger, what it works on and what it reads.

use super::attempt::{Attempt, Failure};
use super::hive::{Grain, PartitionKey};
use super::name::{Name, TableName};
use super::states::states;
use super::task::TaskInstance;
use super::time::Micros;

states! {
    /// Why a run exists.
    RunKind {
        Close = "close",
        Manual = "manual",
    }
}

states! {
    /// The state of a run.
    RunState {
        /// Made by `on_late = "hold"`: waits for a person.
        Held = "held",
        Queued = "queued",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// A newer closing of the same partition took its place before it started.
        Superseded = "superseded",
    }
}

/// A DAG at work for one trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// `close-2026-11-20T05-r2-k3f9`.
    pub id: String,
    pub dag: Name,
    /// Hash of the dag version that it is pinned to.
    pub version: String,
    pub kind: RunKind,
    pub class: Class,
    /// What it works on; `None` for a manual run without a partition key.
    pub subject: Option<Subject>,
    pub state: RunState,
    pub created: Micros,
    pub started: Option<Micros>,
    pub ended: Option<Micros>,
    /// The run of a newer closing that took its place.
    pub superseded_by: Option<String>,
    /// Who decided its state by hand.
    pub marked_by: Option<String>,
    /// Why it has failed, where none of its tasks says it.
    pub failure: Option<Failure>,
}

/// The hive partition, or coarser range, that a run works on.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The table whose closing made the run.
    pub table: TableName,
    pub grain: Grain,
    pub key: PartitionKey,
    /// The revision: the closing's number, or how often the range has come up. 0 where a hive
    /// partition passed without rows.
    pub n: u32,
    /// The half-open data interval.
    pub start: Micros,
    pub end: Micros,
    /// Made from a closing that was forced, or cut by the first offset.
    pub partial: bool,
}

/// Who goes first; the smaller one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Manual,
    Live,
    Reopened,
    Backfill,
}

/// A closing that a run reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    pub table: TableName,
    pub key: PartitionKey,
    pub n: u32,
}

/// A run as its tasks see it: what it works on, and the closings that it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedRun {
    pub id: String,
    /// `None` for a manual run without a partition key.
    pub subject: Option<Subject>,
    /// Fixed when the run was made.
    pub inputs: Vec<Input>,
}

/// A run at work, with its tasks in order and the newest attempt of each.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveRun {
    pub run: Run,
    pub tasks: Vec<(TaskInstance, Option<Attempt>)>,
}

impl RunState {
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Superseded)
    }
}

impl Class {
    pub fn number(self) -> i64 {
        self as i64
    }
}

impl TryFrom<i64> for Class {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        [Self::Manual, Self::Live, Self::Reopened, Self::Backfill]
            .into_iter()
            .find(|class| class.number() == number)
            .ok_or_else(|| format!("no class of runs has the number {number}"))
    }
}
