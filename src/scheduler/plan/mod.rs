//! Decides which runs start, which attempts are made, and what has failed for good.
//!
//! [`plan`] is pure: a step reads [`Facts`] from the store, asks for a plan and applies it, each
//! action guarded by the state that it expects. A task that ends, the next one, the end of the run
//! and the start of another are one plan, so that a chain costs one pass a task.

use super::retry;
use super::retry::Verdict;
use crate::model::attempt::Attempt;
use crate::model::dag::{DagVersion, Task as Spec};
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::run::{ActiveRun, Class, Run, RunState};
use crate::model::task::{TaskInstance, TaskState};
use crate::model::time::Micros;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Attempts of tasks at once, and how many there are.
    pub parallelism: u32,
    pub taken: u32,
    pub dags: BTreeMap<Name, DagFacts>,
    /// Runs at work, in the order in which they go first.
    pub active: Vec<ActiveRun>,
    /// DAG, partition and id of each run with an attempt that has not been seen to end.
    pub busy: Vec<(Name, Option<PartitionKey>, String)>,
    /// By content hash: that of every run above and of every queued one.
    pub versions: BTreeMap<String, Arc<DagVersion>>,
}

#[derive(Clone, Debug, Default)]
pub struct DagFacts {
    /// By a person, or because the files have it no more.
    pub held_back: bool,
    pub max_active_runs: u32,
    /// In the order in which they may start; at least as many as could.
    pub queued: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Start { run: String },
    Launch { run: String, task: Name, tries: u32 },
    Change { run: String, task: Name, from: TaskState, to: TaskState, retry: Retry },
    Stop { attempt: String, why: String },
    End { run: String, state: RunState },
}

/// What a task's counters become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    pub tries: u32,
    pub lost: u32,
    pub next_try: Option<Micros>,
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When a retry or a timeout is due, if nothing happens before.
    pub wake: Option<Micros>,
}

/// A task that could run now, by the order in which slots are given out.
type Ready = (Class, Micros, Option<Micros>, String, usize, Name, u32);

pub fn plan(facts: &Facts, now: Micros) -> Plan {
    let mut plan = Plan::default();
    let mut ready = Vec::new();
    let mut at_work: Vec<&Run> = Vec::new();
    for active in &facts.active {
        let Some(version) = facts.versions.get(&active.run.version) else { continue };
        let tasks = settle(active, version, now, &mut plan);
        if tasks.values().all(|task| ended(task.state)) {
            plan.actions.push(end(&active.run, tasks.values().map(|task| task.state)));
            continue;
        }
        at_work.push(&active.run);
        if !facts.dags.get(&active.run.dag).is_some_and(|dag| dag.held_back) {
            find_ready(&active.run, version, &tasks, now, &mut ready, &mut plan);
        }
    }
    for run in start(facts, &at_work) {
        plan.actions.push(Action::Start { run: run.id.clone() });
        let Some(version) = facts.versions.get(&run.version) else { continue };
        if version.dag.tasks.is_empty() {
            plan.actions.push(end(run, std::iter::empty()));
        }
        let kept = BTreeMap::new();
        find_ready(run, version, &kept, now, &mut ready, &mut plan);
    }
    ready.sort();
    let free = facts.parallelism.saturating_sub(facts.taken) as usize;
    let launch = |(.., run, _, task, tries): Ready| Action::Launch { run, task, tries };
    plan.actions.extend(ready.into_iter().take(free).map(launch));
    plan
}

/// What a task is after this pass.
#[derive(Clone, Copy, Debug)]
struct Standing {
    state: TaskState,
    retry: Retry,
}

/// Looks at how attempts ended and what that means for the tasks behind them.
fn settle<'a>(
    active: &'a ActiveRun,
    version: &'a DagVersion,
    now: Micros,
    plan: &mut Plan,
) -> BTreeMap<&'a Name, Standing> {
    let mut tasks = BTreeMap::new();
    for (task, attempt) in &active.tasks {
        let Some(spec) = version.dag.tasks.iter().find(|spec| spec.name == task.name) else {
            continue;
        };
        let (state, retry) = settle_task(task, attempt.as_ref(), spec, now, plan);
        let upstream_failed = |before: &Name| {
            tasks.get(before).is_some_and(|before: &Standing| {
                matches!(before.state, TaskState::Failed | TaskState::UpstreamFailed)
            })
        };
        let state = match state {
            TaskState::Waiting if spec.after.iter().any(upstream_failed) => {
                TaskState::UpstreamFailed
            }
            TaskState::Waiting
            | TaskState::Running
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::UpstreamFailed => state,
        };
        if state != task.state {
            plan.actions.push(Action::Change {
                run: active.run.id.clone(),
                task: task.name.clone(),
                from: task.state,
                to: state,
                retry,
            });
        }
        tasks.insert(&task.name, Standing { state, retry });
    }
    tasks
}

