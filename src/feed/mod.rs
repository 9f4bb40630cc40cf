//! Feeds: the world -> a topic, with marks that say how far event time has come.
//!
//! A feed reads a [`source`] and may be killed at any moment. What it has sent is in the topic, so a new
//! one reads the topic's tail and sends exactly what is missing ([`resume`]). A mark is sent only after
//! everything before it is durable, to every topic partition, so none can overtake an event.

mod fill;
mod lock;
mod pace;
mod resume;
mod source;

pub use fill::Progress;

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{Cluster, TopicFacts};
use crate::model::column::Origin;
use crate::model::job::{EventServer, FeedFrom, FeedJob, SimulateModel};
use crate::model::mark::Reader;
use crate::model::name::Name;
use crate::model::time::{EventTime, Micros};
use crate::model::topic::Topic;
use fill::Filling;
use lock::TopicLock;
use pace::Pace;
use resume::Resume;
use resume::cursor::Fingerprint;
use resume::kept::Kept;
use resume::told::Told;
use source::exec::{Call, Program};
use source::fields::Fields;
use source::replay::Lines;
use source::simulate::{Model, Simulation};
use source::sse::rules::{Rules, Standard};
use source::sse::wikimedia::Wikimedia;
use source::sse::{Dates, EventStream, RETRY, Server};
use source::unique::{RECENT_MAX, Recent};
use source::{Event, Next, Source, pick, replay};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How far back the topic's tail is read for the place to go on: most often the first is enough.
const TAILS: [Option<Duration>; 3] =
    [Some(Duration::from_mins(10)), Some(Duration::from_hours(24)), None];

/// What a feed needs; the topic must exist.
pub struct FeedContext<'a> {
    /// The name of the job.
    pub name: &'a Name,
    pub job: &'a FeedJob,
    pub topic: &'a Topic,
    /// The streams that read the topic: what must close when the feed has ended.
    pub readers: Vec<Reader>,
    /// The project's folder, where relative files start.
    pub root: &'a Path,
    /// The state folder of the environment, which holds the topic's lock.
    pub home: &'a Path,
    /// What a program of the user's is started with.
    pub environment: &'a BTreeMap<String, String>,
    /// What is sent to a server with each request.
    pub headers: &'a BTreeMap<String, String>,
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
        // Its command may be edited; the cursor stays.
        FeedFrom::Exec(_) => Fingerprint::of(&[b"exec", context.name.as_str().as_bytes()]),
        // A server may move; the id of the last event stays.
        FeedFrom::Sse(_) => Fingerprint::of(&[b"sse", context.name.as_str().as_bytes()]),
        // Of other streams it has other ids.
        FeedFrom::Wikimedia(from) => {
            let streams = from.streams.join(",");
            Fingerprint::of(&[b"wikimedia", context.name.as_str().as_bytes(), streams.as_bytes()])
        }
    };
    let mut recent = Recent::new(RECENT_MAX);
    let kept = Kept::of(context.home, &topic.name, &facts.id, &fingerprint);
    let doing = || format!("fill topic {}", topic.name);
    let mut producer = context.cluster.producer(&topic.name, context.clock)?;
    producer.settle().doing(doing)?;
    let told = look_up(context, &Told::nothing(fingerprint), facts.partitions, &mut recent)?;
    let noted = kept.read().doing(doing)?;
    let seam = told.seam().clone();
    let cursor = told.cursor(noted.as_ref(), facts.partitions);
    let cursor = cursor.map_err(|error| error.remedy(kept.remedy())).doing(doing)?;
    if cursor.spread() > producer.partitions() {
        return Err(hidden(topic, cursor.spread(), producer.partitions()));
    }
    let noted_token = noted.and_then(|noted| noted.token);
    let (token, in_topic) = seam.resume(noted_token.as_ref());
    let resume = Resume {
        first_missing: cursor.first_missing(),
        behind_all: cursor.behind_all(),
        token: token.clone(),
        in_topic,
    };
    let (mut source, pace) = open(context, resume, recent)?;
    Filling {
        token,
        cursor,
        producer: producer.as_mut(),
        pace,
        readers: &context.readers,
        mark_every: resume::MARK_EVERY,
        look_every: fill::LOOK_EVERY,
        clock: context.clock,
        stop: context.stop,
        progress: context.progress,
        note: &mut |cursor, next, clean, token| kept.note(cursor, next, clean, token),
    }
    .fill(source.as_mut())
    .doing(doing)
}

