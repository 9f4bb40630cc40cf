//! What an accepted project is to runs and closings.

use super::dag::{DagVersion, Table, Task, Work};
use super::hive::Grain;
use super::job::{JobKind, StreamJob};
use super::name::{Name, TableName};
use super::project::Project;
use std::time::Duration;

/// A DAG as the store knows it; what it does is in its version.
#[derive(Clone, Debug, PartialEq)]
pub struct DagEntry {
    pub name: Name,
    /// Hash of the newest version.
    pub version: String,
    pub paused: bool,
    /// Whether the project's files still have it.
    pub present: bool,
    pub on_close: Option<TableName>,
    pub grain: Option<Grain>,
}

/// What a project's files are to the store: a version of each DAG, and who writes which table.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub versions: Vec<DagVersion>,
    pub tables: Vec<AcceptedTable>,
}

/// A lake table with the times of the job that writes it; zero for one that a batch writes.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedTable {
    pub table: Table,
    /// The DAG whose stream or task writes it.
    pub dag: Name,
    pub close_after: Duration,
    pub late_quiet: Duration,
}

impl Accepted {
    /// Takes from a checked project what runs and closings need.
    pub fn of(project: &Project) -> Self {
        let versions: Vec<_> = project.dags.values().map(|dag| project.version(dag)).collect();
        let tables = project.tables.values().filter_map(|table| {
            let version = versions.iter().find(|version| writes(version, &table.writer))?;
            let stream = version.jobs.get(&table.writer).and_then(|job| match &job.kind {
                JobKind::Stream(stream) => Some(stream),
                JobKind::Feed(_) | JobKind::Batch(_) => None,
            });
            let time = |of: fn(&StreamJob) -> Duration| stream.map_or(Duration::ZERO, of);
            Some(AcceptedTable {
                table: table.clone(),
                dag: version.dag.name.clone(),
                close_after: time(|stream| stream.close_after),
                late_quiet: time(|stream| stream.late_quiet),
            })
        });
        Self { tables: tables.collect(), versions }
    }
}

/// Whether a stream or task of the DAG runs `job`; versions also pin jobs of other DAGs.
fn writes(version: &DagVersion, job: &Name) -> bool {
    let runs = |task: &Task| matches!(&task.work, Work::Batch(batch) if batch == job);
    version.dag.streams.values().any(|stream| stream == job) || version.dag.tasks.iter().any(runs)
}
