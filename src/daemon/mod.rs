//! The composition root of `tidemill up`: the services of one project, and how they end.
//!
//! Ctrl-C is a person who wants the project down: streams commit, tasks end, nothing is left. So is
//! SIGHUP, the terminal being gone. SIGTERM is a machine that wants this process gone: attempts go on under their shims, and the next daemon
//! adopts them.

mod asked;
mod files;
mod lock;
mod loops;
mod settings;
mod signals;
mod sweep;
mod ticks;

pub use lock::{Holder, holder};

use crate::clock::Clock;
use crate::config::Environment;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::Lake;
use crate::model::settings::{LakeUrl, SETTINGS_VARIABLE, Settings};
use crate::ping::Listener;
use crate::scheduler::Scheduler;
use crate::services::Services;
use crate::store::Store;
use crate::supervisor::folder::Folder;
use crate::supervisor::launch::Setting;
use crate::supervisor::{Mode, Supervisor, Surroundings};
use asked::{Asked, Askers};
use files::{Fingerprint, Verdict};
use lock::Lock;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Files are looked at this often for an edit.
const FILES_EVERY: Duration = Duration::from_secs(2);
/// What is too old is forgotten this often.
const RETENTION_EVERY: Duration = Duration::from_hours(1);
/// What a zombie leaves staged costs space and nothing else.
const SWEEP_EVERY: Duration = Duration::from_mins(10);
/// How the project is, is said this often: alerts need fresh figures, and a log line costs.
const SIGNALS_EVERY: Duration = Duration::from_secs(60);
/// Services only finish the transaction that they are in.
const GRACE: Duration = Duration::from_secs(5);

/// The project that a daemon runs.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder of `tidemill.toml`, absolute.
    pub root: PathBuf,
    /// The arguments that make another process of ours read the same project: `-C`, `--env`.
    pub arguments: Vec<String>,
    pub settings: Settings,
    pub environment: Environment,
    /// Its log is JSON, and so is that of those who check files for it.
    pub log_json: bool,
    /// Ends, as at Ctrl-C, when nobody holds the other end of our stdin any more.
    pub while_stdin: bool,
}

/// Runs the project until it is stopped by Ctrl-C or SIGHUP (nothing is left) or SIGTERM (attempts go
/// on).
///
/// `Input` if another daemon has the project, or if its files have problems and no earlier state of
/// them was accepted.
pub fn up(project: Project) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4) // Local disk only, and each thread keeps its own heap.
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))?;
    runtime.block_on(run(project))
}

/// The process that works on an attempt, under its shim; `None` before it runs.
pub fn worker_pid(home: &Path, attempt: &str) -> Option<i32> {
    Folder::of(home, attempt).child().ok()?.map(|child| child.pid)
}

/// The file that holds what an attempt's process has written.
pub fn log_path(home: &Path, attempt: &str) -> PathBuf {
    Folder::of(home, attempt).log()
}

