//! A project with a daemon of its own, for tests that kill things.

use rustix::process::{Pid, Signal, kill_process};
use std::cell::RefCell;
use std::fs;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;
use tidemill::clock::Clock;
use tidemill::daemon::{holder, worker_pid};
use tidemill::model::attempt::Attempt;
use tidemill::model::request::{NewRequest, Verb};
use tidemill::model::run::Run;
use tidemill::ping;
use tidemill::store::Store;
use tidemill::store::runs::Wanted;
use tidemill::supervisor::process::{ProcessId, sweep};

/// Long enough for a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Bed {
    root: TempDir,
    daemon: RefCell<Option<Child>>,
    pub clock: Clock,
}

impl Bed {
    /// A project with one DAG, `work`, that runs by hand.
    pub fn of(dag: &str) -> Self {
        let bed = Self {
            root: tempfile::tempdir().unwrap(),
            daemon: RefCell::default(),
            clock: Clock::system(),
        };
        bed.write("tidemill.toml", "");
        bed.write("dags/work.toml", dag);
        bed
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub fn home(&self) -> PathBuf {
        self.path(".tidemill")
    }

    pub fn up_command(&self) -> Command {
        // Whoever runs the tests may ignore SIGHUP, and that is inherited.
        let mut up = Command::new("env");
        up.arg("--default-signal=HUP").arg(env!("CARGO_BIN_EXE_tidemill"));
        up.arg("-C").arg(self.root.path()).arg("up").env("SECRET", "hidden");
        let log = File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        up.stdout(log.try_clone().unwrap()).stderr(log);
        up
    }

    /// Another verb for the same project.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.arg("-C").arg(self.root.path()).arg(verb);
        command
    }

    /// Starts the daemon and waits until it takes requests.
    pub async fn up(&mut self) {
        self.daemon.replace(Some(self.up_command().spawn().unwrap()));
        let home = self.home();
        self.until("the daemon is ready", || {
            let ready = holder(&home).is_some_and(|holder| holder.ready);
            async move { ready.then_some(()) }
        })
        .await;
    }

    pub fn signal(&self, signal: Signal) {
        let daemon = self.daemon.borrow();
        kill_process(Pid::from_child(daemon.as_ref().unwrap()), signal).unwrap();
    }

    /// Signals the daemon and waits for its end; whether it ended well.
    pub async fn end(&mut self, signal: Signal) -> bool {
        self.signal(signal);
        let look = async || self.daemon.borrow_mut().as_mut()?.try_wait().unwrap();
        let ended = self.until("the daemon ends", look).await;
        self.daemon.replace(None);
        ended.success()
    }

    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap()
    }

    pub async fn store(&self) -> Store {
        Store::open(&self.home().join("state.db")).await.unwrap()
    }

    pub async fn ask(&self, verb: Verb) {
        self.store()
            .await
            .ask(&NewRequest::at_command_line(verb, "test"), self.clock.now().into())
            .await
            .unwrap();
        ping::send(&self.home(), "");
    }

    /// Triggers the DAG and returns the run's id once it is there.
    pub async fn trigger(&self) -> String {
        self.ask(Verb::TriggerDag { dag: "work".parse().unwrap(), key: None }).await;
        let store = self.store().await;
        self.until("the run is made", || async {
            let runs = store.runs(&Wanted::default()).await.unwrap();
            runs.first().map(|run| run.id.clone())
        })
        .await
    }

    /// Waits for the end of the run.
    pub async fn ended(&self, run: &str) -> Run {
        let store = self.store().await;
        self.until("the run ends", || async {
            store.run(run).await.unwrap().filter(|run| run.state.ended())
        })
        .await
    }

    pub async fn attempts(&self, run: &str) -> Vec<Attempt> {
        self.store().await.attempts_of_run(run).await.unwrap()
    }

    /// Waits until the n-th attempt of the run is at work, and returns it with its process.
    pub async fn working(&self, run: &str, n: usize) -> (Attempt, ProcessId) {
        self.until("the attempt works", || async {
            let attempt = self.attempts(run).await.into_iter().nth(n - 1)?;
            attempt.process.as_ref()?;
            let child = ProcessId::of(worker_pid(&self.home(), &attempt.id)?)?;
            Some((attempt, child))
        })
        .await
    }

    pub fn log(&self, attempt: &Attempt) -> String {
        fs::read_to_string(tidemill::daemon::log_path(&self.home(), &attempt.id)).unwrap()
    }

    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        let started = self.clock.now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let waited = self.clock.now().duration_since(started).unwrap();
            assert!(waited < PATIENCE, "not in {PATIENCE:?}: {what}\n{}", self.daemon_log());
            self.clock.sleep(LOOK_EVERY).await;
        }
    }
}

pub fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.get_mut() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        let attempts = fs::read_dir(self.home().join("attempts"));
        for attempt in attempts.into_iter().flatten().flatten() {
            sweep(Path::new(&attempt.path()), None);
        }
    }
}
