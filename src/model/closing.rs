//! Closings as decisions see them. The object that says which files is [`super::commit::Closing`].

use super::hive::PartitionKey;
use super::name::TableName;
use super::time::Micros;

/// A closing as the store mirrors it; its files are in the lake.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// Counted over all tables, in the order in which they were mirrored.
    pub id: i64,
    pub table: TableName,
    pub key: PartitionKey,
    pub n: u32,
    pub partial: bool,
    /// Made because of rows that came after the partition had closed, or had passed empty.
    pub late: bool,
    pub rows: u64,
    pub bytes: u64,
    pub files: u64,
    pub frontier: Micros,
    /// The half-open stretch of event time.
    pub start: Micros,
    pub end: Micros,
    /// The run that wrote it, and that run's number; for a table written by a batch.
    pub made_from: Option<(String, u32)>,
    pub created: Micros,
}

/// What a closing object does not say itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    pub late: bool,
    pub start: Micros,
    pub end: Micros,
}
