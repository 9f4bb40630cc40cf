//! A DAG as it is meant: every name resolved, every edge checked.

use super::hive::Grain;
use super::job::Job;
use super::name::{Name, TableName, TopicName};
use super::secret::EnvValue;
use super::stored::Stored;
use super::time::Micros;
use super::topic::Topic;
use super::zone::Zone;
use crate::checksum::Checksum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dag {
    pub name: Name,
    pub doc: String,
    pub owner: String,
    /// Streams by name, each with its job. A stream's id is `dag.stream`.
    pub streams: BTreeMap<Name, Name>,
    pub schedule: Schedule,
    /// In topological order.
    pub tasks: Vec<Task>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Only by `dags trigger`.
    Manual,
    OnClose(OnClose),
}

/// One run for each hive partition that closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnClose {
    pub table: TableName,
    /// The table's own grain or a coarser one.
    pub grain: Grain,
    /// Whose days or months are meant; the table's own timezone.
    pub timezone: Zone,
    pub on_late: OnLate,
    pub empty: Empty,
    /// Partitions that start before it make no run.
    pub start: Option<Micros>,
    pub max_active_runs: u32,
}

/// What a DAG does with a closing that late rows made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLate {
    /// Makes a run that waits for a person.
    Hold,
    /// Runs.
    Refresh,
    /// Counts.
    Ignore,
}

/// What a closed hive partition without rows does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    Skip,
    Run,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub name: Name,
    pub after: Vec<Name>,
    pub work: Work,
    pub retries: u32,
    /// Doubles with each try, at most an hour.
    pub retry_delay: Duration,
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A batch job, by name.
    Batch(Name),
    /// argv, never a shell line; `{…}` fills one item.
    Exec { argv: Vec<String>, env: BTreeMap<String, EnvValue> },
    /// SQL that must return no rows.
    Test(String),
}

/// What the user's own programs see of the daemon's environment: who it is and where programs are. The
/// rest may be secrets that are none of their business.
const HANDED_DOWN: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];
const HANDED_DOWN_PREFIX: &str = "LC_";

/// What the user's own programs see of an environment.
pub fn handed_down<'a>(
    environment: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, String> {
    let seen = |name: &str| HANDED_DOWN.contains(&name) || name.starts_with(HANDED_DOWN_PREFIX);
    environment
        .filter(|(name, _)| seen(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A DAG with all it needs to work, without secrets; what a run is pinned to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DagVersion {
    pub dag: Dag,
    pub jobs: BTreeMap<Name, Job>,
    /// The topics that its streams read and its feeds fill, and those whose tables its batches read.
    pub topics: BTreeMap<TopicName, Topic>,
    /// Who writes the tables that its batches and tests read, and how those are laid out.
    pub tables: BTreeMap<TableName, Table>,
}

/// A lake table of the project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub name: TableName,
    pub writer: Name,
    pub partition_by: super::hive::PartitionBy,
    pub content: TableContent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableContent {
    /// Written by a stream: the topic's columns, then `_partition` and `_offset`.
    Topic(TopicName),
    /// Written by a batch job: its start column, then what its query returns.
    Query,
}

impl Stored for DagVersion {
    const NAME: &'static str = "DAG version";
}

impl Stored for Table {
    const NAME: &'static str = "table";
}

impl DagVersion {
    /// 7 hexadecimal digits of it are shown to people.
    pub fn hash(&self) -> String {
        content_hash(self)
    }
}

/// The SHA-256 of a value's JSON, in hexadecimal.
pub fn content_hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("model types have string keys and finite numbers");
    Checksum::of(json)
}
