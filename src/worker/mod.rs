//! One attempt at work: a process of its own, under a shim, that lives or dies without the daemon.
//!
//! It reads what it was pinned to from the store, never from the files, says how far it is about each
//! second, and reports what came of it. SIGTERM asks it to drain, SIGINT to end at once. A heartbeat
//! that finds a newer epoch stops it; a store that does not answer does not.

pub mod accept;
mod compact;
mod feed;
mod heartbeat;
mod loads;
mod report;
mod stream;
mod task;

use crate::batch::Budget;
use crate::clock::Clock;
use crate::config::Environment;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Cluster;
use crate::lake::Lake;
use crate::model::attempt::{Attempt, AttemptKind, Owner};
use crate::model::dag::DagVersion;
use crate::model::instance;
use crate::model::job::{Job, QUERY_STACK_BYTES};
use crate::model::name::TopicName;
use crate::model::secret::Secret;
use crate::model::settings::Settings;
use crate::model::topic::Topic;
use crate::store::Store;
use serde_json::Value;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// The project that the attempt belongs to.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder of `tidemill.toml`, absolute.
    pub root: PathBuf,
    pub settings: Settings,
    pub environment: Environment,
}

/// What an attempt needs to work.
struct Work {
    project: Project,
    store: Store,
    clock: Clock,
    attempt: Attempt,
    version: DagVersion,
    /// Asks it to finish what is begun.
    drain: CancellationToken,
}

/// Works on the attempt until it is done, drained or failed; its result is in the store then.
pub fn run(project: Project, attempt: &str) -> Result<(), Error> {
    // For `ps`: by the way that we were started our name would be `exe`.
    drop(std::fs::write("/proc/self/comm", "tidemill worker"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Streams and feeds have threads of their own; a batch works on these, one for each core.
        .thread_stack_size(QUERY_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))?;
    let outcome = runtime.block_on(work(project, attempt));
    // A thread that still reads a topic would keep us here.
    runtime.shutdown_background();
    outcome
}

async fn work(project: Project, id: &str) -> Result<(), Error> {
    let store = Store::open_made(&project.settings.state).await?;
    let attempt = store.attempt(id).await?.ok_or_else(|| {
        Error::new(ErrorKind::Input, format!("the state store has no attempt {id}"))
            .remedy("attempts are started by `tidemill up`, not by hand")
    })?;
    if attempt.state.ended() {
        return Err(Error::new(ErrorKind::Fenced, "it has been given up")).doing(|| doing(id));
    }
    let (drain, clock) = (CancellationToken::new(), Clock::system());
    let version = match store.version(&attempt.version).await {
        Ok(version) => version,
        Err(error) => return report::report(&store, &clock, id, Err(error)).await,
    };
    let work = Work {
        project,
        store: store.clone(),
        clock: clock.clone(),
        attempt,
        version,
        drain: drain.clone(),
    };
    let outcome = tokio::select! {
        outcome = work.dispatch() => outcome,
        error = signalled(drain) => Err(error),
    };
    report::report(&store, &clock, id, outcome).await
}

fn doing(id: &str) -> String {
    format!("work on {id}")
}

/// Cancels `drain` at SIGTERM; returns at SIGINT.
async fn signalled(drain: CancellationToken) -> Error {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return Error::new(ErrorKind::Unavailable, "no signal handler can be set");
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                info!("asked to drain");
                drain.cancel();
            }
            _ = interrupt.recv() => {
                return Error::new(ErrorKind::Unavailable, "it was asked to end at once");
            }
        }
    }
}

impl Work {
    async fn dispatch(&self) -> Result<Option<Value>, Error> {
        match self.attempt.kind {
            AttemptKind::Stream => stream::run(self).await.map(|()| None),
            AttemptKind::Feed => feed::run(self).await,
            AttemptKind::Batch | AttemptKind::Test => task::run(self).await,
            AttemptKind::Compact => compact::run(self).await,
            AttemptKind::Exec => {
                Err(Error::new(ErrorKind::Bug, "an exec task has no worker of ours"))
            }
        }
    }

    /// The id and the job of the stream or feed that the attempt is a life of.
    fn stream_job(&self) -> Result<(String, &Job), Error> {
        let bug = |why: String| Error::new(ErrorKind::Bug, why);
        let Owner::Stream(id) = &self.attempt.owner else {
            return Err(bug(format!("{} belongs to no stream", self.attempt.id)));
        };
        let name = instance::name(id);
        let streams = &self.version.dag.streams;
        let job = streams.iter().find(|(stream, _)| stream.as_str() == name);
        let job = job.and_then(|(_, job)| self.version.jobs.get(job));
        let job = job.ok_or_else(|| bug(format!("its dag version has no stream {id}")))?;
        Ok((id.clone(), job))
    }

    fn topic(&self, name: &TopicName) -> Result<&Topic, Error> {
        self.version.topics.get(name).ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("its dag version has no topic {name}"))
        })
    }

    fn cluster(&self) -> Result<Cluster, Error> {
        Cluster::of(&self.project.settings.kafka, &|secret| self.secret(secret))
    }

    fn secret(&self, secret: &Secret) -> Result<String, Error> {
        self.project.environment.secret(&self.project.root, secret)
    }

    /// What a batch or a compaction may use.
    fn budget(&self) -> Budget {
        let settings = &self.project.settings;
        Budget {
            memory_bytes: settings.limits.batch_memory_bytes,
            // In the attempt's folder, so that what a kill leaves goes when the log goes.
            spill: settings.home.join("attempts").join(&self.attempt.id).join("spill"),
            threads: available_parallelism().map_or(1, NonZero::get),
        }
    }

    async fn lake(&self) -> Result<Lake, Error> {
        let settings = &self.project.settings;
        let lake = Lake::find(&settings.lake, &settings.project, self.clock.clone()).await?;
        // The daemon has made it before its first worker.
        let lake = lake.ok_or_else(|| {
            Error::new(ErrorKind::Input, format!("there is no lake at {} any more", settings.lake))
                .remedy("put the lake back: none is made in its place")
        })?;
        self.store.admits_lake(lake.id()).await?;
        Ok(lake)
    }
}
