//! Reads the newest messages of a topic, outside of any group.

use super::probe::Probe;
use super::{ANSWER_WAIT, Brokers, behind, failed, message, no_topic, number, passes};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Message;
use crate::model::name::TopicName;
use crate::model::time::Micros;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

const WAIT: Duration = Duration::from_millis(100);
/// Without a message for so many waits, the brokers count as gone.
const SILENT_WAITS_MAX: usize = 300;

const FIXED: [(&str, &str); 7] = [
    // librdkafka assigns nothing without one; the group is never joined.
    ("group.id", "tidemill.tail"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("allow.auto.create.topics", "false"),
    ("fetch.queue.backoff.ms", "10"),
];

pub fn tail(
    brokers: &Brokers<'_>,
    topic: &TopicName,
    since: Micros,
    each: &mut dyn FnMut(Message<'_>),
) -> Result<(), Error> {
    let probe = Probe::open(brokers, topic)?;
    let facts = probe.facts()?.ok_or_else(|| no_topic(topic))?;
    let defaults = [("queued.max.messages.kbytes", "16384")];
    let consumer: BaseConsumer = brokers.config(&defaults, &FIXED).create().map_err(failed)?;
    let mut ends = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for topic_partition in 0..facts.partitions {
        let partition = number(topic_partition);
        // This client's own end: what is not committed yet can't be waited for.
        let (first, end) = consumer
            .fetch_watermarks(topic.as_str(), partition, ANSWER_WAIT)
            .map_err(behind)
            .doing(|| format!("ask for the offsets of topic partition {topic_partition}"))?;
        let start = probe.offset_at(topic_partition, since)?.max(first);
        if start < end {
            ends.insert(partition, end);
            let start = Offset::Offset(start);
            list.add_partition_offset(topic.as_str(), partition, start).map_err(failed)?;
        }
    }
    consumer.assign(&list).map_err(failed)?;
    read(&consumer, topic, ends, each).doing(|| format!("read the tail of topic {topic}"))
}

/// Reads until each topic partition has come to its end.
fn read(
    consumer: &BaseConsumer,
    topic: &TopicName,
    mut ends: BTreeMap<i32, i64>,
    each: &mut dyn FnMut(Message<'_>),
) -> Result<(), Error> {
    let mut silent = 0;
    while !ends.is_empty() {
        match consumer.poll(WAIT) {
            Some(Ok(polled)) => {
                silent = 0;
                let message = message(&polled);
                let partition = number(message.topic_partition);
                let Some(end) = ends.get(&partition).copied() else { continue };
                if message.offset < end {
                    each(message);
                }
                if message.offset + 1 >= end {
                    ends.remove(&partition);
                }
            }
            Some(Err(error)) if passes(&error) => {}
            Some(Err(error)) => return Err(failed(error)),
            None => {
                silent += 1;
                // The last messages may be transaction markers, which only move the position.
                let positions = consumer.position().map_err(failed)?;
                ends.retain(|partition, end| {
                    let found = positions.find_partition(topic.as_str(), *partition);
                    !matches!(found.map(|element| element.offset()), Some(Offset::Offset(at)) if at >= *end)
                });
                if silent > SILENT_WAITS_MAX {
                    return Err(Error::new(ErrorKind::Unavailable, "the brokers fell silent"));
                }
            }
        }
    }
    Ok(())
}
