//! `tidemill up`, and the worker that it starts for each attempt.

use super::context::Context;
use crate::config;
use crate::daemon;
use crate::error::Error;
use crate::telemetry;
use crate::telemetry::Format;
use crate::worker;

/// Runs the project until Ctrl-C, SIGHUP or SIGTERM, or the end of stdin where that was asked for.
pub fn run(context: &Context, log_json: bool, while_stdin: bool) -> Result<(), Error> {
    let project = context.project()?;
    let format = if log_json { Format::Json } else { Format::Human };
    telemetry::start(format, false)?;
    let mut arguments = vec!["-C".to_owned(), project.root.display().to_string()];
    if project.settings.env != config::DEFAULT_ENV {
        arguments.extend(["--env".to_owned(), project.settings.env.clone()]);
    }
    daemon::up(daemon::Project {
        root: project.root,
        arguments,
        settings: project.settings,
        environment: context.environment.clone(),
        while_stdin,
    })
}

/// Works on `attempt`; without one, checks the project's files and takes them over.
pub fn work(context: &Context, attempt: Option<&str>) -> Result<(), Error> {
    telemetry::start(Format::Human, false)?;
    let Some(attempt) = attempt else {
        let env = context.env.as_deref();
        return worker::accept::run(&context.dir, env, &context.environment);
    };
    let project = context.project()?;
    let environment = context.environment.clone();
    let project = worker::Project { root: project.root, settings: project.settings, environment };
    worker::run(project, attempt)
}
