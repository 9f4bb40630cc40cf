//! What must be written down before a load job is submitted, and by whom it is kept.
//!
//! A job that has been submitted lives on when its process dies, so its id has to be known to
//! the next process, even if the answer was lost. The warehouse asks for that through this seam
//! and does not know what is behind it.

use crate::error::Error;
use crate::model::load::{BegunLoad, LoadEnd, LoadIntent};
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
    async fn begin(&self, intent: &LoadIntent) -> Result<BegunLoad, Error>;

    /// Writes down how a job has ended.
    async fn end(&self, job: &str, end: LoadEnd) -> Result<(), Error>;
}
