//! Kafka's idempotent producer as a [`Producer`].

use super::probe::Probe;
use super::refusal::Refusal;
use super::{ANSWER_WAIT, Brokers, behind, failed, no_topic, number};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{MARK_HEADER, Mark, Outgoing, Producer, SPREAD_HEADER};
use crate::model::name::TopicName;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use std::sync::Mutex;
use std::time::Duration;

const DEFAULTS: [(&str, &str); 3] = [
    ("linger.ms", "5"),
    // Messages that wait in this process for the brokers; a feed is small.
    ("queue.buffering.max.kbytes", "32768"),
    // After it a message is given up and the flush fails, so that a feed sees an outage as one.
    ("message.timeout.ms", "60000"),
];

/// The promises of the seam rest on these.
const FIXED: [(&str, &str); 3] =
    [("enable.idempotence", "true"), ("acks", "all"), ("allow.auto.create.topics", "false")];

/// Longer than any message can still be under way.
const FLUSH_WAIT: Duration = Duration::from_mins(6);
/// How many messages are sent before their acknowledgements are looked at.
const POLL_EVERY: u32 = 256;
const FULL_WAIT: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Deliveries {
    /// The first that did not arrive.
    failure: Mutex<Option<KafkaError>>,
    refusal: Refusal,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        self.refusal.heard(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failure = self.failure.lock().expect("no panic holds it");
            failure.get_or_insert_with(|| error.clone());
        }
    }
}

pub struct BrokerProducer {
    producer: BaseProducer<Deliveries>,
    topic: TopicName,
    partitions: u32,
    sent: u32,
}

impl BrokerProducer {
    pub fn open(brokers: &Brokers<'_>, topic: &TopicName) -> Result<Self, Error> {
        let facts = Probe::open(brokers, topic)?.facts()?.ok_or_else(|| no_topic(topic))?;
        let config = brokers.config(&DEFAULTS, &FIXED);
        let producer = config.create_with_context(Deliveries::default()).map_err(failed)?;
        Ok(Self { producer, topic: topic.clone(), partitions: facts.partitions, sent: 0 })
    }

    /// Once a message is lost, what followed it is no longer in order: nothing more is sent.
    fn check_deliveries(&self) -> Result<(), Error> {
        let context = self.producer.context();
        let failure = context.failure.lock().expect("no panic holds it").clone();
        failure.map_or(Ok(()), |failure| Err(context.refusal.explains(behind(failure))))
    }
}

fn headers(mark: Mark) -> OwnedHeaders {
    let at = mark.at.map(|at| at.0.to_string());
    let topic_partitions = mark.topic_partitions.map(|count| count.to_string());
    let both = [(MARK_HEADER, at), (SPREAD_HEADER, topic_partitions)];
    both.iter()
        .filter(|(_, value)| value.is_some())
        .fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: value.as_ref() })
        })
}

impl Producer for BrokerProducer {
    fn send(&mut self, message: Outgoing<'_>) -> Result<(), Error> {
        if message.topic_partition >= self.partitions {
            return Err(Error::new(
                ErrorKind::Bug,
                format!("there is no topic partition {}", message.topic_partition),
            ));
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(self.topic.as_str())
            .partition(number(message.topic_partition));
        record.key = message.key;
        record.payload = message.payload;
        record.headers = message.mark.map(headers);
        self.sent = self.sent.wrapping_add(1);
        if self.sent.is_multiple_of(POLL_EVERY) {
            self.producer.poll(Duration::ZERO);
            self.check_deliveries().doing(|| format!("send to topic {}", self.topic))?;
        }
        while let Err((error, refused)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failed(error)).doing(|| format!("send to topic {}", self.topic));
            }
            record = refused;
            self.producer.poll(FULL_WAIT);
            self.check_deliveries().doing(|| format!("send to topic {}", self.topic))?;
        }
        Ok(())
    }

    /// A leader holds back from readers what is not copied to all brokers that are in step, as for
    /// seconds after one of these has died. What follows it is acknowledged only when it is copied.
    fn settle(&mut self) -> Result<(), Error> {
        let mark = Some(Mark { at: None, topic_partitions: Some(self.partitions) });
        for topic_partition in 0..self.partitions {
            self.send(Outgoing { topic_partition, mark, ..Outgoing::default() })?;
        }
        self.flush()
    }

    fn look(&mut self) -> Result<(), Error> {
        let doing = || format!("ask whether topic {} has grown", self.topic);
        let topic = Some(self.topic.as_str());
        // The answer also tells librdkafka where new topic partitions are led.
        let told = self.producer.client().fetch_metadata(topic, ANSWER_WAIT).map_err(failed);
        let told = told.doing(doing)?;
        let found = told.topics().iter().find(|found| found.name() == self.topic.as_str());
        let parts = found.map_or(&[][..], MetadataTopic::partitions);
        // A new one has no leader for a moment, and would hold messages up.
        if parts.iter().all(|part| part.leader() >= 0) {
            let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
            self.partitions = self.partitions.max(count);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.producer
            .flush(FLUSH_WAIT)
            .map_err(failed)
            .and_then(|()| self.check_deliveries())
            .doing(|| format!("send to topic {}", self.topic))
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }
}
