//! Asks the brokers about a topic, outside of any group.
//!
//! Neither rust-rdkafka nor librdkafka's safe interface has a topic's id; librdkafka knows it (since
//! 2.4) and says so in its debug log, `Topic x changed id from AAA… to …`, whenever it learns one.
//! That line is where [`IdWatch`] reads it: the only way that works over every security protocol
//! without `unsafe`. The wording is pinned by Cargo.lock and by the conformance suite.

use super::refusal::Refusal;
use super::{ANSWER_WAIT, Brokers, behind, failed, number, passes};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::TopicFacts;
use crate::model::name::TopicName;
use crate::model::time::Micros;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::Mutex;
use std::time::Duration;
use tracing::{debug, error, warn};

/// How often the log is looked at for the id that must be in it.
const LOG_TRIES: usize = 200;
const LOG_WAIT: Duration = Duration::from_millis(10);
/// A question is asked again so often within [`ANSWER_WAIT`]: between two tries a refusal is seen.
const TRIES: u32 = 3;
/// How often what they may have said is looked for after each.
const WORD_TRIES: usize = 10;

/// Writes librdkafka's log into ours and keeps the newest id of one topic.
pub struct IdWatch {
    topic: String,
    id: Mutex<Option<String>>,
    pub refusal: Refusal,
}

impl IdWatch {
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), id: Mutex::new(None), refusal: Refusal::default() }
    }

    pub fn id(&self) -> Option<String> {
        self.id.lock().expect("no panic holds it").clone()
    }

    /// Call from [`ClientContext::log`]; the client must log at level debug with `debug = topic`.
    pub fn log(&self, level: RDKafkaLogLevel, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => error!("librdkafka: {text}"),
            RDKafkaLogLevel::Warning => warn!("librdkafka: {text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => debug!("librdkafka: {text}"),
            RDKafkaLogLevel::Debug => {
                if let Some(id) = new_id(text, &self.topic) {
                    *self.id.lock().expect("no panic holds it") = Some(id);
                }
            }
        }
    }
}

impl ClientContext for IdWatch {
    fn log(&self, level: RDKafkaLogLevel, _fac: &str, text: &str) {
        IdWatch::log(self, level, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.refusal.heard(&error, reason);
    }
}

impl ConsumerContext for IdWatch {}

/// The id that this line of librdkafka's log gives to `topic`, as 32 hexadecimal digits.
fn new_id(text: &str, topic: &str) -> Option<String> {
    let (before, after) = text.split_once(" changed id from ")?;
    let (_, named) = before.rsplit_once("Topic ")?;
    let (_, id) = after.split_once(" to ")?;
    if named == topic { hex_of_base64(id.trim()) } else { None }
}

/// 22 base64 digits are 128 bits and four to spare.
fn hex_of_base64(text: &str) -> Option<String> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let text = text.trim_end_matches('=');
    let (last, front) = text.as_bytes().split_last().filter(|_| text.len() == 22)?;
    let front =
        front.iter().try_fold(0_u128, |bits, c| Some(bits << 6 | u128::from(digit(*c)?)))?;
    Some(format!("{:032x}", front << 2 | u128::from(digit(*last)? >> 4)))
}

/// The copies of one topic partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    pub topic_partition: u32,
    /// One of them takes writes.
    pub led: bool,
    pub all: usize,
    /// Those that have all that was acknowledged.
    pub in_step: usize,
}

/// A client that asks about one topic and joins nothing.
pub struct Probe {
    client: BaseConsumer<IdWatch>,
    topic: TopicName,
}

impl Probe {
    pub fn open(brokers: &Brokers<'_>, topic: &TopicName) -> Result<Self, Error> {
        let fixed = [
            ("debug", "topic"),
            ("log_level", "7"),
            ("allow.auto.create.topics", "false"),
            // The end offset of the seam includes what is not committed yet.
            ("isolation.level", "read_uncommitted"),
        ];
        let mut config = brokers.config(&[], &fixed);
        config.remove("group.id");
        config.set_log_level(RDKafkaLogLevel::Debug);
        let client = config.create_with_context(IdWatch::new(topic.as_str())).map_err(failed)?;
        Ok(Self { client, topic: topic.clone() })
    }

    /// The topic as it is now; `None` if there is none.
    pub fn facts(&self) -> Result<Option<TopicFacts>, Error> {
        self.ask().doing(|| format!("ask the brokers for topic {}", self.topic))
    }

