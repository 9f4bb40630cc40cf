//! Topics, behind one seam: real Kafka, or the embedded topic log on local disk.
//!
//! [`Cluster`] opens either. All of it blocks: call it from a thread of its own. A [`Source`] is one
//! member of a consumer group and is driven by one thread; a [`Producer`] is its topic's only one.
//! Both implementations keep what `tests/it/conformance.rs` asks of them.

mod broker;
mod cluster;
mod embedded;
mod examine;

pub use cluster::Cluster;

use crate::error::{Error, ErrorKind};
use crate::model::name::TopicName;
use crate::model::time::{EventTime, Micros};
use std::fmt;
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
