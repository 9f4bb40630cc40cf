//! Kafka's idempotent producer as a [`Producer`].

use super::probe::Probe;
use super::refusal::Refusal;
use super::{Brokers, failed, no_topic, number};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::MARK_HEADER;
use crate::kafka::Outgoing;
use crate::kafka::Producer;
use crate::model::name::TopicName;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::message::Header;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::BaseProducer;
use rdkafka::producer::BaseRecord;
use rdkafka::producer::Producer as _;
use rdkafka::producer::ProducerContext;
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
        failure.map_or(Ok(()), |failure| Err(context.refusal.explains(failed(failure))))
    }
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
        if let Some(mark) = message.mark {
            let value = mark.0.to_string();
            record.headers = Some(
                OwnedHeaders::new_with_capacity(1)
                    .insert(Header { key: MARK_HEADER, value: Some(&value) }),
            );
        }
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
