//! `tidemill status`: one look at everything.

use super::standing::{dag_state, fate, next};
use super::streams::stream_grid;
use crate::daemon;
use crate::daemon::Holder;
use crate::error::Error;
use crate::model::duration::show_duration;
use crate::model::run::RunState;
use crate::terminal::context::{Context, block_on};
use crate::terminal::screen::{Grid, Lean, Times, counted, or_dash, short_run};
use crate::view::Stamp;
use crate::view::needs::{FileProblem, Need};
use crate::view::status;
use crate::view::status::Status;
use crate::view::up::Up;
use std::fmt::Write as _;

pub fn run(context: &Context) -> Result<(), Error> {
    let project = context.project()?;
    let status = block_on(async {
        let store = context.store(&project).await?;
        let up = daemon::holder(&project.settings.home).map(up);
        status::status(&store, &project.settings, up).await
    })?;
    context.show(&status, |status| screen(status, context, &context.times()))
}

fn up(holder: Holder) -> Up {
    Up { pid: holder.pid, since: Stamp(holder.started), restart_for: holder.restart_for }
}

/// What is the matter, and the command that tells more.
fn need(need: &Need, context: &Context) -> (String, String) {
    match need {
        Need::Restart { pid, settings } => (
            format!("{} changed since this daemon began", settings.join(", ")),
            format!("kill -INT {pid}, then {}", context.command("up")),
        ),
        Need::FilesRefused { problems } => (refused(problems), context.command("check")),
        Need::StreamWaits { stream, reason } => {
            let why = reason.as_deref().unwrap_or("it stopped");
            (format!("{stream} waits: {why}"), context.command(&format!("streams show {stream}")))
        }
        Need::AllQuarantined { stream, messages, .. } => {
            let what = format!("{stream} lands nothing: all {} quarantined", {
                counted(*messages, "message")
            });
            (what, context.command(&format!("streams show {stream}")))
        }
        Need::CannotClose { table, partition_key, partitions, problem } => {
            let more = match partitions - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let what =
                format!("{table} {partition_key}{more} cannot close: {}", first(&problem.text));
            (what, context.command(&format!("partitions show {table} {partition_key}")))
        }
        Need::TableUnreadable { table, problem } => (
            format!("nothing of {table} closes: {}", first(&problem.text)),
            context.command(&format!("lake verify {table}")),
        ),
        Need::VersionUnreadable { dag, problem, .. } => (
            format!("{dag} cannot run: {}", first(&problem.text)),
            context.command(&format!("dags show {dag}")),
        ),
        Need::Runs { dag, state, run: Some(run), .. } => {
            let run = short_run(run);
            let word = if *state == RunState::Held { "is held" } else { "failed" };
            let why = context.command(&format!("tasks why {dag} {run}"));
            (format!("{dag} {run} {word}"), why)
        }
        Need::Runs { dag, state, runs, at_least, run: None } => {
            let more = if *at_least { " or more" } else { "" };
            let word = if *state == RunState::Held { "are held" } else { "failed" };
            let list = context.command(&format!("runs list {dag} --state {state}"));
            (format!("{dag}: {runs}{more} runs {word}"), list)
        }
    }
}

/// `the edited files are refused, 2 problems: dags/wiki.toml:3:1: no job is named …`.
fn refused(problems: &[FileProblem]) -> String {
    let many = match problems.len() {
        1 => String::new(),
        many => format!(", {}", counted(many as u64, "problem")),
    };
    let Some(FileProblem { file, line, column, trouble }) = problems.first() else {
        return "the edited files are refused".to_owned();
    };
    let place: Vec<_> = file
        .iter()
        .cloned()
        .chain([line, column].into_iter().flatten().map(ToString::to_string))
        .collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(":")) };
    format!("the edited files are refused{many}: {place}{}", first(&trouble.text))
}

/// A list has a line for each thing; the command beside it tells the rest.
fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

pub fn screen(status: &Status, context: &Context, times: &Times) -> String {
    let up = match &status.up {
        Some(up) => format!("up {}, pid {}", show_duration(times.now.since(up.since.0)), up.pid),
        None => "not up".to_owned(),
    };
    let Status { version, project, env, .. } = status;
    let mut shown = format!("tidemill {version}  project {project}  env {env}  {up}\n");
    shown += &stream_grid(&status.streams, times);
    let mut dags = Grid::new(&[
        ("DAG", Lean::Left),
        ("STATE", Lean::Left),
        ("LAST RUN", Lean::Left),
        ("FATE", Lean::Left),
        ("NEXT", Lean::Left),
    ]);
    for dag in &status.dags {
        let last = dag.last_run.as_ref();
        dags.row([
            dag.name.to_string(),
            dag_state(dag.state).to_owned(),
            or_dash(last.map(|run| short_run(&run.id).to_owned())),
            or_dash(last.map(|run| fate(run, times.now))),
            or_dash(dag.next.as_ref().map(|waits| next(waits, times))),
        ]);
    }
    shown += &dags.show();
    match status.needs_you.len() {
        0 => shown.push_str("Nothing needs you.\n"),
        needs => {
            let verb = if needs == 1 { "needs" } else { "need" };
            let _ = writeln!(shown, "{} {verb} you:", counted(needs as u64, "thing"));
            for (what, look) in status.needs_you.iter().map(|it| need(it, context)) {
                let _ = writeln!(shown, "  {what}    {look}");
            }
        }
    }
    shown
}
