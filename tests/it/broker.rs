//! What only a real broker does, and the hands to make it do so.

use crate::conformance::{Got, brokers, poll_until};
use crate::servers;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::model::name::TopicName;

const WAIT: Duration = Duration::from_secs(30);
const DYING: Duration = Duration::from_secs(1);

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

fn admin(servers: &str) -> (AdminClient<DefaultClientContext>, AdminOptions) {
    let options = AdminOptions::new().operation_timeout(Some(WAIT));
    (config(servers).create().unwrap(), options)
}

pub fn delete_topic(servers: &str, topic: &TopicName) {
    let (admin, options) = admin(servers);
    let deleted = admin.delete_topics(&[topic.as_str()], &options);
    futures::executor::block_on(deleted).unwrap()[0].as_ref().unwrap();
}

/// A topic of one topic partition, with settings of its own.
pub fn create_topic(servers: &str, topic: &TopicName, settings: &[(&str, &str)]) {
    let (admin, options) = admin(servers);
    let mut new = NewTopic::new(topic.as_str(), 1, TopicReplication::Fixed(-1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let created = admin.create_topics([&new], &options);
    futures::executor::block_on(created).unwrap()[0].as_ref().unwrap();
}

/// Lets the topic have `count` topic partitions from now on.
pub fn grow(servers: &str, topic: &TopicName, count: usize) {
    let (admin, options) = admin(servers);
    let more = NewPartitions::new(topic.as_str(), count);
    let grown = admin.create_partitions([&more], &options);
    futures::executor::block_on(grown).unwrap()[0].as_ref().unwrap();
}

/// Does what retention does: all before `offset` is gone from topic partition 0.
pub fn forget_before(servers: &str, topic: &TopicName, offset: i64) {
    let (admin, options) = admin(servers);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic.as_str(), 0, Offset::Offset(offset)).unwrap();
    let deleted = futures::executor::block_on(admin.delete_records(&list, &options)).unwrap();
    assert_eq!(deleted.elements()[0].offset(), Offset::Offset(offset));
}

/// How far a group says it has come in topic partition 0, as Kafka's own tools see it.
pub fn group_offset(servers: &str, topic: &TopicName, group: &str) -> Option<i64> {
    let consumer: BaseConsumer = config(servers).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic.as_str(), 0);
    let found = consumer.committed_offsets(list, WAIT).unwrap();
    match found.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Sets what [`group_offset`] tells; refused while the group has members.
pub fn set_group_offset(
    servers: &str,
    topic: &TopicName,
    group: &str,
    offset: i64,
) -> Result<(), String> {
    let consumer: BaseConsumer = config(servers).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic.as_str(), 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).map_err(|err| err.to_string())
}

/// What an ACL gives.
pub enum Allowed<'a> {
    Describe(&'a str),
    Read(&'a str),
    /// All groups whose names begin so.
    ReadGroups(&'a str),
}

/// Gives `user` a right. librdkafka's Rust face has no call for it, so this is `CreateAcls` version
/// 1 by hand.
pub fn allow(server: &str, user: &str, what: &Allowed<'_>) {
    // Kinds and operations by Kafka's own numbers: topic 2, group 3; literal 3, prefixed 4; read 3,
    // describe 8.
    let (kind, name, pattern, operation) = match what {
        Allowed::Describe(topic) => (2, topic, 3, 8),
        Allowed::Read(topic) => (2, topic, 3, 3),
        Allowed::ReadGroups(prefix) => (3, prefix, 4, 3),
    };
    let text =
        |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let principal = format!("User:{user}");
    let allow = 3;
    let request = [
        // CreateAcls, version 1, correlation 1, no client's name; one ACL.
        vec![0, 30, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1],
        vec![kind],
        text(name),
        vec![pattern],
        text(&principal),
        text("*"),
        vec![operation, allow],
    ]
    .concat();
    let mut connection = TcpStream::connect(server).unwrap();
    connection.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    connection.write_all(&request).unwrap();
    // Length, correlation, throttling, one result: its error first.
    let mut answer = [0; 18];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(answer[16..], [0, 0], "an ACL for {principal} is refused");
}

/// A message to topic partition 0 with all that Kafka lets it have.
pub struct Sending<'a> {
    pub key: Option<&'a str>,
    pub payload: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
}

pub fn producer(servers: &str, transactions: Option<&str>) -> BaseProducer {
    let mut config = config(servers);
    if let Some(id) = transactions {
        config.set("transactional.id", id);
    }
    let producer: BaseProducer = config.create().unwrap();
    if transactions.is_some() {
        producer.init_transactions(WAIT).unwrap();
    }
    producer
}

pub fn send(producer: &BaseProducer, topic: &TopicName, message: &Sending<'_>) {
    let mut record = BaseRecord::<str, str>::to(topic.as_str()).partition(0);
    (record.key, record.payload) = (message.key, message.payload);
    let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    });
    record.headers = Some(headers);
    producer.send(record).unwrap();
    producer.flush(WAIT).unwrap();
}

/// Sends events of these ids.
pub fn send_ids(producer: &BaseProducer, topic: &TopicName, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        let payload = format!(r#"{{"id":{id}}}"#);
        send(producer, topic, &Sending { key: None, payload: Some(&payload), headers: &[] });
    }
}

/// Sends a message to each topic partition, and dies without having heard of all of them.
pub fn send_and_die(producer: BaseProducer, topic: &TopicName, count: u32) {
    for at in 0..i32::try_from(count).unwrap() {
        let record = BaseRecord::<str, str>::to(topic.as_str()).partition(at).payload("{}");
        producer.send(record).unwrap();
    }
    drop(producer.flush(DYING)); // They are on their way.
    drop(producer);
}

/// Aborted and committed transactions leave markers at offsets that no message has.
#[test]
fn the_position_goes_over_transaction_markers() {
    let Some(bed) = brokers() else { return };
    bed.cluster.ensure_topic(&bed.topic, 1, Duration::from_hours(1)).unwrap();
    let producer = producer(servers::kafka().unwrap(), Some(bed.topic.as_str()));
    for (id, commit) in [(1, true), (2, false)] {
        producer.begin_transaction().unwrap();
        send_ids(&producer, &bed.topic, [id]);
        if commit {
            producer.commit_transaction(WAIT).unwrap();
        } else {
            producer.abort_transaction(WAIT).unwrap();
        }
    }
    let mut source = bed.cluster.source(&bed.topic, "tidemill.test", &Clock::system()).unwrap();
    let mut got = Vec::new();
    poll_until(source.as_mut(), 0, &mut got, |got, _| !got.is_empty()).unwrap();
    let mut position = 0;
    while position < 4 {
        assert_eq!(source.poll(Duration::from_millis(50), 10, &mut |_| ()).unwrap(), []);
        position = source.position(0).unwrap();
    }
    assert_eq!((position, source.offsets(0).unwrap()), (4, (0, 4)));
    assert_eq!(got.iter().map(Got::text).collect::<Vec<_>>(), [r#"{"id":1}"#]);
}
