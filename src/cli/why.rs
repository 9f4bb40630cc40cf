//! `tidemill tasks why`: which condition is not met, and what is not in the way.

use crate::daemon;
use crate::error::Error;
use crate::model::attempt::{Attempt, AttemptState};
use crate::model::project::Project;
use crate::model::run::{Run, RunState};
use crate::model::task::{TaskId, TaskInstance, TaskState};
use crate::scheduler::explain::{Explained, explain as plan};
use crate::scheduler::plan::slots::Slots;
use crate::scheduler::plan::waits::Wait;
use crate::store::Store;
use crate::terminal::context::Context;
use crate::terminal::screen::{Times, short, short_run};
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Debug, Serialize)]
pub struct Why {
    run: String,
    state: String,
    /// What holds it up, the outermost first.
    because: Vec<String>,
    /// What could hold it up and does not.
    not_in_the_way: Vec<String>,
    /// Which version of its DAG it is pinned to, beside that of the files.
    ran: String,
}

pub async fn run(
    context: &Context,
    project: &Project,
    store: &Store,
    run: &Run,
) -> Result<(), Error> {
    let facts = facts(context, project, store, run, context.times()).await?;
    context.show(&explain(&facts), screen)
}

pub async fn facts(
    context: &Context,
    project: &Project,
    store: &Store,
    run: &Run,
    times: Times,
) -> Result<Facts, Error> {
    let dag = store.dag(&run.dag).await?;
    let newest = dag.as_ref().map(|dag| dag.version.clone()).unwrap_or_default();
    let id = short_run(&run.id);
    Ok(Facts {
        run: run.clone(),
        tasks: store.tasks(&run.id).await?,
        attempts: store.attempts_of_run(&run.id).await?,
        explained: plan(store, project.settings.limits.parallelism, times.now).await?,
        after: after(store, run).await?,
        retries: retries(store, run).await?,
        up: daemon::holder(&project.settings.home).is_some(),
        newest,
        times,
        clear: context.command(&format!("runs clear {} {id} --only-failed", run.dag)),
        release: context.command(&format!("runs clear {} {id}", run.dag)),
        up_command: context.command("up"),
        unpause: context.command(&format!("dags unpause {}", run.dag)),
    })
}

/// Everything that could be in a run's way.
pub struct Facts {
    pub run: Run,
    pub tasks: Vec<TaskInstance>,
    pub attempts: Vec<Attempt>,
    /// What the scheduler makes of everything.
    pub explained: Explained,
    /// Each task with those before it.
    pub after: Vec<(String, Vec<String>)>,
    pub retries: Vec<(String, u32)>,
    pub up: bool,
    pub newest: String,
    pub times: Times,
    pub clear: String,
    pub release: String,
    pub up_command: String,
    pub unpause: String,
}

async fn after(store: &Store, run: &Run) -> Result<Vec<(String, Vec<String>)>, Error> {
    let version = store.version(&run.version).await?;
    let names = |task: &crate::model::dag::Task| {
        (task.name.to_string(), task.after.iter().map(ToString::to_string).collect())
    };
    Ok(version.dag.tasks.iter().map(names).collect())
}

async fn retries(store: &Store, run: &Run) -> Result<Vec<(String, u32)>, Error> {
    let version = store.version(&run.version).await?;
    Ok(version.dag.tasks.iter().map(|task| (task.name.to_string(), task.retries)).collect())
}

pub fn explain(facts: &Facts) -> Why {
    let mut because = Vec::new();
    match facts.run.state {
        RunState::Succeeded => because.push("nothing: it has succeeded".to_owned()),
        RunState::Superseded => {
            let by = facts.run.superseded_by.as_deref().unwrap_or("a newer run");
            because.push(format!("it gave way to {by}, which reads a newer closing"));
        }
        RunState::Held => because.push(format!(
            "it is held: on_late = \"hold\" waits for a person. Let it go: {}",
            facts.release
        )),
        RunState::Queued => because.push(queued(facts)),
        RunState::Running | RunState::Failed => because.extend(tasks(facts)),
    }
    if !facts.up && !facts.run.state.ended() {
        because.insert(0, format!("the project is not up: {}", facts.up_command));
    }
    Why {
        run: facts.run.id.clone(),
        state: facts.run.state.to_string(),
        because,
        not_in_the_way: not_in_the_way(facts),
        ran: ran(facts),
    }
}

fn queued(facts: &Facts) -> String {
    match facts.explained.wait_of_run(&facts.run) {
        None => "it starts at the daemon's next look".to_owned(),
        Some(wait) => told(facts, &wait, "it"),
    }
}

/// What `name` waits for.
fn told(facts: &Facts, wait: &Wait, name: &str) -> String {
    match wait {
        Wait::Gone => "its DAG is gone from the project's files".to_owned(),
        Wait::Paused => format!("its DAG is paused: {}", facts.unpause),
        Wait::ActiveRuns { working, most } if working >= most => {
            format!("{working} of {most} runs of its DAG are at work")
        }
        Wait::ActiveRuns { most, .. } => {
            format!("other runs of its DAG go first; {most} are at work at once")
        }
        Wait::EarlierRun { run } if *run == facts.run.id => {
            format!("{name} waits for its own former attempt to end")
        }
        Wait::EarlierRun { run } => {
            let run = short_run(run);
            format!("{name} waits for {run}, which works on the same hive partition")
        }
        Wait::Upstream { tasks } => {
            let tasks: Vec<_> = tasks.iter().map(ToString::to_string).collect();
            format!("{name} waits for {} (all_success)", tasks.join(", "))
        }
        Wait::Retry { at } => {
            format!("{name} waits for its next try at {}", facts.times.time(*at))
        }
        Wait::Slot(slots) => format!("{name} waits for a slot: {}", held(slots)),
    }
}

