//! Runs: what each works on and how it stands.

use super::Stamp;
use crate::error::Error;
use crate::model::attempt::Failure;
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::run::{Run, RunKind, RunState};
use crate::model::task::TaskState;
use crate::store::Store;
use crate::store::runs::Wanted;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct RunFacts {
    pub dag: Name,
    pub id: String,
    pub kind: RunKind,
    pub state: RunState,
    /// The table whose closing made it.
    pub table: Option<TableName>,
    pub partition_key: Option<PartitionKey>,
    pub revision: Option<u32>,
    pub partial: bool,
    /// Content hash of the DAG's version that it is pinned to.
    pub version: String,
    pub created: Stamp,
    pub started: Option<Stamp>,
    pub ended: Option<Stamp>,
    /// The run of a newer closing that took its place.
    pub superseded_by: Option<String>,
    /// Who set its state by hand.
    pub marked_by: Option<String>,
    /// Why it has failed, where none of its tasks says it.
    pub failure: Option<Failure>,
}

impl From<Run> for RunFacts {
    fn from(run: Run) -> Self {
        let of = run.subject.as_ref();
        Self {
            kind: run.kind,
            state: run.state,
            table: of.map(|of| of.table.clone()),
            partition_key: of.map(|of| of.key),
            revision: of.map(|of| of.n),
            partial: of.is_some_and(|of| of.partial),
            created: Stamp(run.created),
            started: run.started.map(Stamp),
            ended: run.ended.map(Stamp),
            dag: run.dag,
            id: run.id,
            version: run.version,
            superseded_by: run.superseded_by,
            marked_by: run.marked_by,
            failure: run.failure,
        }
    }
}

/// A run with what it reads and its tasks.
#[derive(Debug, Serialize)]
pub struct RunShown {
    #[serde(flatten)]
    pub run: RunFacts,
    /// The closings that it reads.
    pub inputs: Vec<InputFacts>,
    /// In the order of the DAG; none before it has started.
    pub tasks: Vec<TaskFacts>,
}

#[derive(Debug, Serialize)]
pub struct InputFacts {
    pub table: TableName,
    pub partition_key: PartitionKey,
    pub revision: u32,
}

#[derive(Debug, Serialize)]
pub struct TaskFacts {
    pub name: Name,
    pub state: TaskState,
    pub tries: u32,
    pub next_try: Option<Stamp>,
    pub started: Option<Stamp>,
    pub ended: Option<Stamp>,
    /// The newest one.
    pub attempt: Option<String>,
    /// What it made: an exec task's own JSON, a batch's rows, bytes and load job.
    pub output: Option<serde_json::Value>,
}

pub async fn list(store: &Store, wanted: &Wanted) -> Result<Vec<RunFacts>, Error> {
    Ok(store.runs(wanted).await?.into_iter().map(RunFacts::from).collect())
}

pub async fn show(store: &Store, run: Run) -> Result<RunShown, Error> {
    let inputs = store.inputs(&run.id).await?.into_iter().map(|input| InputFacts {
        table: input.table,
        partition_key: input.key,
        revision: input.n,
    });
    let tasks = store.tasks(&run.id).await?.into_iter().map(|task| TaskFacts {
        name: task.name,
        state: task.state,
        tries: task.tries,
        next_try: task.next_try.map(Stamp),
        started: task.started.map(Stamp),
        ended: task.ended.map(Stamp),
        attempt: task.attempt,
        output: task.output,
    });
    Ok(RunShown { inputs: inputs.collect(), tasks: tasks.collect(), run: run.into() })
}
