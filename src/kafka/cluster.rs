//! Opens topics where the settings say that they live: the one place that knows each implementation.

use super::broker::{BrokerProducer, BrokerSource, Brokers};
use super::embedded::{EmbeddedSource, Topic, Writer};
use super::{Message, Producer, Source, TopicFacts};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::name::TopicName;
use crate::model::secret::{EnvValue, Secret};
use crate::model::settings::Kafka;
use crate::model::time::Micros;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where topics live, with every secret resolved; never stored, never logged.
#[derive(Clone)]
pub enum Cluster {
    /// Topics as files under `dir`, each at most about `keep_bytes`.
    Embedded { dir: PathBuf, keep_bytes: u64 },
    /// Kafka; `properties` are librdkafka's own.
    Brokers { servers: String, properties: BTreeMap<String, String> },
}

impl Cluster {
    /// What the settings name, each secret replaced by what `resolve` finds for it.
    pub fn of(
        settings: &Kafka,
        resolve: &dyn Fn(&Secret) -> Result<String, Error>,
    ) -> Result<Self, Error> {
        Ok(match settings {
            Kafka::Embedded { dir, keep_bytes } => {
                Self::Embedded { dir: dir.clone(), keep_bytes: *keep_bytes }
            }
            Kafka::Brokers { servers, properties } => {
                let value = |value: &EnvValue| match value {
                    EnvValue::Text(text) => Ok(text.clone()),
                    EnvValue::Secret(secret) => resolve(secret),
                };
                let properties = properties
                    .iter()
                    .map(|(name, text)| Ok((name.clone(), value(text)?)))
                    .collect::<Result<_, Error>>()?;
                Self::Brokers { servers: servers.clone(), properties }
            }
        })
    }

    /// Creates the topic if there is none; an existing one stays as it is, whatever is asked for.
    pub fn ensure_topic(
        &self,
        topic: &TopicName,
        partitions: u32,
        retention: Duration,
    ) -> Result<TopicFacts, Error> {
        match self {
            Self::Embedded { dir, .. } => {
                Ok(Topic::ensure(dir, topic, partitions, retention)?.facts())
            }
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                brokers.ensure_topic(topic, partitions, retention)
            }
        }
    }

    /// Lets an existing topic have so many topic partitions; `Input` where that would be fewer. For
    /// the topic's only producer: keys of others would go elsewhere from now on.
    pub fn grow_topic(&self, topic: &TopicName, partitions: u32) -> Result<TopicFacts, Error> {
        let facts = self.facts(topic)?.ok_or_else(|| {
            Error::new(ErrorKind::Input, format!("there is no topic {topic} that could grow"))
        })?;
        if !grows(topic, facts.partitions, partitions)? {
            return Ok(facts);
        }
        match self {
            Self::Embedded { dir, .. } => {
                Ok(Topic::existing(dir, topic)?.grow(partitions)?.facts())
            }
            Self::Brokers { servers, properties } => {
                Brokers { servers, properties }.grow_topic(topic, &facts, partitions)
            }
        }
    }

    /// The topic as it is now; `None` if there is none.
    pub fn facts(&self, topic: &TopicName) -> Result<Option<TopicFacts>, Error> {
        match self {
            Self::Embedded { dir, .. } => Ok(Topic::open(dir, topic)?.map(|topic| topic.facts())),
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                brokers.facts(topic)
            }
        }
    }

    /// Joins the consumer group `group` of an existing topic.
    pub fn source(
        &self,
        topic: &TopicName,
        group: &str,
        clock: &Clock,
    ) -> Result<Box<dyn Source>, Error> {
        match self {
            Self::Embedded { dir, .. } => {
                let topic = Topic::existing(dir, topic)?;
                Ok(Box::new(EmbeddedSource::open(topic, group, clock.clone())?))
            }
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                Ok(Box::new(BrokerSource::open(&brokers, topic, group)?))
            }
        }
    }

    /// A producer for an existing topic.
    pub fn producer(&self, topic: &TopicName, clock: &Clock) -> Result<Box<dyn Producer>, Error> {
        match self {
            Self::Embedded { dir, keep_bytes } => {
                let topic = Topic::existing(dir, topic)?;
                Ok(Box::new(Writer::open(topic, *keep_bytes, clock.clone())?))
            }
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                Ok(Box::new(BrokerProducer::open(&brokers, topic)?))
            }
        }
    }

    /// Hands over the messages of each topic partition that arrived at or after `since`, up to the
    /// end as it is now, in order within a topic partition. Joins no group.
    pub fn tail(
        &self,
        topic: &TopicName,
        since: Micros,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), Error> {
        match self {
            Self::Embedded { dir, .. } => Topic::existing(dir, topic)?.tail(since, each),
            Self::Brokers { servers, properties } => {
                let brokers = Brokers { servers, properties };
                brokers.tail(topic, since, each)
            }
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { dir, .. } => write!(f, "embedded, {}", dir.display()),
            Self::Brokers { servers, .. } => f.write_str(servers),
        }
    }
}

/// Whether a topic must get more topic partitions to have `wanted`.
fn grows(topic: &TopicName, has: u32, wanted: u32) -> Result<bool, Error> {
    if wanted >= has {
        return Ok(wanted > has);
    }
    let problem = format!("topic {topic} has {has} topic partitions, which can't become {wanted}");
    Err(Error::new(ErrorKind::Input, problem).remedy(format!(
        "topic partitions are never taken away: set `partitions = {has}`, or fill another topic"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_grows_and_never_shrinks() {
        let topic = "orders".parse().unwrap();
        assert!(grows(&topic, 4, 6).unwrap());
        assert!(!grows(&topic, 4, 4).unwrap());
        let refused = grows(&topic, 4, 3).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Input);
        assert!(refused.remedy.unwrap().contains("partitions = 4"));
    }
}
