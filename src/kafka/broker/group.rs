//! What librdkafka's callbacks report to a group member, kept for its own thread.
//!
//! librdkafka waits for an assign or an unassign after each rebalance. It comes from `start` and
//! `release`, when the lake has said where to begin, or has committed: never from the callback.

use super::probe::IdWatch;
use crate::kafka::Change;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::{debug, warn};

pub struct GroupContext {
    pub ids: IdWatch,
    changes: Mutex<Vec<Change>>,
    /// Looked at for every message, so that the lock above need not be.
    changed: AtomicBool,
    /// The member is going: answer librdkafka at once, nobody else will.
    leaving: AtomicBool,
}

impl GroupContext {
    pub fn new(topic: &str) -> Self {
        Self {
            ids: IdWatch::new(topic),
            changes: Mutex::default(),
            changed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
        }
    }

    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    pub fn take_changes(&self) -> Vec<Change> {
        self.changed.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.changes.lock().expect("no panic holds it"))
    }

    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn put(&self, change: Change) {
        self.changes.lock().expect("no panic holds it").push(change);
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, _fac: &str, text: &str) {
        self.ids.log(level, text);
        // A new id must be seen before the messages that follow it.
        self.changed.store(true, Ordering::Relaxed);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.ids.refusal.heard(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<u32> =
            list.elements().iter().map(|element| element.partition().cast_unsigned()).collect();
        debug!(?partitions, ?event, "the group rebalances");
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if partitions.is_empty() || self.leaving.load(Ordering::Relaxed) {
                answer(consumer.incremental_assign(&TopicPartitionList::new()));
            } else {
                self.put(Change::Assigned(partitions));
            }
            return;
        }
        if partitions.is_empty() || self.leaving.load(Ordering::Relaxed) {
            answer(consumer.assignment().and_then(|owned| {
                let owned = intersection(&owned, &partitions);
                consumer.incremental_unassign(&owned)
            }));
            return;
        }
        // What is fetched already must not be handed over any more: the caller is about to commit.
        answer(consumer.assignment().and_then(|owned| {
            let owned = intersection(&owned, &partitions);
            if owned.count() == 0 { Ok(()) } else { consumer.pause(&owned) }
        }));
        self.put(if consumer.assignment_lost() {
            Change::Lost(partitions)
        } else {
            Change::Revoked(partitions)
        });
    }
}

/// The elements of `list` that are among `partitions`: librdkafka refuses to take what is not there.
pub fn intersection(list: &TopicPartitionList, partitions: &[u32]) -> TopicPartitionList {
    let mut both = TopicPartitionList::new();
    for element in list.elements() {
        if partitions.contains(&element.partition().cast_unsigned()) {
            both.add_partition(element.topic(), element.partition());
        }
    }
    both
}

fn answer(result: Result<(), KafkaError>) {
    if let Err(error) = result {
        warn!(%error, "librdkafka did not take the answer to a rebalance");
    }
}
