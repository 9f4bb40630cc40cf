//! `tidemill check`: everything that is wrong with a project's files, at once.

use crate::error::Error;
use crate::terminal::context::{Context, block_on};
use crate::terminal::print;
use crate::terminal::print::Output;
use crate::worker::accept;
use std::process::ExitCode;

/// Exit code 2 where there is an error, 0 with warnings only.
pub fn run(context: &Context) -> Result<ExitCode, Error> {
    let began = context.steady();
    let Context { dir, env, environment, clock, .. } = context;
    let report = block_on(accept::checked(dir, env.as_deref(), environment, clock))?;
    let took = context.steady().since(began);
    match context.output {
        Output::Json => print::json(&report.facts())?,
        Output::Table => {
            let mut text = String::new();
            if !report.problems.is_empty() {
                text = format!("{}\n", report.problems);
            }
            print::text(&format!("{text}{}\n", report.summary(took)))?;
        }
    }
    Ok(ExitCode::from(if report.is_sound() { 0 } else { 2 }))
}