    fn ask(&self) -> Result<Option<TopicFacts>, Error> {
        let topic = &self.topic;
        let metadata =
            self.answered(|wait| self.client.fetch_metadata(Some(topic.as_str()), wait))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.as_str())
        else {
            return Ok(None);
        };
        if let Some(err) = found.error() {
            return match RDKafkaErrorCode::from(err) {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                    Ok(None)
                }
                code => Err(failed(KafkaError::MetadataFetch(code))),
            };
        }
        let partitions = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
        for _ in 0..LOG_TRIES {
            // The answer's log line is in the queue now. Nothing else is: nothing is assigned.
            let _ = self.client.poll(LOG_WAIT);
            if let Some(id) = self.client.context().id() {
                return Ok(Some(TopicFacts { id, partitions }));
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the brokers report no topic id")
            .remedy("Tidemill needs Kafka 2.8 or newer"))
    }

    fn answered<T>(&self, ask: impl Fn(Duration) -> KafkaResult<T>) -> Result<T, Error> {
        answered(&self.client, &self.client.context().refusal, ask)
    }

    /// How many copies each topic partition has, in order.
    pub fn copies(&self) -> Result<Vec<Copies>, Error> {
        let topic = self.topic.as_str();
        let metadata = self
            .answered(|wait| self.client.fetch_metadata(Some(topic), wait))
            .doing(|| format!("ask the brokers for the copies of topic {topic}"))?;
        let found = metadata.topics().iter().filter(|found| found.name() == topic);
        let mut copies: Vec<_> = found
            .flat_map(MetadataTopic::partitions)
            .map(|part| Copies {
                topic_partition: part.id().cast_unsigned(),
                led: part.leader() >= 0,
                all: part.replicas().len(),
                in_step: part.isr().len(),
            })
            .collect();
        copies.sort_unstable_by_key(|copies| copies.topic_partition);
        Ok(copies)
    }

    /// The first offset kept and the high watermark.
    pub fn offsets(&self, topic_partition: u32) -> Result<(i64, i64), Error> {
        let (topic, partition) = (self.topic.as_str(), number(topic_partition));
        self.answered(|wait| self.client.fetch_watermarks(topic, partition, wait))
            .doing(|| format!("ask for the offsets of topic partition {topic_partition}"))
    }

    pub fn offset_at(&self, topic_partition: u32, at: Micros) -> Result<i64, Error> {
        // Kafka keeps milliseconds; rounded up, none before `at` is found.
        let millis = Offset::Offset(at.0.max(0).div_euclid(1_000) + i64::from(at.0 % 1_000 > 0));
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(self.topic.as_str(), number(topic_partition), millis)
            .map_err(failed)?;
        let found = self
            .answered(|wait| self.client.offsets_for_times(times.clone(), wait))
            .doing(|| format!("ask topic partition {topic_partition} for its offset at {at}"))?;
        match found.elements().first().map(TopicPartitionListElem::offset) {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => Ok(self.offsets(topic_partition)?.1),
        }
    }
}

/// Asks until there is an answer, or word of why there is none.
pub fn answered<C: ConsumerContext, T>(
    client: &BaseConsumer<C>,
    refusal: &Refusal,
    ask: impl Fn(Duration) -> KafkaResult<T>,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        let err = match ask(ANSWER_WAIT / TRIES) {
            Ok(answer) => {
                refusal.forget();
                return Ok(answer);
            }
            Err(err) => err,
        };
        // What the brokers have said, or why they can't be reached, waits in the queue behind other news.
        for _ in 0..WORD_TRIES {
            let _ = client.poll(LOG_WAIT);
            if refusal.told().is_some() {
                break;
            }
        }
        if tries == TRIES || !passes(&err) || refusal.told().is_some() {
            return Err(refusal.explains_silence(behind(err)));
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_from_the_line_about_this_topic_only() {
        let line = "[thrd:main]: Topic a.b changed id from AAAAAAAAAAAAAAAAAAAAAA to \
                    AQIDBAUGBwgJCgsMDQ4P/w";
        assert_eq!(new_id(line, "a.b").as_deref(), Some("0102030405060708090a0b0c0d0e0fff"));
        assert_eq!(new_id(line, "b"), None);
        assert_eq!(new_id("Topic a.b partition 0 Leader 1", "a.b"), None);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(hex_of_base64("AQID"), None);
        assert_eq!(hex_of_base64("AQIDBAUGBwgJCgsMDQ4P/!"), None);
    }
}
