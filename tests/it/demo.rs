//! The demo from its first line to its last, and Ctrl-C in between.

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

fn demo(dir: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["demo", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The command lines of all processes that name `dir`, the demo's own included.
fn processes(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let command = |entry: std::fs::DirEntry| {
        let text = std::fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        text.contains(&dir).then_some(text)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(command).collect()
}

#[test]
fn the_demo_agrees_with_itself_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), &[]).wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("landed + quarantined + dropped = produced: yes"), "{out}");
    assert!(out.contains("warehouse = SQL over the lake, hour by hour: yes"), "{out}");
    assert!(err.contains("we kill -9 the landing process"), "{err}");
    assert_eq!(processes(dir.path()), Vec::<String>::new());
    let status = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .arg("-C")
        .arg(dir.path())
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(0), "what is left is an ordinary project");
}

#[test]
fn ctrl_c_ends_the_demo_and_all_that_it_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), &[]);
    let workers = || processes(dir.path()).iter().filter(|line| line.contains("worker")).count();
    while workers() < 2 {
        assert_eq!(child.try_wait().unwrap(), None, "the demo has ended");
        std::thread::sleep(Duration::from_millis(10)); // Between two looks.
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(processes(dir.path()), Vec::<String>::new());
}
