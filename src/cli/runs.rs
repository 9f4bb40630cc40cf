//! `tidemill runs`: DAGs at work, each for one trigger.

use super::standing::fate;
use super::{answers, dags, request};
use crate::error::{Error, ErrorKind};
use crate::model::duration::{parse_duration, show_duration};
use crate::model::hive::PartitionKey;
use crate::model::request::Verb;
use crate::model::run::{Run, RunState};
use crate::store::Store;
use crate::store::runs::Wanted;
use crate::terminal::context::{Context, block_on};
use crate::terminal::screen::{Grid, Lean, Times, count, or_dash, short, size};
use crate::view::Stamp;
use crate::view::runs as view;
use crate::view::runs::{InputFacts, RunFacts, RunShown};
use clap::Subcommand;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub enum RunsVerb {
    /// Lists runs, newest first
    List {
        dag: Option<String>,
        #[arg(long)]
        state: Option<RunState>,
        #[arg(long)]
        partition_key: Option<PartitionKey>,
        /// Maximum number of runs; 0 for all
        #[arg(short = 'n', long, default_value_t = 20)]
        most: u32,
    },
    /// Shows one run: what it reads, and its tasks
    Show { dag: String, run: String },
    /// Runs it again with the newest version of its DAG; releases a held run
    Clear {
        dag: String,
        run: String,
        /// Keeps the tasks that have succeeded
        #[arg(long)]
        only_failed: bool,
    },
    /// Sets a run's state by hand
    Mark {
        dag: String,
        run: String,
        #[arg(value_parser = marked_state)]
        state: RunState,
    },
    /// Waits for its end: exit code 0 if it succeeded, 1 if it failed, 3 after the timeout
    Wait {
        dag: String,
        run: String,
        #[arg(long, default_value = "1h", value_parser = duration)]
        timeout: Duration,
    },
}

pub fn run(context: &Context, verb: RunsVerb) -> Result<ExitCode, Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let change = match verb {
            RunsVerb::List { dag, state, partition_key, most } => {
                let dag = match dag {
                    Some(dag) => Some(dags::find(context, &store, &dag).await?.name),
                    None => None,
                };
                let times = context.times();
                let wanted = Wanted { dag, state, key: partition_key, most };
                let listed = view::list(&store, &wanted).await?;
                context.show(&listed, |listed| list_screen(listed, &times))?;
                return Ok(ExitCode::SUCCESS);
            }
            RunsVerb::Show { dag, run } => {
                let run = find(context, &store, &dag, &run).await?;
                let times = context.times();
                let shown = view::show(&store, run).await?;
                context.show(&shown, |shown| screen(shown, &times))?;
                return Ok(ExitCode::SUCCESS);
            }
            RunsVerb::Wait { dag, run, timeout } => {
                let run = find(context, &store, &dag, &run).await?;
                return wait(context, &store, &run.id, timeout).await;
            }
            RunsVerb::Clear { dag, run, only_failed } => {
                let Run { dag, id: run, .. } = find(context, &store, &dag, &run).await?;
                Verb::ClearRun { dag, run, only_failed }
            }
            RunsVerb::Mark { dag, run, state } => {
                let Run { dag, id: run, .. } = find(context, &store, &dag, &run).await?;
                Verb::MarkRun { dag, run, to: state }
            }
        };
        let outcome = request::ask(context, &project, &store, change).await?;
        context.show(&outcome, |outcome| format!("{}\n", answers::done(outcome)))?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The run that is meant; its id may lack the random end.
pub async fn find(context: &Context, store: &Store, dag: &str, run: &str) -> Result<Run, Error> {
    let dag = dags::find(context, store, dag).await?.name;
    store.find_run(&dag, run).await
}

pub(super) fn list_screen(runs: &[RunFacts], times: &Times) -> String {
    let mut grid = Grid::new(&[
        ("DAG", Lean::Left),
        ("RUN", Lean::Left),
        ("PARTITION", Lean::Left),
        ("FATE", Lean::Left),
        ("CREATED", Lean::Right),
    ]);
    for run in runs {
        grid.row([
            run.dag.to_string(),
            run.id.clone(),
            or_dash(run.partition_key.map(|key| key.to_string())),
            fate(run, times.now),
            times.time(run.created.0),
        ]);
    }
    grid.show()
}

