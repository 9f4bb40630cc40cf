//! Members of one consumer group that come and go, and what the group says of them.

use crate::broker::{self, producer, send_ids};
use crate::conformance::{self, Bed};
use crate::landing::{Landing, Running};
use crate::project::wait_until;
use crate::servers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::producer::Producer as _;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::kafka::{Cluster, Outgoing, Producer};

const WAIT: Duration = Duration::from_secs(30);
const TOPIC_PARTITIONS: u32 = 6;
/// Each is a change of the group's members, most of them before the last one is through.
const ROUNDS: u32 = 40;
const MEMBERS_MAX: usize = 4;
const EVENTS_A_ROUND: u32 = 60;

/// Brokers that take a member for dead soon.
fn real(topic_partitions: u32) -> Option<Bed> {
    let mut bed = conformance::brokers()?;
    if let Cluster::Brokers { properties, .. } = &mut bed.cluster {
        for (name, value) in [("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "500")] {
            properties.insert(name.into(), value.into());
        }
    }
    bed.cluster.ensure_topic(&bed.topic, topic_partitions, WAIT * 100).unwrap();
    Some(bed)
}

fn send(producer: &mut dyn Producer, topic_partition: u32, id: u32) {
    let payload = format!(r#"{{"id":{id}}}"#);
    let payload = Some(payload.as_bytes());
    producer.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
}

/// Members join, leave in order and vanish, one each round, while rows flow.
fn storm(bed: &Bed) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    let mut feed = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    let mut members: Vec<Running<'_>> = Vec::new();
    let mut ends = [0_i64; TOPIC_PARTITIONS as usize];
    let (mut joined, mut left, mut vanished) = (0, 0, 0);
    for round in 0..ROUNDS {
        for number in 0..EVENTS_A_ROUND {
            let topic_partition = random.random_range(0..TOPIC_PARTITIONS);
            send(feed.as_mut(), topic_partition, round * EVENTS_A_ROUND + number);
            ends[topic_partition as usize] += 1;
        }
        feed.flush().unwrap();
        let joins = members.len() < MEMBERS_MAX && random.random_bool(0.6);
        if members.is_empty() || joins {
            members.push(landing.start());
            joined += 1;
            continue;
        }
        let member = members.swap_remove(random.random_range(0..members.len()));
        if random.random_bool(0.5) {
            member.stop();
            left += 1;
        } else {
            drop(member);
            vanished += 1;
        }
    }
    println!("{joined} joined, {left} left, {vanished} vanished, {} stay", members.len());
    members.into_iter().for_each(Running::stop);
    let mut last = landing.start();
    last.until_landed(&ends);
    last.stop();
    let all = (0..).zip(ends).flat_map(|(at, end)| (0..end).map(move |offset| (at, offset)));
    assert_eq!(landing.origins(), all.collect::<Vec<_>>());
    for (at, log) in landing.records() {
        assert_eq!((log[0].seq, log[0].start), (1, 0), "topic partition {at}");
        for pair in log.windows(2) {
            assert_eq!((pair[1].seq, pair[1].start), (pair[0].seq + 1, pair[0].end));
        }
    }
}

#[test]
fn a_storm_of_members_lands_each_offset_once_on_a_real_broker() {
    let Some(bed) = real(TOPIC_PARTITIONS) else { return };
    storm(&bed);
}

#[test]
fn a_storm_of_members_lands_each_offset_once_on_the_embedded_log() {
    let bed = conformance::embedded().unwrap();
    bed.cluster.ensure_topic(&bed.topic, TOPIC_PARTITIONS, WAIT).unwrap();
    storm(&bed);
}

#[test]
fn offsets_that_somebody_sets_in_the_group_change_nothing() {
    let (Some(bed), Some(servers)) = (real(1), servers::kafka()) else { return };
    let (sender, landing) = (producer(servers, None), Landing::of(&bed.cluster, &bed.topic, &[]));
    send_ids(&sender, &bed.topic, 0..3);
    let mut running = landing.start();
    running.until_landed(&[3]);
    running.stop();
    for set in [0, 5] {
        send_ids(&sender, &bed.topic, [7]);
        // Refused while the member that has left is still known.
        wait_until("the group takes the offset", || {
            broker::set_group_offset(servers, &bed.topic, &landing.group(), set)
        });
        let mut running = landing.start();
        let end = i64::try_from(landing.origins().len()).unwrap() + 1;
        running.until_landed(&[end]);
        running.stop();
    }
    assert_eq!(landing.origins(), (0..5).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[test]
fn lag_is_told_for_each_topic_partition() {
    let (Some(bed), Some(servers)) = (real(2), servers::kafka()) else { return };
    let open = producer(servers, Some(bed.topic.as_str()));
    open.begin_transaction().unwrap();
    send_ids(&open, &bed.topic, 0..2);
    let mut other = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    (0..3).for_each(|id| send(other.as_mut(), 1, id));
    other.flush().unwrap();
    let landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    let mut running = landing.start();
    let seen = running.until("one waits for its transaction, the other has landed", |seen| {
        let parts = &seen.topic_partitions;
        parts.len() == 2 && parts[&0].end == 2 && parts[&1].committed == 3
    });
    let lags = seen.topic_partitions.values().map(|its| its.end - its.committed);
    assert_eq!(lags.collect::<Vec<_>>(), [2, 0]);
    open.commit_transaction(WAIT).unwrap();
    running.until_landed(&[3, 3]);
    running.stop();
}
