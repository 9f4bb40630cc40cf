//! The command line: one file a verb.
//!
//! A verb gathers facts and prints them, as a screen or, with `-o json`, as they are. Verbs that
//! change something leave a request for the daemon and wait for its outcome. Results go to stdout,
//! everything else to stderr.

mod answers;
mod args;
mod check;
mod config;
mod dags;
mod doctor;
mod jobs;
mod lake;
mod partitions;
mod request;
mod runs;
mod sql;
mod standing;
mod status;
mod streams;
mod tables;
mod tasks;
mod tide;
mod up;
mod why;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::config::Environment;
use crate::demo;
use crate::error::{Error, ErrorKind};
use crate::terminal::context::Context;
use crate::terminal::print;
use args::{Args, Verb};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::process::ExitCode;
use tracing::error;

/// Runs what `arguments` say; the first is the program as it was called.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let program = arguments.first().map_or("tidemill".into(), |name| name.display().to_string());
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(told) => {
            let code = if told.use_stderr() { 2 } else { 0 };
            let _ = told.print(); // A closed pipe has heard enough.
            return ExitCode::from(code);
        }
    };
    let Args { dir, env, output, tz: zone, verb } = args;
    let (clock, environment) = (Clock::system(), Environment::of_process());
    let context = Context { dir, env, output, zone, program, clock, environment };
    let logs_json = verb.logs_json();
    match dispatch(&context, verb) {
        Ok(code) => code,
        Err(error) => {
            let error = with_our_commands(&context, error);
            if logs_json {
                error!(kind = error.kind.as_str(), remedy = error.remedy, "{error}");
            } else {
                print::error(&error);
            }
            exit_code(error.kind)
        }
    }
}

/// A remedy from deeper down says `tidemill check`: told here as a line that works where this one was
/// typed.
fn with_our_commands(context: &Context, mut error: Error) -> Error {
    let verbs: Vec<_> =
        Args::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let told = |remedy: String| {
        verbs.iter().fold(remedy, |remedy, verb| {
            let of_ours = |mark: &str| format!("{mark}{}", context.command(verb));
            remedy
                .replace(&format!("`tidemill {verb}"), &of_ours("`"))
                .replace(&format!(": tidemill {verb}"), &of_ours(": "))
        })
    };
    error.remedy = error.remedy.map(told);
    error
}

fn dispatch(context: &Context, verb: Verb) -> Result<ExitCode, Error> {
    match verb {
        Verb::Check => return check::run(context),
        Verb::Up { log_json, while_stdin } => up::run(context, log_json, while_stdin)?,
        Verb::Demo(args) => return demo::run(context, args),
        Verb::Doctor => return doctor::run(context),
        Verb::Status => status::run(context)?,
        Verb::Dags(verb) => dags::run(context, verb)?,
        Verb::Runs(verb) => return runs::run(context, verb),
        Verb::Tasks(verb) => tasks::run(context, verb)?,
        Verb::Streams(verb) => streams::run(context, verb)?,
        Verb::Partitions(verb) => partitions::run(context, verb)?,
        Verb::Lake(verb) => return lake::run(context, verb),
        Verb::Jobs(verb) => return jobs::run(context, &verb),
        Verb::Config(verb) => config::run(context, &verb)?,
        Verb::Tables(verb) => tables::run(context, &verb)?,
        Verb::Sql(args) => sql::run(context, &args)?,
        Verb::Version => print::text(concat!("tidemill ", env!("CARGO_PKG_VERSION"), "\n"))?,
        Verb::Worker { attempt, state, epoch, log_json, .. } => {
            up::work(context, attempt.as_deref(), state.as_deref().zip(epoch), log_json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// 1: failure, 2: user error, 3: temporary failure.
fn exit_code(kind: ErrorKind) -> ExitCode {
    ExitCode::from(match kind {
        ErrorKind::Input => 2,
        ErrorKind::Unavailable => 3,
        ErrorKind::Fenced | ErrorKind::Data | ErrorKind::Bug => 1,
    })
}
