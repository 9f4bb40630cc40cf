//! A stream: from a topic to the files of a table, each offset once.

mod chunk;
pub mod decode;
mod judge;
pub mod progress;
mod roll;
mod route;
mod watermark;

mod header;
mod ledger;
mod link;
mod output;
mod owned;
mod reader;
mod writer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use progress::{Progress, TopicPartitionProgress};

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Source;
use crate::lake::Lake;
use crate::model::commit::consumer_group;
use crate::model::job::StreamJob;
use crate::model::mark;
use crate::model::name::{ProjectName, TableName};
use crate::model::topic::Topic;
use chunk::Reading;
use link::{Abandon, Link, QUEUE_CHUNKS};
use reader::{Reader, State};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use writer::{Writer, panicked};

/// One part of the memory is for files that are still written; the rest is for chunks on their
/// way, for files that are being sealed and for what the source has fetched ahead.
const FILES_SHARE: u64 = 2;

/// Below this a chunk's fixed costs show; above it its columns leave the cache.
const CHUNK_BYTES_MIN: usize = 64 << 10;
const CHUNK_BYTES_MAX: usize = 4 << 20;

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
pub fn group(project: &ProjectName, lake: &Lake, output: &TableName) -> String {
    consumer_group(project, lake.id(), output)
}

/// Runs until it is told to stop, or until only a person can help.
///
/// `Fenced` never leaves it: a topic partition whose log another writer has moved is begun again
/// where that log ends. Dropping the future abandons what is not committed, as a crash does.
pub async fn run(context: StreamContext) -> Result<(), Error> {
    let StreamContext { job, job_hash, topic, lake, source, clock, memory_bytes, .. } = context;
    let link = Arc::new(Link::default());
    let _abandon = Abandon(Arc::clone(&link));
    let (events, received) = sync_channel(QUEUE_CHUNKS);
    let (partition_by, close_after) = (job.partition_by.clone(), job.close_after);
    let table = mark::Reader { partition_by, close_after };
    let reader = Reader {
        source,
        reading: Reading::new(&topic, table, chunk_bytes(memory_bytes, topic.partitions)),
        topic: topic.clone(),
        start: job.start,
        on_gap: job.on_gap,
        clock: clock.clone(),
        stop: context.stop,
        link: Arc::clone(&link),
        events,
        state: State::default(),
    };
    let writer = Writer {
        job,
        job_hash,
        topic,
        lake,
        clock,
        runtime: Handle::current(),
        files_bytes: memory_bytes / FILES_SHARE,
        memory_bytes,
        ping: context.ping,
        progress: context.progress,
        link,
    };
    let reading = spawn("stream-read", move || reader.run())?;
    let writing = spawn("stream-write", move || writer.run(&received))?;
    let (read, written) = tokio::join!(reading, writing);
    let written = written.unwrap_or_else(|_| Err(panicked("writing")));
    let read = read.unwrap_or_else(|_| Err(panicked("reading")));
    // A reader that fails leaves the writer without a word, and the other way round.
    written.and(read)
}

/// Bytes of messages in one chunk, so that those of all topic partitions together, and those on
/// their way, stay within a quarter of the memory.
fn chunk_bytes(memory_bytes: u64, topic_partitions: u32) -> usize {
    let chunks = u64::from(topic_partitions) + QUEUE_CHUNKS as u64;
    let share = memory_bytes / 4 / chunks;
    usize::try_from(share).unwrap_or(usize::MAX).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

/// Runs `work` on a thread of its own; the receiver fails if that panics.
fn spawn(
    name: &str,
    work: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let (done, ended) = oneshot::channel();
    let span = tracing::Span::current();
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        let result = span.in_scope(work);
        drop(done.send(result)); // Nobody waits any more for a stream that was dropped.
    });
    thread
        .map_err(|err| Error::new(ErrorKind::Unavailable, err))
        .doing(|| format!("start {name}"))?;
    Ok(ended)
}
