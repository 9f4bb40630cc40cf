//! A project for one test: the shipped files in a folder of its own, and the processes that work there.

use crate::storage::Storage;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;
use tidemill::clock::Clock;
use tidemill::error::Error;
use tidemill::model::run::{Run, RunState};
use tidemill::model::stream::StreamState;
use tidemill::model::time::Micros;
use tidemill::store::Store;
use tidemill::store::runs::Wanted;

/// Far more than anything takes; a test that waits so long has failed.
const WAIT_MAX: Duration = Duration::from_mins(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much of each log a failed test prints.
const TAIL_LINES: usize = 40;

pub const TOPIC: &str = "wikimedia.recentchange";
pub const BINARY: &str = env!("CARGO_BIN_EXE_tidemill");

/// Held by tests that keep every core busy: side by side they would only time each other out.
pub fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until `look` returns something; its error is what was seen last.
#[track_caller]
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    wait_so_long(WAIT_MAX, what, look)
}

/// Likewise, for what takes longer.
#[track_caller]
pub fn wait_so_long<T>(
    most: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let clock = Clock::system();
    let began = clock.now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if clock.now().duration_since(began).unwrap() > most => {
                panic!("waited in vain until {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// `Ok` if both are equal, else what was found: for [`wait_until`].
pub fn is<T: PartialEq + Debug>(found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?}, not {wanted:?}")) }
}

pub struct Project {
    folder: TempDir,
    topic: String,
    /// Where the lake's files lie, if not in the project's folder.
    lake: Option<PathBuf>,
    /// What its processes have in their environment beside ours.
    pub environment: Vec<(&'static str, OsString)>,
}

/// What a command has answered.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Daemon,
    Shim,
    Feed,
    Stream,
    /// Sorts the rows of an hour that closes.
    Compaction,
    /// A task of a run, whatever its kind.
    Batch,
    /// A command, or what the daemon starts beside attempts.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub role: Role,
}

impl Project {
    /// What the repository ships.
    pub fn shipped() -> Self {
        let (folder, topic) = (tempfile::tempdir().unwrap(), TOPIC.to_owned());
        let project = Self { folder, topic, lake: None, environment: Vec::new() };
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["tidemill.toml", "topics", "jobs", "dags"] {
            copy(&repository.join(part), &project.path(part));
        }
        project
    }

    /// A project at work, as it was when all of its processes were killed.
    pub fn of_archive(archive: &Path, topic: &str) -> Self {
        let (folder, topic) = (tempfile::tempdir().unwrap(), topic.to_owned());
        let mut tar = Command::new("tar");
        let unpacked = tar.arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
        assert!(unpacked.success(), "{unpacked}");
        Self { folder, topic, lake: None, environment: Vec::new() }
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    pub fn lake(&self) -> PathBuf {
        self.lake.clone().unwrap_or_else(|| self.path(".tidemill/lake"))
    }

    pub fn warehouse(&self) -> PathBuf {
        self.path(".tidemill/warehouse")
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn write(&self, part: &str, text: &str) {
        let path = self.path(part);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces text that must be there in a file.
    #[track_caller]
    pub fn edit(&self, part: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(part)).unwrap();
        assert!(text.contains(from), "{part} has no `{from}`:\n{text}");
        self.write(part, &text.replace(from, to));
    }

    /// Uses real brokers instead of the embedded log, with a topic that no other test has.
    pub fn on_brokers(&mut self, address: &str) {
        let topic = format!("{TOPIC}.{}", uuid::Uuid::new_v4().simple());
        let file = |topic: &str| self.path(&format!("topics/{topic}.toml"));
        fs::rename(file(TOPIC), file(&topic)).unwrap();
        for job in ["recentchange_collect", "recentchange_land"] {
            self.edit(&format!("jobs/{job}/job.toml"), TOPIC, &topic);
        }
        self.topic = topic;
        self.set(&format!("[kafka]\nbrokers = \"{address}\"\n"));
    }

    /// Keeps the lake in a folder of a bucket, whose objects are files that any lister finds.
    pub fn in_bucket(&mut self, storage: &Storage, folder: &str) {
        let address = &storage.address;
        self.set(&format!("[lake]\nurl = \"gs://lake/{folder}\"\nendpoint = \"{address}\"\n"));
        self.lake = Some(storage.folder.path().join("lake").join(folder));
    }

    /// Adds a section to the project's settings.
    pub fn set(&self, section: &str) {
        let text = fs::read_to_string(self.path("tidemill.toml")).unwrap();
        self.write("tidemill.toml", &format!("{text}\n{section}"));
    }

    /// Loads into BigQuery's emulator.
    pub fn in_bigquery(&self, address: &str) {
        let text = fs::read_to_string(self.path("tidemill.toml")).unwrap();
        let warehouse = format!(
            "[warehouse]\nkind = \"bigquery\"\nproject = \"tidemill\"\nlocation = \"EU\"\nendpoint = \"{address}\"\n"
        );
        self.write("tidemill.toml", &format!("{text}\n{warehouse}"));
    }

    /// The source of the shipped feed from now on: `replay = {…}` or `simulate = {…}`.
    pub fn feed_from(&self, source: &str) {
        let job = format!(
            "kind = \"feed\"\n[from]\n{source}\n[to.kafka]\ntopic = \"{}\"\nunique = \"meta.id\"\n",
            self.topic
        );
        self.write("jobs/recentchange_collect/job.toml", &job);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("-C").arg(self.folder.path()).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn tidemill(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asks the state store, beside the daemon.
    fn ask<T>(&self, question: impl AsyncFnOnce(&Store) -> Result<T, Error>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open_existing(&self.path(".tidemill/state.db")).await.unwrap();
            question(&store.expect("the daemon has made the store")).await.unwrap()
        })
    }

    /// Every run of a DAG that works on a hive partition as (key, closing's number, state, id), in
    /// that order.
    pub fn runs(&self, dag: &str) -> Vec<(String, u32, RunState, String)> {
        let dag = Some(dag.parse().unwrap());
        let wanted = Wanted { dag, state: None, key: None, most: 10_000 };
        let runs = self.ask(async |store| store.runs(&wanted).await);
        let told = |run: Run| run.subject.map(|of| (of.key.to_string(), of.n, run.state, run.id));
        let mut runs: Vec<_> = runs.into_iter().filter_map(told).collect();
        runs.sort();
        runs
    }

    /// A stream that goes on only when a person has done something, and why.
    pub fn waiting(&self) -> Option<String> {
        let streams = self.ask(async |store| store.streams().await);
        let waits = streams.into_iter().find(|stream| stream.state == StreamState::Waiting)?;
        Some(format!("{} waits for a person: {:?}", waits.id, waits.waiting_for))
    }

    /// When the stream or feed last told how it is.
    pub fn heartbeat(&self, stream: &str) -> Option<Micros> {
        let streams = self.ask(async |store| store.streams().await);
        streams.into_iter().find(|one| one.id == stream)?.heartbeat
    }

    /// Starts the daemon and waits until it takes requests.
    pub fn up(&self) -> Daemon<'_> {
        self.try_up(&[]).expect("the daemon has ended")
    }

    /// Likewise, with more in its environment; `None` if it is killed meanwhile.
    pub fn try_up(&self, environment: &[(&str, &Path)]) -> Option<Daemon<'_>> {
        let log = File::options().create(true).append(true).open(self.path("up.log")).unwrap();
        let child = self
            .command(&["up"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Daemon { project: self, child: Some(child) };
        let ready = wait_until("the daemon is ready", || {
            if daemon.was_killed() {
                return Ok(false);
            }
            daemon.ready().map(|()| true)
        });
        ready.then_some(daemon)
    }

    /// What works on this project now; `/proc` knows them by the folder in their arguments or, for
    /// attempts, in their environment.
    pub fn processes(&self) -> Vec<Process> {
        pids().filter_map(|pid| Some(Process { pid, role: self.role(pid)? })).collect()
    }

    /// The daemon's or the attempts' processes of ours; quicker, for it asks only for arguments.
    pub fn processes_of(&self, role: Role) -> Vec<i32> {
        let its = |pid: &i32| self.role_by_arguments(*pid) == Some(role) && is_alive(*pid);
        pids().filter(its).collect()
    }

    fn role(&self, pid: i32) -> Option<Role> {
        let role = self.role_by_arguments(pid).or_else(|| {
            let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let attempts = format!("TIDEMILL_ATTEMPT_DIR={}", self.attempts());
            String::from_utf8_lossy(&environ).contains(&attempts).then_some(Role::Batch)
        });
        role.filter(|_| is_alive(pid))
    }

    fn role_by_arguments(&self, pid: i32) -> Option<Role> {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let arguments: Vec<_> = arguments.split('\0').collect();
        let says = |word: &str| arguments.contains(&word);
        if arguments.iter().any(|one| one.starts_with(&self.attempts())) {
            return Some(Role::Shim);
        }
        if !says(self.folder.path().to_str().unwrap()) {
            return None;
        }
        let attempt = arguments.iter().skip_while(|one| **one != "--attempt").nth(1);
        Some(match attempt {
            Some(id) if id.starts_with("wikimedia.collect-") => Role::Feed,
            Some(id) if id.starts_with("wikimedia.land-") => Role::Stream,
            // Of several instances.
            Some(id) if id.starts_with("wikimedia.land.") => Role::Stream,
            Some(id) if id.starts_with("compact-") => Role::Compaction,
            Some(_) => Role::Batch,
            None if says("up") => Role::Daemon,
            None => Role::Other,
        })
    }

    fn attempts(&self) -> String {
        self.path(".tidemill/attempts/").to_str().unwrap().to_owned()
    }

    /// Kills whatever is left and prints what it has written: the test has failed.
    fn give_up(&self) {
        for process in self.processes() {
            kill(process.pid, Signal::KILL);
        }
        print_tail(&self.path("up.log"));
        let attempts = fs::read_dir(self.path(".tidemill/attempts")).into_iter().flatten();
        let mut logs: Vec<_> = attempts.filter_map(|attempt| Some(attempt.ok()?.path())).collect();
        logs.sort();
        for log in logs {
            print_tail(&log.join("log"));
        }
    }
}

/// The daemon of a project; at its end nothing of the project may run any more.
pub struct Daemon<'a> {
    project: &'a Project,
    child: Option<Child>,
}

impl Daemon<'_> {
    /// Whether `kill -9` has ended it; any other end fails the test.
    pub fn was_killed(&mut self) -> bool {
        let Some(child) = &mut self.child else { return true };
        if is_alive(i32::try_from(child.id()).unwrap()) {
            return false;
        }
        // It may be asked for its end a moment later only: its threads end one by one.
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "the daemon has ended: {ended}");
        self.child = None;
        true
    }

    fn ready(&self) -> Result<(), String> {
        let holder = fs::read_to_string(self.project.path(".tidemill/daemon.lock"));
        let holder: Value = holder
            .map_err(|err| err.to_string())
            .and_then(|text| serde_json::from_str(&text).map_err(|err| err.to_string()))?;
        let own = holder["pid"].as_u64() == self.child.as_ref().map(|child| child.id().into());
        if own && holder["ready"] == true { Ok(()) } else { Err(holder.to_string()) }
    }

    /// `kill -9`, and nothing else.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ctrl-C: returns when all have ended, and checks that they have.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        kill(i32::try_from(child.id()).unwrap(), Signal::INT);
        let status = wait_until("the daemon has ended", || {
            child.try_wait().unwrap().ok_or_else(|| format!("{:?}", self.project.processes()))
        });
        assert!(status.success(), "{status}");
        assert_eq!(self.project.processes(), [], "left running");
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut child) = self.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
            self.project.give_up();
        } else {
            self.end();
        }
    }
}

/// Whether there was such a process.
pub fn kill(pid: i32, signal: Signal) -> bool {
    kill_process(Pid::from_raw(pid).unwrap(), signal).is_ok()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A zombie is not.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

fn print_tail(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    println!("--- {}", log.display());
    for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        println!("{line}");
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}
