//! What a project's files say, as it is written and as it is meant.

use super::dag::DagFile;
use super::feed::FeedOverride;
use super::job::JobFile;
use super::topic::TopicFile;
use crate::model::dag::{Dag, Table};
use crate::model::job::Job;
use crate::model::name::{Name, TableName, TopicName};
use std::collections::BTreeMap;

/// All files of a project, read one by one.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub feeds: Vec<FeedOverride>,
    pub topics: BTreeMap<TopicName, TopicFile>,
    pub jobs: BTreeMap<Name, JobFile>,
    pub dags: BTreeMap<Name, DagFile>,
}

/// What of them could be resolved.
#[derive(Debug, Default)]
pub struct Resolved {
    pub jobs: BTreeMap<Name, Job>,
    pub dags: BTreeMap<Name, Dag>,
    pub tables: BTreeMap<TableName, Table>,
}

/// The job that writes each lake table.
pub type Writers<'a> = BTreeMap<&'a TableName, &'a JobFile>;
