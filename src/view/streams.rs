//! Streams and feeds: where each stands and how far it has come.

use super::Stamp;
use super::definitions::Definitions;
use super::instances;
use super::instances::Instance;
use crate::error::Error;
use crate::model::commit::{Counts, consumer_group};
use crate::model::hive::Grain;
use crate::model::job::{FeedFrom, JobKind, StreamJob, without_query};
use crate::model::name::{Name, ProjectName, TableName, TopicName};
use crate::model::stream::{
    Stream, StreamKind, StreamProgress, StreamState, TopicPartitionProgress,
};
use crate::model::time::Micros;
use crate::store::Store;
use serde::Serialize;

/// A stream or feed in a list.
#[derive(Clone, Debug, Serialize)]
pub struct StreamLine {
    pub id: String,
    pub kind: StreamKind,
    pub state: StreamState,
    /// Messages a second, while it is at work.
    pub rate: Option<f64>,
    /// Messages of its topic that are not committed; of a stream.
    pub lag: Option<u64>,
    /// Of a feed: its last mark.
    pub watermark: Option<Stamp>,
    pub last_commit: Option<Stamp>,
}

/// The streams and feeds that the project's files have.
pub async fn lines(store: &Store, definitions: &Definitions) -> Result<Vec<StreamLine>, Error> {
    let landed = store.landed().await?;
    let present = definitions.streams.iter().filter(|stream| stream.present);
    let lines = present.map(|stream| {
        let mirrored = match definitions.job(stream) {
            Some(JobKind::Stream(job)) => {
                let table = definitions.tables.get(&job.table);
                let frontier = table.and_then(|table| table.frontier);
                Mirrored {
                    last_commit: landed.get(&job.table).and_then(|landed| landed.last_commit),
                    watermark: frontier.map(|frontier| frontier.plus(job.close_after)),
                }
            }
            Some(JobKind::Feed(_) | JobKind::Batch(_)) | None => Mirrored::default(),
        };
        line(stream, mirrored)
    });
    Ok(lines.collect())
}

/// What the mirror of a stream's log knows of it, whichever process has written the log.
#[derive(Clone, Copy, Debug, Default)]
struct Mirrored {
    last_commit: Option<Micros>,
    watermark: Option<Micros>,
}

/// A process that has just started knows nothing of what those before it have done: the mirror does.
fn line(stream: &Stream, mirrored: Mirrored) -> StreamLine {
    let at_work = stream.state == StreamState::Running;
    let progress = stream.progress.clone().unwrap_or_default();
    let told = progress.watermark.or(progress.last_mark);
    StreamLine {
        id: stream.id.clone(),
        kind: stream.kind,
        state: stream.state,
        rate: at_work.then_some(progress.rate),
        lag: progress.lag.filter(|_| stream.kind == StreamKind::Stream),
        watermark: told.or(mirrored.watermark).map(Stamp),
        last_commit: progress.last_commit.or(mirrored.last_commit).map(Stamp),
    }
}

/// A stream or feed with its place in each topic partition.
#[derive(Debug, Serialize)]
pub struct StreamShown {
    pub id: String,
    pub kind: StreamKind,
    pub state: StreamState,
    /// When its process began, while there is one.
    pub since: Option<Stamp>,
    pub pid: Option<i32>,
    /// Its process is older than the daemon.
    pub adopted: bool,
    pub restarts: u32,
    pub next_start: Option<Stamp>,
    pub waiting_for: Option<String>,
    pub job: Name,
    /// Content hash of the DAG's version that its next process runs.
    pub version: String,
    /// `None`, as `to`, if its version cannot be read.
    pub from: Option<Source>,
    pub to: Option<Target>,
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    pub hive_partitions_open: u32,
    /// What is the matter outside.
    pub note: Option<String>,
    /// Events of a feed in its topic.
    pub produced: u64,
    pub left_out: u64,
    /// Events of a feed that are too large or not for the topic.
    pub passed_over: u64,
    /// Since the process began.
    pub counts: Counts,
    /// Where it has several.
    pub instances: Vec<Instance>,
    pub topic_partitions: Vec<Place>,
    pub watermark: Option<Stamp>,
    /// Why its newest attempt failed.
    pub last_error: Option<String>,
}

/// What a stream or feed reads.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    Replay {
        file: String,
    },
    Simulate {
        seed: u64,
        rate: f64,
    },
    Exec {
        command: Vec<String>,
    },
    Sse {
        /// Without the query, which may hold a secret.
        address: String,
    },
    Wikimedia {
        streams: Vec<String>,
    },
    Topic {
        topic: TopicName,
        /// Once its table has seen one.
        topic_id: Option<String>,
        consumer_group: Option<String>,
    },
}

