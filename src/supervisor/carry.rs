//! Carries out what [`attempt`](super::attempt) decided.

use super::attempt::{Known, Pressure, Seen, Step};
use super::folder::{Claim, Folder};
use super::launch::{Context, Launch, OWN_PROGRAM};
use super::process::{ProcessId, sweep};
use super::{Mode, Ours, Supervisor, attempt, launch};
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::attempt::{
    Attempt, AttemptKind, AttemptState, Ended, Failure, Owner, Process, Stop,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::{fs, io};
use tokio::io::unix::AsyncFd;
use tracing::{info, warn};

/// What an exec task may hand to the tasks after it; it is stored, and pasted into argv.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Nothing,
    Finished,
    Acted,
    /// To be tried again soon.
    NotYet,
}

impl Supervisor {
    pub(super) async fn look_at(&mut self, attempt: &Attempt, mode: Mode) -> Result<Done, Error> {
        let folder = Folder::of(&self.around.home, &attempt.id);
        // The status first: a shim writes it before it goes.
        let (status, claim) = (folder.status()?, folder.claimed()?);
        // Without its folder an attempt can tell its end to nobody, and nobody can ask it to stop.
        let is_gone = attempt.state == AttemptState::Running && !folder.path.exists();
        let seen = if is_gone { Seen::Lost } else { Seen::of(claim, status) };
        if let Seen::Alive(shim) = &seen {
            self.watch(&attempt.id, shim);
        }
        let ours = self.ours.get(&attempt.id);
        let known = Known {
            launched: ours.is_some_and(|ours| ours.launched),
            may_start: mode == Mode::Run,
            pressure: ours.and_then(|ours| ours.pressure),
        };
        let step = attempt::decide(attempt, &seen, known, self.now());
        let step = attempt::going_down(step, mode, attempt);
        self.carry_out(attempt, &folder, &seen, step).await
    }

    async fn carry_out(
        &mut self,
        attempt: &Attempt,
        folder: &Folder,
        seen: &Seen,
        step: Step,
    ) -> Result<Done, Error> {
        match step {
            Step::Wait => Ok(Done::Nothing),
            Step::Launch => match self.launch(attempt, folder).await {
                Ok(()) => Ok(Done::Nothing),
                Err(error) => self.launch_failed(attempt, folder, &error).await,
            },
            Step::Record(shim) => {
                info!(attempt.id, pid = shim.pid, "adopted {}", attempt.id);
                self.record(attempt, &shim).await?;
                Ok(Done::Acted)
            }
            Step::Finish(ended) => {
                self.finish(attempt, with_output(attempt, folder, ended)).await?;
                Ok(Done::Finished)
            }
            Step::Clear(ended) => self.clear(attempt, folder, seen, ended).await,
            Step::AskToStop(reason) => {
                let asked = Stop::new(reason, self.now());
                self.around.store.ask_to_stop(&attempt.id, &asked).await?;
                Ok(Done::Acted)
            }
            Step::Press(pressure) => Ok(self.press(attempt, folder, seen, pressure)),
        }
    }

    async fn launch(&mut self, attempt: &Attempt, folder: &Folder) -> Result<(), Error> {
        let launch = match &attempt.owner {
            Owner::Task { run, task } if attempt.kind == AttemptKind::Exec => {
                let version = self.version(&attempt.version).await?;
                let outputs = if launch::needs_outputs(&version, task) {
                    self.around.store.outputs(run).await?
                } else {
                    BTreeMap::new()
                };
                let run = self.around.store.run(run).await?.ok_or_else(|| {
                    Error::new(ErrorKind::Bug, format!("the state store has no run {run}"))
                })?;
                let context = Context { run: &run, task, version: &version, outputs: &outputs };
                launch::exec(&self.around.setting, attempt, folder, &context)?
            }
            Owner::Task { .. } | Owner::Closing(_) | Owner::Stream(_) => {
                launch::worker(&self.around.setting, attempt, folder)
            }
        };
        folder.prepare(&launch.spec)?;
        let shim = self.start_shim(attempt, folder, &launch)?;
        crash::point("attempt-launched");
        if let Some(shim) = shim
            && let Err(error) = self.record(attempt, &shim).await
        {
            // It runs: this is no failed launch. The next look finds its claim and writes it down.
            warn!(attempt.id, %error, "could not write down the start of {}", attempt.id);
        }
        Ok(())
    }

