//! What must be written down before a load job is submitted, and by whom it is kept.
//!
//! A job that has been submitted lives on when its process dies, so its id has to be known to
//! whoever comes next, even if the answer was lost. The warehouse asks for that through this seam
//! and does not know what stands behind it.

use crate::error::Error;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use async_trait::async_trait;

/// The record of load jobs.
///
/// An implementation promises that `begin` is one step: of two for one hive partition, the later
/// one sees the earlier one, or is refused by it.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes down that a job is about to be submitted, under an id that it chooses.
    ///
    /// The id is the one of an earlier, unfinished or finished, job of this very try and content, if
    /// there is one; never that of a job that is known to have failed. `Fenced` where a newer
    /// closing has begun, or where this attempt has been given up: from here on no older one begins.
    async fn begin(&self, intent: &Intent) -> Result<Begun, Error>;

    /// Writes down how a job has ended.
    async fn end(&self, job: &str, end: End) -> Result<(), Error>;
}

/// A load that is about to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub table: TableName,
    pub key: PartitionKey,
    pub closing: u32,
    /// Digest of the rows, so that a job of other rows is never taken for this one.
    pub content: String,
}

/// The answer to an [`Intent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The id to submit it under.
    pub job: String,
    /// Other jobs of the hive partition whose end is not known.
    pub open: Vec<Open>,
    /// Whether this journal has heard of the hive partition before.
    pub known: bool,
    /// Jobs for the table in the last 24 hours, this one too.
    pub jobs_today: u32,
    /// Hive partitions of the table that were ever loaded.
    pub partitions: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub job: String,
    pub closing: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Loaded {
        rows: u64,
        bytes: u64,
    },
    Failed,
    /// It can't write any more; whether it has written counts no longer.
    Burnt,
}
