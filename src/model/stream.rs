//! Streams: what is wanted of each, where it stands and how far it has come.

use super::commit::Counts;
use super::name::Name;
use super::states::states;
use super::stored::Stored;
use super::time::Micros;
use serde::{Deserialize, Serialize};

states! {
    /// Which way the messages go.
    StreamKind {
        /// Into a topic.
        Feed = "feed",
        /// From a topic into the lake.
        Stream = "stream",
    }
}

states! {
    /// What a person wants of a stream.
    Desired {
        Running = "running",
        Stopped = "stopped",
    }
}

states! {
    /// Where a stream stands.
    StreamState {
        /// As asked for.
        Stopped = "stopped",
        /// An attempt is queued or at work.
        Running = "running",
        /// Told to stop; commits what it holds.
        Draining = "draining",
        /// Its last attempt failed; the next one has a time.
        Retrying = "retrying",
        /// A person must look before it runs again.
        Waiting = "waiting",
        /// A feed with an end has reached it.
        Ended = "ended",
    }
}

/// A task without end; one process of it, where it has several.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// `dag.stream`; `dag.stream.2` is its second process.
    pub id: String,
    pub dag: Name,
    pub name: Name,
    pub job: Name,
    pub kind: StreamKind,
    /// Hash of the dag version that its next attempt runs.
    pub version: String,
    /// Content hash of its job and topic. An attempt with another one has been edited since.
    pub content: String,
    pub present: bool,
    pub desired: Desired,
    pub state: StreamState,
    /// Of the newest attempt; older ones are fenced.
    pub epoch: u64,
    /// Attempts that failed since it last went well.
    pub restarts: u32,
    /// When it may start again, while it is retrying.
    pub next_start: Option<Micros>,
    /// Why it waits for a person.
    pub waiting_for: Option<String>,
    pub progress: Option<StreamProgress>,
    pub heartbeat: Option<Micros>,
}

/// How far a stream or feed has come, as its process tells it with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamProgress {
    /// Messages a second, of late.
    pub rate: f64,
    /// Messages in Kafka that are not committed to the lake.
    pub lag: Option<u64>,
    pub watermark: Option<Micros>,
    pub last_commit: Option<Micros>,
    /// Newest mark that a feed sent.
    pub last_mark: Option<Micros>,
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    pub hive_partitions_open: u32,
    /// Since the process started.
    pub counts: Counts,
    /// Events of a feed in its topic, those of earlier processes too.
    pub produced: u64,
    /// Events that this process has left out, because `unique` or the topic knew their ids.
    pub left_out: u64,
    /// Events that this process has passed over, because they are too large or not for the topic.
    pub passed_over: u64,
    pub topic_partitions: Vec<TopicPartitionProgress>,
    /// What is the matter outside: `disconnected (HTTP 429), tries again in 38 s`.
    pub note: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopicPartitionProgress {
    pub topic_partition: u32,
    /// End of the last lake commit.
    pub committed: i64,
    /// Kafka's end offset.
    pub end: i64,
    pub watermark: Option<Micros>,
    /// Number of the last lake commit.
    pub seq: u64,
}

impl Stored for StreamProgress {
    const NAME: &'static str = "progress";
}

/// What becomes of a stream when its attempt has ended, or before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub state: StreamState,
    pub restarts: u32,
    pub next_start: Option<Micros>,
    pub waiting_for: Option<String>,
}
