//! The SQL in a project's files, each text with its place.

use super::dag::WorkFile;
use super::files::Files;
use super::job::JobFileKind;
use super::problem::{At, Place, Source};
use crate::model::name::{Name, TopicName};
use std::sync::Arc;

/// A text of SQL and what it is for.
#[derive(Clone, Debug)]
pub struct SqlText {
    pub role: Role,
    pub text: At<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `sql` of a column of a topic.
    Computed { topic: TopicName, column: String },
    /// `that` of a topic's expectation: over its columns.
    RowExpectation { topic: TopicName },
    /// `query.sql`.
    Query { job: Name },
    /// `that` of a batch's expectation: over what its query returns.
    ResultExpectation { job: Name },
    /// A column of what a batch's query returns.
    ClusterBy { job: Name },
    /// `test` of a task.
    Test { dag: Name, task: Name },
}

impl At<String> {
    /// The place of `len` bytes from `start` of this text; all of it where it was not written as it
    /// reads, with escapes or in an odd kind of quotes.
    pub fn part(&self, start: usize, len: usize) -> Place {
        let Place { source, span } = &self.place;
        let written = source.text.get(span.clone()).unwrap_or_default();
        match written.find(&self.value) {
            Some(skipped) if start + len <= self.value.len() => {
                let start = span.start + skipped + start;
                Place { source: source.clone(), span: start..start + len }
            }
            Some(_) | None => self.place.clone(),
        }
    }
}

pub(super) fn texts(files: &Files) -> Vec<SqlText> {
    let mut texts = Vec::new();
    for (topic, file) in &files.topics {
        for (column, sql) in &file.computed {
            let role = Role::Computed { topic: topic.clone(), column: column.clone() };
            texts.push(SqlText { role, text: sql.clone() });
        }
        for that in &file.expects {
            let role = Role::RowExpectation { topic: topic.clone() };
            texts.push(SqlText { role, text: that.clone() });
        }
    }
    for file in files.jobs.values() {
        let Some(JobFileKind::Batch(batch)) = &file.kind else { continue };
        let job = || file.name.clone();
        texts.push(SqlText { role: Role::Query { job: job() }, text: whole(&batch.sql) });
        for (_, that) in &batch.expects {
            texts
                .push(SqlText { role: Role::ResultExpectation { job: job() }, text: that.clone() });
        }
        for column in &batch.cluster_by {
            texts.push(SqlText { role: Role::ClusterBy { job: job() }, text: column.clone() });
        }
    }
    for (dag, file) in &files.dags {
        for task in &file.tasks {
            if let Some(WorkFile::Test(sql)) = &task.work {
                let role = Role::Test { dag: dag.clone(), task: task.name.value.clone() };
                texts.push(SqlText { role, text: sql.clone() });
            }
        }
    }
    texts
}

fn whole(source: &Arc<Source>) -> At<String> {
    let place = Place { source: source.clone(), span: 0..source.text.len() };
    At { value: source.text.clone(), place }
}
