//! The Cloud Storage emulator as a process of its own, gone with the test.

use super::super::place::Turns;
use super::super::place::gcs::{Bucket, Patience};
use super::super::retry::Retry;
use super::Lake;
use crate::clock::Clock;
use crate::model::settings::LakeBucket;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub struct Emulator {
    pub address: String,
    pub folder: TempDir,
    process: Child,
}

impl Emulator {
    /// `None` where it is not built, which `cargo test` without arguments does: the test is skipped
    /// and says so. In CI that is a failure.
    pub fn start() -> Option<Self> {
        let program = std::env::current_exe().unwrap();
        // target/release/deps/tidemill-… and target/release/gcs-emulator
        let program = program.ancestors().nth(2).unwrap().join("gcs-emulator");
        if !program.exists() {
            assert!(!in_ci(), "{} is missing: cargo build --release", program.display());
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = writeln!(std::io::stderr(), "skipped: {test} needs {}", program.display());
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .arg(folder.path())
            .args(["--listen", "127.0.0.1:0", "--bucket", "lake", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { address: address.trim().to_owned(), folder, process })
    }

    pub fn url(&self, prefix: &str) -> LakeBucket {
        LakeBucket {
            name: "lake".into(),
            prefix: prefix.into(),
            endpoint: Some(self.address.clone()),
            credentials: None,
        }
    }

    /// Where the files of the lake below `prefix` lie.
    pub fn files(&self, prefix: &str) -> PathBuf {
        self.folder.path().join("lake").join(prefix)
    }

    /// A lake of its own, whose calls are tried once, so that a test sees each fault.
    pub async fn lake(&self) -> Lake {
        let prefix = format!("t/{}", uuid::Uuid::new_v4().simple());
        let patience = Patience { answer_max: Duration::from_secs(10), retries_max: 0 };
        self.lake_at(&prefix, patience, 1).await
    }

    /// The lake below `prefix`, whose calls are tried `tries` times.
    pub async fn lake_at(&self, prefix: &str, patience: Patience, tries: u32) -> Lake {
        let bucket = Arc::new(Bucket::open(&self.url(prefix), patience).unwrap());
        let retry = Retry { clock: Clock::system(), tries, pause: Duration::from_millis(10) };
        let turns = Turns::Swap(bucket.clone());
        super::with_turns(bucket, turns, retry).await
    }

    /// Replaces the rules by which requests fail.
    pub fn faults(&self, rules: &str) {
        self.admin("PUT", rules);
    }

    /// Ends the rules, when what they hold up has taken effect.
    pub fn end_faults(&self) {
        self.admin("DELETE", "");
    }

    /// How often each rule has hit.
    pub fn hits(&self) -> Vec<u64> {
        let rules: serde_json::Value = serde_json::from_str(&self.admin("GET", "")).unwrap();
        let rules = rules.as_array().unwrap().iter();
        rules.map(|rule| rule["hits"].as_u64().unwrap()).collect()
    }

    fn admin(&self, method: &str, body: &str) -> String {
        let host = self.address.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /_emulator/faults HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "not configuration: who runs the tests")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
