//! Decides which runs start, which attempts are made, and what has failed for good.
//!
//! [`plan`] is pure: a step reads [`Facts`] from the store, asks for a plan and applies it, each
//! action guarded by the state that it expects. A task that ends, the next one, the end of the run
//! and the start of another are one plan, so that a chain costs one pass a task. What does not go on says
//! why: the same rule decides and explains.

mod rule;
pub mod slots;
pub mod waits;

use super::retry;
use super::retry::{Retry, Verdict};
use crate::model::attempt::{Attempt, Stop};
use crate::model::commit::Compact;
use crate::model::dag::{DagVersion, Task as Spec};
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::run::{ActiveRun, Class, Run, RunState};
use crate::model::task::{TaskId, TaskInstance, TaskState};
use crate::model::time::Micros;
use rule::{Counts, Rule, Ruling};
use slots::Slots;
use std::collections::BTreeMap;
use std::sync::Arc;
use waits::{Wait, Waits};

#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub slots: Slots,
    /// Closings whose rows an attempt is to sort first, in the order in which they get slots.
    pub wanted: Vec<Compact>,
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
    pub paused: bool,
    /// The project's files have it.
    pub present: bool,
    pub max_active_runs: u32,
    /// In the order in which they may start; at least as many as could.
    pub queued: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Start { run: String },
    Launch { run: String, task: Name, tries: u32 },
    Compact(Compact),
    Change { run: String, task: Name, from: TaskState, to: TaskState, retry: Retry },
    Stop { attempt: String, stop: Stop },
    End { run: String, state: RunState },
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When a retry or a timeout is due, if nothing happens before.
    pub wake: Option<Micros>,
    pub waits: Waits,
    /// As they are when the actions have been carried out.
    pub slots: Slots,
}

impl Facts {
    /// The versions that the plan looks at.
    pub fn hashes(&self) -> Vec<String> {
        let active = self.active.iter().map(|active| &active.run);
        let queued = self.dags.values().flat_map(|dag| &dag.queued);
        active.chain(queued).map(|run| run.version.clone()).collect()
    }

    /// The wait of a run that the runs before it leave no room.
    pub fn active_runs(&self, dag: &Name) -> Wait {
        let working = self.active.iter().filter(|active| active.run.dag == *dag).count();
        let most = self.dags.get(dag).map_or(0, |dag| dag.max_active_runs as usize);
        Wait::ActiveRuns { working, most }
    }
}

impl DagFacts {
    /// Why it starts nothing; what is at work goes on.
    pub fn held_back(&self) -> Option<Wait> {
        match (self.present, self.paused) {
            (false, _) => Some(Wait::Gone),
            (true, true) => Some(Wait::Paused),
            (true, false) => None,
        }
    }
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
        match facts.dags.get(&active.run.dag).and_then(DagFacts::held_back) {
            Some(wait) => hold_back(&active.run, &tasks, &wait, &mut plan),
            None => find_ready(&active.run, version, &tasks, now, &mut ready, &mut plan),
        }
    }
    for run in start(facts, &at_work, &mut plan.waits) {
        plan.actions.push(Action::Start { run: run.id.clone() });
        let Some(version) = facts.versions.get(&run.version) else { continue };
        if version.dag.tasks.is_empty() {
            plan.actions.push(end(run, std::iter::empty()));
        }
        let kept = BTreeMap::new();
        find_ready(run, version, &kept, now, &mut ready, &mut plan);
    }
    ready.sort();
    give_slots(facts, ready, &mut plan);
    plan
}

/// Launches what gets a slot, closings and tasks; the rest waits for one.
fn give_slots(facts: &Facts, mut ready: Vec<Ready>, plan: &mut Plan) {
    plan.slots = facts.slots;
    let (tasks, closings) = plan.slots.give(ready.len(), facts.wanted.len());
    let left = ready.split_off(tasks);
    let launch = |(.., run, _, task, tries): Ready| Action::Launch { run, task, tries };
    plan.actions.extend(ready.into_iter().map(launch));
    plan.actions.extend(facts.wanted.iter().take(closings).cloned().map(Action::Compact));
    let wait = Wait::Slot(plan.slots);
    let waits = |(.., run, _, task, _): Ready| (TaskId { run, task }, wait.clone());
    plan.waits.tasks.extend(left.into_iter().map(waits));
}

