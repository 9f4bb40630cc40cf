//! Google's own Python client against the emulator.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod started;

use started::Emulator;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn googles_own_client_finds_what_it_finds_at_the_service() {
    let has_python = Command::new("python3").arg("--version").output().is_ok();
    if !has_python {
        assert!(!in_ci(), "python3 is missing: apt-get install python3 python3-venv");
        let _ = writeln!(std::io::stderr(), "skipped: Google's client needs python3 and venv");
        return;
    }
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let mut find = Command::new(format!("{tests}/python"));
    let found = find.stderr(Stdio::inherit()).output().unwrap();
    assert!(found.status.success(), "tests/python fails; it says why above");
    let python = String::from_utf8(found.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let mut client = Command::new(python.trim());
    client.arg(format!("{tests}/client.py")).args([&emulator.address]).arg(folder.path());
    let output = client.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[expect(clippy::disallowed_methods, reason = "not configuration: who runs the tests")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
