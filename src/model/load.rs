//! Load jobs of the warehouse: one is written down before it is submitted.

use super::hive::PartitionKey;
use super::name::TableName;

/// A load that is about to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadIntent {
    pub table: TableName,
    pub key: PartitionKey,
    pub closing: u32,
    /// Digest of the rows, so that a job of other rows is never mistaken for this one.
    pub content: String,
}

/// The answer to a [`LoadIntent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunLoad {
    /// The id to submit it under.
    pub job: String,
    /// Other jobs of the hive partition whose end is not known.
    pub open: Vec<OpenLoad>,
    /// Whether a job of the hive partition has run to its end before. Only then no job is unknown: one that
    /// was begun may have stopped before it asked the service for jobs that this journal never knew.
    pub known: bool,
    /// Jobs for the table in the last 24 hours, this one too.
    pub jobs_today: u32,
    /// Hive partitions of the table that were ever loaded.
    pub partitions: u32,
}

/// A job whose end is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLoad {
    pub job: String,
    pub closing: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadEnd {
    Loaded {
        rows: u64,
        bytes: u64,
    },
    Failed,
    /// It can't write any more; whether it has written counts no longer.
    Burnt,
}

/// A job that has changed the warehouse, or may still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLoad {
    pub job: String,
    pub table: TableName,
    pub key: PartitionKey,
    /// Its end is written down.
    pub ended: bool,
}
