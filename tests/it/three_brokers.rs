//! What takes three brokers to show: one dies, another leads, and members of a group come and go.

use crate::conformance;
use crate::landing::Landing;
use crate::servers;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::kafka::{Cluster, Outgoing, Producer};
use tidemill::model::name::TopicName;

const PARTITIONS: u32 = 4;

fn send(producer: &mut dyn Producer, ids: std::ops::Range<u32>) {
    for id in ids {
        let payload = format!(r#"{{"id":{id}}}"#);
        let payload = Some(payload.as_bytes());
        let topic_partition = id % PARTITIONS;
        producer.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
        if id % 50 == 0 {
            producer.flush().unwrap();
        }
    }
    producer.flush().unwrap();
}

/// A topic of four topic partitions, each with a replica on every broker.
fn topic(servers: &str) -> (Cluster, TopicName) {
    let cluster = Cluster::Brokers { servers: servers.to_owned(), properties: BTreeMap::new() };
    let topic = conformance::topic_name();
    cluster.ensure_topic(&topic, PARTITIONS, Duration::from_hours(1)).unwrap();
    (cluster, topic)
}

#[test]
fn brokers_that_die_while_rows_land_cost_none_and_double_none() {
    let Some(brokers) = servers::three_brokers() else { return };
    let (cluster, topic) = topic(&brokers.open);
    let landing = Landing::of(&cluster, &topic, &[]);
    let mut running = landing.start();
    let mut producer = cluster.producer(&topic, &Clock::system()).unwrap();
    send(producer.as_mut(), 0..400);
    // Each of two leads some of the topic partitions: their leaders change while rows come.
    for (broker, ids) in [(1, 400..800), (2, 800..1200)] {
        brokers.kill(broker);
        send(producer.as_mut(), ids);
        brokers.start(broker);
    }
    send(producer.as_mut(), 1200..1600);
    running.until_landed(&[400; 4]);
    running.stop();
    let all = (0..4).flat_map(|at| (0..400).map(move |offset| (at, offset)));
    assert_eq!(landing.origins(), all.collect::<Vec<_>>());
}
