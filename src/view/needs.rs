//! What does not go on before a person has looked.

use super::Stamp;
use super::definitions::Definitions;
use super::up::Up;
use crate::error::Error;
use crate::model::commit::Counts;
use crate::model::hive::PartitionKey;
use crate::model::job::JobKind;
use crate::model::name::{Name, TableName};
use crate::model::problem::{About, Problem};
use crate::model::run::RunState;
use crate::model::stream::StreamState;
use crate::store::Store;
use crate::store::pages::Landed;
use serde::Serialize;
use std::collections::BTreeMap;

/// Of each DAG so many failed and so many held runs are counted: more say the same.
const RUNS_MAX: u32 = 100;

/// A process that has landed nothing is told of after so many messages: a first bad one happens.
const QUARANTINED_MIN: u64 = 100;

/// One thing that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Need {
    /// Settings were edited that count from the daemon's next start.
    Restart { pid: u32, settings: Vec<String> },
    /// An edit of the project's files was refused; what was accepted before goes on.
    FilesRefused { problems: Vec<FileProblem> },
    /// A stream or feed waits for a person.
    StreamWaits { stream: String, reason: Option<String> },
    /// Every message that a stream has read became no row.
    AllQuarantined { stream: String, table: TableName, messages: u64 },
    /// A hive partition is due and cannot close; the first of its table, and how many there are.
    CannotClose { table: TableName, partition_key: PartitionKey, partitions: u64, problem: Trouble },
    /// A table whose log or closings cannot be read: nothing of it closes.
    TableUnreadable { table: TableName, problem: Trouble },
    /// A version of a DAG that cannot be read: its runs fail.
    VersionUnreadable { dag: Name, version: String, problem: Trouble },
    /// Runs that failed or are held, without a later closing of their hive partitions.
    Runs {
        dag: Name,
        state: RunState,
        runs: u32,
        /// There may be more.
        at_least: bool,
        /// Where there is one only.
        run: Option<String>,
    },
}

/// What is wrong with a thing, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub text: String,
    pub remedy: Option<String>,
    pub since: Stamp,
}

/// What is wrong in the project's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// From the project's folder; `None` for a problem of the project as a whole.
    pub file: Option<String>,
    pub line: Option<u32>,
    pub column: Option<u32>,
    #[serde(flatten)]
    pub trouble: Trouble,
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self { text: problem.text, remedy: problem.remedy, since: Stamp(problem.since) }
    }
}

pub(super) async fn needs(
    store: &Store,
    definitions: &Definitions,
    up: Option<&Up>,
) -> Result<Vec<Need>, Error> {
    let restart = |up: &Up| Need::Restart { pid: up.pid, settings: up.restart_for.clone() };
    let mut needs: Vec<Need> =
        up.filter(|up| !up.restart_for.is_empty()).map(restart).into_iter().collect();
    needs.extend(from_problems(store.problems().await?));
    needs.extend(from_streams(definitions, &store.landed().await?));
    for found in store.standstills(RUNS_MAX + 1).await? {
        needs.push(Need::Runs {
            dag: found.dag,
            state: found.state,
            runs: found.runs.min(RUNS_MAX),
            at_least: found.runs > RUNS_MAX,
            run: (found.runs == 1).then_some(found.run),
        });
    }
    Ok(needs)
}

/// The edits that were refused together, then the tables that do not close, then what
/// cannot be read.
fn from_problems(problems: Vec<Problem>) -> Vec<Need> {
    let mut files = Vec::new();
    let mut tables: BTreeMap<TableName, Need> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for problem in problems {
        match problem.about.clone() {
            About::Files { file, line, column } => {
                files.push(FileProblem { file, line, column, trouble: problem.into() });
            }
            About::Closing { table, key } => {
                let first = Need::CannotClose {
                    table: table.clone(),
                    partition_key: key,
                    partitions: 0,
                    problem: problem.into(),
                };
                let need = tables.entry(table).or_insert(first);
                if let Need::CannotClose { partitions, .. } = need {
                    *partitions += 1;
                }
            }
            About::Table { table } => {
                unreadable.push(Need::TableUnreadable { table, problem: problem.into() });
            }
            About::Version { dag, hash } => {
                let problem = problem.into();
                unreadable.push(Need::VersionUnreadable { dag, version: hash, problem });
            }
        }
    }
    let files = (!files.is_empty()).then_some(Need::FilesRefused { problems: files });
    files.into_iter().chain(tables.into_values()).chain(unreadable).collect()
}

fn from_streams(definitions: &Definitions, landed: &BTreeMap<TableName, Landed>) -> Vec<Need> {
    let mut needs = Vec::new();
    for stream in &definitions.streams {
        if stream.state == StreamState::Waiting {
            let reason = stream.waiting_for.clone();
            needs.push(Need::StreamWaits { stream: stream.id.clone(), reason });
        }
        let Some(JobKind::Stream(job)) = definitions.job(stream).filter(|_| stream.present) else {
            continue;
        };
        let ever = landed.get(&job.table).copied().unwrap_or_default();
        let since_start = stream.progress.as_ref().map(|progress| progress.counts);
        if let Some(messages) = all_quarantined(ever, since_start.unwrap_or_default()) {
            let (stream, table) = (stream.id.clone(), job.table.clone());
            needs.push(Need::AllQuarantined { stream, table, messages });
        }
    }
    needs
}

/// How many messages, if no other became a row: ever, or since the process began.
fn all_quarantined(ever: Landed, since_start: Counts) -> Option<u64> {
    if ever.landed == 0 && ever.quarantined > 0 {
        return Some(ever.quarantined);
    }
    let Counts { landed, quarantined, .. } = since_start;
    (landed == 0 && quarantined >= QUARANTINED_MIN).then_some(quarantined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_whose_every_message_is_quarantined_is_told_and_one_bad_message_is_not() {
        let ever = |landed, quarantined| Landed { landed, quarantined, last_commit: None };
        let start = |landed, quarantined| Counts { landed, quarantined, ..Counts::default() };
        for (ever, start, expected) in [
            (ever(0, 3), start(0, 0), Some(3)),
            (ever(9, 3), start(0, 1), None),
            (ever(9, 3), start(0, 500), Some(500)),
            (ever(9, 3), start(1, 500), None),
            (ever(0, 0), start(0, 0), None),
        ] {
            assert_eq!(all_quarantined(ever, start), expected, "{ever:?}, {start:?}");
        }
    }
}
