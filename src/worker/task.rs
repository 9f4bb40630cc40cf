//! An attempt of a batch or test task: what its run pins, handed to the engine.

use super::loads::Loads;
use super::{Work, heartbeat};
use crate::batch;
use crate::error::{Error, ErrorKind};
use crate::model::attempt::Owner;
use crate::model::dag;
use crate::model::run::PinnedRun;
use crate::warehouse::Warehouse;
use serde_json::{Value, json};

/// Returns what the task made, for `runs show`.
pub(super) async fn run(work: &Work) -> Result<Option<Value>, Error> {
    let bug = |why: String| Error::new(ErrorKind::Bug, why);
    let Owner::Task { run, task } = &work.attempt.owner else {
        return Err(bug(format!("{} belongs to no task", work.attempt.id)));
    };
    let task = work.version.dag.tasks.iter().find(|known| known.name == *task);
    let task = task.ok_or_else(|| bug(format!("its dag version has no task of {run}")))?;
    let pinned = pinned(work, run).await?;
    let lake = work.lake().await?;
    let settings = &work.project.settings;
    let clock = work.clock.clone();
    let warehouse = Warehouse::open(&settings.warehouse, &settings.project, clock).await?;
    let journal = Loads::new(work, run, &task.name);
    let budget = work.budget();
    let context = batch::Context {
        version: &work.version,
        run: &pinned,
        lake: &lake,
        warehouse: &warehouse,
        journal: &journal,
        budget: &budget,
    };
    let running = async {
        match &task.work {
            dag::Work::Batch(job) => batch::run(&context, job).await.map(|made| Some(json!(made))),
            dag::Work::Test(sql) => batch::test(&context, sql).await.map(|()| None),
            dag::Work::Exec { .. } => Err(bug(format!("{} is an exec task", task.name))),
        }
    };
    heartbeat::while_meant(work, running).await
}

async fn pinned(work: &Work, id: &str) -> Result<PinnedRun, Error> {
    let run =
        work.store.run(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("the state store has no run {id}"))
        })?;
    Ok(PinnedRun { id: run.id, subject: run.subject, inputs: work.store.inputs(id).await? })
}
