//! What the scheduler would do now, for those who explain it; nothing is changed.

use super::apply;
use super::make::ActiveDag;
use super::plan::waits::Wait;
use super::plan::{Facts, Plan, plan};
use crate::error::Error;
use crate::model::run::Run;
use crate::model::task::TaskId;
use crate::model::time::Micros;
use crate::store::Store;
use std::sync::Arc;

/// The facts and the plan that the scheduler would make of them.
#[derive(Clone, Debug)]
pub struct Explained {
    pub facts: Facts,
    pub plan: Plan,
}

pub async fn explain(store: &Store, parallelism: u32, now: Micros) -> Result<Explained, Error> {
    let mut dags = Vec::new();
    for dag in store.dags().await? {
        // One that cannot be read explains nothing, and is told of elsewhere.
        let Ok(version) = store.version(&dag.version).await else { continue };
        let (hash, paused, present) = (dag.version, dag.paused, dag.present);
        dags.push(ActiveDag { hash, version: Arc::new(version), paused, present, readable: true });
    }
    let mut facts = apply::facts(store, &dags, parallelism).await?;
    for hash in facts.hashes() {
        if let Ok(version) = store.version(&hash).await {
            facts.versions.insert(hash, Arc::new(version));
        }
    }
    let plan = plan(&facts, now);
    Ok(Explained { facts, plan })
}

impl Explained {
    /// What a queued run waits for; `None`: it starts now.
    pub fn wait_of_run(&self, run: &Run) -> Option<Wait> {
        let Some(dag) = self.facts.dags.get(&run.dag) else { return Some(Wait::Gone) };
        let known = self.plan.waits.runs.get(&run.id).cloned().or_else(|| dag.held_back());
        let is_listed = dag.queued.iter().any(|queued| queued.id == run.id);
        // So many go first that it has not even been looked at.
        known.or_else(|| (!is_listed).then(|| self.facts.active_runs(&run.dag)))
    }

    /// What a waiting task of a run at work waits for; `None`: it is launched now.
    pub fn wait_of_task(&self, task: &TaskId) -> Option<&Wait> {
        self.plan.waits.tasks.get(task)
    }
}
