//! A member of a Kafka consumer group as a [`Source`].

use super::group::{GroupContext, intersection};
use super::probe::Probe;
use super::refusal::refuses;
use super::{ANSWER_WAIT, Brokers, failed, message, no_topic, number, passes};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{Change, Message, Source, TopicFacts, another_topic};
use crate::model::name::TopicName;
use crate::model::time::Micros;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::warn;

/// The user may set these otherwise.
const DEFAULTS: [(&str, &str); 7] = [
    // Bytes that wait in this process for their turn; the stream's whole budget is 256 MiB.
    ("queued.max.messages.kbytes", "24576"),
    ("fetch.max.bytes", "8388608"),
    // The default of a second leaves the queue empty most of the time: measured, 18 s instead of
    // 5.5 s for 3 million events.
    ("fetch.queue.backoff.ms", "10"),
    // A killed member holds its topic partitions up for this long; less is refused by default.
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
    ("metadata.max.age.ms", "60000"),
    // The group spreads new topic partitions as soon as a member sees them; 5 minutes by default.
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// The promises of the seam rest on these.
const FIXED: [(&str, &str); 9] = [
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
    ("isolation.level", "read_committed"),
    ("allow.auto.create.topics", "false"),
    // Where the topic's id is read from.
    ("debug", "topic"),
    ("log_level", "7"),
];

pub struct BrokerSource {
    consumer: BaseConsumer<GroupContext>,
    probe: Probe,
    topic: TopicName,
    /// As it was when the group was joined.
    facts: TopicFacts,
    /// Assigned by the group; with an offset once `start` was called. librdkafka hears of them
    /// together: it takes one answer to a rebalance.
    starting: BTreeMap<u32, Option<i64>>,
    /// To be given up, also together.
    revoked: BTreeSet<u32>,
    released: BTreeSet<u32>,
    begun: BTreeMap<u32, Begun>,
}

/// Where `start` said. Until something comes from there, librdkafka reports no position, or the one
/// that it had before, which must never be used as ours.
struct Begun {
    offset: i64,
    stale: Option<i64>,
}

impl BrokerSource {
    pub fn open(brokers: &Brokers<'_>, topic: &TopicName, group: &str) -> Result<Self, Error> {
        let probe = Probe::open(brokers, topic)?;
        let facts = probe.facts()?.ok_or_else(|| no_topic(topic))?;
        let mut config = brokers.config(&DEFAULTS, &FIXED);
        config.set("group.id", group).set_log_level(RDKafkaLogLevel::Debug);
        let consumer: BaseConsumer<GroupContext> =
            config.create_with_context(GroupContext::new(topic.as_str())).map_err(failed)?;
        consumer
            .subscribe(&[topic.as_str()])
            .map_err(failed)
            .doing(|| format!("join group {group}"))?;
        Ok(Self {
            consumer,
            probe,
            topic: topic.clone(),
            facts,
            starting: BTreeMap::new(),
            revoked: BTreeSet::new(),
            released: BTreeSet::new(),
            begun: BTreeMap::new(),
        })
    }

    fn check_same(&self, id: Option<&str>) -> Result<(), Error> {
        match id {
            Some(id) if id != self.facts.id => Err(another_topic(&self.topic)),
            Some(_) | None => Ok(()),
        }
    }

    /// What the callbacks have left, noted.
    fn changes(&mut self) -> Result<Vec<Change>, Error> {
        let context = self.consumer.context();
        let changes = context.take_changes();
        self.check_same(context.ids.id().as_deref())?;
        for change in &changes {
            match change {
                Change::Assigned(partitions) => {
                    self.starting.extend(partitions.iter().map(|partition| (*partition, None)));
                }
                Change::Revoked(partitions) | Change::Lost(partitions) => {
                    self.starting.retain(|partition, _| !partitions.contains(partition));
                    self.revoked.extend(partitions);
                }
            }
        }
        Ok(changes)
    }

    /// Answers a revocation, also when none of it was ever assigned.
    fn unassign(&self, topic_partitions: &[u32]) -> Result<(), Error> {
        let owned = self.consumer.assignment().map_err(failed)?;
        let owned = intersection(&owned, topic_partitions);
        // librdkafka would remember the pause, and read nothing when they come back.
        self.consumer.resume(&owned).map_err(failed)?;
        self.consumer.incremental_unassign(&owned).map_err(failed)
    }

    fn told_position(&self, topic_partition: u32) -> Result<Option<i64>, Error> {
        let positions = self.consumer.position().map_err(failed)?;
        let found = positions.find_partition(self.topic.as_str(), number(topic_partition));
        Ok(match found.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }

    fn list(
        &self,
        offsets: impl IntoIterator<Item = (u32, i64)>,
    ) -> Result<TopicPartitionList, Error> {
        let mut list = TopicPartitionList::new();
        for (topic_partition, offset) in offsets {
            list.add_partition_offset(
                self.topic.as_str(),
                number(topic_partition),
                Offset::Offset(offset),
            )
            .map_err(failed)?;
        }
        Ok(list)
    }
}

impl Source for BrokerSource {
    fn poll(
        &mut self,
        wait: Duration,
        max: usize,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<Vec<Change>, Error> {
        let mut wait = wait;
        for _ in 0..max.max(1) {
            let polled = self.consumer.poll(wait);
            // What came with or before the news is older than it; what came after is not.
            if self.consumer.context().has_changed() {
                self.check_same(self.consumer.context().ids.id().as_deref())?;
            }
            match polled {
                Some(Ok(polled)) => each(message(&polled)),
                // An account that stays refused is reported when the topic is asked for next.
                Some(Err(error)) if passes(&error) || refuses(error.rdkafka_error_code()) => {
                    warn!(%error, "the brokers are hard to reach");
                }
                Some(Err(error)) => {
                    return Err(failed(error)).doing(|| format!("read topic {}", self.topic));
                }
                None => break,
            }
            if self.consumer.context().has_changed() {
                break;
            }
            wait = Duration::ZERO;
        }
        self.changes()
    }

    fn start(&mut self, topic_partition: u32, offset: i64) -> Result<(), Error> {
        let stale = self.told_position(topic_partition)?;
        self.begun.insert(topic_partition, Begun { offset, stale });
        let Some(start) = self.starting.get_mut(&topic_partition) else {
            let offset = Offset::Offset(offset);
            return self
                .consumer
                .seek(self.topic.as_str(), number(topic_partition), offset, ANSWER_WAIT)
                .map_err(failed)
                .doing(|| format!("seek in topic partition {topic_partition}"));
        };
        *start = Some(offset);
        let known = self.starting.iter().filter_map(|(partition, at)| Some((*partition, (*at)?)));
        let all: Vec<_> = known.collect();
        if all.len() < self.starting.len() {
            return Ok(());
        }
        self.starting.clear();
        let list = self.list(all)?;
        self.consumer.incremental_assign(&list).map_err(failed).doing(|| "begin to read".into())
    }

    fn release(&mut self, topic_partitions: &[u32]) -> Result<(), Error> {
        for topic_partition in topic_partitions {
            self.begun.remove(topic_partition);
            if self.revoked.remove(topic_partition) {
                self.released.insert(*topic_partition);
            }
        }
        if self.released.is_empty() || !self.revoked.is_empty() {
            return Ok(()); // Paused meanwhile.
        }
        let released: Vec<u32> = std::mem::take(&mut self.released).into_iter().collect();
        self.unassign(&released).doing(|| "stop reading".into())
    }

    fn position(&mut self, topic_partition: u32) -> Result<i64, Error> {
        let Some(begun) = self.begun.get(&topic_partition) else {
            let problem = format!("topic partition {topic_partition} is not started");
            return Err(Error::new(ErrorKind::Bug, problem));
        };
        let told = self.told_position(topic_partition)?.filter(|told| begun.stale != Some(*told));
        Ok(told.unwrap_or(begun.offset))
    }

    fn offsets(&mut self, topic_partition: u32) -> Result<(i64, i64), Error> {
        self.probe.offsets(topic_partition)
    }

    fn offset_at(&mut self, topic_partition: u32, at: Micros) -> Result<i64, Error> {
        self.probe.offset_at(topic_partition, at)
    }

    fn commit_advisory(&mut self, offsets: &[(u32, i64)]) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let list = self.list(offsets.iter().copied())?;
        self.consumer.commit(&list, CommitMode::Async).map_err(failed)
    }

    fn facts(&mut self) -> Result<TopicFacts, Error> {
        let facts = self.probe.facts()?;
        self.check_same(Some(facts.as_ref().map_or("", |facts| &facts.id)))?;
        facts.ok_or_else(|| no_topic(&self.topic))
    }
}

impl Drop for BrokerSource {
    fn drop(&mut self) {
        // librdkafka leaves the group only after every open rebalance has been answered.
        self.consumer.context().leave();
        if !self.starting.is_empty() {
            let _ = self.consumer.incremental_assign(&TopicPartitionList::new());
        }
        let open: Vec<u32> = self.revoked.union(&self.released).copied().collect();
        if !open.is_empty() {
            let _ = self.unassign(&open);
        }
    }
}
