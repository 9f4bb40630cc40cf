//! `tidemill up`, and the worker that it starts for each attempt.

use crate::config;
use crate::daemon;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::settings::{SETTINGS_VARIABLE, Settings};
use crate::telemetry;
use crate::telemetry::Format;
use crate::terminal::context::Context;
use crate::worker;
use std::path::Path;

/// Runs the project until Ctrl-C, SIGHUP or SIGTERM, or the end of stdin where that was asked for.
pub fn run(context: &Context, log_json: bool, while_stdin: bool) -> Result<(), Error> {
    telemetry::start(format(log_json), false)?;
    let project = context.project()?;
    let mut arguments = vec!["-C".to_owned(), project.root.display().to_string()];
    if project.settings.env != config::DEFAULT_ENV {
        arguments.extend(["--env".to_owned(), project.settings.env.clone()]);
    }
    daemon::up(daemon::Project {
        root: project.root,
        arguments,
        settings: project.settings,
        environment: context.environment.clone(),
        log_json,
        while_stdin,
    })
}

fn format(log_json: bool) -> Format {
    if log_json { Format::Json } else { Format::Human }
}

/// Works on `attempt`; without one, checks the project's files and takes them over.
///
/// `asks`: the store of the daemon that asks for a check, and the epoch under which it decides.
pub fn work(
    context: &Context,
    attempt: Option<&str>,
    asks: Option<(&Path, u64)>,
    log_json: bool,
) -> Result<(), Error> {
    telemetry::start(format(log_json), false)?;
    let Some(attempt) = attempt else {
        let env = context.env.as_deref();
        return worker::accept::run(&context.dir, env, &context.environment, asks);
    };
    let environment = context.environment.clone();
    let handed = environment.get(SETTINGS_VARIABLE);
    let (root, settings) = match handed {
        Some(handed) => (context.dir.clone(), settings(handed)?),
        None => context.project().map(|project| (project.root, project.settings))?,
    };
    worker::run(worker::Project { root, settings, environment }, attempt)
}

/// The settings that our daemon has handed over.
fn settings(handed: &str) -> Result<Settings, Error> {
    serde_json::from_str(handed)
        .map_err(|error| Error::new(ErrorKind::Bug, error))
        .doing(|| format!("read {SETTINGS_VARIABLE}"))
}
