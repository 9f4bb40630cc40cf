//! What only a real broker does.

use crate::conformance::{Got, brokers, poll_until};
use crate::servers;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::model::name::TopicName;

pub fn delete_topic(servers: &str, topic: &TopicName) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let deleted = admin.delete_topics(&[topic.as_str()], &options);
    futures::executor::block_on(deleted).unwrap()[0].as_ref().unwrap();
}

/// Aborted and committed transactions leave markers at offsets that no message has.
#[test]
fn the_position_goes_over_transaction_markers() {
    let Some(bed) = brokers() else { return };
    bed.cluster.ensure_topic(&bed.topic, 1, Duration::from_hours(1)).unwrap();
    let wait = Duration::from_secs(30);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers::kafka().unwrap())
        .set("transactional.id", bed.topic.as_str())
        .create()
        .unwrap();
    producer.init_transactions(wait).unwrap();
    for (text, commit) in [("kept", true), ("aborted", false)] {
        producer.begin_transaction().unwrap();
        let record = BaseRecord::<str, str>::to(bed.topic.as_str()).payload(text);
        producer.send(record).unwrap();
        producer.flush(wait).unwrap();
        if commit {
            producer.commit_transaction(wait).unwrap();
        } else {
            producer.abort_transaction(wait).unwrap();
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
    assert_eq!(got.iter().map(Got::text).collect::<Vec<_>>(), ["kept"]);
}
