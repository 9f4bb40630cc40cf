//! The emulator as a process of its own, gone with the test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct Emulator {
    pub address: String,
    process: Child,
}

impl Emulator {
    /// Starts it over `root`, with a bucket `lake` that keeps versions.
    pub fn start(root: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_gcs-emulator"))
            .arg(root)
            .args(["--listen", "127.0.0.1:0", "--bucket", "lake", "--versioning"])
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { address: address.trim().to_owned(), process }
    }
}

/// `kill -9`.
impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
