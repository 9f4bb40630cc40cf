//! A feed attempt: the world to a topic, with heartbeats.

use super::{Work, heartbeat};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::feed;
use crate::feed::{Ended, FeedContext};
use crate::model::attempt::COMPLETE;
use crate::model::dag::handed_down;
use crate::model::job::{FeedFrom, FeedJob, JobKind};
use crate::model::mark::Reader;
use crate::model::name::TopicName;
use crate::model::secret::EnvValue;
use crate::model::stream::StreamProgress;
use crate::model::time::Micros;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// The rate that is shown covers about so long.
const RATE_OVER: Duration = Duration::from_secs(2);

pub(super) async fn run(work: &Work) -> Result<Option<Value>, Error> {
    let (id, job) = work.stream_job()?;
    let name = &job.name;
    let JobKind::Feed(job) = &job.kind else {
        return Err(Error::new(ErrorKind::Bug, format!("job {} is no feed", job.name)));
    };
    let topic = work.topic(&job.topic)?.clone();
    let cluster = work.cluster()?;
    let readers = readers(work, &job.topic);
    let (root, home) = (work.project.root.clone(), work.project.settings.home.clone());
    let environment = environment(work, job)?;
    let headers = headers(work, job)?;
    let name = name.clone();
    let (job, clock, stop) = (job.clone(), work.clock.clone(), work.drain.clone());
    let (progress, heard) = watch::channel(StreamProgress::default());
    let filling = tokio::task::spawn_blocking(move || {
        // Topics are made by whoever comes first, feed or stream.
        cluster.ensure_topic(&topic.name, topic.partitions, topic.retention)?;
        let mut meter = Meter::new(&clock);
        feed::run(&mut FeedContext {
            name: &name,
            job: &job,
            topic: &topic,
            readers,
            root: &root,
            home: &home,
            environment: &environment,
            headers: &headers,
            cluster: &cluster,
            clock: &clock,
            stop: &stop,
            progress: &mut |now| {
                progress.send_replace(meter.told(now, &clock));
            },
        })
    });
    let filled = async { filling.await.map_err(|panic| Error::new(ErrorKind::Bug, panic))? };
    let ended = heartbeat::while_running(work, &id, filled, || heard.borrow().clone()).await?;
    Ok(Some(json!({ COMPLETE: ended == Ended::Complete })))
}

/// What a program of the user's is started with; secrets as they are now.
fn environment(work: &Work, job: &FeedJob) -> Result<BTreeMap<String, String>, Error> {
    let mut environment = handed_down(work.project.environment.iter());
    if let FeedFrom::Exec(exec) = &job.from {
        environment.extend(values(work, &exec.environment)?);
    }
    Ok(environment)
}

/// What a server is sent with each request; secrets as they are now.
fn headers(work: &Work, job: &FeedJob) -> Result<BTreeMap<String, String>, Error> {
    match &job.from {
        FeedFrom::Sse(sse) => values(work, &sse.server.headers),
        FeedFrom::Wikimedia(from) => values(work, &from.server.headers),
        FeedFrom::Replay(_) | FeedFrom::Simulate(_) | FeedFrom::Exec(_) => Ok(BTreeMap::new()),
    }
}

fn values(
    work: &Work,
    named: &BTreeMap<String, EnvValue>,
) -> Result<BTreeMap<String, String>, Error> {
    let value = |(name, value): (&String, &EnvValue)| {
        let value = match value {
            EnvValue::Text(text) => text.clone(),
            EnvValue::Secret(secret) => work.secret(secret).doing(|| format!("set {name}"))?,
        };
        Ok((name.clone(), value))
    };
    named.iter().map(value).collect()
}

/// The streams of this DAG that read the topic.
fn readers(work: &Work, topic: &TopicName) -> Vec<Reader> {
    let reader = |kind: &JobKind| match kind {
        JobKind::Stream(stream) if stream.topic == *topic => Some(Reader {
            partition_by: stream.partition_by.clone(),
            close_after: stream.close_after,
        }),
        JobKind::Stream(_) | JobKind::Feed(_) | JobKind::Batch(_) => None,
    };
    work.version.jobs.values().filter_map(|job| reader(&job.kind)).collect()
}

/// Makes a rate of counts.
struct Meter {
    since: Micros,
    sent: u64,
    rate: f64,
}

impl Meter {
    fn new(clock: &Clock) -> Self {
        Self { since: clock.steady().into(), sent: 0, rate: 0.0 }
    }

    fn told(&mut self, progress: &feed::Progress, clock: &Clock) -> StreamProgress {
        let now = Micros::from(clock.steady());
        let passed = now.since(self.since);
        if passed >= RATE_OVER {
            let sent = u32::try_from(progress.sent - self.sent).unwrap_or(u32::MAX);
            self.rate = f64::from(sent) / passed.as_secs_f64();
            (self.since, self.sent) = (now, progress.sent);
        }
        StreamProgress {
            rate: self.rate,
            watermark: progress.newest,
            last_mark: progress.marked,
            produced: progress.produced,
            left_out: progress.left_out,
            passed_over: progress.passed_over,
            note: progress.note.clone(),
            ..StreamProgress::default()
        }
    }
}
