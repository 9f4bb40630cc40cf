//! What the daemon has answered to a request, in words.

use crate::error::{Error, ErrorKind};
use crate::model::attempt::Failure;
use crate::model::request::{Outcome, Refusal};
use crate::model::stream::Desired;

/// How many digits of a version's hash are shown.
const HASH_DIGITS: usize = 7;

/// What was done.
pub fn done(outcome: &Outcome) -> String {
    match outcome {
        Outcome::DagPaused { dag } => format!("{dag} is paused: its runs wait, its streams go on"),
        Outcome::DagUnpaused { dag } => format!("{dag} is active"),
        Outcome::RunTriggered { run, .. } => run.clone(),
        Outcome::RunCleared { run, version, .. } => {
            let version = version.get(..HASH_DIGITS).unwrap_or_default();
            format!("{run} is queued with dag version {version}")
        }
        Outcome::RunMarked { run, to, .. } => format!("{run} is marked {to}"),
        Outcome::StreamWanted { stream, desired: Desired::Running } => {
            format!("{stream} is to run")
        }
        Outcome::StreamWanted { stream, desired: Desired::Stopped } => {
            format!("{stream} is to commit what it holds, and stop")
        }
        Outcome::PartitionClosed { table, key, n, rows, files, partial } => {
            let partial = if *partial { ", marked partial" } else { "" };
            format!(
                "{key} of {table} is closed, revision {n}: {rows} rows in {files} files{partial}"
            )
        }
        Outcome::Told { words } => words.clone(),
    }
}

/// Why it was not done, and what to do.
pub fn refused(refusal: &Refusal) -> Error {
    let kind = match refusal {
        Refusal::Failed(failure) => failure.kind,
        _ => ErrorKind::Input,
    };
    let error = Error::new(kind, problem(refusal));
    match remedy(refusal) {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

fn problem(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoDag { dag } => format!("no DAG is named `{dag}`"),
        Refusal::NoStream { stream } => format!("no stream is named `{stream}`"),
        Refusal::NoTable { table } => format!("no lake table is named `{table}`"),
        Refusal::NoRun { dag, run } => format!("{dag} has no run named `{run}`"),
        Refusal::ManyRuns { dag, run, .. } => format!("`{run}` means more than one run of {dag}"),
        Refusal::HasNoKeys { dag } => {
            format!("{dag} waits for no table, so it has no partition keys")
        }
        Refusal::NeedsKey { dag } => {
            format!("{dag} works on a hive partition, and none is named")
        }
        Refusal::DagGrain { dag, grain, key } => {
            format!("{dag} runs by {grain}, and {key} is no {grain}")
        }
        Refusal::TableGrain { table, grain, key } => {
            format!("{table} is cut by {grain}, and {key} is no {grain}")
        }
        Refusal::NotClosed { table, key } => format!("{key} of {table} has not closed"),
        Refusal::NeverClosed { table, key } => format!("{key} of {table} has not closed yet"),
        Refusal::NothingOpen { table, key } => {
            format!("{key} of {table} has no rows that are not closed")
        }
        Refusal::WrittenByBatch { table, .. } => {
            format!("{table} is written by a batch, run by run")
        }
        Refusal::RunQueued { run } => format!("{run} is queued already"),
        Refusal::RunRunning { run, .. } => format!("{run} is running"),
        Refusal::RunSuperseded { run, by } => {
            format!("{run} never ran: {} took its place", newer(by.as_deref()))
        }
        Refusal::ClosedAgain { run, key, .. } => format!("{key} has closed again since {run}"),
        Refusal::CannotMark { to } => format!("a run cannot be marked {to}"),
        Refusal::Failed(Failure { error, .. }) => error.clone(),
    }
}

fn remedy(refusal: &Refusal) -> Option<String> {
    Some(match refusal {
        Refusal::NoDag { .. } => "`tidemill dags list` lists them all".into(),
        Refusal::NoStream { .. } => "`tidemill streams list` lists them all".into(),
        Refusal::NoTable { .. } => {
            "the tables are those that the project's jobs write: `tidemill status`".into()
        }
        Refusal::NoRun { dag, .. } => format!("`tidemill runs list {dag}` lists them"),
        Refusal::ManyRuns { meant, .. } => format!("write one of them out: {}", meant.join(", ")),
        Refusal::HasNoKeys { dag } => format!("tidemill dags trigger {dag}"),
        Refusal::NeedsKey { .. } => {
            "name one that has closed: --partition-key 2026-11-20T05".into()
        }
        Refusal::NotClosed { table, key } => {
            format!("`tidemill partitions show {table} {key}` says what it waits for")
        }
        Refusal::NeverClosed { table, key } => {
            format!("close it as it is: tidemill partitions close {table} {key} --force")
        }
        Refusal::WrittenByBatch { dag, key, .. } => {
            format!("clear the run of {key}: `tidemill runs list {dag}` lists them")
        }
        Refusal::RunRunning { dag, run } => {
            format!("wait for it, or end it: tidemill runs mark {dag} {run} failed")
        }
        Refusal::RunSuperseded { by, .. } => format!("name {}", newer(by.as_deref())),
        Refusal::ClosedAgain { dag, newest, .. } => {
            format!("clear the run of revision {newest}: tidemill runs list {dag}")
        }
        Refusal::CannotMark { .. } => "mark it success or failed".into(),
        Refusal::Failed(Failure { remedy, .. }) => return remedy.clone(),
        Refusal::DagGrain { .. }
        | Refusal::TableGrain { .. }
        | Refusal::NothingOpen { .. }
        | Refusal::RunQueued { .. } => return None,
    })
}

fn newer(by: Option<&str>) -> &str {
    by.unwrap_or("a newer one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_an_older_version_is_told_in_its_own_words() {
        let told = Outcome::Told { words: "by_hour is active".into() };
        assert_eq!(done(&told), "by_hour is active");
        let failure =
            Failure { kind: ErrorKind::Unavailable, error: "no way".into(), remedy: None };
        let error = refused(&Refusal::Failed(failure));
        assert_eq!((error.kind, error.to_string()), (ErrorKind::Unavailable, "no way".into()));
    }

    #[test]
    fn a_refusal_names_the_thing_and_the_next_step() {
        let (table, key) = ("raw.changes".parse().unwrap(), "2026-11-20T05".parse().unwrap());
        let error = refused(&Refusal::NotClosed { table, key });
        assert_eq!(error.to_string(), "2026-11-20T05 of raw.changes has not closed");
        assert_eq!(
            error.remedy.unwrap(),
            "`tidemill partitions show raw.changes 2026-11-20T05` says what it waits for"
        );
    }
}