fn settle_task(
    task: &TaskInstance,
    attempt: Option<&Attempt>,
    spec: &Spec,
    now: Micros,
    plan: &mut Plan,
) -> (TaskState, Retry) {
    let unchanged = Retry { tries: task.tries, lost: task.lost, next_try: task.next_try };
    let (TaskState::Running, Some(attempt)) = (task.state, attempt) else {
        return (task.state, unchanged);
    };
    match retry::judge(task, spec, attempt, now) {
        Verdict::Open => {}
        Verdict::WakeAt(at) => wake(plan, at),
        Verdict::Stop(why) => plan.actions.push(Action::Stop { attempt: attempt.id.clone(), why }),
        Verdict::Succeeded => {
            return (TaskState::Succeeded, Retry { tries: task.tries + 1, ..unchanged });
        }
        Verdict::Again(retry) => return (TaskState::Waiting, retry),
        Verdict::Failed(retry) => return (TaskState::Failed, retry),
    }
    (task.state, unchanged)
}

fn find_ready(
    run: &Run,
    version: &DagVersion,
    tasks: &BTreeMap<&Name, Standing>,
    now: Micros,
    ready: &mut Vec<Ready>,
    plan: &mut Plan,
) {
    let state = |name: &Name| tasks.get(name).map(|task| task.state);
    for (position, spec) in version.dag.tasks.iter().enumerate() {
        let standing = tasks.get(&spec.name);
        if standing.is_some_and(|task| task.state != TaskState::Waiting)
            || !spec.after.iter().all(|before| state(before) == Some(TaskState::Succeeded))
        {
            continue;
        }
        let retry = standing.map(|task| task.retry).unwrap_or_default();
        let delay = retry::backoff(spec.retry_delay, retry.tries);
        if let Some(at) = retry.next_try.filter(|at| !at.is_due(delay, now)) {
            wake(plan, at);
            continue;
        }
        let start = run.subject.as_ref().map(|of| of.start);
        let (id, name) = (run.id.clone(), spec.name.clone());
        ready.push((run.class, run.created, start, id, position, name, retry.tries + 1));
    }
}

/// The queued runs that start: none of a paused DAG, none beyond its limit, and of one hive
/// partition only one at a time, after every attempt of the one before has been seen to end.
fn start<'a>(facts: &'a Facts, at_work: &[&Run]) -> Vec<&'a Run> {
    let mut taken: BTreeSet<(&Name, PartitionKey)> = BTreeSet::new();
    taken.extend(at_work.iter().filter_map(|run| Some((&run.dag, run.subject.as_ref()?.key))));
    let mut started = Vec::new();
    for (name, dag) in facts.dags.iter().filter(|(_, dag)| !dag.held_back) {
        let working = at_work.iter().filter(|run| run.dag == *name).count();
        let mut free = (dag.max_active_runs as usize).saturating_sub(working);
        for run in &dag.queued {
            if free == 0 {
                break;
            }
            let key = run.subject.as_ref().map(|of| of.key);
            // Its own one too: a run that was ended by hand and cleared has one until it has stopped.
            let works = |(dag, busy, by): &(Name, Option<PartitionKey>, String)| {
                *by == run.id || (dag == name && busy.is_some() && *busy == key)
            };
            if key.is_some_and(|key| taken.contains(&(name, key))) || facts.busy.iter().any(works) {
                continue;
            }
            taken.extend(key.map(|key| (name, key)));
            started.push(run);
            free -= 1;
        }
    }
    started
}

fn end(run: &Run, mut tasks: impl Iterator<Item = TaskState>) -> Action {
    let failed = tasks.any(|state| state != TaskState::Succeeded);
    let state = if failed { RunState::Failed } else { RunState::Succeeded };
    Action::End { run: run.id.clone(), state }
}

fn ended(state: TaskState) -> bool {
    match state {
        TaskState::Waiting | TaskState::Running => false,
        TaskState::Succeeded | TaskState::Failed | TaskState::UpstreamFailed => true,
    }
}

fn wake(plan: &mut Plan, at: Micros) {
    plan.wake = Some(plan.wake.map_or(at, |wake| wake.min(at)));
}

#[cfg(test)]
mod tests;
