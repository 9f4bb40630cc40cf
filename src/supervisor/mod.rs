//! Starts attempts, sees them end, and stops them.
//!
//! Each step looks at what is there (rows, folders, processes), decides purely, and acts; a step
//! repeated changes nothing. So a daemon that was killed at any point goes on where its predecessor
//! was: it adopts what lives and clears what is lost. Losing contact ends nothing; only a stop that
//! was decided, or a newer epoch, does.

pub mod attempt;
mod carry;
pub mod folder;
pub mod launch;
mod log;
mod orphans;
pub mod process;
pub mod shim;
pub mod stream;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::attempt::{Attempt, Owner, Stop};
use crate::model::dag::DagVersion;
use crate::model::stream::{Standing, StreamState};
use crate::model::time::Micros;
use crate::store::Store;
use attempt::Pressure;
use launch::Setting;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two looks at attempts whose end we are told of anyway.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Until what could not be ended, or told, is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Pinned versions in memory; a few for each DAG are in use at a time.
const VERSIONS_MAX: usize = 64;

/// What becomes of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Run,
    /// Start nothing, ask everything to stop.
    Drain,
    /// End everything now.
    Kill,
}

/// What the supervisor needs of the process around it.
#[derive(Clone)]
pub struct Surroundings {
    pub store: Store,
    pub clock: Clock,
    /// State of the environment, where the attempts' folders are.
    pub home: PathBuf,
    pub setting: Setting,
    /// Wakes the supervisor.
    pub wake: Arc<Notify>,
    /// Is woken when an attempt has ended.
    pub ended: Arc<Notify>,
}

/// The loop around the decisions of [`attempt`] and [`stream`].
pub struct Supervisor {
    around: Surroundings,
    host: String,
    mode: watch::Receiver<Mode>,
    ours: HashMap<String, Ours>,
    /// Each waits for a shim's end and returns the attempt's id.
    exits: JoinSet<String>,
    versions: HashMap<String, Arc<DagVersion>>,
}

/// What this daemon knows of an attempt that no row or file tells.
#[derive(Debug, Default)]
struct Ours {
    /// We have started a shim that has not ended yet.
    launched: bool,
    /// [`Supervisor::exits`] tells of its end.
    watched: bool,
    pressure: Option<Pressure>,
}

/// What a look at everything has led to.
#[derive(Default)]
struct Look {
    /// Something was changed, so look again at once.
    acted: bool,
    /// Look again then at the latest.
    next: Option<Micros>,
    open: usize,
}

