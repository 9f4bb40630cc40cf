//! `tidemill tasks`: what tasks have said, and why they have not run.

use super::{runs, why};
use crate::daemon;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::attempt::{Attempt, Owner};
use crate::model::project::Project;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::print;
use clap::Subcommand;
use serde::Serialize;
use std::fmt::Write as _;
use std::io;

#[derive(Debug, Subcommand)]
pub enum TasksVerb {
    /// Prints the log of a task; for a stream: `tasks logs wikimedia.land`
    Logs {
        /// A DAG, or a stream's id
        dag: String,
        run: Option<String>,
        /// The task; by default every task of the run
        task: Option<String>,
        /// The try; by default the last one
        #[arg(long = "try")]
        tries: Option<u32>,
    },
    /// Explains why a run is not finished: the conditions that are not met
    Why { dag: String, run: String },
}

#[derive(Debug, Serialize)]
struct Log {
    attempt: String,
    text: String,
}

pub fn run(context: &Context, verb: TasksVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        match verb {
            TasksVerb::Why { dag, run } => {
                let run = runs::find(context, &store, &dag, &run).await?;
                why::run(context, &project, &store, &run).await
            }
            TasksVerb::Logs { dag, run, task, tries } => {
                let attempts = match run {
                    Some(run) => {
                        let run = runs::find(context, &store, &dag, &run).await?;
                        of_run(&store, &run.id, task.as_deref(), tries).await?
                    }
                    None => of_stream(context, &store, &dag).await?,
                };
                logs(context, &project, &attempts)
            }
        }
    })
}

/// The last try of each task, or the one that was asked for.
async fn of_run(
    store: &Store,
    run: &str,
    task: Option<&str>,
    tries: Option<u32>,
) -> Result<Vec<Attempt>, Error> {
    let mut newest: Vec<(String, Attempt)> = Vec::new();
    let mut names = Vec::new();
    for attempt in store.attempts_of_run(run).await? {
        let Owner::Task { task: name, .. } = &attempt.owner else { continue };
        let name = name.to_string();
        names.push(name.clone());
        if task.is_some_and(|task| task != name) || tries.is_some_and(|n| n != attempt.tries) {
            continue;
        }
        newest.retain(|(other, _)| *other != name);
        newest.push((name, attempt));
    }
    names.dedup();
    if let Some(task) = task.filter(|task| !names.iter().any(|name| name == task)) {
        let shown = "tidemill runs show";
        return Err(unknown("task that has been tried", task, &names, shown));
    }
    match tries {
        Some(tries) if newest.is_empty() => {
            let problem = format!("nothing of {run} has had try {tries}");
            Err(Error::new(ErrorKind::Input, problem)
                .remedy("leave --try out for the last one; `tidemill runs show` counts them"))
        }
        Some(_) | None => Ok(newest.into_iter().map(|(_, attempt)| attempt).collect()),
    }
}

async fn of_stream(context: &Context, store: &Store, id: &str) -> Result<Vec<Attempt>, Error> {
    if store.stream(id).await?.is_none() {
        let known: Vec<_> = store.streams().await?.into_iter().map(|stream| stream.id).collect();
        let listed = context.command("streams list");
        return Err(unknown("stream", id, &known, &listed));
    }
    store.attempts_of_stream(id, 1).await
}

fn logs(context: &Context, project: &Project, attempts: &[Attempt]) -> Result<(), Error> {
    if attempts.is_empty() {
        print::note("nothing has been tried yet");
    }
    let mut logs = Vec::new();
    for attempt in attempts {
        let path = daemon::log_path(&project.settings.home, &attempt.id);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
            Err(err) => {
                return Err(Error::new(ErrorKind::Input, err))
                    .doing(|| format!("read {}", path.display()));
            }
        };
        logs.push(Log { attempt: attempt.id.clone(), text });
    }
    context.show(&logs, |logs| {
        let mut shown = String::new();
        for log in logs {
            if logs.len() > 1 {
                let _ = writeln!(shown, "== {}", log.attempt);
            }
            let _ = write!(shown, "{}", log.text);
        }
        shown
    })
}
