//! Topics, behind one seam: real Kafka, or the embedded topic log on local disk.
//!
//! [`Cluster`] opens either. All of it blocks: call it from a thread of its own. A [`Source`] is one member of a consumer group and is
//! driven by one thread; a [`Producer`] is its topic's only one. Both implementations keep what
//! `tests/it/conformance.rs` asks of them.

mod broker;
mod embedded;
mod examine;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::dag::EnvValue;
use crate::model::name::TopicName;
use crate::model::settings::Kafka;
use crate::model::settings::Secret;
use crate::model::time::{EventTime, Micros};
use broker::BrokerProducer;
use broker::BrokerSource;
use broker::Brokers;
use embedded::EmbeddedSource;
use embedded::Topic;
use embedded::Writer;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The header whose presence makes a message a mark; its value is the event time in microseconds,
/// as decimal text. A mark has no payload: "no event before this will follow".
pub const MARK_HEADER: &str = "tidemill-mark";

/// The header of a mark that says to how many topic partitions its feed sends from here on, as
/// decimal text. A mark may say only this.
pub const SPREAD_HEADER: &str = "tidemill-topic-partitions";

/// What a feed says of its topic, in a message without payload to every topic partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// No event before this will follow.
    pub at: Option<EventTime>,
    /// Events go to so many topic partitions from here on: whoever has read it waits for all of them.
    pub topic_partitions: Option<u32>,
}

impl From<EventTime> for Mark {
    fn from(at: EventTime) -> Self {
        Self { at: Some(at), topic_partitions: None }
    }
}

/// One message, borrowed from the buffers that it arrived in.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic_partition: u32,
    pub offset: i64,
    /// When it arrived in Kafka, by the broker's or the producer's clock.
    pub arrived: Option<Micros>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone, or a mark.
    pub payload: Option<&'a [u8]>,
    pub mark: Option<Mark>,
    pub headers: &'a dyn Headers,
}

/// The headers of a message; they are looked at only where a column wants one.
pub trait Headers {
    /// The value of the last header of that name, for a name may come more than once.
    fn last(&self, name: &str) -> Option<&[u8]>;
}

/// No headers at all.
impl Headers for () {
    fn last(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

impl fmt::Debug for dyn Headers + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }
}

/// What happened to a group member's topic partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Now ours: call [`Source::start`] for each before messages flow.
    Assigned(Vec<u32>),
    /// To be given up: commit, then call [`Source::release`]. Others wait for it. None of their
    /// messages is handed over any more.
    Revoked(Vec<u32>),
    /// Already somebody else's: drop what is not committed, then call [`Source::release`].
    Lost(Vec<u32>),
}

/// The error of a reader whose topic is another one now.
fn another_topic(topic: &TopicName) -> Error {
    Error::new(ErrorKind::Data, format!("topic {topic} was deleted or created again")).remedy(
        "a topic that was created again is another topic, whose offsets begin anew: land it in \
         another table",
    )
}

/// What the topic is, as its broker tells it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Changes when a topic is deleted and created again. 32 hexadecimal digits.
    pub id: String,
    pub partitions: u32,
}

/// Where topics live, with every secret resolved; never stored, never logged.
#[derive(Clone)]
pub enum Cluster {
    /// Topics as files under `dir`, each at most about `keep_bytes`.
    Embedded { dir: PathBuf, keep_bytes: u64 },
    /// Kafka; `properties` are librdkafka's own.
    Brokers { servers: String, properties: BTreeMap<String, String> },
}

impl Cluster {
    /// What the settings name, each secret replaced by what `resolve` finds for it.
    pub fn of(
        settings: &Kafka,
        resolve: &dyn Fn(&Secret) -> Result<String, Error>,
    ) -> Result<Self, Error> {
        Ok(match settings {
            Kafka::Embedded { dir, keep_bytes } => {
                Self::Embedded { dir: dir.clone(), keep_bytes: *keep_bytes }
            }
            Kafka::Brokers { servers, properties } => {
                let value = |value: &EnvValue| match value {
                    EnvValue::Text(text) => Ok(text.clone()),
                    EnvValue::Secret(secret) => resolve(secret),
                };
                let properties = properties
                    .iter()
                    .map(|(name, text)| Ok((name.clone(), value(text)?)))
                    .collect::<Result<_, Error>>()?;
                Self::Brokers { servers: servers.clone(), properties }
            }
        })
    }

