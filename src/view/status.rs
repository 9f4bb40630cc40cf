//! The whole project at one look.

use super::definitions::Definitions;
use super::needs::{Need, needs};
use super::next::{Next, Outlook};
use super::runs::RunFacts;
use super::streams::{StreamLine, lines};
use super::up::Up;
use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::name::Name;
use crate::model::settings::Settings;
use crate::store::Store;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub project: String,
    pub env: String,
    /// The daemon; `None` while the project is not up.
    pub up: Option<Up>,
    pub streams: Vec<StreamLine>,
    pub dags: Vec<DagLine>,
    /// What waits for a person.
    pub needs_you: Vec<Need>,
}

#[derive(Debug, Serialize)]
pub struct DagLine {
    pub name: Name,
    pub state: DagState,
    pub last_run: Option<RunFacts>,
    pub next: Option<Next>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DagState {
    Active,
    Paused,
    /// The project's files no longer have it.
    Gone,
}

impl DagState {
    pub fn of(dag: &DagEntry) -> Self {
        match (dag.present, dag.paused) {
            (false, _) => Self::Gone,
            (true, true) => Self::Paused,
            (true, false) => Self::Active,
        }
    }
}

pub async fn status(store: &Store, settings: &Settings, up: Option<Up>) -> Result<Status, Error> {
    let definitions = Definitions::read(store).await?;
    let needs_you = needs(store, &definitions, up.as_ref()).await?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        project: settings.project.to_string(),
        env: settings.env.clone(),
        up,
        streams: lines(store, &definitions).await?,
        dags: dag_lines(store, &definitions).await?,
        needs_you,
    })
}

async fn dag_lines(store: &Store, definitions: &Definitions) -> Result<Vec<DagLine>, Error> {
    let mut newest = store.newest_runs().await?;
    let mut outlook = Outlook::over(store, definitions).await?;
    let mut lines = Vec::new();
    for dag in &definitions.dags {
        lines.push(DagLine {
            name: dag.name.clone(),
            state: DagState::of(dag),
            last_run: newest.remove(&dag.name).map(RunFacts::from),
            next: outlook.next(dag).await?,
        });
    }
    Ok(lines)
}
