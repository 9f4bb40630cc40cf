//! Which brokers there are, and which versions of which requests each of them takes.
//!
//! librdkafka asks every broker for that when it connects, chooses by the answer and tells it
//! nowhere but in its log at level debug, as it does with a topic's id ([`super::probe`]).

use super::probe::answered;
use super::refusal::Refusal;
use super::{Brokers, failed};
use crate::error::{Doing, Error};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// A broker that has not answered after all of them, 10 seconds, counts as one that does not.
const TRIES: usize = 100;
const WAIT: Duration = Duration::from_millis(100);

/// By the request's name, the lowest and the highest version.
pub type Versions = BTreeMap<String, (i16, i16)>;

/// One broker as its cluster names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub address: String,
    /// Empty where it did not answer.
    pub takes: Versions,
}

#[derive(Default)]
struct Heard {
    /// By address.
    takes: Mutex<BTreeMap<String, Versions>>,
    refusal: Refusal,
}

impl ClientContext for Heard {
    fn log(&self, _level: RDKafkaLogLevel, _fac: &str, text: &str) {
        if let Some((address, request, versions)) = versions(text) {
            let mut takes = self.takes.lock().expect("no panic holds it");
            takes.entry(address).or_default().insert(request, versions);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.refusal.heard(&error, reason);
    }
}

impl ConsumerContext for Heard {}

/// All brokers, each asked by itself.
pub fn census(brokers: &Brokers<'_>) -> Result<Vec<Broker>, Error> {
    let fixed = [
        ("debug", "feature"),
        ("log_level", "7"),
        ("allow.auto.create.topics", "false"),
        // All are connected to, not only those that are needed.
        ("enable.sparse.connections", "false"),
    ];
    let mut config = brokers.config(&[], &fixed);
    config.remove("group.id");
    config.set_log_level(RDKafkaLogLevel::Debug);
    let client: BaseConsumer<Heard> =
        config.create_with_context(Heard::default()).map_err(failed)?;
    let metadata =
        answered(&client, &client.context().refusal, |wait| client.fetch_metadata(None, wait))
            .doing(|| format!("ask {} for the brokers", brokers.servers))?;
    let mut all: Vec<_> = metadata
        .brokers()
        .iter()
        .map(|broker| Broker {
            id: broker.id(),
            address: format!("{}:{}", broker.host(), broker.port()),
            takes: Versions::new(),
        })
        .collect();
    all.sort_unstable_by_key(|broker| broker.id);
    for _ in 0..TRIES {
        // The answers' log lines come by the queue.
        let _ = client.poll(WAIT);
        let takes = client.context().takes.lock().expect("no panic holds it");
        for broker in &mut all {
            broker.takes = takes.get(&broker.address).cloned().unwrap_or_default();
        }
        if all.iter().all(|broker| broker.takes.contains_key(LAST)) {
            break;
        }
    }
    Ok(all)
}

/// A request that every broker since 0.11 takes; the lines come in the order of their numbers, and
/// none that is relied on comes after it.
const LAST: &str = "InitProducerId";

/// What one line of librdkafka's log says: a broker's address, a request and its versions.
fn versions(text: &str) -> Option<(String, String, (i16, i16))> {
    let (who, what) = text.split_once(": ")?.1.split_once(": ")?;
    let (address, _) = who.rsplit_once('/')?;
    let (request, rest) = what.trim_start().strip_prefix("ApiKey ")?.split_once(" (")?;
    let (_, versions) = rest.split_once(" Versions ")?;
    let (lowest, highest) = versions.trim().split_once("..")?;
    let versions = (lowest.parse().ok()?, highest.parse().ok()?);
    // With a scheme where the connection has one: `sasl_ssl://host:port`.
    let address = address.rsplit_once("//").map_or(address, |(_, address)| address);
    Some((address.to_owned(), request.to_owned(), versions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_read_with_their_broker_whatever_its_scheme() {
        for who in ["kafka-1:9092/1", "sasl_ssl://kafka-1:9092/bootstrap"] {
            let line = format!("[thrd:{who}]: {who}:   ApiKey Fetch (1) Versions 4..18");
            let (address, request, found) = versions(&line).unwrap();
            let found = (address.as_str(), request.as_str(), found);
            assert_eq!(found, ("kafka-1:9092", "Fetch", (4, 18)));
        }
    }

    #[test]
    fn another_line_says_nothing() {
        for line in ["[thrd:b:1/1]: b:1/1: Broker API support:", "Topic t changed id", ""] {
            assert_eq!(versions(line), None);
        }
    }
}