    /// Starts the shim, whose environment becomes its child's; `None` if it is gone already.
    fn start_shim(
        &mut self,
        attempt: &Attempt,
        folder: &Folder,
        launch: &Launch,
    ) -> Result<Option<ProcessId>, Error> {
        let mut command = Command::new(OWN_PROGRAM);
        command
            .arg0("tidemill")
            .args(["shim", "--dir"])
            .arg(&folder.path)
            .env_clear()
            .envs(&launch.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = tokio::process::Command::from(command)
            .spawn()
            .map_err(|error| Error::new(ErrorKind::Unavailable, error))
            .doing(|| format!("start the shim of {}", attempt.id))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let id = attempt.id.clone();
        self.exits.spawn(async move {
            let _ = child.wait().await; // How the attempt ended stands in its folder.
            id
        });
        let ours = Ours { launched: true, watched: true, pressure: None };
        self.ours.insert(attempt.id.clone(), ours);
        Ok(pid.and_then(ProcessId::of))
    }

    /// Tells the end of a shim that an earlier daemon has started.
    fn watch(&mut self, attempt: &str, shim: &ProcessId) {
        let ours = self.ours.entry(attempt.to_owned()).or_default();
        if ours.watched {
            return;
        }
        let pidfd = Pid::from_raw(shim.pid).map(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK));
        let Some(Ok(pidfd)) = pidfd else { return }; // Gone, as the next look will show.
        let Ok(pidfd) = readable(pidfd) else { return };
        ours.watched = true;
        let id = attempt.to_owned();
        self.exits.spawn(async move {
            drop(pidfd.readable().await); // Readable when the process has ended.
            id
        });
    }

    async fn record(&mut self, attempt: &Attempt, shim: &ProcessId) -> Result<(), Error> {
        let process = Process {
            host: self.host.clone(),
            pid: shim.pid,
            pid_start: shim.started,
            boot_id: shim.boot.clone(),
        };
        if !self.around.store.attempt_started(&attempt.id, &process, self.now()).await? {
            warn!(attempt.id, "{} is not wanted any more; ending it", attempt.id);
            sweep(&Folder::of(&self.around.home, &attempt.id).path, Some(shim));
        }
        Ok(())
    }

    /// What can't be started has failed, unless the trouble is ours and may pass.
    async fn launch_failed(
        &mut self,
        attempt: &Attempt,
        folder: &Folder,
        error: &Error,
    ) -> Result<Done, Error> {
        if error.kind == ErrorKind::Unavailable {
            warn!(attempt.id, %error, "could not start {}; trying again", attempt.id);
            return Ok(Done::NotYet);
        }
        fs::create_dir_all(&folder.path)
            .and_then(|()| fs::write(folder.log(), format!("error: {error}\n")))
            .unwrap_or_else(|error| warn!(%error, "could not write the log of {}", attempt.id));
        let ended = Ended {
            state: AttemptState::Failed,
            exit_code: None,
            signal: None,
            failure: Some(Failure::from(error)),
            result: None,
        };
        self.finish(attempt, ended).await?;
        Ok(Done::Finished)
    }

    async fn finish(&mut self, attempt: &Attempt, ended: Ended) -> Result<(), Error> {
        let now = self.now();
        if self.around.store.attempt_ended(&attempt.id, &ended, now).await? {
            let failure = attempt.failure.as_ref().or(ended.failure.as_ref());
            let failure = failure.map(|failure| failure.error.as_str());
            let state = ended.state;
            info!(attempt.id, failure, signal = ended.signal, "{} has {state}", attempt.id);
            self.around.ended.notify_one();
        }
        self.ours.remove(&attempt.id);
        Ok(())
    }

