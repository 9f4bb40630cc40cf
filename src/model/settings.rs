//! `tidemill.toml` with its environment laid over it, checked.

use super::dag::{Dag, DagVersion, Schedule, Table, Work};
use super::job::{Job, JobKind};
use super::name::TableName;
use super::name::{Name, ProjectName, TopicName};
use super::topic::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
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

impl Project {
    /// What a run of `dag` is pinned to now.
    ///
    /// A table that a batch writes has the schema of its query: so with a table come its writer, and
    /// the tables that the writer reads.
    pub fn version(&self, dag: &Dag) -> DagVersion {
        let mut version = DagVersion {
            dag: dag.clone(),
            jobs: BTreeMap::new(),
            topics: BTreeMap::new(),
            tables: BTreeMap::new(),
        };
        for job in dag.streams.values() {
            self.pin_job(job, &mut version);
        }
        if let Schedule::OnClose(on_close) = &dag.schedule {
            self.pin_table(&on_close.table, &mut version);
        }
        for task in &dag.tasks {
            match &task.work {
                Work::Batch(job) => self.pin_job(job, &mut version),
                Work::Test(sql) => {
                    for table in self.tables.keys().filter(|table| sql.contains(table.as_str())) {
                        self.pin_table(table, &mut version);
                    }
                }
                Work::Exec { .. } => {}
            }
        }
        version
    }

    fn pin_job(&self, name: &Name, version: &mut DagVersion) {
        let Some(job) = self.jobs.get(name).filter(|_| !version.jobs.contains_key(name)) else {
            return;
        };
        version.jobs.insert(name.clone(), job.clone());
        match &job.kind {
            JobKind::Feed(feed) => self.pin_topic(&feed.topic, version),
            JobKind::Stream(stream) => {
                self.pin_topic(&stream.topic, version);
                self.pin_table(&stream.table, version);
            }
            JobKind::Batch(batch) => {
                for table in batch.reads.iter().chain(&batch.to_lake) {
                    self.pin_table(table, version);
                }
            }
        }
    }

    fn pin_table(&self, name: &TableName, version: &mut DagVersion) {
        let Some(table) = self.tables.get(name).filter(|_| !version.tables.contains_key(name))
        else {
            return;
        };
        version.tables.insert(name.clone(), table.clone());
        self.pin_job(&table.writer, version);
    }

    fn pin_topic(&self, name: &TopicName, version: &mut DagVersion) {
        version.topics.extend(self.topics.get(name).map(|topic| (name.clone(), topic.clone())));
    }
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
    Bucket(LakeBucket),
}

/// A Cloud Storage bucket, or a part of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LakeBucket {
    pub name: String,
    /// What the lake's object names begin with, without slashes around it; may be empty.
    pub prefix: String,
    /// Another server than Google's; with plain `http`, an emulator that asks for no credentials.
    pub endpoint: Option<String>,
    /// A key file, absolute; `None`: application default credentials.
    pub credentials: Option<PathBuf>,
}

impl fmt::Display for LakeBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, prefix, .. } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        write!(f, "gs://{name}{slash}{prefix}")
    }
}

impl fmt::Display for LakeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warehouse {
    /// A folder, absolute.
    Local(PathBuf),
    BigQuery(BigQuery),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BigQuery {
    /// The Google Cloud project that holds the data sets and runs the jobs.
    pub project: String,
    /// Of new data sets and of all jobs: `EU`, `europe-west1`; equal to the bucket's.
    pub location: String,
    /// Where an emulator answers, `http://host:port`; no credentials are sent there.
    pub endpoint: Option<String>,
    /// A key file of a service account, absolute; `None`: application default credentials.
    pub credentials: Option<PathBuf>,
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
