//! The shim as a process: what it starts, what it survives, what it writes down.

use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tidemill::supervisor::folder::{Claim, End, Folder, Spec};
use tidemill::supervisor::process::{ATTEMPT_VARIABLE, ProcessId};

struct Attempt {
    _home: TempDir,
    folder: Folder,
}

impl Attempt {
    fn of(argv: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::of(home.path(), "7");
        let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
        folder.prepare(&Spec { argv, cwd: home.path().to_owned() }).unwrap();
        Self { _home: home, folder }
    }

    fn shim(&self) -> Command {
        let mut shim = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        shim.arg("shim").arg("--dir").arg(&self.folder.path);
        shim.env(ATTEMPT_VARIABLE, &self.folder.path).env("TOKEN", "hidden");
        shim
    }

    fn end(&self) -> End {
        assert!(self.shim().status().unwrap().success());
        self.folder.status().unwrap().unwrap().end
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.log()).unwrap()
    }
}

#[track_caller]
fn check_end(script: &str, expected: &End) {
    assert_eq!(Attempt::of(&["sh", "-c", script]).end(), *expected);
}

#[test]
fn the_exit_code_is_told() {
    check_end("exit 0", &End::Exited(0));
    check_end("exit 7", &End::Exited(7));
}

#[test]
fn the_signal_is_told() {
    check_end("kill -9 $$", &End::Signalled(9));
}

#[test]
fn a_program_that_is_not_there_is_told_in_status_and_log() {
    let attempt = Attempt::of(&["./no-such-program"]);
    let End::NotStarted(reason) = attempt.end() else { panic!("it was started") };
    assert!(reason.contains("start ./no-such-program"), "{reason}");
    assert!(attempt.log().contains("start ./no-such-program"));
}

#[test]
fn both_outputs_go_to_the_log_and_the_environment_comes_from_the_starter() {
    let attempt = Attempt::of(&["sh", "-c", "echo to out; echo $TOKEN >&2"]);
    attempt.end();
    assert_eq!(attempt.log(), "to out\nhidden\n");
    let spec = fs::read_to_string(attempt.folder.path.join("spec.json")).unwrap();
    assert!(!spec.contains("hidden"));
}

#[test]
fn what_the_child_leaves_behind_is_ended_before_the_status_is_told() {
    let attempt = Attempt::of(&["sh", "-c", "setsid sleep 1000 & echo $!"]);
    attempt.end();
    let pid: i32 = attempt.log().trim().parse().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_shim_that_comes_too_late_starts_nothing() {
    let attempt = Attempt::of(&["sh", "-c", "echo started"]);
    attempt.folder.claim(Claim::GivenUp).unwrap();
    assert!(attempt.shim().status().unwrap().success());
    assert_eq!(attempt.folder.status().unwrap(), None);
    assert!(!attempt.folder.log().exists());
}

#[test]
fn the_child_leads_a_group_of_its_own_that_can_be_stopped() {
    let attempt = Attempt::of(&["sleep", "1000"]);
    let mut shim = attempt.shim().spawn().unwrap();
    let child = loop {
        if let Some(child) = attempt.folder.child().unwrap() {
            break child;
        }
        std::thread::yield_now();
    };
    child.signal_group(rustix::process::Signal::TERM);
    assert!(shim.wait().unwrap().success());
    assert_eq!(attempt.folder.status().unwrap().unwrap().end, End::Signalled(15));
    assert_eq!(ProcessId::of(child.pid), None);
}