fn held(slots: &Slots) -> String {
    let Slots { of, tasks, closings, .. } = slots;
    let all = format!("{} of {of} are taken (limits.parallelism)", slots.held());
    match closings {
        0 => all,
        closings => format!("{all}, {tasks} by tasks and {closings} by hours that are sorted"),
    }
}

fn tasks(facts: &Facts) -> Vec<String> {
    let mut because = Vec::new();
    // What was meant to come last is what a person misses, so it is told first.
    for task in facts.tasks.iter().rev() {
        let name = task.name.as_str();
        let after =
            facts.after.iter().find(|(of, _)| of == name).map(|(_, after)| after.as_slice());
        match task.state {
            TaskState::Succeeded | TaskState::Skipped => {}
            TaskState::Running => because.push(format!("{name} is at work")),
            TaskState::Failed => because.push(failed(facts, task)),
            TaskState::UpstreamFailed => {
                because.push(not_run(facts, name, after.unwrap_or_default()));
            }
            TaskState::Waiting => because.push(waiting(facts, task)),
        }
    }
    because
}

/// `sane has not run: it waits for by_hour (all_success), which failed.`
fn not_run(facts: &Facts, name: &str, after: &[String]) -> String {
    let is_to_blame = |before: &&String| {
        let blamed = [TaskState::Failed, TaskState::UpstreamFailed];
        let mut tasks = facts.tasks.iter();
        tasks.any(|task| task.name.as_str() == before.as_str() && blamed.contains(&task.state))
    };
    let blamed: Vec<_> = after.iter().filter(is_to_blame).map(String::as_str).collect();
    let why = match blamed.as_slice() {
        [_] if after.len() == 1 => "which failed".to_owned(),
        blamed => format!("of which {} failed", blamed.join(", ")),
    };
    format!("{name} has not run: it waits for {} (all_success), {why}.", after.join(", "))
}

fn failed(facts: &Facts, task: &TaskInstance) -> String {
    let name = task.name.as_str();
    let last = task.attempt.as_ref();
    let attempt = facts.attempts.iter().find(|attempt| Some(&attempt.id) == last);
    let retries =
        facts.retries.iter().find(|(of, _)| of == name).map_or(0, |(_, retries)| *retries);
    let mut text = format!("{name} failed for good: try {} of {}", task.tries, retries + 1);
    let Some(attempt) = attempt else { return text };
    let end = match (attempt.exit_code, attempt.signal) {
        (Some(code), _) => format!(", exit code {code}"),
        (None, Some(signal)) => format!(", killed by signal {signal}"),
        (None, None) if attempt.state == AttemptState::Unknown => ", its process was lost".into(),
        (None, None) => String::new(),
    };
    text.push_str(&end);
    if let Some(ended) = attempt.ended {
        let _ = write!(text, ", {}", facts.times.time(ended));
    }
    if let Some(failure) = &attempt.failure {
        let _ = write!(text, "\n  error: {}", failure.error.replace('\n', "\n  "));
        match &failure.remedy {
            Some(remedy) => {
                let _ = write!(text, "\n  help: {remedy}, then\n        {}", facts.clear);
            }
            None => {
                let _ = write!(text, "\n  help: {}", facts.clear);
            }
        }
    }
    text
}

fn waiting(facts: &Facts, task: &TaskInstance) -> String {
    let name = task.name.as_str();
    let id = TaskId { run: facts.run.id.clone(), task: task.name.clone() };
    match facts.explained.wait_of_task(&id) {
        None => format!("{name} starts at the daemon's next look"),
        Some(wait) => told(facts, wait, name),
    }
}

fn not_in_the_way(facts: &Facts) -> Vec<String> {
    let mut clear = Vec::new();
    let planned = &facts.explained.facts;
    let dag = planned.dags.get(&facts.run.dag);
    if dag.is_some_and(|dag| dag.held_back().is_none()) {
        clear.push("DAG active".to_owned());
    }
    if let Wait::ActiveRuns { working, most } = planned.active_runs(&facts.run.dag)
        && working < most
    {
        clear.push(format!("{working} of {most} runs"));
    }
    if planned.slots.is_free() {
        clear.push(format!("{} of {} slots", planned.slots.held(), planned.slots.of));
    }
    clear
}

fn ran(facts: &Facts) -> String {
    let ran = short(&facts.run.version);
    if facts.run.version == facts.newest {
        format!("ran dag version {ran}, the files are the same now")
    } else {
        format!("ran dag version {ran}; the files are {} now", short(&facts.newest))
    }
}

pub fn screen(why: &Why) -> String {
    let clear = match why.not_in_the_way.as_slice() {
        [] => "nothing".to_owned(),
        clear => clear.join(", "),
    };
    format!("{}\nNot in the way: {clear}; {}\n", why.because.join("\n"), why.ran)
}