/// The source of the job, and how fast its events come.
fn open(
    context: &FeedContext<'_>,
    resume: Resume,
    recent: Recent,
) -> Result<(Box<dyn Source>, Pace), Error> {
    let unique = context.job.unique.clone().map(|path| (path, recent));
    let fields = fields(context.topic, unique, context.clock);
    match &context.job.from {
        FeedFrom::Simulate(simulate) => match simulate.model {
            SimulateModel::Recentchange => {
                let simulation = Simulation::new(Model::new(simulate), resume.first_missing);
                Ok((Box::new(simulation), Pace::rate(simulate.rate)))
            }
        },
        FeedFrom::Replay(replay) => {
            let file = context.root.join(&replay.file);
            let lines = Lines::open(&file, fields, context.clock)?;
            Ok((Box::new(lines), Pace::replay(replay)))
        }
        FeedFrom::Exec(exec) => {
            let folder = context.root.to_owned();
            let environment = context.environment.clone();
            let call = Call { exec: exec.clone(), folder, environment };
            let program = Program::new(call, resume, fields, context.clock);
            Ok((Box::new(program), Pace::at_once()))
        }
        FeedFrom::Sse(sse) => {
            let token = resume.token.as_ref().map(|token| token.text.as_str());
            let rules = Box::new(Standard::resume(sse.kinds.clone(), token));
            let stream = event_stream(context, &sse.server, rules, None, resume, fields);
            Ok((Box::new(stream), Pace::at_once()))
        }
        FeedFrom::Wikimedia(from) => {
            let token = resume.token.as_ref().map(|token| token.text.as_str());
            let rules = Wikimedia::resume(token)?;
            rules.warn_of_a_gap(Micros::from(context.clock.now()));
            let behind = Some(context.topic.event_time.out_of_order);
            let rules = Box::new(rules);
            let stream = event_stream(context, &from.server, rules, behind, resume, fields);
            Ok((Box::new(stream), Pace::at_once()))
        }
    }
}

/// A server's stream, which goes on as `rules` say.
fn event_stream(
    context: &FeedContext<'_>,
    server: &EventServer,
    rules: Box<dyn Rules>,
    out_of_order: Option<Duration>,
    resume: Resume,
    fields: Fields,
) -> EventStream {
    let headers = context.headers.iter();
    let server = Server {
        url: server.url.clone(),
        user_agent: server.user_agent.clone(),
        headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        silence: server.silence,
        event_bytes_max: server.event_bytes_max as usize,
        retry: RETRY,
    };
    let dates = Dates { max_ahead: context.topic.event_time.max_ahead, out_of_order };
    EventStream::new(server, rules, resume, fields, dates, context.clock)
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

/// Reads the tail of the topic until each topic partition has told where it stands.
fn look_up(
    context: &FeedContext<'_>,
    nothing: &Told,
    partitions: u32,
    recent: &mut Recent,
) -> Result<Told, Error> {
    let now = Micros::from(context.clock.now());
    let by_token = context.job.from.goes_by_tokens();
    let mut told = nothing.clone();
    for back in TAILS {
        told = nothing.clone();
        let since = back.map_or(Micros(0), |back| now.minus(back));
        context.cluster.tail(&context.topic.name, since, &mut |message| {
            told.see(&message);
            // What a source gives out by numbers is left out by them; it has its own repeats.
            let is_ours = told.is_ours(&message);
            let payload = message.payload.filter(|_| by_token || !is_ours);
            if let (Some(path), Some(payload)) = (&context.job.unique, payload)
                && let Some(id) = pick::pick(payload, path)
            {
                if is_ours {
                    recent.is_new(id.written());
                } else {
                    recent.hold(id.written());
                }
            }
        })?;
        if told.is_all(partitions) && (!by_token || told.has_seam(partitions)) {
            break;
        }
    }
    Ok(told)
}

/// Returns the first and the last believable date in a file of events for `topic`, in event time.
pub fn span(
    file: &Path,
    topic: &Topic,
    clock: &Clock,
) -> Result<Option<(EventTime, EventTime)>, Error> {
    let mut lines = Lines::open(file, fields(topic, None, clock), clock)?;
    let mut event = Event::default();
    while lines.read(&mut event)? == Next::Event {}
    Ok(lines.span())
}

/// What is looked at in an event for `topic`.
fn fields(topic: &Topic, unique: Option<(Vec<String>, Recent)>, clock: &Clock) -> Fields {
    let date_max = Micros::from(clock.now()).plus(topic.event_time.max_ahead);
    Fields::new(date_path(topic), date_max, unique)
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
mod live_tests;
#[cfg(test)]
mod tests;
