//! What a task does: `jobs/<job>/job.toml`, checked.

use super::commit::Publish;
use super::hive::PartitionBy;
use super::name::{Name, TableName, TopicName};
use super::secret::EnvValue;
use super::time::Micros;
use super::topic::Expect;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The stack of a thread that works on a query: an expression as deep as SQL may nest fits on it.
pub const QUERY_STACK_BYTES: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub name: Name,
    pub kind: JobKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Feed(FeedJob),
    Stream(StreamJob),
    Batch(BatchJob),
}

/// The world -> a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedJob {
    pub from: FeedFrom,
    pub topic: TopicName,
    /// The path of the field whose value is written once only: `["meta", "id"]`.
    pub unique: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedFrom {
    Replay(Replay),
    Simulate(Simulate),
    Exec(Exec),
    Sse(Sse),
    Wikimedia(Wikimedia),
}

impl FeedFrom {
    /// Whether the source says by a token where it goes on, and not by the numbers of its events.
    pub fn goes_by_tokens(&self) -> bool {
        match self {
            Self::Replay(_) | Self::Simulate(_) => false,
            Self::Exec(_) | Self::Sse(_) | Self::Wikimedia(_) => true,
        }
    }
}

/// JSON lines, plain or gzip, in the file's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Absolute, or from the project's folder.
    pub file: String,
    /// Seconds of event time a second; `None`: as fast as it goes.
    pub speed: Option<f64>,
}

/// A program that is called with the last cursor and writes what came after it, as JSON lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// argv, never a shell line.
    pub command: Vec<String>,
    /// The pause between the program's end and its next call.
    pub every: Duration,
    /// Added to the few variables that every program is handed down.
    pub environment: BTreeMap<String, EnvValue>,
}

/// A stream of server-sent events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sse {
    pub server: EventServer,
    /// The kinds of events that are taken; empty: all.
    pub kinds: Vec<String>,
}

/// Streams of Wikimedia's event service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wikimedia {
    /// The address of the whole, which names the streams.
    pub server: EventServer,
    pub streams: Vec<String>,
}

/// A server that sends events, and how it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventServer {
    pub url: String,
    /// Says who asks, with an address to write to.
    pub user_agent: String,
    /// Sent with each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, EnvValue>,
    /// A connection on which nothing has come for so long is dead.
    pub silence: Duration,
    /// A larger event is left out.
    pub event_bytes_max: u32,
}

/// An address without what may be a secret in it.
pub fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(address, _)| address)
}

/// Made-up events of a known shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulate {
    pub model: SimulateModel,
    pub seed: u64,
    /// Events a second of wall time.
    pub rate: f64,
    /// Where event time begins.
    pub from: Micros,
    /// How much event time there is; then the feed ends with its end mark. `None`: for ever.
    pub span: Option<Duration>,
    /// Seconds of event time a second. Without it an hour of event time holds 9,000 events.
    pub speed: Option<f64>,
    pub late: Option<LateRows>,
}

/// Events that a simulation holds back: dated in hours that have passed when they are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateRows {
    pub rows: u32,
    /// Their dates are spread evenly over `span` from here.
    pub from: Micros,
    pub span: Duration,
    /// The event time of their neighbours when they are sent, all together.
    pub at: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SimulateModel {
    Recentchange,
}

/// A topic -> a lake table, without end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamJob {
    pub topic: TopicName,
    pub start: Start,
    pub on_gap: OnGap,
    pub table: TableName,
    pub partition_by: PartitionBy,
    /// A hive partition closes when the watermark is this far past its end.
    pub close_after: Duration,
    /// Quiet time after the last late row before a partition closes again.
    pub late_quiet: Duration,
    pub roll: Roll,
    /// Processes that share its topic partitions, as members of one consumer group.
    pub instances: u32,
    /// Written into each record, which is treated so for ever.
    #[serde(default)]
    pub publish: Publish,
}

/// Where to begin while no commit exists.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    Earliest,
    Latest,
    At(Micros),
}

/// What happens when retention took messages before they were landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// The stream waits for a person.
    Stop,
    /// It goes on behind them; its record and the hive partitions around say that rows are missing.
    Skip,
}

/// When to commit, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roll {
    pub every: Duration,
    pub size_bytes: u64,
}

/// SQL over closed hive partitions -> a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchJob {
    /// The first is the table whose closing is worked on; the others are pinned.
    pub reads: Vec<TableName>,
    pub sql: String,
    pub expects: Vec<Expect>,
    pub to_lake: Option<TableName>,
    pub to_warehouse: Option<WarehouseTable>,
    /// Cut of the output; the schedule's grain.
    pub partition_by: PartitionBy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarehouseTable {
    pub table: TableName,
    pub cluster_by: Vec<String>,
    /// Hive partitions that began longer ago may be deleted.
    pub expire: Option<Duration>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Of the table, beside those that Tidemill sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl WarehouseTable {
    /// A table about which nothing more is said.
    pub fn of(table: TableName) -> Self {
        Self {
            table,
            cluster_by: Vec::new(),
            expire: None,
            description: String::new(),
            labels: BTreeMap::new(),
        }
    }
}
