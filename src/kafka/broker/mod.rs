//! Real Kafka, through librdkafka.

mod admin;
mod census;
mod examine;
mod group;
mod probe;
mod producer;
mod refusal;
mod source;
mod tail;

pub use producer::BrokerProducer;
pub use source::BrokerSource;

use crate::error::{Error, ErrorKind};
use crate::kafka::{MARK_HEADER, Mark, Message, SPREAD_HEADER, TopicFacts};
use crate::model::name::TopicName;
use crate::model::time::Micros;
use rdkafka::Message as _;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a single question to the brokers may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How a cluster is reached.
pub struct Brokers<'a> {
    pub servers: &'a str,
    /// librdkafka's own names; ours win where the promises of the seam rest on them.
    pub properties: &'a BTreeMap<String, String>,
}

impl Brokers<'_> {
    pub fn ensure_topic(
        &self,
        topic: &TopicName,
        partitions: u32,
        retention: Duration,
    ) -> Result<TopicFacts, Error> {
        admin::ensure_topic(self, topic, partitions, retention)
    }

    /// Adds topic partitions to what `facts` tells, and waits until they are there.
    pub fn grow_topic(
        &self,
        topic: &TopicName,
        facts: &TopicFacts,
        partitions: u32,
    ) -> Result<TopicFacts, Error> {
        admin::grow_topic(self, topic, facts, partitions)
    }

    pub fn facts(&self, topic: &TopicName) -> Result<Option<TopicFacts>, Error> {
        probe::Probe::open(self, topic)?.facts()
    }

    pub fn tail(
        &self,
        topic: &TopicName,
        since: Micros,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), Error> {
        tail::tail(self, topic, since, each)
    }

    /// `defaults`, then the user's properties, then what must hold.
    fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in self.properties {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", self.servers);
        config.set("client.id", "tidemill");
        config
    }
}

fn no_topic(topic: &TopicName) -> Error {
    Error::new(ErrorKind::Input, format!("the brokers have no topic {topic}"))
}

fn number(topic_partition: u32) -> i32 {
    i32::try_from(topic_partition).expect("Kafka counts topic partitions in i32")
}

/// What librdkafka says, by what its receiver should do.
fn failed(err: KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    let Some(code) = err.rdkafka_error_code() else {
        return match err {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
                Error::new(ErrorKind::Input, err).remedy("mend [kafka.properties]")
            }
            _ => Error::new(ErrorKind::Unavailable, err),
        };
    };
    match code {
        Code::AutoOffsetReset
        | Code::OffsetOutOfRange
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::MessageSizeTooLarge
        | Code::BadMessage => Error::new(ErrorKind::Data, err),
        Code::TopicAuthorizationFailed => Error::new(ErrorKind::Input, err).remedy(
            "grant this account Describe and Read on the topic, for feeds Write and Create too",
        ),
        Code::GroupAuthorizationFailed => Error::new(ErrorKind::Input, err)
            .remedy("grant this account Read on the groups that begin with `tidemill.<project>.`"),
        Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::SSL => Error::new(ErrorKind::Input, err)
            .remedy("check the account in [kafka.properties] and its ACLs"),
        Code::FencedInstanceId | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            Error::new(ErrorKind::Fenced, err)
        }
        _ => Error::new(ErrorKind::Unavailable, err),
    }
}

/// Likewise, about a topic partition that a broker has told of: one that denies it is behind, because
/// it was added a moment ago or the broker was away, and soon will know.
fn behind(err: KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    match err.rdkafka_error_code() {
        Some(Code::UnknownPartition | Code::UnknownTopicOrPartition) => {
            Error::new(ErrorKind::Unavailable, err)
        }
        Some(_) | None => failed(err),
    }
}

/// Errors that librdkafka tells and mends by itself. A refused account is not among them, except while
/// messages flow: a broker that goes down in the middle of a handshake looks the same.
fn passes(err: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        err.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
        )
    )
}

fn message<'a>(message: &'a BorrowedMessage<'_>) -> Message<'a> {
    let payload = message.payload();
    Message {
        topic_partition: message.partition().cast_unsigned(),
        offset: message.offset(),
        arrived: message.timestamp().to_millis().map(|millis| Micros(millis * 1_000)),
        key: message.key(),
        payload,
        headers: message.headers().map_or(&() as &dyn crate::kafka::Headers, |headers| headers),
        // A mark has no payload, so headers are looked at only where there is none.
        mark: if payload.is_none() { mark(message) } else { None },
    }
}

impl crate::kafka::Headers for BorrowedHeaders {
    fn last(&self, name: &str) -> Option<&[u8]> {
        (0..self.count()).rev().find_map(|place| {
            let header = self.try_get(place)?;
            (header.key == name).then_some(header.value)?
        })
    }
}

fn mark(message: &BorrowedMessage<'_>) -> Option<Mark> {
    let headers = message.headers()?;
    let text = |name: &str| {
        let header = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    };
    let at = text(MARK_HEADER).and_then(|text| text.parse().ok()).map(Micros);
    let topic_partitions = text(SPREAD_HEADER).and_then(|text| text.parse().ok());
    let mark = Mark { at, topic_partitions };
    (mark != Mark::default()).then_some(mark)
}