impl Look {
    fn at_latest(&mut self, at: Micros) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Supervisor {
    pub fn new(around: Surroundings, mode: watch::Receiver<Mode>) -> Self {
        Self {
            around,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            mode,
            ours: HashMap::new(),
            exits: JoinSet::new(),
            versions: HashMap::new(),
        }
    }

    /// Works until `stop`, which leaves all attempts running; in mode [`Mode::Drain`] and
    /// [`Mode::Kill`] until none is left.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        if let Err(error) = orphans::end(&self.around).await {
            warn!(%error, "could not end what an earlier state store has started; the next start tries again");
        }
        loop {
            let mode = *self.mode.borrow_and_update();
            let look = match self.look(mode).await {
                Ok(look) => look,
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    warn!(%error, "could not look at the attempts; trying again");
                    Look { next: Some(self.now().plus(Duration::from_secs(1))), ..Look::default() }
                }
                Err(error) => return Err(error),
            };
            if look.acted {
                continue;
            }
            if mode != Mode::Run && look.open == 0 && look.next.is_none() {
                return Ok(());
            }
            let now = self.now();
            let pause = look.next.map_or(LOOK_EVERY, |at| at.since(now)).min(LOOK_EVERY);
            let clock = self.around.clock.clone();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.woken() => {}
                () = clock.sleep(pause) => {}
            }
        }
    }

    /// Waits until something may have changed.
    async fn woken(&mut self) {
        loop {
            tokio::select! {
                () = self.around.wake.notified() => return,
                _ = self.mode.changed() => return,
                Some(exit) = self.exits.join_next() => {
                    // Most shims have told the end before they go, and it is written down already.
                    if self.shim_gone(exit.ok()) {
                        return;
                    }
                }
            }
        }
    }

    fn now(&self) -> Micros {
        self.around.clock.now().into()
    }

    /// Returns whether the end of its attempt is news.
    fn shim_gone(&mut self, attempt: Option<String>) -> bool {
        let Some(ours) = attempt.and_then(|id| self.ours.get_mut(&id)) else { return false };
        (ours.launched, ours.watched) = (false, false);
        true
    }

    async fn look(&mut self, mode: Mode) -> Result<Look, Error> {
        let now = self.now();
        let mut look = Look::default();
        let open = self.around.store.open_attempts().await?;
        look.open = open.len();
        self.ours.retain(|id, _| open.iter().any(|attempt| attempt.id == *id));
        for attempt in &open {
            match self.look_at(attempt, mode).await {
                Ok(carry::Done::Nothing) => {}
                // What its end means for others the scheduler decides.
                Ok(carry::Done::Finished) if !is_of_stream(attempt) => {
                    look.open -= 1;
                    continue;
                }
                Ok(carry::Done::Acted | carry::Done::Finished) => look.acted = true,
                Ok(carry::Done::NotYet) => look.at_latest(now.plus(RETRY)),
                Err(error) => {
                    warn!(attempt.id, %error, "could not look after an attempt; trying again");
                    look.at_latest(now.plus(Duration::from_secs(1)));
                }
            }
            if let Some(at) = attempt::next_look(attempt, now) {
                look.at_latest(at);
            }
        }
        self.look_at_streams(mode, &open, &mut look).await?;
        Ok(look)
    }

    async fn look_at_streams(
        &mut self,
        mode: Mode,
        open: &[Attempt],
        look: &mut Look,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut newest: BTreeMap<&str, &Attempt> = BTreeMap::new();
        for attempt in open {
            if let Owner::Stream(id) = &attempt.owner {
                let known = newest.entry(id).or_insert(attempt);
                if known.epoch < attempt.epoch {
                    *known = attempt;
                }
            }
        }
        for stream in self.around.store.streams().await? {
            let ended = match newest.get(stream.id.as_str()) {
                Some(_) => Vec::new(),
                None => self.around.store.attempts_of_stream(&stream.id, 1).await?,
            };
            let attempt = newest.get(stream.id.as_str()).copied().or(ended.first());
            if let (Mode::Run, Some(at)) = (mode, stream.next_start) {
                look.at_latest(at.max(now));
            }
            match stream::decide(&stream, attempt, now) {
                stream::Step::Wait => {}
                stream::Step::Launch if mode != Mode::Run => {}
                stream::Step::Launch => {
                    look.acted |= self.around.store.launch_stream(&stream.id, now).await?.is_some();
                }
                stream::Step::Stand(standing) => {
                    tell(&stream.id, &standing);
                    let stands = &self.around.store;
                    look.acted |= stands.set_standing(&stream.id, stream.epoch, &standing).await?;
                }
                stream::Step::Stop(reason) => {
                    let Some(attempt) = attempt else { continue };
                    info!(stream.id = %stream.id, "draining {}: {}", stream.id, reason.why());
                    let stop = Stop::new(reason, now);
                    self.around.store.ask_to_stop(&attempt.id, &stop).await?;
                    let standing = Standing {
                        state: StreamState::Draining,
                        restarts: stream.restarts,
                        next_start: None,
                        waiting_for: None,
                    };
                    self.around.store.set_standing(&stream.id, stream.epoch, &standing).await?;
                    look.acted = true;
                }
            }
        }
        Ok(())
    }

    async fn version(&mut self, hash: &str) -> Result<Arc<DagVersion>, Error> {
        if let Some(version) = self.versions.get(hash) {
            return Ok(version.clone());
        }
        let version = Arc::new(self.around.store.version(hash).await?);
        if self.versions.len() >= VERSIONS_MAX {
            self.versions.clear();
        }
        self.versions.insert(hash.to_owned(), version.clone());
        Ok(version)
    }
}

fn is_of_stream(attempt: &Attempt) -> bool {
    matches!(attempt.owner, Owner::Stream(_))
}

/// Says where a stream stands now, loudly if a person is needed.
fn tell(id: &str, standing: &Standing) {
    match (&standing.state, &standing.waiting_for) {
        (StreamState::Waiting, Some(why)) => {
            tracing::error!(
                stream.id = id,
                "{id} waits for you: {why}. Then: tidemill streams start {id}"
            );
        }
        (StreamState::Retrying, _) => {
            warn!(stream.id = id, restarts = standing.restarts, "{id} starts again");
        }
        (state, _) => info!(stream.id = id, "{id} is {state}"),
    }
}
