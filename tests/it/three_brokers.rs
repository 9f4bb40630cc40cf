//! What takes three brokers to show: one dies, another leads, and members of a group come and go.

use crate::broker;
use crate::conformance;
use crate::landing::Landing;
use crate::project::{Project, Role, kill, machine, wait_until};
use crate::wikimedia::{RAW, await_day, check_day, made_up_day, watch};
use crate::{servers, tables};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::kafka::{Cluster, Message, Outgoing, Producer};
use tidemill::model::name::TopicName;
use tidemill::model::time::Micros;

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
    let _machine = machine(); // Two brokers away at once are one too many.
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

/// A leader shows nobody what a dead broker has not got yet, until that counts as out of step.
#[test]
fn nothing_of_a_dead_producer_appears_once_the_next_has_settled() {
    let Some(brokers) = servers::three_brokers() else { return };
    let _machine = machine();
    let (cluster, topic) = topic(&brokers.open);
    let seen = || {
        let mut seen = BTreeSet::new();
        let mut see = |message: Message<'_>| {
            if message.payload.is_some() {
                seen.insert((message.topic_partition, message.offset));
            }
        };
        cluster.tail(&topic, Micros(0), &mut see).unwrap();
        seen
    };
    let dead = broker::producer(&brokers.open, None);
    broker::send_ids(&dead, &topic, 0..1);
    brokers.kill(2);
    broker::send_and_die(dead, &topic, PARTITIONS);
    let mut next = cluster.producer(&topic, &Clock::system()).unwrap();
    next.settle().unwrap();
    let settled = seen();
    brokers.start(2);
    next.settle().unwrap();
    assert!(settled.len() > 1, "{settled:?}");
    assert_eq!(settled, seen());
}

/// A day that two instances of one stream land together, while `disturb` does what it will.
fn land_by_two(project: &Project, speed: u32, disturb: impl FnOnce(&[i32])) {
    let day = made_up_day();
    let file = day.file.display();
    project.feed_from(&format!("replay = {{ file = \"{file}\", speed = {speed} }}"));
    let job = "jobs/recentchange_land/job.toml";
    project.edit(job, "every = \"5m\"", "every = \"1s\"");
    project.edit(job, "kind = \"stream\"", "kind = \"stream\"\ninstances = 2");
    let lister = watch(project);
    let daemon = project.up();
    wait_until("both write", || {
        let writers = last_writers(project);
        if writers.len() == 2 { Ok(()) } else { Err(format!("{writers:?}")) }
    });
    let shown = project.tidemill(&["streams", "show", "wikimedia.land"]).out;
    assert!(shown.contains("INSTANCE") && shown.contains("wikimedia.land.2"), "{shown}");
    disturb(&project.processes_of(Role::Stream));
    await_day(project, &day);
    daemon.stop();
    check_day(project, &day, lister);
}

/// Who has written the last record of each topic partition.
fn last_writers(project: &Project) -> BTreeSet<String> {
    let records = tables::records(&project.lake(), RAW).into_iter();
    let newest: BTreeMap<u32, _> = records.fold(BTreeMap::new(), |mut newest, record| {
        let known = newest.entry(record.topic_partition).or_insert((0, String::new()));
        *known = (record.seq, record.writer).max(std::mem::take(known));
        newest
    });
    newest.into_values().map(|(_, writer)| writer).collect()
}

/// After it the brokers give a silent member's topic partitions to the others.
const SESSION: Duration = Duration::from_secs(2);

fn on_brokers(servers: &str) -> Project {
    let mut project = Project::shipped();
    project.on_brokers(servers);
    let text = fs::read_to_string(project.path("tidemill.toml")).unwrap();
    let properties = format!(
        "[kafka.properties]\n\"session.timeout.ms\" = {}\n\"heartbeat.interval.ms\" = 500\n",
        SESSION.as_millis()
    );
    project.write("tidemill.toml", &format!("{text}{properties}"));
    project
}

#[test]
fn one_or_both_of_two_instances_may_be_killed() {
    let Some(brokers) = servers::three_brokers() else { return };
    let _machine = machine();
    let project = on_brokers(&brokers.open);
    land_by_two(&project, 2400, |first| {
        let mut pids = first.to_vec();
        for victims in [0..1, 1..2, 0..2] {
            let killed = &pids[victims];
            assert!(killed.iter().all(|pid| kill(*pid, Signal::KILL)));
            pids = wait_until("both run again", || {
                let now = project.processes_of(Role::Stream);
                let again = now.len() == 2 && !killed.iter().any(|pid| now.contains(pid));
                if again { Ok(now) } else { Err(format!("{now:?} after {killed:?}")) }
            });
        }
    });
}

#[test]
fn a_zombie_of_two_instances_loses_and_each_row_lands_once() {
    let Some(brokers) = servers::three_brokers() else { return };
    let _machine = machine();
    let project = on_brokers(&brokers.open);
    land_by_two(&project, 2400, |pids| {
        let clock = Clock::system();
        let stopped = clock.now();
        assert!(kill(pids[0], Signal::STOP));
        brokers.kill(3);
        wait_until("the other has taken all over, and three session time-outs are gone", || {
            let (writers, past) = (last_writers(&project), clock.now().duration_since(stopped));
            let over = writers.len() == 1 && past.unwrap() > 3 * SESSION;
            if over { Ok(()) } else { Err(format!("{writers:?}")) }
        });
        assert!(kill(pids[0], Signal::CONT));
        brokers.start(3);
    });
}

#[test]
fn two_instances_share_the_embedded_log_and_one_may_be_killed() {
    let _machine = machine();
    land_by_two(&Project::shipped(), 7200, |pids| {
        assert!(kill(pids[0], Signal::KILL));
    });
}
