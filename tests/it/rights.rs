//! What `doctor` finds on real brokers: their versions, the rights of an account, a topic's copies.

use crate::broker::{self, Allowed};
use crate::conformance;
use crate::project::{machine, wait_until};
use crate::servers::{self, Brokers};
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::kafka::Cluster;
use tidemill::model::finding::{Finding, Health};
use tidemill::model::name::TopicName;

const HOUR: Duration = Duration::from_hours(1);
/// The account that the brokers know and that may do nothing.
const STRANGER: (&str, &str) = ("stranger", "neap-tide");

fn open(servers: &str) -> Cluster {
    Cluster::Brokers { servers: servers.to_owned(), properties: BTreeMap::new() }
}

fn stranger(brokers: &Brokers) -> Cluster {
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", STRANGER.0),
        ("sasl.password", STRANGER.1),
        ("ssl.ca.location", &brokers.ca),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Cluster::Brokers { servers: brokers.secure.clone(), properties: BTreeMap::from(properties) }
}

fn examine(cluster: &Cluster, topic: &TopicName) -> Vec<Finding> {
    let group = format!("tidemill.{topic}.doctor");
    cluster.examine(topic, 1, HOUR, &group, &Clock::system())
}

/// The finding that says so.
#[track_caller]
fn of<'a>(found: &'a [Finding], what: &str) -> &'a Finding {
    found.iter().find(|finding| finding.what.contains(what)).unwrap_or_else(|| panic!("{found:#?}"))
}

#[test]
fn each_of_three_brokers_tells_what_it_takes() {
    let Some(brokers) = servers::three_brokers() else { return };
    let _machine = machine(); // Nobody kills one meanwhile.
    let found = open(&brokers.open).examine_brokers().unwrap();
    assert_eq!(found.len(), 3, "{found:#?}");
    for finding in &found {
        assert_eq!(finding.seen.as_deref(), Some("Kafka 4.1 or newer"), "{finding:?}");
        assert_eq!(finding.health, Health::Good);
    }
}

#[test]
fn a_broker_is_asked_over_sasl_ssl_too() {
    let Some(brokers) = servers::broker() else { return };
    let found = stranger(brokers).examine_brokers().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].seen.as_deref(), Some("Kafka 4.1 or newer"), "{found:?}");
}

#[test]
fn a_topic_tells_how_many_copies_are_in_step() {
    let Some(brokers) = servers::three_brokers() else { return };
    let _machine = machine();
    let (cluster, topic) = (open(&brokers.open), conformance::topic_name());
    cluster.ensure_topic(&topic, 1, HOUR).unwrap();
    let copies = |health: Health, seen: &str| {
        let found = examine(&cluster, &topic);
        let finding = of(&found, "outlives a broker");
        let told = finding.seen.clone().unwrap_or_default();
        if (finding.health, told.as_str()) == (health, seen) { Ok(()) } else { Err(told) }
    };
    wait_until("all are in step", || copies(Health::Good, "3 copies in sync, writes need 2"));
    brokers.kill(3);
    let seen = "topic partition 0 has 2 of 3 copies in sync";
    wait_until("one is missed", || copies(Health::Warning, seen));
    brokers.start(3);
}

#[test]
fn one_copy_and_a_short_memory_are_warnings() {
    let Some(servers) = servers::kafka() else { return };
    let (cluster, topic) = (open(servers), conformance::topic_name());
    broker::create_topic(servers, &topic, &[("retention.ms", "60000")]);
    let found = examine(&cluster, &topic);
    let copies = of(&found, "outlives a broker");
    assert_eq!((copies.health, copies.seen.as_deref()), (Health::Warning, Some("it has one copy")));
    let kept = of(&found, "keeps its messages");
    assert_eq!(kept.seen.as_deref(), Some("retention.ms is 1 min"));
    assert!(kept.remedy.as_ref().unwrap().contains("retention.ms = 3600000"), "{kept:?}");
    assert_eq!(of(&found, "can be read").health, Health::Good);
}

#[test]
fn each_right_that_is_missing_is_told_by_itself() {
    let Some(brokers) = servers::broker() else { return };
    let (cluster, topic) = (stranger(brokers), conformance::topic_name());
    let examine = || examine(&cluster, &topic);
    let allow = |what: &Allowed<'_>| broker::allow(&brokers.open, STRANGER.0, what);
    let remedy = |finding: &Finding| finding.remedy.clone().unwrap_or_default();

    let found = examine();
    assert_eq!(of(&found, "exists").health, Health::Bad);
    assert!(remedy(&found[0]).contains("Describe and Read on the topic"), "{found:#?}");

    allow(&Allowed::Describe(topic.as_str()));
    let found = examine();
    assert_eq!(found[0].health, Health::Bad);
    assert!(remedy(&found[0]).contains("grant this account Create"), "{found:#?}");

    broker::create_topic(&brokers.open, &topic, &[]);
    let reads = || {
        let found = examine();
        let finding = of(&found, "can be read");
        (finding.health, remedy(finding), of(&found, "keeps its messages").clone())
    };
    let (health, help, kept) = reads();
    assert!(health == Health::Bad && help.contains("Read on the groups"), "{help}");
    assert_eq!(kept.health, Health::Warning, "nothing rests on it: {kept:?}");
    assert!(remedy(&kept).contains("DescribeConfigs"), "{kept:?}");

    allow(&Allowed::ReadGroups(&format!("tidemill.{topic}.")));
    let (health, help, _) = reads();
    assert!(health == Health::Bad && help.contains("Read on the topic"), "{help}");

    allow(&Allowed::Read(topic.as_str()));
    assert_eq!(reads().0, Health::Good);
}
