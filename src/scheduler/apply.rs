//! Reads the facts that the plan needs, and carries out what it says, in one transaction each.

use super::make::ActiveDag;
use super::plan::slots::{Holder, Slots};
use super::plan::{Action, DagFacts, Facts};
use crate::error::Error;
use crate::model::attempt::AttemptKind;
use crate::model::dag::{DagVersion, Work};
use crate::model::job::JobKind;
use crate::model::name::Name;
use crate::model::time::Micros;
use crate::store::progress::TaskChange;
use crate::store::runs::Launch;
use crate::store::{Store, Tx};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

/// A DAG without a limit of its own runs this many manual runs at once.
const ACTIVE_RUNS_MAX: u32 = 16;

/// What the versions of these runs are, by content hash.
pub type Versions = BTreeMap<String, Arc<DagVersion>>;

/// Everything that the plan looks at, but for the versions and for what only the scheduler knows.
pub async fn facts(store: &Store, dags: &[ActiveDag], parallelism: u32) -> Result<Facts, Error> {
    let mut tx = store.snapshot().await?;
    let active = tx.active().await?;
    let busy = tx.busy().await?;
    let mut of_dags = BTreeMap::new();
    for dag in dags {
        let (paused, present) = (dag.paused, dag.present);
        let max_active_runs = dag.on_close().map_or(ACTIVE_RUNS_MAX, |it| it.max_active_runs);
        // One place more for each partition that may have to be passed over.
        let most = max_active_runs.saturating_add(u32::try_from(busy.len()).unwrap_or(u32::MAX));
        let mut its = DagFacts { paused, present, max_active_runs, queued: Vec::new() };
        if its.held_back().is_none() {
            its.queued = tx.queued(dag.name(), most.min(10_000)).await?;
        }
        of_dags.insert(dag.name().clone(), its);
    }
    let (tasks, closings) = tx.slots_held().await?;
    let slots = Slots { of: parallelism, tasks, closings, next: Holder::default() };
    let (wanted, versions) = (Vec::new(), BTreeMap::new());
    Ok(Facts { slots, wanted, dags: of_dags, active, busy, versions })
}

/// Carries the actions out; says whether every launch took place.
pub async fn apply(
    store: &Store,
    facts: &Facts,
    actions: &[Action],
    now: Micros,
) -> Result<bool, Error> {
    let mut tx = store.begin().await?;
    let mut all = true;
    for action in actions {
        all &= apply_one(&mut tx, facts, action, now).await?;
    }
    tx.commit().await?;
    Ok(all)
}

async fn apply_one(
    tx: &mut Tx,
    facts: &Facts,
    action: &Action,
    now: Micros,
) -> Result<bool, Error> {
    match action {
        Action::Start { run } => {
            let Some((_, version)) = version_of(facts, run) else { return Ok(true) };
            let tasks: Vec<Name> = version.dag.tasks.iter().map(|task| task.name.clone()).collect();
            tx.start_run(run, &tasks, now).await?;
        }
        Action::Launch { run, task, tries } => {
            let Some((hash, version)) = version_of(facts, run) else { return Ok(true) };
            let kind = kind_of(version, task).as_str();
            let launch = Launch { run, task, kind, version: hash, tries: *tries };
            return Ok(tx.launch_task(&launch, now).await?.is_some());
        }
        Action::Compact(compact) => {
            // It may be at work already, or its table be gone.
            tx.launch_compaction(compact, now).await?;
        }
        Action::Change { run, task, from, to, retry } => {
            let (tries, lost, next_try) = (retry.tries, retry.lost, retry.next_try);
            let change = TaskChange { run, task, from: *from, to: *to, tries, lost, next_try };
            tx.change_task(&change, now).await?;
        }
        Action::Stop { attempt, stop } => tx.ask_to_stop(attempt, stop).await?,
        Action::End { run, state } => {
            info!(run.id = %run, %state, "run {run} {state}");
            tx.end_run(run, *state, now).await?;
        }
    }
    Ok(true)
}

fn version_of<'a>(facts: &'a Facts, run: &str) -> Option<(&'a str, &'a DagVersion)> {
    let active = facts.active.iter().map(|active| &active.run);
    let queued = facts.dags.values().flat_map(|dag| &dag.queued);
    let run = active.chain(queued).find(|known| known.id == run)?;
    let (hash, version) = facts.versions.get_key_value(&run.version)?;
    Some((hash, version))
}

fn kind_of(version: &DagVersion, task: &Name) -> AttemptKind {
    let spec = version.dag.tasks.iter().find(|spec| spec.name == *task);
    match spec.map(|spec| &spec.work) {
        Some(Work::Test(_)) => AttemptKind::Test,
        Some(Work::Exec { .. }) | None => AttemptKind::Exec,
        Some(Work::Batch(job)) => match version.jobs.get(job).map(|job| &job.kind) {
            Some(JobKind::Feed(_)) => AttemptKind::Feed,
            Some(JobKind::Stream(_)) => AttemptKind::Stream,
            Some(JobKind::Batch(_)) | None => AttemptKind::Batch,
        },
    }
}
