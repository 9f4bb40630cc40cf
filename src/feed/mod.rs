//! Feeds: the world -> a topic, with marks that say how far event time has come.
//!
//! A feed may be killed at any moment. What it has sent is in the topic, so a new one reads the topic's
//! tail and sends exactly what is missing ([`told`]); only where the topic has forgotten it a note of
//! its own tells ([`kept`]). A mark is sent only after everything before it is durable, to every topic
//! partition, so none can overtake an event. A topic that grows is filled from one event on over more
//! topic partitions ([`cursor`]).

mod cursor;
mod ending;
mod fill;
mod kept;
mod lock;
mod model;
mod pace;
mod pick;
mod replay;
mod told;
mod unique;

pub use ending::Reader;
pub use fill::Progress;

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Cluster;
use crate::kafka::TopicFacts;
use crate::model::column::Origin;
use crate::model::job::{FeedFrom, FeedJob, SimulateModel};
use crate::model::time::{EventTime, Micros};
use crate::model::topic::Topic;
use cursor::Fingerprint;
use fill::Filling;
use kept::Kept;
use lock::TopicLock;
use model::Model;
use pace::Pace;
use replay::Lines;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use told::Told;
use tracing::warn;
use unique::{RECENT_MAX, Recent};

/// How far back the topic's tail is read for the place to go on: most often the first is enough.
const TAILS: [Option<Duration>; 3] =
    [Some(Duration::from_mins(10)), Some(Duration::from_hours(24)), None];

/// What a feed needs; the topic must exist.
pub struct FeedContext<'a> {
    pub job: &'a FeedJob,
    pub topic: &'a Topic,
    /// The streams that read the topic: what must close when the feed has ended.
    pub readers: Vec<Reader>,
    /// The project's folder, where relative files start.
    pub root: &'a Path,
    /// The state folder of the environment, which holds the topic's lock.
    pub home: &'a Path,
    pub cluster: &'a Cluster,
    pub clock: &'a Clock,
    /// Asks the feed to end soon; it stops between two events with all of them durable.
    pub stop: &'a CancellationToken,
    /// Called several times a second while events flow.
    pub progress: &'a mut dyn FnMut(&Progress),
}

/// Why [`run`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is sent, the end mark too: running the feed again would send nothing.
    Complete,
    /// It was asked to stop.
    Stopped,
}

/// An event on its way; its buffers are used again.
#[derive(Clone, Debug, Default)]
struct Event {
    /// Its place in the source, for ever.
    number: u64,
    payload: Vec<u8>,
    at: Option<EventTime>,
}

/// Fills the topic until the source ends or `stop` is cancelled. Blocks: give it a thread.
pub fn run(context: &mut FeedContext<'_>) -> Result<Ended, Error> {
    let topic = context.topic;
    let _lock = TopicLock::take(context.home, &topic.name)?;
    let facts = grown(context)?;
    let fingerprint = match &context.job.from {
        FeedFrom::Simulate(simulate) => {
            Fingerprint::of(&[b"simulate", Model::new(simulate).identity().as_bytes()])
        }
        FeedFrom::Replay(replay) => replay::fingerprint(context.root, &replay.file)?,
    };
    let mut recent = Recent::new(RECENT_MAX);
    let kept = Kept::of(context.home, &topic.name, &facts.id, &fingerprint);
    let doing = || format!("fill topic {}", topic.name);
    let mut producer = context.cluster.producer(&topic.name, context.clock)?;
    producer.settle().doing(doing)?;
    let told = look_up(context, &Told::nothing(fingerprint), facts.partitions, &mut recent)?;
    let noted = kept.read().doing(doing)?;
    let cursor = told.cursor(noted.as_ref(), facts.partitions);
    let cursor = cursor.map_err(|error| error.remedy(kept.remedy())).doing(doing)?;
    if cursor.spread() > producer.partitions() {
        return Err(hidden(topic, cursor.spread(), producer.partitions()));
    }
    let (mut source, pace) = match &context.job.from {
        FeedFrom::Simulate(simulate) => match simulate.model {
            SimulateModel::Recentchange => (
                Source::Model(Model::new(simulate), cursor.first_missing()),
                Pace::rate(simulate.rate),
            ),
        },
        FeedFrom::Replay(replay) => {
            let unique = context.job.unique.clone().map(|path| (path, recent));
            let now = Micros::from(context.clock.now());
            let date_max = now.plus(topic.event_time.max_ahead);
            let file = context.root.join(&replay.file);
            (
                Source::Lines(Lines::open(&file, date_path(topic), unique, date_max)?),
                Pace::replay(replay),
            )
        }
    };
    Filling {
        cursor,
        producer: producer.as_mut(),
        pace,
        readers: &context.readers,
        mark_every: fill::MARK_EVERY,
        look_every: fill::LOOK_EVERY,
        clock: context.clock,
        stop: context.stop,
        progress: context.progress,
        note: &mut |cursor, next, clean| kept.note(cursor, next, clean),
    }
    .fill(&mut source)
    .doing(doing)
}

