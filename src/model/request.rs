//! Requests: what people and programs ask the daemon to do, and what came of it.
//!
//! All of them are facts; `cli` puts them into words.

use super::attempt::Failure;
use super::hive::{Grain, PartitionKey};
use super::name::{Name, TableName};
use super::run::RunState;
use super::states::states;
use super::stored::Stored;
use super::stream::Desired;
use super::time::Micros;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Long enough for any UUID or URL, short enough for an index.
const KEY_BYTES_MAX: usize = 200;

/// A verb with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    PauseDag {
        dag: Name,
    },
    UnpauseDag {
        dag: Name,
    },
    TriggerDag {
        dag: Name,
        key: Option<PartitionKey>,
    },
    /// Runs it again with the newest version of the DAG; a held run is let go.
    ClearRun {
        dag: Name,
        run: String,
        only_failed: bool,
    },
    /// `succeeded` or `failed`.
    MarkRun {
        dag: Name,
        run: String,
        to: RunState,
    },
    /// By id, `dag.stream`.
    StartStream {
        stream: String,
    },
    StopStream {
        stream: String,
    },
    /// Closes as it is, marked partial.
    ClosePartition {
        table: TableName,
        key: PartitionKey,
    },
    /// Closes again with what is there now, for every DAG on the table, whatever its `on_late`.
    ReopenPartition {
        table: TableName,
        key: PartitionKey,
    },
}

states! {
    /// By which way a request came.
    Via {
        Cli = "cli",
        Api = "api",
    }
}

states! {
    /// What the actor may do.
    Role {
        /// Everything: whoever can write the state store.
        Admin = "admin",
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub who: String,
    pub via: Via,
    pub role: Role,
}

/// Chosen by whoever asks: the same request under the same key is one request, however often it is made.
/// Not empty, and at most 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey(String);

/// A request that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRequest {
    pub verb: Verb,
    pub actor: Actor,
    pub key: Option<RequestKey>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: i64,
    pub verb: Verb,
    pub actor: Actor,
    pub key: Option<RequestKey>,
    pub created: Micros,
    pub applied: Option<Micros>,
    /// Once it has been applied.
    pub answer: Option<Answer>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done(Outcome),
    Refused(Refusal),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    DagPaused {
        dag: Name,
    },
    DagUnpaused {
        dag: Name,
    },
    RunTriggered {
        dag: Name,
        run: String,
    },
    RunCleared {
        dag: Name,
        run: String,
        /// Hash of the DAG version that it is pinned to now.
        version: String,
    },
    RunMarked {
        dag: Name,
        run: String,
        to: RunState,
    },
    StreamWanted {
        stream: String,
        desired: Desired,
    },
    PartitionClosed {
        table: TableName,
        key: PartitionKey,
        n: u32,
        rows: u64,
        files: u64,
        partial: bool,
    },
    /// In words, as versions before format 1 wrote it.
    Told {
        words: String,
    },
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    NoDag {
        dag: Name,
    },
    NoStream {
        stream: String,
    },
    NoTable {
        table: TableName,
    },
    NoRun {
        dag: Name,
        run: String,
    },
    /// What is written means each of these.
    ManyRuns {
        dag: Name,
        run: String,
        meant: Vec<String>,
    },
    /// The DAG waits for no table, so it has no partition keys.
    HasNoKeys {
        dag: Name,
    },
    /// The DAG works on a hive partition, and none is named.
    NeedsKey {
        dag: Name,
    },
    /// The DAG's runs are by another grain than the key's.
    DagGrain {
        dag: Name,
        grain: Grain,
        key: PartitionKey,
    },
    /// The table is cut by another grain than the key's.
    TableGrain {
        table: TableName,
        grain: Grain,
        key: PartitionKey,
    },
    /// There is no closing that a run could be for.
    NotClosed {
        table: TableName,
        key: PartitionKey,
    },
    /// There is no closing to be followed by another.
    NeverClosed {
        table: TableName,
        key: PartitionKey,
    },
    /// There is no row that is not closed.
    NothingOpen {
        table: TableName,
        key: PartitionKey,
    },
    WrittenByBatch {
        table: TableName,
        dag: Name,
        key: PartitionKey,
    },
    RunQueued {
        run: String,
    },
    RunRunning {
        dag: Name,
        run: String,
    },
    /// It never ran: another took its place.
    RunSuperseded {
        run: String,
        by: Option<String>,
    },
    ClosedAgain {
        dag: Name,
        run: String,
        key: PartitionKey,
        newest: u32,
    },
    CannotMark {
        to: RunState,
    },
    /// Anything else that went wrong.
    Failed(Failure),
}

impl Stored for Verb {
    const NAME: &'static str = "request";
}

impl Stored for Answer {
    const NAME: &'static str = "answer";

    fn read(_format: u32, json: &[u8]) -> Result<Self, serde_json::Error> {
        /// An enum alone takes no second key beside its own.
        #[derive(Deserialize)]
        struct Beside {
            #[serde(flatten)]
            answer: Answer,
        }
        serde_json::from_slice(json).map(|Beside { answer }| answer)
    }
}

impl NewRequest {
    /// Of a person at a command line, who can write the state store and so may do everything.
    pub fn at_command_line(verb: Verb, who: impl Into<String>) -> Self {
        let actor = Actor { who: who.into(), via: Via::Cli, role: Role::Admin };
        Self { verb, actor, key: None }
    }
}

impl RequestKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RequestKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > KEY_BYTES_MAX {
            return Err(format!("a request's key has 1 to {KEY_BYTES_MAX} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("a request's key has no control characters".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Verb {
    /// `pause_dag`, as it is stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PauseDag { .. } => "pause_dag",
            Self::UnpauseDag { .. } => "unpause_dag",
            Self::TriggerDag { .. } => "trigger_dag",
            Self::ClearRun { .. } => "clear_run",
            Self::MarkRun { .. } => "mark_run",
            Self::StartStream { .. } => "start_stream",
            Self::StopStream { .. } => "stop_stream",
            Self::ClosePartition { .. } => "close_partition",
            Self::ReopenPartition { .. } => "reopen_partition",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::stored;

    #[test]
    fn answers_are_stored_as_facts_with_a_format() {
        let dag: Name = "by_hour".parse().unwrap();
        let done = Answer::Done(Outcome::RunTriggered { dag, run: "manual-1".into() });
        let json =
            r#"{"format":1,"done":{"outcome":"run_triggered","dag":"by_hour","run":"manual-1"}}"#;
        assert_eq!(stored::encode(&done), json);
        assert_eq!(stored::decode::<Answer>(json.as_bytes()).unwrap(), done);
        let failure =
            Failure { kind: ErrorKind::Data, error: "no".into(), remedy: Some("look".into()) };
        let refused = Answer::Refused(Refusal::Failed(failure));
        let json = r#"{"format":1,"refused":{"refusal":"failed","kind":"data","error":"no","remedy":"look"}}"#;
        assert_eq!(stored::encode(&refused), json);
        assert_eq!(stored::decode::<Answer>(json.as_bytes()).unwrap(), refused);
    }

    #[test]
    fn a_key_is_neither_empty_nor_endless() {
        assert!("".parse::<RequestKey>().is_err());
        assert!("x".repeat(201).parse::<RequestKey>().is_err());
        assert!("two\nlines".parse::<RequestKey>().is_err());
        assert_eq!("7f3a".parse::<RequestKey>().unwrap().as_str(), "7f3a");
    }
}
