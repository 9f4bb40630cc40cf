//! The only reader of the user's files: text becomes a checked [`Project`], or problems.
//!
//! Files are read one by one into what is *written* (with the place of every name), then names are
//! followed from file to file into what is *meant*. Nothing stops at the first problem: a person
//! mends all of them in one go.

mod cut;
mod dag;
mod environment;
mod feed;
mod files;
mod folder;
mod graph;
pub mod import;
mod job;
mod lake;
mod later;
pub mod meant;
mod node;
pub mod problem;
mod resolve;
mod secret;
mod section;
mod server;
mod settings;
pub mod sql;
mod tasks;
mod topic;
mod value;
mod warehouse;

#[cfg(test)]
mod tests;

use crate::model::project::Project;
pub use environment::Environment;
pub use folder::{Read, read};
use problem::Problems;
use std::path::Path;

/// What the environment is called that no `tidemill.<env>.toml` belongs to.
pub const DEFAULT_ENV: &str = "default";

/// A project without a problem that keeps it from running.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub project: Project,
    pub warnings: Problems,
}

/// Reads the project in `dir`.
///
/// `env` is what `--env` says; without it `TIDEMILL_ENV` counts, then there is only `tidemill.toml`.
pub fn load(dir: &Path, env: Option<&str>, environment: &Environment) -> Result<Loaded, Problems> {
    let read = read(dir, env, environment);
    let problems = Problems::new(read.problems);
    match read.project {
        Some(project) if problems.errors() == 0 => Ok(Loaded { project, warnings: problems }),
        Some(_) | None => Err(problems),
    }
}