async fn run(project: Project) -> Result<(), Error> {
    let clock = Clock::system();
    let home = &project.settings.home;
    private_folder(home)?;
    let askers = Askers::new(project.while_stdin)?;
    let me = Holder {
        pid: std::process::id(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        started: clock.now().into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Holder::default()
    };
    let (pid, version) = (me.pid, me.version.clone());
    let name = format!("{pid}@{}", me.host);
    let lock = Arc::new(Lock::take(home, me, &clock).await?);
    let listener = Listener::bind(home)?;
    let store = Store::open(&project.settings.state).await?;
    let store = store.lead(&name, clock.now().into()).await?;
    let seen = Fingerprint::of(&project.root);
    accept_files(&project, &store).await?;
    let Settings { lake, project: name, .. } = &project.settings;
    let lake = match store.lake_id().await? {
        None => Lake::open(lake, name, clock.clone()).await?,
        // None is made in its place: the store would refuse it.
        Some(_) => Lake::find(lake, name, clock.clone())
            .await?
            .ok_or_else(|| gone(lake, &project.settings))?,
    };
    // Before anything runs: streams would land everything again in a lake that is refused.
    store.bind_lake(lake.id()).await?;
    let wakes = Wakes::default();
    let daemon = Daemon { project, store, lake, clock, wakes, lock: Arc::clone(&lock) };
    let (services, mode, deciding) = daemon.services(listener, seen);
    lock.tell(|me| me.ready = true)?;
    info!(pid, "tidemill {version} is up: {}", daemon.project.root.display());
    services.run(asked(askers, mode, deciding), GRACE).await
}

/// Makes the folder of the project's state, for this account alone; one that an earlier version left open
/// to others is closed.
fn private_folder(home: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(home);
    made.and_then(|()| std::fs::set_permissions(home, Permissions::from_mode(0o700)))
        .map_err(|error| Error::new(ErrorKind::Input, error))
        .doing(|| format!("make the folder {} for this account alone", home.display()))
}

/// The store mirrors a lake that is not there any more.
fn gone(lake: &LakeUrl, settings: &Settings) -> Error {
    let problem = format!("there is no lake at {lake} any more, and the state store mirrors one");
    Error::new(ErrorKind::Input, problem).remedy(format!(
        "put the lake back, or set lake.url to where it is now; to begin anew with an empty lake, remove {}, \
         and {}-wal and -shm beside it: its runs and their history go, too",
        settings.state.display(),
        settings.state.display()
    ))
}

/// Takes over the project's files; problems keep what was accepted before, if anything was.
async fn accept_files(project: &Project, store: &Store) -> Result<(), Error> {
    match files::check(project, store.epoch().unwrap_or_default()).await? {
        Verdict::Accepted => Ok(()),
        Verdict::Refused if store.dags().await?.is_empty() => {
            Err(Error::new(ErrorKind::Input, "the project's files have problems, told above")
                .remedy("mend them; `tidemill check` tells them again"))
        }
        Verdict::Refused => {
            warn!("the project's files have problems; going on with what was accepted before");
            Ok(())
        }
    }
}

/// Whom a ping, a tick or another service wakes.
#[derive(Clone, Debug, Default)]
struct Wakes {
    supervisor: Arc<Notify>,
    scheduler: Arc<Notify>,
    files: Arc<Notify>,
    retention: Arc<Notify>,
    sweep: Arc<Notify>,
    signals: Arc<Notify>,
}

struct Daemon {
    project: Project,
    store: Store,
    lake: Lake,
    clock: Clock,
    wakes: Wakes,
    lock: Arc<Lock>,
}

impl Daemon {
    /// Everything that works while the project is up; what stops it all, and what stops decisions.
    fn services(
        &self,
        listener: Listener,
        seen: Fingerprint,
    ) -> (Services, watch::Sender<Mode>, CancellationToken) {
        let (mode, of_attempts) = watch::channel(Mode::Run);
        let deciding = CancellationToken::new();
        let mut services = Services::default();
        let wakes = self.wakes.clone();
        services.spawn("pings", |stop| loops::pings(listener, wakes, stop));
        let supervisor = self.supervisor(of_attempts);
        services.spawn("supervisor", |stop| supervisor.run(stop));
        let scheduler = self.scheduler();
        let until = deciding.clone();
        services.spawn("scheduler", |stop| scheduler.run(until, stop));
        let files = loops::Files {
            project: self.project.clone(),
            wakes: self.wakes.clone(),
            lock: Arc::clone(&self.lock),
            epoch: self.store.epoch().unwrap_or_default(),
        };
        services.spawn("files", |stop| files.watch(seen, stop));
        let (lock, clock) = (Arc::clone(&self.lock), self.clock.clone());
        services.spawn("lock", |stop| async move { lock.beat(clock, stop).await });
        let (store, clock) = (self.store.clone(), self.clock.clone());
        services.spawn("state", |stop| loops::watch_state(store, clock, stop));
        let retention = self.retention();
        services.spawn("retention", |stop| retention.run(stop));
        let (store, lake, wake) = (self.store.clone(), self.lake.clone(), self.wakes.sweep.clone());
        let sweeping = sweep::Sweeping { store, lake, wake };
        services.spawn("sweep", |stop| sweeping.run(stop));
        let signals = self.signals();
        services.spawn("signals", |stop| signals.run(stop));
        let ticks = vec![
            (FILES_EVERY, self.wakes.files.clone()),
            (RETENTION_EVERY, self.wakes.retention.clone()),
            (SWEEP_EVERY, self.wakes.sweep.clone()),
            (SIGNALS_EVERY, self.wakes.signals.clone()),
        ];
        let clock = self.clock.clone();
        services.spawn("ticks", |stop| ticks::run(ticks, clock, stop));
        (services, mode, deciding)
    }

    fn scheduler(&self) -> loops::Deciding {
        let parallelism = self.project.settings.limits.parallelism;
        loops::Deciding {
            scheduler: Scheduler::new(self.store.clone(), self.lake.clone(), parallelism),
            clock: self.clock.clone(),
            wakes: self.wakes.clone(),
        }
    }

    fn retention(&self) -> loops::Retention {
        loops::Retention {
            store: self.store.clone(),
            clock: self.clock.clone(),
            home: self.project.settings.home.clone(),
            keep_runs: self.project.settings.limits.keep_runs,
            keep_requests: self.project.settings.limits.keep_requests,
            wake: self.wakes.retention.clone(),
        }
    }

    fn signals(&self) -> signals::Signals {
        signals::Signals {
            store: self.store.clone(),
            clock: self.clock.clone(),
            home: self.project.settings.home.clone(),
            wake: self.wakes.signals.clone(),
        }
    }

    fn supervisor(&self, mode: watch::Receiver<Mode>) -> Supervisor {
        let environment = self.project.environment.clone();
        let root = self.project.root.clone();
        let settings = serde_json::to_string(&self.project.settings)
            .expect("settings have string keys and hold no secrets");
        let handed = std::iter::once((SETTINGS_VARIABLE.to_owned(), settings));
        let around = Surroundings {
            store: self.store.clone(),
            clock: self.clock.clone(),
            home: self.project.settings.home.clone(),
            setting: Setting {
                root: self.project.root.clone(),
                project_arguments: self.project.arguments.clone(),
                environment: environment
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .chain(handed)
                    .collect(),
                secrets: Arc::new(move |secret| environment.secret(&root, secret)),
            },
            wake: self.wakes.supervisor.clone(),
            ended: self.wakes.scheduler.clone(),
        };
        Supervisor::new(around, mode)
    }
}

/// Returns at SIGTERM. Ctrl-C drains, and a second one kills: then the supervisor's end is ours.
async fn asked(mut askers: Askers, mode: watch::Sender<Mode>, deciding: CancellationToken) {
    loop {
        match askers.next().await {
            Asked::Leave => {
                info!("stopping; attempts go on, and the next `tidemill up` takes them over");
                return;
            }
            Asked::Stop => {
                deciding.cancel();
                let draining = *mode.borrow() != Mode::Run;
                if draining {
                    warn!("killing everything");
                } else {
                    info!("stopping: streams commit what they hold, tasks end; Ctrl-C again kills");
                }
                mode.send_replace(if draining { Mode::Kill } else { Mode::Drain });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_state_is_closed_to_others_also_where_it_was_open() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join(".tidemill");
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
        private_folder(&home).unwrap();
        assert_eq!(std::fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
