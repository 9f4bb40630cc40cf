//! What is wrong for longer than a moment: it is stored, and shown until it is over.

use super::hive::PartitionKey;
use super::name::{Name, TableName};
use super::time::Micros;
use crate::error::Error;
use serde::Serialize;

/// Something that keeps a part of the project from going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub about: About,
    /// What is wrong, as shown to a person.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// When it was first found. Finding it again does not move this.
    pub since: Micros,
}

impl Problem {
    /// What an error says of its subject.
    pub fn of(about: About, error: &Error, since: Micros) -> Self {
        Self { about, text: error.to_string(), remedy: error.remedy.clone(), since }
    }
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum About {
    /// An edit of the project's files that was refused; what was accepted before goes on.
    Files {
        /// From the project's folder; `None` for a problem of the project as a whole.
        file: Option<String>,
        /// Both counted from 1; columns count characters.
        line: Option<u32>,
        column: Option<u32>,
    },
    /// A hive partition that is due and cannot close.
    Closing { table: TableName, key: PartitionKey },
    /// A table whose log or closings cannot be read: nothing of it closes.
    Table { table: TableName },
    /// A version of a DAG in the state store that cannot be read.
    Version { dag: Name, hash: String },
}
