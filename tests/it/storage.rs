//! The shipped pipeline with its lake in a bucket, at the Cloud Storage emulator.

use crate::project::{BINARY, Project, machine};
use crate::servers::ask;
use crate::wikimedia::{RAW, land, made_up_day, real_day};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The emulator as a process of its own, with a bucket `lake`; gone with the test.
pub struct Storage {
    pub address: String,
    pub folder: TempDir,
    process: Child,
}

impl Storage {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Built with ours: both are members of the workspace.
        let mut process = Command::new(Path::new(BINARY).with_file_name("gcs-emulator"))
            .arg(folder.path())
            .args(["--listen", "127.0.0.1:0", "--bucket", "lake", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { address: address.trim().to_owned(), folder, process }
    }

    /// Replaces the rules by which requests fail.
    pub fn faults(&self, rules: &str) {
        ask(&self.address, "PUT", "/_emulator/faults", rules);
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn in_bucket(storage: &Storage) -> Project {
    let mut project = Project::shipped();
    project.in_bucket(storage, "wiki");
    project
}

#[test]
fn a_real_day_goes_into_a_bucket() {
    let Some(day) = real_day() else { return };
    let _machine = machine();
    let storage = Storage::start();
    let project = in_bucket(&storage);
    land(&project, &day);
    let asked = project.tidemill(&["sql", &format!("select count(*) as rows from {RAW}")]);
    assert!(asked.out.contains(&day.events.to_string()), "{asked:?}");
    let listed = project.tidemill(&["partitions", "list", RAW]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(!project.path(".tidemill/lake").exists(), "something was written to a folder");
}

#[test]
fn a_made_up_day_goes_into_a_bucket_that_errs_and_loses_answers() {
    let _machine = machine();
    let storage = Storage::start();
    let seed: u32 = rand::random();
    println!("seed {seed}");
    let rule = |fault: &str, status: u16, by: u64| {
        let seed = u64::from(seed) + by;
        format!(
            r#"{{ "fault": "{fault}", "status": {status}, "probability": 0.03, "seed": {seed} }}"#
        )
    };
    let rules = [rule("after", 503, 1), rule("before", 503, 2), rule("before", 429, 3)];
    storage.faults(&format!("[{}]", rules.join(",")));
    land(&in_bucket(&storage), &made_up_day());
}
