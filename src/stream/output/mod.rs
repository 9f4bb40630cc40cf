//! Where the rows of one topic partition go: one seam, so that they may go elsewhere than to the lake.
//!
//! The ledger counts, an output keeps. It is asked to be ready for a record: all that it was given
//! since the last one then is where no reader looks, durably, and counts only if that record is
//! created. So an output needs no memory of what was committed: who begins again reads from the end of
//! the log.

mod file;
pub mod lake;
mod quarantine;

#[cfg(test)]
mod conformance;

use super::chunk::Rejected;
use super::route::Part;
use crate::error::Error;
use crate::model::commit::File;
use crate::model::hive::PartitionKey;
use async_trait::async_trait;

/// What a record names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    pub files: Vec<File>,
    pub quarantine: Option<File>,
}

/// Rows of one topic partition on their way. Every implementation passes `conformance`.
///
/// After an error it is of no use any more: the topic partition begins again at the end of its log.
#[async_trait]
pub trait Output: Send {
    /// Takes rows of one hive partition, in the order of their offsets.
    fn take(&mut self, part: Part) -> Result<(), Error>;

    /// Takes messages that do not land.
    fn quarantine(&mut self, rejected: &[Rejected]) -> Result<(), Error>;

    /// Bytes that it holds in memory.
    fn memory(&self) -> u64;

    /// Bytes that it has staged already for the next record.
    fn staged_bytes(&self) -> u64;

    /// What [`seal`](Self::seal) could take out of memory, by hive partition, in bytes.
    fn open(&self) -> Vec<(PartitionKey, u64)>;

    /// Hive partitions with rows that no record names yet.
    fn keys(&self) -> Vec<PartitionKey>;

    /// Takes the rows of one hive partition out of memory, ahead of record `seq`.
    async fn seal(&mut self, seq: u64, key: PartitionKey) -> Result<(), Error>;

    /// Stages everything for record `seq`, and begins again.
    async fn prepare(&mut self, seq: u64) -> Result<Prepared, Error>;
}
