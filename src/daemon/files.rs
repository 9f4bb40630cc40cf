//! Sees that the project's files have changed, and has a process of its own check them.
//!
//! Checking SQL takes an engine that the daemon does not carry; and an edit that brings the checker
//! down must not bring the daemon down.

use super::Project;
use crate::error::{Doing, Error, ErrorKind};
use crate::supervisor::launch::OWN_PROGRAM;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

/// What stands in the project's files, as far as their dates and sizes tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<SystemTime>, u64)>);

impl Fingerprint {
    /// Looks at every file that the configuration reads.
    pub fn of(root: &Path) -> Self {
        let mut files = Vec::new();
        for folder in ["topics", "jobs", "dags"] {
            collect(&root.join(folder), &mut files);
        }
        let settings = fs::read_dir(root).into_iter().flatten().filter_map(|entry| {
            let path = entry.ok()?.path();
            let of_ours = path.file_name()?.to_str()?.starts_with("tidemill.");
            (of_ours && path.extension().is_some_and(|kind| kind == "toml")).then_some(path)
        });
        files.extend(settings);
        files.sort();
        let seen = |path: PathBuf| {
            let found = fs::metadata(&path).ok();
            let changed = found.as_ref().and_then(|found| found.modified().ok());
            (path, changed, found.map_or(0, |found| found.len()))
        };
        Self(files.into_iter().map(seen).collect())
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), files),
            Ok(_) => files.push(entry.path()),
            Err(_) => {} // Gone in between.
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store has the files' versions now.
    Accepted,
    /// There are problems, printed and written down in the store; the versions there stay.
    Refused,
}

/// Checks the project in another process, which puts what it accepts into the store and prints
/// every problem to our own error stream.
///
/// `epoch`: under which this daemon decides.
pub async fn check(project: &Project, epoch: u64) -> Result<Verdict, Error> {
    let doing = || "check the project's files".to_owned();
    let status = tokio::process::Command::new(OWN_PROGRAM)
        .arg0("tidemill")
        .args(&project.arguments)
        .args(["worker", "--accept", "--state"])
        .arg(&project.settings.state)
        .args(["--epoch", &epoch.to_string()])
        .args(project.log_json.then_some("--log-json"))
        .current_dir(&project.root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))
        .doing(doing)?;
    match status.code() {
        Some(0) => Ok(Verdict::Accepted),
        Some(2) => Ok(Verdict::Refused),
        _ => Err(Error::new(ErrorKind::Unavailable, format!("the checker ended with {status}")))
            .doing(doing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_anywhere_in_the_project_is_seen_and_state_is_not() {
        let root = tempfile::tempdir().unwrap();
        let seen = || Fingerprint::of(root.path());
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let empty = seen();
        put(".tidemill/state.db", "x");
        put("README.md", "x");
        assert_eq!(seen(), empty);
        put("jobs/land/query.sql", "select 1");
        let first = seen();
        assert_ne!(first, empty);
        put("jobs/land/query.sql", "select 12");
        assert_ne!(seen(), first);
    }
}