pub(super) fn screen(shown: &RunShown, times: &Times) -> String {
    let run = &shown.run;
    let mut text = format!("{} {}    {}\n", run.dag, run.id, fate(run, times.now));
    let version = short(&run.version);
    let _ = writeln!(text, "version   {version}, made {}", times.time(run.created.0));
    if let (Some(key), Some(revision)) = (&run.partition_key, run.revision) {
        let partial = if run.partial { ", partial" } else { "" };
        let _ = writeln!(text, "for       {key}, revision {revision}{partial}");
    }
    for input in &shown.inputs {
        let InputFacts { table, partition_key, revision } = input;
        let _ = writeln!(text, "reads     {table} {partition_key} revision {revision}");
    }
    for (what, who) in [("marked by", &run.marked_by), ("gave way to", &run.superseded_by)] {
        if let Some(who) = who {
            let _ = writeln!(text, "{what} {who}");
        }
    }
    if let Some(failure) = &run.failure {
        let _ = writeln!(text, "failed    {}", failure.error);
        if let Some(remedy) = &failure.remedy {
            let _ = writeln!(text, "  help:   {remedy}");
        }
    }
    let mut grid = Grid::new(&[
        ("TASK", Lean::Left),
        ("STATE", Lean::Left),
        ("TRIES", Lean::Right),
        ("TOOK", Lean::Right),
        ("ATTEMPT", Lean::Left),
    ]);
    for task in &shown.tasks {
        let took =
            |from: Stamp| show_duration(task.ended.map_or(times.now, |at| at.0).since(from.0));
        grid.row([
            task.name.to_string(),
            task.state.to_string(),
            task.tries.to_string(),
            or_dash(task.started.map(took)),
            or_dash(task.attempt.clone()),
        ]);
    }
    text += &grid.show();
    for task in &shown.tasks {
        if let Some(made) = task.output.as_ref().and_then(made) {
            let _ = writeln!(text, "{} made {made}", task.name);
        }
    }
    text
}

/// `1,234 rows, 98 KiB, by load job tidemill-…`; `None` for what no batch has made.
fn made(output: &serde_json::Value) -> Option<String> {
    let (rows, bytes) = (output["rows"].as_u64()?, output["bytes"].as_u64()?);
    let job = output["load_job"].as_str().map(|job| format!(", by load job {job}"));
    let job = job.unwrap_or_default();
    Some(format!("{} rows, {}{job}", count(rows), size(bytes)))
}

async fn wait(
    context: &Context,
    store: &Store,
    id: &str,
    timeout: Duration,
) -> Result<ExitCode, Error> {
    let began = context.steady();
    loop {
        let gone = || Error::new(ErrorKind::Input, format!("run {id} is not kept any more"));
        let run = store.run(id).await?.ok_or_else(gone)?;
        if run.state.ended() {
            // What gave way to a newer run is done as well: that one does its work.
            let well = run.state != RunState::Failed;
            let now = context.now();
            context.show(&RunFacts::from(run), |run| format!("{} {}\n", run.id, fate(run, now)))?;
            return Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if context.steady().since(began) > timeout {
            let state = format!("{id} is still {}", run.state);
            let why = context.command(&format!("tasks why {} {id}", run.dag));
            return Err(Error::new(ErrorKind::Unavailable, state).remedy(format!("see `{why}`")));
        }
        context.clock.sleep(LOOK_EVERY).await;
    }
}

fn marked_state(text: &str) -> Result<RunState, String> {
    match text.parse() {
        Ok(state @ (RunState::Succeeded | RunState::Failed)) => Ok(state),
        Ok(_) | Err(_) => Err("mark a run as `succeeded` or `failed`".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write 90s, 10m or 1h 30m".to_owned())
}
