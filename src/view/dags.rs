//! DAGs: what starts each, and what it does.

use super::Stamp;
use super::definitions::Definitions;
use super::next::{Next, Outlook};
use super::status::DagState;
use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::dag::{DagVersion, Empty, OnLate, Schedule, Task, Work};
use crate::model::hive::Grain;
use crate::model::name::{Name, TableName};
use crate::store::Store;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct DagFacts {
    pub name: Name,
    pub state: DagState,
    /// Content hash of what its next run is pinned to.
    pub version: String,
    /// `None` if its version cannot be read; `status` says why.
    #[serde(flatten)]
    pub definition: Option<Definition>,
    pub next: Option<Next>,
}

/// What the project's files say of it.
#[derive(Debug, Serialize)]
pub struct Definition {
    pub doc: String,
    pub owner: String,
    pub schedule: ScheduleFacts,
    pub streams: Vec<DagStream>,
    pub tasks: Vec<TaskDefinition>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScheduleFacts {
    Manual,
    OnClose {
        table: TableName,
        grain: Grain,
        timezone: String,
        on_late: OnLate,
        empty: Empty,
        start: Option<Stamp>,
        max_active_runs: u32,
    },
}

#[derive(Debug, Serialize)]
pub struct DagStream {
    pub id: String,
    pub job: Name,
}

#[derive(Debug, Serialize)]
pub struct TaskDefinition {
    pub name: Name,
    pub after: Vec<Name>,
    pub work: WorkFacts,
    pub retries: u32,
    pub timeout_secs: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkFacts {
    Batch { job: Name },
    Exec { argv: Vec<String> },
    Test { sql: String },
}

pub async fn list(store: &Store) -> Result<Vec<DagFacts>, Error> {
    let definitions = Definitions::read(store).await?;
    let mut outlook = Outlook::over(store, &definitions).await?;
    let mut all = Vec::new();
    for dag in &definitions.dags {
        all.push(facts(&definitions, &mut outlook, dag).await?);
    }
    Ok(all)
}

pub async fn show(store: &Store, dag: &DagEntry) -> Result<DagFacts, Error> {
    let definitions = Definitions::read(store).await?;
    let mut outlook = Outlook::over(store, &definitions).await?;
    facts(&definitions, &mut outlook, dag).await
}

async fn facts(
    definitions: &Definitions,
    outlook: &mut Outlook<'_>,
    dag: &DagEntry,
) -> Result<DagFacts, Error> {
    Ok(DagFacts {
        name: dag.name.clone(),
        state: DagState::of(dag),
        version: dag.version.clone(),
        definition: definitions.version(&dag.version).map(definition),
        next: outlook.next(dag).await?,
    })
}

fn definition(version: &DagVersion) -> Definition {
    let dag = &version.dag;
    let stream = |(name, job): (&Name, &Name)| DagStream {
        id: format!("{}.{name}", dag.name),
        job: job.clone(),
    };
    Definition {
        doc: dag.doc.clone(),
        owner: dag.owner.clone(),
        schedule: schedule(&dag.schedule),
        streams: dag.streams.iter().map(stream).collect(),
        tasks: dag.tasks.iter().map(task).collect(),
    }
}

fn schedule(schedule: &Schedule) -> ScheduleFacts {
    match schedule {
        Schedule::Manual => ScheduleFacts::Manual,
        Schedule::OnClose(on_close) => ScheduleFacts::OnClose {
            table: on_close.table.clone(),
            grain: on_close.grain,
            timezone: on_close.timezone.to_string(),
            on_late: on_close.on_late,
            empty: on_close.empty,
            start: on_close.start.map(Stamp),
            max_active_runs: on_close.max_active_runs,
        },
    }
}

fn task(task: &Task) -> TaskDefinition {
    TaskDefinition {
        name: task.name.clone(),
        after: task.after.clone(),
        work: match &task.work {
            Work::Batch(job) => WorkFacts::Batch { job: job.clone() },
            Work::Exec { argv, .. } => WorkFacts::Exec { argv: argv.clone() },
            Work::Test(sql) => WorkFacts::Test { sql: sql.clone() },
        },
        retries: task.retries,
        timeout_secs: task.timeout.map(|timeout| timeout.as_secs()),
    }
}