/// Nothing of the run is launched.
fn hold_back(run: &Run, tasks: &BTreeMap<&Name, Standing>, wait: &Wait, plan: &mut Plan) {
    for (name, _) in tasks.iter().filter(|(_, task)| task.state == TaskState::Waiting) {
        let task = TaskId { run: run.id.clone(), task: (*name).clone() };
        plan.waits.tasks.insert(task, wait.clone());
    }
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
        let state = match (state, ruling(spec, &tasks)) {
            (TaskState::Waiting, Ruling::UpstreamFailed) => TaskState::UpstreamFailed,
            (TaskState::Waiting, Ruling::Skip) => TaskState::Skipped,
            (_, Ruling::Start | Ruling::Wait | Ruling::UpstreamFailed | Ruling::Skip) => state,
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

/// What the tasks before this one make of it.
fn ruling(spec: &Spec, tasks: &BTreeMap<&Name, Standing>) -> Ruling {
    let state = |before: &Name| tasks.get(before).map(|task| task.state);
    Rule::AllSuccess.of(Counts::of(spec.after.iter().map(state)))
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
        Verdict::Stop(stop) => {
            plan.actions.push(Action::Stop { attempt: attempt.id.clone(), stop });
        }
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
    let succeeded =
        |name: &Name| tasks.get(name).is_some_and(|task| task.state == TaskState::Succeeded);
    for (position, spec) in version.dag.tasks.iter().enumerate() {
        let standing = tasks.get(&spec.name);
        if standing.is_some_and(|task| task.state != TaskState::Waiting) {
            continue;
        }
        let id = TaskId { run: run.id.clone(), task: spec.name.clone() };
        if ruling(spec, tasks) != Ruling::Start {
            let undone = spec.after.iter().filter(|before| !succeeded(before)).cloned();
            plan.waits.tasks.insert(id, Wait::Upstream { tasks: undone.collect() });
            continue;
        }
        let retry = standing.map(|task| task.retry).unwrap_or_default();
        let delay = retry::backoff(spec.retry_delay, retry.tries);
        if let Some(at) = retry.next_try.filter(|at| !at.is_due(delay, now)) {
            wake(plan, at);
            plan.waits.tasks.insert(id, Wait::Retry { at });
            continue;
        }
        let start = run.subject.as_ref().map(|of| of.start);
        let TaskId { run: id, task } = id;
        ready.push((run.class, run.created, start, id, position, task, retry.tries + 1));
    }
}

/// The queued runs that start: none of a paused DAG, none beyond its limit, and of one hive
/// partition only one at a time, after every attempt of the one before has been seen to end.
fn start<'a>(facts: &'a Facts, at_work: &[&'a Run], waits: &mut Waits) -> Vec<&'a Run> {
    let mut taken: BTreeMap<(&Name, PartitionKey), &Run> = BTreeMap::new();
    taken.extend(
        at_work.iter().filter_map(|run| Some(((&run.dag, run.subject.as_ref()?.key), *run))),
    );
    let mut started = Vec::new();
    for (name, dag) in facts.dags.iter().filter(|(_, dag)| dag.held_back().is_none()) {
        let mut working = at_work.iter().filter(|run| run.dag == *name).count();
        let most = dag.max_active_runs as usize;
        for run in &dag.queued {
            let key = run.subject.as_ref().map(|of| of.key);
            // Its own one too: a run that was ended by hand and cleared has one until it has stopped.
            let works = |(dag, busy, by): &&(Name, Option<PartitionKey>, String)| {
                *by == run.id || (dag == name && busy.is_some() && *busy == key)
            };
            let earlier = key.and_then(|key| taken.get(&(name, key))).map(|run| &run.id);
            let earlier = earlier.or_else(|| Some(&facts.busy.iter().find(works)?.2));
            let wait = match earlier {
                Some(earlier) => Wait::EarlierRun { run: earlier.clone() },
                None if working >= most => Wait::ActiveRuns { working, most },
                None => {
                    taken.extend(key.map(|key| ((name, key), run)));
                    started.push(run);
                    working += 1;
                    continue;
                }
            };
            waits.runs.insert(run.id.clone(), wait);
        }
    }
    started
}

fn end(run: &Run, mut tasks: impl Iterator<Item = TaskState>) -> Action {
    let failed = tasks.any(|state| matches!(state, TaskState::Failed | TaskState::UpstreamFailed));
    let state = if failed { RunState::Failed } else { RunState::Succeeded };
    Action::End { run: run.id.clone(), state }
}

fn ended(state: TaskState) -> bool {
    match state {
        TaskState::Waiting | TaskState::Running => false,
        TaskState::Succeeded
        | TaskState::Failed
        | TaskState::UpstreamFailed
        | TaskState::Skipped => true,
    }
}

fn wake(plan: &mut Plan, at: Micros) {
    plan.wake = Some(plan.wake.map_or(at, |wake| wake.min(at)));
}

#[cfg(test)]
mod tests;
