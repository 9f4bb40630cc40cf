//! `tidemill.toml` with its environment laid over it, checked.

use super::name::ProjectName;
use super::secret::EnvValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The variable in which a daemon hands its workers the settings that it works by, as JSON: an edit of
/// `tidemill.toml` counts from the daemon's next start, for all of its processes at once.
pub const SETTINGS_VARIABLE: &str = "TIDEMILL_SETTINGS";

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
        properties: BTreeMap<String, EnvValue>,
    },
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
    /// How long requests are kept once they have an answer: the audit log.
    pub keep_requests: Duration,
}
