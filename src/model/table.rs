//! Tables of the lake as the state store mirrors them: how far each has been read, and has closed.

use super::dag::{Table, TableContent};
use super::hive::PartitionKey;
use super::name::Name;
use super::time::Micros;
use std::time::Duration;

/// A table of the lake and how far it has closed.
#[derive(Clone, Debug, PartialEq)]
pub struct LakeTable {
    pub table: Table,
    /// The DAG whose stream or task writes it.
    pub dag: Name,
    pub present: bool,
    pub close_after: Duration,
    pub late_quiet: Duration,
    /// Whether the closings that the lake had before this store are mirrored.
    pub adopted: bool,
    pub members: Option<MembersSeen>,
    /// Every hive partition that ends before it has closed; only of tables that a stream writes.
    pub frontier: Option<Micros>,
}

/// The newest members that have been seen, and what their topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersSeen {
    pub topic: String,
    pub topic_id: String,
    pub topic_partitions: u32,
}

/// How far the log of one topic partition has been mirrored.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    pub topic_id: String,
    pub topic_partition: u32,
    pub seq: u64,
    pub end: i64,
    pub watermark: Option<Micros>,
    /// Marks move its watermark, never the clock.
    pub marked: bool,
    /// Nothing has landed of it yet, and there was more to read.
    pub behind: bool,
    /// Sums over all records.
    pub read: u64,
    pub landed: u64,
    pub quarantined: u64,
    pub dropped: u64,
    /// When its newest record was mirrored.
    pub seen: Micros,
}

/// A hive partition with files that its newest closing lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenPartition {
    pub key: PartitionKey,
    /// The number of its newest closing; 0 if it has none.
    pub closings: u32,
    /// The frontier had passed it when that closing was made, so what came since is late.
    pub passed: bool,
    /// When the first of those files was seen, and the last.
    pub first_seen: Micros,
    pub last_seen: Micros,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// A stretch of event time, both ends included, of which a table lacks rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub from: Option<Micros>,
    pub to: Option<Micros>,
}

impl LakeTable {
    pub fn is_streamed(&self) -> bool {
        matches!(self.table.content, TableContent::Topic(_))
    }
}
