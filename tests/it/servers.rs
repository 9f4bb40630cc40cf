//! Real servers, started once for a test run and gone with it.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// A server that ends when the pipe to its script does: when this process ends, in whatever way.
struct Server {
    _script: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Real Kafka brokers, each with a port for everyone and one for those who have an account.
pub struct Brokers {
    /// `host:port,host:port`, without security.
    pub open: String,
    /// Likewise, for `SASL_SSL` with SCRAM-SHA-512.
    pub secure: String,
    /// The certificate to trust there.
    pub ca: String,
    server: Mutex<Server>,
}

/// The account that the brokers know.
pub const USER: &str = "tidemill";
pub const PASSWORD: &str = "spring-tide";

impl Brokers {
    fn run(count: u32) -> Option<Self> {
        let missing: Vec<_> = ["java", "mvn"].into_iter().filter(|tool| !has(tool)).collect();
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            assert!(!in_ci(), "{missing} missing: apt-get install openjdk-17-jre-headless maven");
            return None;
        }
        let mut server = start("tests/servers/kafka", &["run", &count.to_string()]);
        let [open, secure, ca] = [(); 3].map(|()| server.answer());
        Some(Self { open, secure, ca, server: Mutex::new(server) })
    }

    /// `kill -9` of broker `number`, counted from 1.
    pub fn kill(&self, number: u32) {
        self.ask(&format!("kill {number}"));
    }

    /// Starts it again, and returns when it answers.
    pub fn start(&self, number: u32) {
        self.ask(&format!("start {number}"));
    }

    fn ask(&self, verb: &str) {
        let mut server = self.server.lock().unwrap();
        writeln!(server.asks, "{verb}").unwrap();
        assert_eq!(server.answer(), "ok", "{verb}");
    }
}

impl Server {
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the server's script has ended; it says why above");
        line.trim().to_owned()
    }
}

/// One broker, or `None` where there is no Java: the test is skipped and says so. In CI that is a
/// failure.
pub fn broker() -> Option<&'static Brokers> {
    static BROKER: OnceLock<Option<Brokers>> = OnceLock::new();
    started(&BROKER, 1)
}

/// Three brokers, for tests that take one away; likewise.
pub fn three_brokers() -> Option<&'static Brokers> {
    static BROKERS: OnceLock<Option<Brokers>> = OnceLock::new();
    started(&BROKERS, 3)
}

fn started(brokers: &'static OnceLock<Option<Brokers>>, count: u32) -> Option<&'static Brokers> {
    let brokers = brokers.get_or_init(|| Brokers::run(count)).as_ref();
    if brokers.is_none() {
        skipped("a Kafka broker: apt-get install openjdk-17-jre-headless maven");
    }
    brokers
}

/// The address of [`broker`].
pub fn kafka() -> Option<&'static str> {
    broker().map(|broker| broker.open.as_str())
}

/// The BigQuery emulator's address, or `None` where there is no Python. `gs://bucket/name` is the
/// file `name` in the folder `bucket` of [`BUCKETS`].
pub fn bigquery() -> Option<&'static str> {
    static BIGQUERY: OnceLock<Option<BigQuery>> = OnceLock::new();
    let server = BIGQUERY.get_or_init(|| BigQuery::over(Path::new(BUCKETS)));
    server.as_ref().map(|server| server.address.as_str())
}

/// An emulator of BigQuery.
pub struct BigQuery {
    pub address: String,
    _server: Server,
}

impl BigQuery {
    /// One whose buckets are the folders in `buckets`; `None` where there is no Python.
    pub fn over(buckets: &Path) -> Option<Self> {
        if !has("python3") {
            assert!(!in_ci(), "python3 is missing: apt-get install python3 python3-venv");
            skipped("the BigQuery emulator: apt-get install python3 python3-venv");
            return None;
        }
        let buckets = buckets.to_str().unwrap();
        let mut server = start("emulators/bigquery/serve", &["--gcs-root", buckets]);
        Some(Self { address: server.answer(), _server: server })
    }
}

/// The program of `fake-gcs-server`, or `None` where there is no Go.
pub fn fake_gcs() -> Option<PathBuf> {
    if !has("go") {
        assert!(!in_ci(), "go is missing: apt-get install golang");
        skipped("fake-gcs-server: apt-get install golang");
        return None;
    }
    let script = "tests/servers/fake-gcs-server";
    let mut find = Command::new(script);
    find.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    let found = find.output().unwrap();
    assert!(found.status.success(), "{script} fails; it says why above");
    Some(PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()))
}

/// Sends JSON to an emulator, which must take it.
#[track_caller]
pub fn post(address: &str, path: &str, body: &str) {
    ask(address, "POST", path, body);
}

/// Each folder in it is a bucket.
pub const BUCKETS: &str = env!("CARGO_TARGET_TMPDIR");

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

/// What a Debian package brings, or `None` where it can't be found: what needs it is left out, and
/// that is told. In CI that is a failure.
pub fn tool(package: &str, find: impl FnOnce() -> Option<PathBuf>) -> Option<PathBuf> {
    let found = find();
    if found.is_none() {
        assert!(!in_ci(), "{package} is missing: apt-get install {package}");
        skipped(&format!("{package}: apt-get install {package}"));
    }
    found
}

/// Says what the running test lacks.
pub fn skipped(what: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Past the capture of the test harness, which shows nothing of a test that passes.
    let _ = writeln!(io::stderr(), "skipped: {test} needs {what}");
}

/// Asks a server on this machine for JSON; any other answer than 200 fails the test.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> String {
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let told = io::read_to_string(stream).unwrap();
    assert!(told.starts_with("HTTP/1.1 200"), "{path}: {told}");
    told.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn start(script: &str, arguments: &[&str]) -> Server {
    let mut child = Command::new(script)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asks = child.stdin.take().unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap());
    Server { _script: child, asks, answers }
}

#[expect(clippy::disallowed_methods, reason = "not configuration: who runs the tests")]
fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

fn has(tool: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}
