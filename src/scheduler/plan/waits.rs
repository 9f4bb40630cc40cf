//! Why what could be at work is not.

use super::slots::Slots;
use crate::model::name::Name;
use crate::model::task::TaskId;
use crate::model::time::Micros;
use std::collections::BTreeMap;

/// What is in the way of a run or a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A person has paused its DAG.
    Paused,
    /// The project's files have its DAG no more.
    Gone,
    /// As many runs of its DAG as may be are at work, or go first.
    ActiveRuns { working: usize, most: usize },
    /// A run of the same hive partition is at work, or an attempt of one has not been seen to end.
    EarlierRun { run: String },
    /// These tasks before it have not succeeded.
    Upstream { tasks: Vec<Name> },
    /// Its next try comes after a pause.
    Retry { at: Micros },
    /// Every slot is held, or goes to what comes first.
    Slot(Slots),
}

/// What the plan lets wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Queued runs, by id.
    pub runs: BTreeMap<String, Wait>,
    /// Waiting tasks of runs at work.
    pub tasks: BTreeMap<TaskId, Wait>,
}