/// The topic, with as many topic partitions as its file wants, if that is more than it had. Only we send
/// to it, so nobody else's keys go elsewhere; where it can't grow it is filled as it is.
fn grown(context: &FeedContext<'_>) -> Result<TopicFacts, Error> {
    let (cluster, topic) = (context.cluster, context.topic);
    let facts = cluster.facts(&topic.name)?.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("there is no topic {} yet", topic.name))
    })?;
    if topic.partitions == facts.partitions {
        return Ok(facts);
    }
    cluster.grow_topic(&topic.name, topic.partitions).or_else(|error| {
        warn!(topic.name = %topic.name, %error, remedy = error.remedy,
            "topic {} keeps its {} topic partitions", topic.name, facts.partitions);
        Ok(facts)
    })
}

fn hidden(topic: &Topic, sent: u32, seen: u32) -> Error {
    let problem = format!(
        "this feed has sent to {sent} topic partitions of {}, and only {seen} are to be seen",
        topic.name
    );
    Error::new(ErrorKind::Unavailable, problem)
        .remedy("a broker that was away will soon tell of all")
}

/// Where events come from.
enum Source {
    /// A simulation, and the number of its next event.
    Model(Model, u64),
    Lines(Lines),
}

impl Source {
    /// Fills `event` with the next one; false at the end.
    fn read(&mut self, event: &mut Event) -> Result<bool, Error> {
        match self {
            Self::Lines(lines) => lines.read(event),
            Self::Model(model, next) if model.total().is_some_and(|total| *next >= total) => {
                Ok(false)
            }
            Self::Model(model, next) => {
                let mut text =
                    String::from_utf8(std::mem::take(&mut event.payload)).unwrap_or_default();
                event.at = Some(model.write(*next, &mut text));
                event.number = *next;
                event.payload = text.into_bytes();
                *next += 1;
                Ok(true)
            }
        }
    }

    /// No event from `number` on is dated before this.
    fn promise_before(&self, number: u64) -> Option<EventTime> {
        match self {
            Self::Model(model, _) => Some(model.promise(number)),
            Self::Lines(_) => None, // A file's order promises nothing before its end.
        }
    }

    /// The newest date so far, of those that can be believed.
    fn newest(&self) -> Option<EventTime> {
        match self {
            Self::Model(_, 0) => None,
            Self::Model(model, next) => Some(model.sent(next - 1)),
            Self::Lines(lines) => lines.newest(),
        }
    }

    /// How many events were passed over unread: they are in the topic.
    fn begins_at(&self) -> u64 {
        match self {
            Self::Model(_, next) => *next,
            Self::Lines(_) => 0,
        }
    }
}

/// Reads the tail of the topic until each topic partition has told where it stands.
fn look_up(
    context: &FeedContext<'_>,
    nothing: &Told,
    partitions: u32,
    recent: &mut Recent,
) -> Result<Told, Error> {
    let now = Micros::from(context.clock.now());
    let mut told = nothing.clone();
    for back in TAILS {
        told = nothing.clone();
        let since = back.map_or(Micros(0), |back| now.minus(back));
        context.cluster.tail(&context.topic.name, since, &mut |message| {
            told.see(&message);
            // Ids of our own events are left out by their numbers; these are another feed's.
            let payload = message.payload.filter(|_| !told.is_ours(&message));
            if let (Some(path), Some(payload)) = (&context.job.unique, payload)
                && let Some(id) = pick::pick(payload, path)
            {
                recent.hold(id.to_string());
            }
        })?;
        if told.is_all(partitions) {
            break;
        }
    }
    Ok(told)
}

/// Returns the first and the last believable date in a file of events for `topic`, in event time.
pub fn span(
    file: &Path,
    topic: &Topic,
    now: Micros,
) -> Result<Option<(EventTime, EventTime)>, Error> {
    let date_max = now.plus(topic.event_time.max_ahead);
    let mut lines = Lines::open(file, date_path(topic), None, date_max)?;
    let mut event = Event::default();
    let mut first: Option<EventTime> = None;
    while lines.read(&mut event)? {
        if let Some(at) = event.at.filter(|at| *at <= date_max) {
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    Ok(first.zip(lines.newest()))
}

/// The path of the field that is the topic's event time, where it is a field.
fn date_path(topic: &Topic) -> Option<Vec<String>> {
    let column = topic.columns.iter().find(|column| column.name == topic.event_time.column)?;
    match &column.origin {
        Origin::Path(path) => Some(path.clone()),
        Origin::Sql(_) | Origin::Rest | Origin::Message(_) => None,
    }
}

#[cfg(test)]
mod tests;
