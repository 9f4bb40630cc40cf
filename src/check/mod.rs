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
use crate::config::problem::{Place, Problem, Problems, Severity};
use crate::config::sql::{Role, SqlText};
use crate::sql::problem::SqlProblem;
pub use report::Report;
use std::ops::Range;
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
    let config::Read { project, columns, cuts, .. } = read;
    Report { project, problems: Problems::new(problems), columns, cuts }
}

/// What SQL says of a text, at its place in the file.
fn problem(found: &SqlProblem, text: &SqlText) -> Problem {
    let place = match &found.at {
        Some(at) => text.text.part(at.start, at.len()),
        None => likely(&found.message, text),
    };
    let problem = Problem::error(found.message.clone(), &place);
    match &found.help {
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}

/// The most likely place of a problem without a place: at the first thing that it names, or else where
/// the statement begins.
fn likely(message: &str, text: &SqlText) -> Place {
    let sql = &text.text.value;
    let named = message.split('`').skip(1).step_by(2).find_map(|name| word(sql, name));
    match named {
        Some(at) => text.text.part(at.start, at.len()),
        // A whole file is no finger.
        None if matches!(text.role, Role::Query { .. }) => {
            text.text.part(statement(sql), 0).start()
        }
        None => text.text.place.clone(),
    }
}

/// `name` as a word of its own, whatever its case, outside of comments.
fn word(sql: &str, name: &str) -> Option<Range<usize>> {
    if name.is_empty() {
        return None;
    }
    let (sql, name) = (without_comments(sql).to_ascii_lowercase(), name.to_ascii_lowercase());
    let joins =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let found = sql.match_indices(&name).find(|(at, _)| {
        let before = at.checked_sub(1).and_then(|before| sql.as_bytes().get(before));
        !joins(before) && !joins(sql.as_bytes().get(at + name.len()))
    });
    found.map(|(at, _)| at..at + name.len())
}

/// Behind the comments and blank lines above it.
fn statement(sql: &str) -> usize {
    let mut at = 0;
    for line in sql.split_inclusive('\n') {
        let code = line.trim_start();
        if !code.is_empty() && !code.starts_with("--") {
            return at + line.len() - code.len();
        }
        at += line.len();
    }
    0
}

/// The same text with blanks in place of what follows `--`.
fn without_comments(sql: &str) -> String {
    let line = |line: &str| {
        let code = line.find("--").unwrap_or(line.len());
        format!("{}{}", &line[..code], " ".repeat(line.len() - code))
    };
    sql.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
