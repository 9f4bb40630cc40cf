//! The command line as a person or a program meets it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn tidemill(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .env_remove("TIDEMILL_ENV")
        .output()
        .unwrap()
}

#[track_caller]
fn check(dir: &Path, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = tidemill(dir, arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    assert!(out.contains(stdout), "{arguments:?} told\n{out}\nnot\n{stdout}");
    assert!(err.contains(stderr), "{arguments:?} told\n{err}\nnot\n{stderr}");
}

fn empty_project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tidemill.toml"), "").unwrap();
    dir
}

#[test]
fn an_empty_project_is_sound() {
    check(empty_project().path(), &["check"], 0, "no problems", "");
}

#[test]
fn a_slip_in_a_file_is_the_users_to_mend() {
    let dir = empty_project();
    std::fs::write(dir.path().join("tidemill.toml"), "projekt = \"x\"").unwrap();
    check(dir.path(), &["check"], 2, "did you mean `project`?", "");
    check(dir.path(), &["-o", "json", "check"], 2, "\"errors\": 1", "");
}

#[test]
fn a_log_for_machines_is_one_also_where_a_file_is_broken() {
    for (file, text) in [("tidemill.toml", "projekt = 1"), ("dags/a.toml", "[tasks.x]\nexek = []")]
    {
        let dir = empty_project();
        std::fs::create_dir_all(dir.path().join("dags")).unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        let output = tidemill(dir.path(), &["up", "--log-json"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{log}");
        let of_line = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect(line);
        let lines: Vec<_> = log.lines().map(of_line).collect();
        assert!(lines.iter().any(|line| line["level"] == "ERROR"), "{log}");
    }
}

#[test]
fn a_project_that_was_never_up_says_what_to_run() {
    let dir = empty_project();
    let up = format!("-C {} up`", dir.path().display());
    check(dir.path(), &["status"], 2, "", "has never been up");
    check(dir.path(), &["status"], 2, "", &up);
}

#[test]
fn a_folder_without_a_project_is_told() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), &["status"], 2, "", "holds no project");
}

#[test]
fn a_wrong_verb_is_answered_with_the_right_one() {
    check(empty_project().path(), &["chck"], 2, "", "'check'");
}

/// `config import` with Terraform's recorded outputs on stdin.
fn import(dir: &Path, outputs: &str, arguments: &[&str]) -> Output {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform/tests/outputs");
    Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .current_dir(dir)
        .args(["config", "import"])
        .args(arguments)
        .env_remove("TIDEMILL_ENV")
        .stdin(File::open(recorded.join(outputs)).unwrap())
        .output()
        .unwrap()
}

#[test]
fn what_terraform_made_becomes_an_environment() {
    let dir = empty_project();
    let output = import(dir.path(), "prod.json", &[]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("wrote ./tidemill.gcp.toml\nleft to you:\n"), "{told}");
    assert!(told.contains("--env gcp check"), "{told}");
    let file = std::fs::read_to_string(dir.path().join("tidemill.gcp.toml")).unwrap();
    assert!(file.contains("url = \"gs://acme-wiki-tidemill-lake\""), "{file}");
}

#[test]
fn check_accepts_what_was_imported() {
    for outputs in ["dev.json", "prod.json"] {
        let dir = empty_project();
        assert!(import(dir.path(), outputs, &[]).status.success());
        check(dir.path(), &["--env", "gcp", "check"], 0, "no problems", "");
    }
}

#[test]
fn an_import_replaces_another_environment_only_when_told() {
    let dir = empty_project();
    assert!(import(dir.path(), "prod.json", &[]).status.success());
    assert!(import(dir.path(), "prod.json", &[]).status.success(), "the same again is no loss");
    let refused = import(dir.path(), "dev.json", &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("add --yes to replace it"));
    assert!(import(dir.path(), "dev.json", &["--yes"]).status.success());
}

#[test]
fn a_timezone_that_nobody_has_is_answered_with_how_to_write_one() {
    let dir = empty_project();
    check(dir.path(), &["--tz", "Mars/Olympus", "status"], 2, "", "a name like Europe/Madrid");
}

#[test]
fn every_verb_explains_itself() {
    let dir = empty_project();
    for line in VERBS.lines() {
        let (verb, verbs) = line.split_once(':').unwrap();
        check(dir.path(), &[verb, "--help"], 0, "Usage: tidemill", "");
        for below in verbs.split_whitespace() {
            check(dir.path(), &[verb, below, "--help"], 0, "Usage: tidemill", "");
        }
    }
}

const VERBS: &str = "check:\nup:\ndemo:\nstatus:\nsql:\nversion:\ndoctor:\n\
    dags: list show trigger pause unpause\nruns: list show clear mark wait\ntasks: logs why\n\
    streams: list show start stop\npartitions: list show close reopen";

#[test]
fn the_lake_of_another_project_is_a_problem_like_any() {
    let dir = empty_project();
    let settings = dir.path().join("tidemill.toml");
    check(dir.path(), &["sql", "select 1"], 0, "1 row", "");
    std::fs::write(&settings, "project = \"other\"\nprojekt = \"x\"").unwrap();
    let both = ["it belongs to project `tidemill`", "did you mean `project`?"];
    for told in both {
        check(dir.path(), &["check"], 2, told, "");
    }
    check(dir.path(), &["-o", "json", "check"], 2, "\"errors\": 2", "");
    std::fs::write(&settings, "project = \"other\"").unwrap();
    check(dir.path(), &["up"], 2, "", both[0]);
}

#[test]
fn a_file_without_an_event_makes_no_demo() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, input) = (dir.path().join("demo"), dir.path().join("changes.jsonl"));
    let (demo, file) = (demo.to_str().unwrap(), input.to_str().unwrap());
    for text in ["", "no JSON\n{\"no\": \"date\"}\n"] {
        std::fs::write(&input, text).unwrap();
        let arguments = ["demo", "--dir", demo, "--input", file];
        check(Path::new("."), &arguments, 2, "", "is an event with a date");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_demo_leaves_the_files_of_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "x").unwrap();
    let folder = dir.path().display().to_string();
    check(Path::new("."), &["demo", "--dir", &folder], 2, "", "name a new or empty folder");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