/// What a stream or feed writes.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    Topic { topic: TopicName },
    Table { table: TableName, grain: Grain, every_ms: u64, size_bytes: u64 },
}

#[derive(Debug, Serialize)]
pub struct Place {
    pub topic_partition: u32,
    pub committed: u64,
    pub end: u64,
    pub watermark: Option<Stamp>,
    /// Number of the last commit.
    pub commit: u64,
    /// The lowest watermark of all: the stream's.
    pub holds: bool,
}

/// `up`: since when the daemon runs, if it does.
pub async fn show(
    store: &Store,
    project: &ProjectName,
    stream: &Stream,
    up: Option<Micros>,
) -> Result<StreamShown, Error> {
    let definitions = Definitions::read(store).await?;
    let (from, to) = ends(store, project, &definitions, stream).await?;
    let attempt = store.attempts_of_stream(&stream.id, 1).await?.pop();
    let all = instances::of(store, stream).await?;
    let progress = instances::together(&all);
    let at_work = attempt.as_ref().filter(|attempt| !attempt.state.ended());
    let since = at_work.and_then(|attempt| attempt.started);
    Ok(StreamShown {
        id: stream.id.clone(),
        kind: stream.kind,
        state: stream.state,
        since: since.map(Stamp),
        pid: at_work.and_then(|attempt| attempt.process.as_ref()).map(|process| process.pid),
        adopted: since.zip(up).is_some_and(|(since, up)| since < up),
        restarts: stream.restarts,
        next_start: stream.next_start.map(Stamp),
        waiting_for: stream.waiting_for.clone(),
        job: stream.job.clone(),
        version: stream.version.clone(),
        from,
        to,
        memory_bytes: progress.memory_bytes,
        memory_max_bytes: progress.memory_max_bytes,
        hive_partitions_open: progress.hive_partitions_open,
        note: progress.note.clone(),
        produced: progress.produced,
        left_out: progress.left_out,
        passed_over: progress.passed_over,
        counts: progress.counts,
        instances: instances::each(store, &all).await?,
        topic_partitions: places(&progress),
        watermark: progress.watermark.or(progress.last_mark).map(Stamp),
        last_error: attempt.and_then(|attempt| attempt.failure).map(|failure| failure.error),
    })
}

async fn ends(
    store: &Store,
    project: &ProjectName,
    definitions: &Definitions,
    stream: &Stream,
) -> Result<(Option<Source>, Option<Target>), Error> {
    Ok(match definitions.job(stream) {
        Some(JobKind::Feed(feed)) => {
            let from = match &feed.from {
                FeedFrom::Replay(replay) => Source::Replay { file: replay.file.clone() },
                FeedFrom::Simulate(simulate) => {
                    Source::Simulate { seed: simulate.seed, rate: simulate.rate }
                }
                FeedFrom::Exec(exec) => Source::Exec { command: exec.command.clone() },
                FeedFrom::Sse(sse) => {
                    Source::Sse { address: without_query(&sse.server.url).to_owned() }
                }
                FeedFrom::Wikimedia(from) => Source::Wikimedia { streams: from.streams.clone() },
            };
            (Some(from), Some(Target::Topic { topic: feed.topic.clone() }))
        }
        Some(JobKind::Stream(job)) => {
            let table = definitions.tables.get(&job.table);
            let members = table.and_then(|table| table.members.as_ref());
            let group = |lake: String| consumer_group(project, &lake, &job.table);
            let from = Source::Topic {
                topic: job.topic.clone(),
                topic_id: members.map(|members| members.topic_id.clone()),
                consumer_group: store.lake_id().await?.map(group),
            };
            (Some(from), Some(table_of(job)))
        }
        Some(JobKind::Batch(_)) | None => (None, None),
    })
}

fn table_of(job: &StreamJob) -> Target {
    Target::Table {
        table: job.table.clone(),
        grain: job.partition_by.grain,
        every_ms: u64::try_from(job.roll.every.as_millis()).unwrap_or(u64::MAX),
        size_bytes: job.roll.size_bytes,
    }
}

fn places(progress: &StreamProgress) -> Vec<Place> {
    let lowest = progress.topic_partitions.iter().map(|place| place.watermark).min();
    let positive = |offset: i64| u64::try_from(offset).unwrap_or(0);
    let place = |place: &TopicPartitionProgress| Place {
        topic_partition: place.topic_partition,
        committed: positive(place.committed),
        end: positive(place.end),
        watermark: place.watermark.map(Stamp),
        commit: place.seq,
        holds: Some(place.watermark) == lowest,
    };
    progress.topic_partitions.iter().map(place).collect()
}