    /// Ends what is left of an attempt without a shim; only then it may be followed by another.
    async fn clear(
        &mut self,
        attempt: &Attempt,
        folder: &Folder,
        seen: &Seen,
        ended: Ended,
    ) -> Result<Done, Error> {
        let shim = match (folder.claimed()?, seen) {
            (None, Seen::Nothing) if folder.path.exists() => {
                match folder.claim(Claim::GivenUp)? {
                    Claim::Shim(_) => return Ok(Done::NotYet), // It has just begun.
                    Claim::GivenUp => recorded(attempt),
                }
            }
            (Some(Claim::Shim(shim)), _) => Some(shim),
            (Some(Claim::GivenUp) | None, _) => recorded(attempt),
        };
        let left = sweep(&folder.path, shim.as_ref());
        if left > 0 {
            warn!(attempt.id, left, "ending what is left of {}", attempt.id);
            return Ok(Done::NotYet);
        }
        self.finish(attempt, ended).await?;
        Ok(Done::Finished)
    }

    fn press(
        &mut self,
        attempt: &Attempt,
        folder: &Folder,
        seen: &Seen,
        pressure: Pressure,
    ) -> Done {
        let signal = match (pressure, attempt.kind) {
            (Pressure::Drain, _) | (Pressure::Terminate, AttemptKind::Exec) => Signal::TERM,
            (Pressure::Terminate, _) => Signal::INT,
            (Pressure::Kill, _) => Signal::KILL,
            (Pressure::Sweep, _) => {
                let shim = match seen {
                    Seen::Alive(shim) => Some(shim),
                    Seen::Nothing | Seen::Over(_) | Seen::Lost => None,
                };
                sweep(&folder.path, shim);
                return Done::NotYet;
            }
        };
        // A shim that has only begun has no child to signal yet.
        let Ok(Some(child)) = folder.child() else { return Done::NotYet };
        child.signal_group(signal);
        let ours = self.ours.entry(attempt.id.clone()).or_default();
        if ours.pressure.is_some() {
            warn!(attempt.id, ?pressure, "{} has not stopped; pressing", attempt.id);
        }
        ours.pressure = Some(pressure);
        Done::Acted
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; an owned descriptor that stays put is the sound case"
)]
fn readable(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd)
}

fn recorded(attempt: &Attempt) -> Option<ProcessId> {
    let process = attempt.process.as_ref()?;
    Some(ProcessId { pid: process.pid, started: process.pid_start, boot: process.boot_id.clone() })
}

/// Adds what an exec task has written for the tasks after it; what is not JSON fails it.
fn with_output(attempt: &Attempt, folder: &Folder, ended: Ended) -> Ended {
    if attempt.kind != AttemptKind::Exec || ended.state != AttemptState::Succeeded {
        return ended;
    }
    match output(folder) {
        Ok(result) => Ended { result, ..ended },
        Err(error) => {
            Ended { state: AttemptState::Failed, failure: Some(Failure::from(&error)), ..ended }
        }
    }
}

fn output(folder: &Folder) -> Result<Option<Value>, Error> {
    let path = folder.output();
    let doing = || format!("read the task's output {}", path.display());
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Input, error)
            .remedy("write one JSON value of at most 1 MiB to $TIDEMILL_OUTPUT, or nothing")
    };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.into())).doing(doing),
        Ok(found) if found.len() > OUTPUT_BYTES_MAX => {
            return Err(wrong(format!("it has {} bytes", found.len()).into())).doing(doing);
        }
        Ok(_) => {}
    }
    let text = fs::read(&path).map_err(|error| wrong(error.into())).doing(doing)?;
    serde_json::from_slice(&text).map(Some).map_err(|error| wrong(error.into())).doing(doing)
}
