//! A stream: from a topic to the files of a table, each offset once.

pub mod decode;
pub mod progress;

pub use progress::Progress;
pub use progress::TopicPartitionProgress;

use crate::clock::Clock;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::kafka::Source;
use crate::lake::Lake;
use crate::model::job::StreamJob;
use crate::model::name::ProjectName;
use crate::model::topic::Topic;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All that a stream needs of the world around it.
pub struct StreamContext {
    pub job: StreamJob,
    /// Content hash of the job, for its records.
    pub job_hash: String,
    pub topic: Topic,
    pub lake: Lake,
    /// A new member of the group that [`group`] names.
    pub source: Box<dyn Source>,
    pub clock: Clock,
    /// For buffered rows and unfinished files: `limits.stream_memory`.
    pub memory_bytes: u64,
    /// Called after each commit; must not block.
    pub ping: Arc<dyn Fn() + Send + Sync>,
    /// Gets a new state about every second, and the last one at the end.
    pub progress: watch::Sender<Progress>,
    /// Drains: what was read is committed, the group is left, then [`run`] returns.
    pub stop: CancellationToken,
}

/// The consumer group of the stream that writes `output`; an ACL can go by its prefix.
pub fn group(project: &ProjectName, lake: &Lake, output: &crate::model::name::TableName) -> String {
    format!("tidemill.{project}.{}.{output}", lake.short_id())
}

/// Runs until it is told to stop, or until only a person can help.
///
/// `Fenced` never leaves it: a topic partition whose log another writer has moved is begun again
/// where that log ends. Dropping the future abandons what is not committed, as a crash does.
pub async fn run(context: StreamContext) -> Result<(), Error> {
    drop(context);
    Err(Error::new(ErrorKind::Bug, "the pipeline is not part of this build"))
}