    /// Creates the topic if there is none; an existing one stays as it is, whatever is asked for.
    pub fn ensure_topic(
        &self,
        topic: &TopicName,
        partitions: u32,
        retention: Duration,
    ) -> Result<TopicFacts, Error> {
        match self {
            Self::Embedded { dir, .. } => {
                Ok(Topic::ensure(dir, topic, partitions, retention)?.facts())
            }
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                brokers.ensure_topic(topic, partitions, retention)
            }
        }
    }

    /// Lets an existing topic have so many topic partitions; `Input` where that would be fewer. For
    /// the topic's only producer: keys of others would go elsewhere from now on.
    pub fn grow_topic(&self, topic: &TopicName, partitions: u32) -> Result<TopicFacts, Error> {
        let facts = self.facts(topic)?.ok_or_else(|| {
            Error::new(ErrorKind::Input, format!("there is no topic {topic} that could grow"))
        })?;
        if !grows(topic, facts.partitions, partitions)? {
            return Ok(facts);
        }
        match self {
            Self::Embedded { dir, .. } => {
                Ok(Topic::existing(dir, topic)?.grow(partitions)?.facts())
            }
            Self::Brokers { servers, properties } => {
                Brokers { servers, properties }.grow_topic(topic, &facts, partitions)
            }
        }
    }

    /// The topic as it is now; `None` if there is none.
    pub fn facts(&self, topic: &TopicName) -> Result<Option<TopicFacts>, Error> {
        match self {
            Self::Embedded { dir, .. } => Ok(Topic::open(dir, topic)?.map(|topic| topic.facts())),
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                brokers.facts(topic)
            }
        }
    }

    /// Joins the consumer group `group` of an existing topic.
    pub fn source(
        &self,
        topic: &TopicName,
        group: &str,
        clock: &Clock,
    ) -> Result<Box<dyn Source>, Error> {
        match self {
            Self::Embedded { dir, .. } => {
                let topic = Topic::existing(dir, topic)?;
                Ok(Box::new(EmbeddedSource::open(topic, group, clock.clone())?))
            }
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                Ok(Box::new(BrokerSource::open(&brokers, topic, group)?))
            }
        }
    }

    /// A producer for an existing topic.
    pub fn producer(&self, topic: &TopicName, clock: &Clock) -> Result<Box<dyn Producer>, Error> {
        match self {
            Self::Embedded { dir, keep_bytes } => {
                let topic = Topic::existing(dir, topic)?;
                Ok(Box::new(Writer::open(topic, *keep_bytes, clock.clone())?))
            }
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                Ok(Box::new(BrokerProducer::open(&brokers, topic)?))
            }
        }
    }

    /// Hands over the messages of each topic partition that arrived at or after `since`, up to the
    /// end as it is now, in order within a topic partition. Joins no group.
    pub fn tail(
        &self,
        topic: &TopicName,
        since: Micros,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), Error> {
        match self {
            Self::Embedded { dir, .. } => Topic::existing(dir, topic)?.tail(since, each),
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                brokers.tail(topic, since, each)
            }
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { dir, .. } => write!(f, "embedded, {}", dir.display()),
            Self::Brokers { servers, .. } => f.write_str(servers),
        }
    }
}

/// One member of a consumer group that reads one topic.
pub trait Source: Send {
    /// Waits at most `wait` for messages or a change, hands over what is there (at most about
    /// `max` messages) and returns the changes. Must be called at least every few seconds, or the
    /// group takes this member for dead.
    ///
    /// An offset out of range is an error of kind `Data`; it never skips.
    fn poll(
        &mut self,
        wait: Duration,
        max: usize,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<Vec<Change>, Error>;

    /// Begins to read an assigned topic partition at `offset`.
    fn start(&mut self, topic_partition: u32, offset: i64) -> Result<(), Error>;

    /// Gives topic partitions up after `Revoked` or `Lost`.
    fn release(&mut self, topic_partitions: &[u32]) -> Result<(), Error>;

    /// The offset after everything handed over, transaction markers and compacted gaps included;
    /// before there is anything, where [`start`](Source::start) said.
    fn position(&mut self, topic_partition: u32) -> Result<i64, Error>;

    /// The first offset still kept, and the end offset (high watermark, uncommitted included).
    fn offsets(&mut self, topic_partition: u32) -> Result<(i64, i64), Error>;

    /// The first offset whose message arrived at or after `at`; the end offset if there is none.
    fn offset_at(&mut self, topic_partition: u32, at: Micros) -> Result<i64, Error>;

    /// Tells the group how far the lake has come; for lag only, losing it changes nothing.
    fn commit_advisory(&mut self, offsets: &[(u32, i64)]) -> Result<(), Error>;

    fn facts(&mut self) -> Result<TopicFacts, Error>;
}

/// A message to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    pub topic_partition: u32,
    pub key: Option<&'a [u8]>,
    /// `None` without `mark` is a tombstone.
    pub payload: Option<&'a [u8]>,
    pub mark: Option<Mark>,
}

/// The only producer of one topic.
pub trait Producer: Send {
    /// Queues a message; blocks while the queue is full. Readers may not see it before `flush`.
    fn send(&mut self, message: Outgoing<'_>) -> Result<(), Error>;

    /// Returns when everything sent is durable and can be read, each message once and in order.
    /// After an error nothing is known of what was sent since the last flush: open a new producer
    /// and look at the topic's [`tail`](Cluster::tail).
    fn flush(&mut self) -> Result<(), Error>;

    /// Returns when whatever an earlier producer has sent, dead by now, can be read, or never will be.
    fn settle(&mut self) -> Result<(), Error>;

    /// Asks whether the topic has grown; [`partitions`](Self::partitions) tells from then on.
    fn look(&mut self) -> Result<(), Error>;

    /// Messages may go to so many topic partitions. Never fewer than before.
    fn partitions(&self) -> u32;
}

/// Whether a topic must get more topic partitions to have `wanted`.
fn grows(topic: &TopicName, has: u32, wanted: u32) -> Result<bool, Error> {
    if wanted >= has {
        return Ok(wanted > has);
    }
    let problem = format!("topic {topic} has {has} topic partitions, which can't become {wanted}");
    Err(Error::new(ErrorKind::Input, problem).remedy(format!(
        "topic partitions are never taken away: set `partitions = {has}`, or fill another topic"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_grows_and_never_shrinks() {
        let topic = "orders".parse().unwrap();
        assert!(grows(&topic, 4, 6).unwrap());
        assert!(!grows(&topic, 4, 4).unwrap());
        let refused = grows(&topic, 4, 3).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Input);
        assert!(refused.remedy.unwrap().contains("partitions = 4"));
    }
}
