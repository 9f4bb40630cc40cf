//! Checks a whole project, its SQL too: everything that can be known before anything runs.
//!
//! Each SQL text is planned against the columns that its tables will have, in the order in which
//! tables are made from each other. What depends on a file with problems of its own is left out:
//! one slip, one problem.

mod expressions;
mod queries;
mod report;

#[cfg(test)]
mod tests;

use crate::config;
use crate::config::Environment;
use crate::config::problem::Problem;
use crate::config::problem::Problems;
use crate::config::problem::Severity;
use crate::config::sql::Role;
use crate::config::sql::SqlText;
use crate::sql::problem::SqlProblem;
pub use report::Report;
use std::path::Path;

/// Reads the project in `dir` as [`config::load`] does, and then its SQL.
pub fn run(dir: &Path, env: Option<&str>, environment: &Environment) -> Report {
    let read = config::read(dir, env, environment);
    let mut problems = read.problems;
    if let Some(project) = &read.project {
        let whole = problems.iter().all(|problem| problem.severity != Severity::Error);
        problems.extend(expressions::check(project, &read.sql));
        problems.extend(queries::check(project, &read.sql, whole));
    }
    Report { project: read.project, problems: Problems::new(problems), columns: read.columns }
}

/// What SQL says of a text, at its place in the file.
fn problem(found: &SqlProblem, text: &SqlText) -> Problem {
    let place = match &found.at {
        Some(at) => text.text.part(at.start, at.len()),
        // A whole file is no finger.
        None if matches!(text.role, Role::Query { .. }) => text.text.place.start(),
        None => text.text.place.clone(),
    };
    let problem = Problem::error(found.message.clone(), &place);
    match &found.help {
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}
