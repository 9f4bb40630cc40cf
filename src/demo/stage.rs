//! The demo's own `tidemill up`: started, stopped, and never left behind.

use super::place::Place;
use crate::daemon;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::project::Project;
use crate::store::Store;
use crate::terminal::context::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Streams commit what they hold, batches end: seconds, unless something is stuck.
const DRAIN_MAX: Duration = Duration::from_secs(30);
const KILL_MAX: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Stage {
    up: Child,
    home: PathBuf,
    state: PathBuf,
    pub log: PathBuf,
}

impl Stage {
    /// Starts `up` for the project, in a process group of its own: Ctrl-C is ours to answer.
    pub fn open(
        context: &Context,
        dir: &Path,
        place: &Place,
        project: &Project,
    ) -> Result<Self, Error> {
        let home = project.settings.home.clone();
        let log = home.join("up.log");
        let doing = || format!("start `up` in {}", dir.display());
        let unavailable = |err| Error::new(ErrorKind::Unavailable, err);
        std::fs::create_dir_all(&home).map_err(unavailable).doing(doing)?;
        let out = File::create(&log).map_err(unavailable).doing(doing)?;
        let err = out.try_clone().map_err(unavailable).doing(doing)?;
        let program = std::env::current_exe().map_err(unavailable).doing(doing)?;
        let mut command = Command::new(program);
        // The other end of its stdin is ours: it ends with us, however we do.
        command.arg("-C").arg(dir);
        command.args(place.env().iter().flat_map(|env| ["--env", env]));
        command.args(["up", "--while-stdin"]);
        for (name, _) in context.environment.iter().filter(|(name, _)| is_ours(name, place)) {
            command.env_remove(name);
        }
        let up = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(unavailable)
            .doing(doing)?;
        Ok(Self { up, home, state: project.settings.state.clone(), log })
    }

    /// Whether `up` has ended by itself, which it should not.
    pub fn has_ended(&mut self) -> bool {
        self.up.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Ends everything in good order: what is read is committed.
    pub async fn close(mut self, context: &Context) -> Result<(), Error> {
        self.signal(Signal::INT);
        if self.waits(context, DRAIN_MAX).await {
            return Ok(());
        }
        self.clear(context).await
    }

    /// Ends everything now, as a person asks for it.
    pub async fn clear(mut self, context: &Context) -> Result<(), Error> {
        for _ in 0..2 {
            self.signal(Signal::INT); // The second one kills.
            context.clock.sleep(Duration::from_millis(100)).await;
        }
        self.waits(context, KILL_MAX).await;
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL); // Gone already is what we want.
        }
        let _ = self.up.wait();
        let Some(store) = Store::open_existing(&self.state).await? else { return Ok(()) };
        for attempt in store.open_attempts().await? {
            let worker = daemon::worker_pid(&self.home, &attempt.id);
            let shim = attempt.process.map(|process| process.pid);
            for pid in worker.into_iter().chain(shim).filter_map(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.up.id()).ok().and_then(Pid::from_raw)
    }

    async fn waits(&mut self, context: &Context, at_most: Duration) -> bool {
        let began = context.steady();
        while !self.has_ended() {
            if context.steady().since(began) > at_most {
                return false;
            }
            context.clock.sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// Kills one process as a power cut would.
pub fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL); // It may have ended by itself.
    }
}

/// The demo here is the same whatever the caller's environment says; of the emulators it may say
/// where they are.
fn is_ours(name: &str, place: &Place) -> bool {
    name == "TIDEMILL_ENV" || (*place == Place::Here && name.starts_with("TIDEMILL_CONFIG__"))
}
