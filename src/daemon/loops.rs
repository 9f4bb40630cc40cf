//! The loops of the daemon's services: each waits to be woken, looks, and does what is due.

use super::files::{Fingerprint, Verdict};
use super::lock::Lock;
use super::{Project, Wakes, files, settings};
use crate::clock::Clock;
use crate::config;
use crate::error::{Error, ErrorKind};
use crate::model::time::Micros;
use crate::ping;
use crate::ping::Listener;
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::store::retention::{Before, Forgotten};
use crate::supervisor::folder::Folder;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Until the scheduler tries again after something outside did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Lets the attempts that were queued begin before the rest is looked at: a quick task ends sooner, and
/// its end makes the look for the next one.
const LATER: Duration = Duration::from_millis(20);
/// However many quick tasks there are, hours close in time.
const LATER_MAX: Duration = Duration::from_millis(200);
/// Deleted in one transaction, which others wait for.
const FORGET_MAX: u32 = 500;
/// A state store that is removed is missed this soon.
const STATE_EVERY: Duration = Duration::from_secs(2);
/// Lets those others write in between.
const FORGET_PAUSE: Duration = Duration::from_millis(50);

/// Hands each ping on. A hint spares the look of whom it does not concern: what the scheduler makes of
/// a commit or a request it tells the supervisor, who tells it of an end once that is written down.
pub(super) async fn pings(
    listener: Listener,
    wakes: Wakes,
    stop: CancellationToken,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            hint = listener.heard() => {
                if hint != ping::COMMITTED && hint != ping::REQUESTED {
                    wakes.supervisor.notify_one();
                }
                if hint != ping::ENDED {
                    wakes.scheduler.notify_one();
                }
            }
        }
    }
}

/// Takes accepted edits over, and tells of those that are refused.
pub(super) struct Files {
    pub project: Project,
    pub wakes: Wakes,
    pub lock: Arc<Lock>,
    /// Under which this daemon decides.
    pub epoch: u64,
}

impl Files {
    pub async fn watch(self, mut seen: Fingerprint, stop: CancellationToken) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wakes.files.notified() => {}
            }
            let now = Fingerprint::of(&self.project.root);
            if now == seen {
                continue;
            }
            match files::check(&self.project, self.epoch).await {
                Ok(Verdict::Accepted) => {
                    info!("the project's files have changed and are accepted");
                    self.compare_settings();
                    self.wakes.supervisor.notify_one();
                    self.wakes.scheduler.notify_one();
                }
                Ok(Verdict::Refused) => {
                    warn!(
                        "the project's files have problems; going on with what was accepted before"
                    );
                }
                Err(error) => {
                    warn!(%error, "could not check the project's files; trying again");
                    continue;
                }
            }
            seen = now; // An edit made during the check differs from it.
        }
    }

    /// Says which settings wait for a restart, here and to `status`.
    fn compare_settings(&self) {
        let Project { root, settings, environment, .. } = &self.project;
        let env = Some(settings.env.as_str()).filter(|env| *env != config::DEFAULT_ENV);
        let Ok(loaded) = config::load(root, env, environment) else { return };
        let changed = settings::changed(settings, &loaded.project.settings);
        if !changed.is_empty() {
            warn!(
                "settings have changed that count from the next `tidemill up`: {}",
                changed.join(", ")
            );
        }
        if let Err(error) = self.lock.tell(|me| me.restart_for = changed) {
            warn!(%error, "could not write down which settings wait; the log has them");
        }
    }
}

/// Ends the project once its state store has been removed: what it decides would be lost, and no process
/// that it starts would find its work.
pub(super) async fn watch_state(
    store: Store,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = clock.sleep(STATE_EVERY) => store.check_place()?,
        }
    }
}

/// The one who decides.
pub(super) struct Deciding {
    pub scheduler: Scheduler,
    pub clock: Clock,
    pub wakes: Wakes,
}

impl Deciding {
    /// Decides `until` the project goes down, and waits for `stop` then.
    pub async fn run(
        mut self,
        until: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut looked_through = Micros::from(self.clock.steady());
        loop {
            let began = Micros::from(self.clock.steady());
            let next = began.plus(self.step().await?);
            let now = Micros::from(self.clock.steady());
            // A step that has queued attempts has left the rest for later.
            let rest = if next > now {
                looked_through = now;
                next.since(now)
            } else if now.since(looked_through) < LATER_MAX {
                LATER
            } else {
                Duration::ZERO
            };
            tokio::select! {
                biased; // What ends while the project goes down must not queue what follows it.
                () = stop.cancelled() => return Ok(()),
                () = until.cancelled() => break,
                () = self.wakes.scheduler.notified() => {}
                () = self.clock.sleep(rest) => {}
            }
        }
        stop.cancelled().await;
        Ok(())
    }

    /// Returns how long after its begin to step again.
    async fn step(&mut self) -> Result<Duration, Error> {
        let now = Micros::from(self.clock.now());
        match self.scheduler.step(now).await {
            Ok(outcome) => {
                if outcome.attempts_changed {
                    self.wakes.supervisor.notify_one();
                }
                Ok(outcome.next_wake.since(now))
            }
            Err(error) if error.kind == ErrorKind::Unavailable => {
                warn!(%error, "the scheduler could not decide; trying again");
                Ok(RETRY)
            }
            Err(error) => Err(error),
        }
    }
}

/// Forgets what is older than `limits.keep_runs`, logs included, and requests after `limits.keep_requests`.
pub(super) struct Retention {
    pub store: Store,
    pub clock: Clock,
    pub home: PathBuf,
    pub keep_runs: Duration,
    pub keep_requests: Duration,
    pub wake: Arc<Notify>,
}

impl Retention {
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
            }
            let now = Micros::from(self.clock.now());
            let before =
                Before { runs: now.minus(self.keep_runs), requests: now.minus(self.keep_requests) };
            if let Err(error) = self.forget(before, &stop).await {
                warn!(%error, "could not forget old runs; trying again in an hour");
            }
        }
    }

    async fn forget(&self, before: Before, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            let Forgotten { attempts, more } = self.store.forget_before(before, FORGET_MAX).await?;
            self.remove(&attempts);
            if !more || stop.is_cancelled() {
                break;
            }
            self.clock.sleep(FORGET_PAUSE).await;
        }
        self.remove(&self.left_behind(before.runs).await?);
        Ok(())
    }

    /// Folders of attempts that the store knows no more: of one killed between the two, or of a
    /// store that was lost.
    async fn left_behind(&self, before: Micros) -> Result<Vec<String>, Error> {
        let mut left = Vec::new();
        for entry in std::fs::read_dir(self.home.join("attempts")).into_iter().flatten().flatten() {
            let changed = entry.metadata().and_then(|found| found.modified());
            let is_old = changed.is_ok_and(|changed| Micros::from(changed) < before);
            if let (true, Ok(id)) = (is_old, entry.file_name().into_string())
                && self.store.attempt(&id).await?.is_none()
            {
                left.push(id);
            }
        }
        Ok(left)
    }

    fn remove(&self, attempts: &[String]) {
        for attempt in attempts {
            match std::fs::remove_dir_all(Folder::of(&self.home, attempt).path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(%error, "could not remove the log of {attempt}"),
            }
        }
        if !attempts.is_empty() {
            info!(attempts = attempts.len(), "forgot old attempts and their logs");
        }
    }
}
