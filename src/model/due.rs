//! Ranges of coarser schedules: which are due, and what each waits for.

use super::hive::PartitionKey;
use super::name::{Name, TableName};
use super::run::RunState;
use super::time::Micros;

/// A range of a coarser schedule in which something has closed since its last run.
#[derive(Clone, Debug, PartialEq)]
pub struct DueRange {
    pub dag: Name,
    pub key: PartitionKey,
    pub start: Micros,
    pub end: Micros,
    /// A person asked for it: runs whatever `on_late` says.
    pub asked: bool,
    pub since: Micros,
}

/// The newest run of a hive partition, where it has not succeeded or its output not closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    pub dag: Name,
    pub key: PartitionKey,
    pub run: String,
    pub state: RunState,
}

/// The first thing that a range waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Hold {
    /// The frontier of the streamed table stands before the range's end, or does not exist.
    Frontier { table: TableName, frontier: Option<Micros> },
    /// The newest run of a hive partition in the range has not succeeded, or is closing its output.
    Run(Unfinished),
    /// A coarser schedule before it has itself yet to run.
    Due { dag: Name },
}
