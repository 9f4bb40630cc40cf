//! `tidemill.toml` with its environment laid over it, checked.

use super::dag::{Dag, Table};
use super::job::Job;
use super::name::TableName;
use super::name::{Name, ProjectName, TopicName};
use super::topic::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a project's files say.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// The absolute folder of `tidemill.toml`.
    pub root: PathBuf,
    pub settings: Settings,
    pub topics: BTreeMap<TopicName, Topic>,
    pub jobs: BTreeMap<Name, Job>,
    pub dags: BTreeMap<Name, Dag>,
    /// The lake tables that the jobs write.
    pub tables: BTreeMap<TableName, Table>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub project: ProjectName,
    /// `default`, or what `--env` named.
    pub env: String,
    /// State of this environment, absolute: `.tidemill/` or `.tidemill/<env>/`.
    pub home: PathBuf,
    /// The SQLite file, absolute.
    pub state: PathBuf,
    pub kafka: Kafka,
    pub lake: LakeUrl,
    pub warehouse: Warehouse,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kafka {
    /// Topics as files under this folder.
    Embedded {
        dir: PathBuf,
        keep_bytes: u64,
    },
    Brokers {
        servers: String,
        properties: BTreeMap<String, EnvOrText>,
    },
}

/// A setting that may be a secret.
pub type EnvOrText = super::dag::EnvValue;

/// Where a secret is found when it is needed; never its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    Env(String),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LakeUrl {
    /// A folder, absolute.
    Folder(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warehouse {
    /// A folder, absolute.
    Local(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Attempts at once, streams apart.
    pub parallelism: u32,
    /// For each batch; above it the query spills to disk.
    pub batch_memory_bytes: u64,
    /// For each stream process.
    pub stream_memory_bytes: u64,
    pub keep_runs: Duration,
}
