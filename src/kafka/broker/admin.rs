//! Creates topics, and asks how they are kept.

use super::probe::Probe;
use super::{ANSWER_WAIT, Brokers, failed, no_topic, number};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{TopicFacts, another_topic};
use crate::model::name::TopicName;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
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
    create(brokers, topic, partitions, retention, false)?;
    for _ in 0..APPEAR_TRIES {
        if let Some(facts) = probe.facts()? {
            return Ok(facts);
        }
        thread::sleep(APPEAR_WAIT);
    }
    Err(no_topic(topic))
}

pub fn grow_topic(
    brokers: &Brokers<'_>,
    topic: &TopicName,
    facts: &TopicFacts,
    partitions: u32,
) -> Result<TopicFacts, Error> {
    let admin: AdminClient<DefaultClientContext> =
        brokers.config(&[], &[]).create().map_err(failed)?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    let more = NewPartitions::new(topic.as_str(), partitions as usize);
    let grown = futures::executor::block_on(admin.create_partitions([&more], &options));
    let refused = match grown.map_err(failed)?.into_iter().next() {
        Some(Err((_, code))) => Err(not_grown(code)),
        _ => Ok(()),
    };
    refused.doing(|| format!("let topic {topic} grow to {partitions} topic partitions"))?;
    let probe = Probe::open(brokers, topic)?;
    for _ in 0..APPEAR_TRIES {
        match probe.facts()? {
            Some(now) if now.id != facts.id => return Err(another_topic(topic)),
            Some(now) if now.partitions >= partitions => return Ok(now),
            Some(_) | None => thread::sleep(APPEAR_WAIT),
        }
    }
    let problem = format!("the brokers do not show what was added to topic {topic}");
    Err(Error::new(ErrorKind::Unavailable, problem))
}

fn not_grown(code: RDKafkaErrorCode) -> Error {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed => Error::new(ErrorKind::Input, KafkaError::Global(code))
            .remedy("grant this account Alter on the topic, or let its owner add them"),
        Code::InvalidPartitions | Code::PolicyViolation => {
            Error::new(ErrorKind::Input, KafkaError::Global(code))
        }
        _ => failed(KafkaError::Global(code)),
    }
}

/// `only_tried`: the brokers say whether they would, and do nothing.
pub fn create(
    brokers: &Brokers<'_>,
    topic: &TopicName,
    partitions: u32,
    retention: Duration,
    only_tried: bool,
) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> =
        brokers.config(&[], &[]).create().map_err(failed)?;
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX).to_string();
    // -1: as many replicas as the cluster gives by default.
    let new = NewTopic::new(topic.as_str(), number(partitions), TopicReplication::Fixed(-1))
        .set("retention.ms", &retention_ms);
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT)).validate_only(only_tried);
    let created = futures::executor::block_on(admin.create_topics([&new], &options));
    let refused = match created.map_err(failed)?.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(failed(KafkaError::Global(code)))
        }
        _ => Ok(()),
    };
    refused.doing(|| format!("create topic {topic}"))
}

/// What the brokers keep the topic by, `retention.ms` and the like.
pub fn settings(
    brokers: &Brokers<'_>,
    topic: &TopicName,
) -> Result<BTreeMap<String, String>, Error> {
    let admin: AdminClient<DefaultClientContext> =
        brokers.config(&[], &[]).create().map_err(failed)?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    let wanted = [ResourceSpecifier::Topic(topic.as_str())];
    let told = futures::executor::block_on(admin.describe_configs(&wanted, &options));
    let refused = match told.map_err(failed)?.into_iter().next() {
        Some(Ok(told)) if !told.entries.is_empty() => {
            let pairs = told.entries.into_iter();
            Ok(pairs.filter_map(|entry| Some((entry.name, entry.value?))).collect())
        }
        // A refusal comes as a topic without a setting, which there is not.
        Some(Ok(_)) | None => {
            Err(Error::new(ErrorKind::Input, "the brokers show this account none of them"))
        }
        Some(Err(code)) => Err(failed(KafkaError::Global(code))),
    };
    refused.doing(|| format!("ask for the settings of topic {topic}"))
}
