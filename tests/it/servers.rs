//! Real servers, started once for a test run and gone with it.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// A server that ends when the pipe to its script does: when this process ends, in whatever way.
struct Server {
    address: String,
    _script: Child,
    _lifeline: ChildStdin,
}

/// The brokers' address, or `None` where there is no Java: the test is skipped and says so. In CI
/// that is a failure.
pub fn kafka() -> Option<&'static str> {
    static KAFKA: OnceLock<Option<Server>> = OnceLock::new();
    let server = KAFKA.get_or_init(|| {
        let missing: Vec<_> = ["java", "mvn"].into_iter().filter(|tool| !has(tool)).collect();
        if missing.is_empty() {
            return Some(start("tests/servers/kafka"));
        }
        let missing = missing.join(" and ");
        assert!(!in_ci(), "{missing} missing: apt-get install openjdk-17-jdk-headless maven");
        None
    });
    if server.is_none() {
        skipped("a Kafka broker: apt-get install openjdk-17-jdk-headless maven");
    }
    server.as_ref().map(|server| server.address.as_str())
}

/// A Python that has DuckDB, or `None` where there is no Python: the comparison with another engine
/// is skipped and says so. In CI that is a failure.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        if !has("python3") {
            assert!(!in_ci(), "python3 is missing: apt-get install python3 python3-venv");
            return None;
        }
        let script = "tests/servers/python";
        let mut find = Command::new(script);
        find.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
        let found = find.output().unwrap();
        assert!(found.status.success(), "{script} fails; it says why above");
        Some(PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()))
    });
    if python.is_none() {
        skipped("DuckDB to compare with: apt-get install python3 python3-venv");
    }
    python.clone()
}

/// Says what the running test lacks.
pub fn skipped(what: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Past the capture of the test harness, which shows nothing of a test that passes.
    let _ = writeln!(io::stderr(), "skipped: {test} needs {what}");
}

fn start(script: &str) -> Server {
    let mut child = Command::new(script)
        .arg("run")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lifeline = child.stdin.take().unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    assert!(!address.is_empty(), "{script} did not start; it says why above");
    Server { address: address.trim().to_owned(), _script: child, _lifeline: lifeline }
}

#[expect(clippy::disallowed_methods, reason = "not configuration: who runs the tests")]
fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

fn has(tool: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}
