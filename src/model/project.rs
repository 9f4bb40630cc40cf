//! All that a project's files say, and what of it a run is pinned to.

use super::dag::{Dag, DagVersion, Schedule, Table, Work};
use super::job::{Job, JobKind};
use super::name::{Name, TableName, TopicName};
use super::settings::Settings;
use super::topic::Topic;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
