//! Creates topics.

use super::probe::Probe;
use super::{ANSWER_WAIT, Brokers, failed, no_topic, number};
use crate::error::{Doing, Error};
use crate::kafka::TopicFacts;
use crate::model::name::TopicName;
use rdkafka::admin::AdminClient;
use rdkafka::admin::AdminOptions;
use rdkafka::admin::NewTopic;
use rdkafka::admin::TopicReplication;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::error::RDKafkaErrorCode;
use std::thread;
use std::time::Duration;

/// A new topic is known to every broker after a moment only.
const APPEAR_TRIES: usize = 100;
const APPEAR_WAIT: Duration = Duration::from_millis(100);

pub fn ensure_topic(
    brokers: &Brokers<'_>,
    topic: &TopicName,
    partitions: u32,
    retention: Duration,
) -> Result<TopicFacts, Error> {
    let probe = Probe::open(brokers, topic)?;
    if let Some(facts) = probe.facts()? {
        return Ok(facts);
    }
    create(brokers, topic, partitions, retention).doing(|| format!("create topic {topic}"))?;
    for _ in 0..APPEAR_TRIES {
        if let Some(facts) = probe.facts()? {
            return Ok(facts);
        }
        thread::sleep(APPEAR_WAIT);
    }
    Err(no_topic(topic))
}

fn create(
    brokers: &Brokers<'_>,
    topic: &TopicName,
    partitions: u32,
    retention: Duration,
) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> =
        brokers.config(&[], &[]).create().map_err(failed)?;
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX).to_string();
    // -1: as many replicas as the cluster gives by default.
    let new = NewTopic::new(topic.as_str(), number(partitions), TopicReplication::Fixed(-1))
        .set("retention.ms", &retention_ms);
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    let results =
        futures::executor::block_on(admin.create_topics([&new], &options)).map_err(failed)?;
    match results.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(failed(KafkaError::Global(code)))
        }
        _ => Ok(()),
    }
}
