//! What may happen to a topic while a stream lands it.

use crate::broker::{self, Sending, producer, send, send_ids};
use crate::conformance::{self, Bed};
use crate::landing::{Landing, TABLE};
use crate::project::wait_until;
use crate::servers;
use arrow::array::AsArray;
use rdkafka::producer::{BaseProducer, Producer};
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::error::ErrorKind;
use tidemill::kafka::{Cluster, Outgoing};
use tidemill::model::job::OnGap;
use tidemill::stream::Progress;

const WAIT: Duration = Duration::from_secs(30);

/// A topic of one topic partition, and its brokers' address; `None` where there is no broker.
fn real() -> Option<(Bed, &'static str)> {
    let mut bed = conformance::brokers()?;
    if let Cluster::Brokers { properties, .. } = &mut bed.cluster {
        // What changes is seen soon, and no killed member is waited for.
        for (name, value) in
            [("topic.metadata.refresh.interval.ms", "300"), ("session.timeout.ms", "2000")]
        {
            properties.insert(name.into(), value.into());
        }
        properties.insert("heartbeat.interval.ms".into(), "500".into());
    }
    let servers = servers::kafka()?;
    bed.cluster.ensure_topic(&bed.topic, 1, WAIT * 100).unwrap();
    Some((bed, servers))
}

fn in_transaction(producer: &BaseProducer, commit: bool, work: impl FnOnce()) {
    producer.begin_transaction().unwrap();
    work();
    if commit {
        producer.commit_transaction(WAIT).unwrap();
    } else {
        producer.abort_transaction(WAIT).unwrap();
    }
}

#[test]
fn keys_and_headers_are_columns_and_tombstones_are_counted() {
    let Some((bed, servers)) = real() else { return };
    let sender = producer(servers, None);
    let headers = [("trace", "old"), ("trace", "t-1")];
    let event = Sending { key: Some("k-1"), payload: Some(r#"{"id":1}"#), headers: &headers };
    send(&sender, &bed.topic, &event);
    send(&sender, &bed.topic, &Sending { key: None, headers: &[], ..event });
    send(&sender, &bed.topic, &Sending { payload: None, ..event });
    let more = ["key = $key: string", "trace = $header.trace: bytes", "at = $offset: int64"];
    let landing = Landing::of(&bed.cluster, &bed.topic, &more);
    let mut running = landing.start();
    running.until_landed(&[3]);
    running.stop();
    let shown: Vec<_> = landing
        .rows(&["key", "trace", "at"])
        .iter()
        .flat_map(|rows| {
            let (keys, traces) =
                (rows.column(0).as_string::<i32>(), rows.column(1).as_binary::<i32>());
            let told = keys.iter().zip(traces.iter());
            let owned = |(key, trace): (Option<&str>, Option<&[u8]>)| {
                (key.map(str::to_owned), trace.map(<[u8]>::to_vec))
            };
            told.map(owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(shown, [(Some("k-1".into()), Some(b"t-1".to_vec())), (None, None)]);
    let tombstones: u64 = landing.records()[&0].iter().map(|record| record.counts.tombstones).sum();
    assert_eq!(tombstones, 1);
}

#[test]
fn keys_are_columns_and_tombstones_are_counted_on_the_embedded_log() {
    let bed = conformance::embedded().unwrap();
    bed.cluster.ensure_topic(&bed.topic, 1, WAIT).unwrap();
    let mut producer = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    let event =
        Outgoing { key: Some(b"k-1"), payload: Some(br#"{"id":1}"#), ..Outgoing::default() };
    producer.send(event).unwrap();
    producer.send(Outgoing { payload: None, ..event }).unwrap();
    producer.flush().unwrap();
    let landing = Landing::of(&bed.cluster, &bed.topic, &["key = $key: string!"]);
    let mut running = landing.start();
    running.until_landed(&[2]);
    running.stop();
    assert_eq!(landing.rows(&["key"])[0].column(0).as_string::<i32>().value(0), "k-1");
    let tombstones: u64 = landing.records()[&0].iter().map(|record| record.counts.tombstones).sum();
    assert_eq!(tombstones, 1);
}

/// The marker that ends a transaction has an offset, and nobody is ever handed it.
#[test]
fn a_marker_at_the_very_end_of_the_topic_is_no_lag() {
    let Some((bed, servers)) = real() else { return };
    let sender = producer(servers, Some(bed.topic.as_str()));
    in_transaction(&sender, true, || send_ids(&sender, &bed.topic, [1]));
    let landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    for _life in 0..2 {
        let mut running = landing.start();
        assert_eq!(running.until_landed(&[2]).lag(), 0);
        wait_until("the group knows", || {
            let told = broker::group_offset(servers, &bed.topic, &landing.group());
            if told == Some(2) { Ok(()) } else { Err(format!("{told:?}")) }
        });
        running.stop();
    }
    assert_eq!(landing.origins(), [(0, 0)]);
}

#[test]
fn an_open_transaction_is_waited_for_and_an_aborted_one_lands_nothing() {
    let Some((bed, servers)) = real() else { return };
    let (first, second) = (format!("{}-1", bed.topic), format!("{}-2", bed.topic));
    let (open, other) = (producer(servers, Some(&first)), producer(servers, Some(&second)));
    let landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    let mut running = landing.start();
    open.begin_transaction().unwrap();
    send_ids(&open, &bed.topic, [1]);
    in_transaction(&other, true, || send_ids(&other, &bed.topic, [2]));
    in_transaction(&other, false, || send_ids(&other, &bed.topic, [3]));
    // Offsets 0, 1 with its marker and 3 with its own; behind the open one nothing is read.
    let seen = running.until("the end is seen", |seen| {
        seen.topic_partitions.get(&0).is_some_and(|its| its.end == 5)
    });
    assert_eq!((seen.lag(), landing.origins()), (5, vec![]));
    open.commit_transaction(WAIT).unwrap();
    running.until_landed(&[6]);
    running.stop();
    assert_eq!(landing.origins(), [(0, 0), (0, 1)]);
}

#[test]
fn offsets_that_compaction_took_are_covered() {
    let Some((mut bed, servers)) = real() else { return };
    bed.topic = format!("{}.compacted", bed.topic).parse().unwrap();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    broker::create_topic(servers, &bed.topic, &settings);
    let sender = producer(servers, None);
    let write = |key: &str, id: i64| {
        let payload = format!(r#"{{"id":{id}}}"#);
        let message = Sending { key: Some(key), payload: Some(&payload), headers: &[] };
        send(&sender, &bed.topic, &message);
    };
    for id in 0..10 {
        write("same", id);
    }
    let left = || {
        // A segment ends with the first message that comes late enough.
        write("other", 99);
        let mut offsets = Vec::new();
        let all = tidemill::model::time::Micros(0);
        bed.cluster.tail(&bed.topic, all, &mut |message| offsets.push(message.offset)).unwrap();
        if offsets.contains(&9) && !offsets.contains(&8) {
            Ok(offsets)
        } else {
            Err(format!("{offsets:?}"))
        }
    };
    let left = wait_until("all but the last are compacted away", left);
    let end = left.last().unwrap() + 1;
    let landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    let mut running = landing.start();
    running.until_landed(&[end]);
    running.stop();
    let landed: Vec<_> = landing.origins().into_iter().map(|(_, offset)| offset).collect();
    assert!(
        landed.first() == Some(&9) && landed.last() == Some(&(end - 1)),
        "{landed:?} of {left:?}"
    );
    let records = &landing.records()[&0];
    assert_eq!((records[0].start, records.last().unwrap().end), (0, end));
    assert!(!records[0].cut, "what compaction took is no row that is missing");
}

#[test]
fn what_retention_took_stops_the_stream_or_is_told_by_the_record() {
    let Some((bed, servers)) = real() else { return };
    let sender = producer(servers, None);
    let mut landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    send_ids(&sender, &bed.topic, 0..3);
    let mut running = landing.start();
    running.until_landed(&[3]);
    running.stop();
    send_ids(&sender, &bed.topic, 3..8);
    broker::forget_before(servers, &bed.topic, 6);
    let error = landing.start().failed();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.to_string().contains("offsets 3 to 6 are gone"), "{error}");
    assert!(error.remedy.unwrap().contains("on_gap"));
    assert_eq!(landing.origins().len(), 3);
    landing.job.on_gap = OnGap::Skip;
    let mut running = landing.start();
    running.until_landed(&[8]);
    running.stop();
    let told: Vec<_> =
        landing.records()[&0].iter().map(|its| (its.start, its.end, its.cut)).collect();
    let gap = told.iter().position(|its| its.2).expect("a record owns up to the gap");
    assert_eq!((told[gap - 1].1, told[gap].0), (3, 6), "{told:?}");
    assert_eq!(told.iter().filter(|its| its.2).count(), 1, "{told:?}");
    assert_eq!(landing.origins(), [0, 1, 2, 6, 7].map(|offset| (0, offset)));
}

/// Deletes and creates the topic under a running stream, and starts another one after it.
fn created_again(bed: &Bed) {
    let landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    let mut running = landing.start();
    let has_record =
        |seen: &Progress| seen.topic_partitions.get(&0).is_some_and(|its| its.seq == 1);
    running.until("the empty topic partition has its record", has_record);
    (bed.delete)(&bed.topic);
    bed.cluster.ensure_topic(&bed.topic, 1, WAIT).unwrap();
    let error = running.failed();
    assert!(error.to_string().contains("deleted or created again"), "{error}");
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.remedy.unwrap().contains("another table"));
    let error = landing.start().failed();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.to_string().contains(TABLE), "{error}");
    assert!(error.remedy.unwrap().contains("another table"));
}

#[test]
fn a_topic_created_again_stops_the_stream_on_a_real_broker() {
    let Some((bed, _)) = real() else { return };
    created_again(&bed);
}

#[test]
fn a_topic_created_again_stops_the_stream_on_the_embedded_log() {
    let bed = conformance::embedded().unwrap();
    bed.cluster.ensure_topic(&bed.topic, 1, WAIT).unwrap();
    created_again(&bed);
}

#[test]
fn topic_partitions_that_are_added_are_read_from_their_beginning() {
    let Some((bed, servers)) = real() else { return };
    let mut landing = Landing::of(&bed.cluster, &bed.topic, &[]);
    landing.job.start = tidemill::model::job::Start::Latest;
    let sender = producer(servers, None);
    send_ids(&sender, &bed.topic, 0..2);
    let mut running = landing.start();
    running.until("reading", |seen| !seen.topic_partitions.is_empty());
    broker::grow(servers, &bed.topic, 3);
    let mut more = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    for topic_partition in [0, 1] {
        let payload = Some(br#"{"id":7}"#.as_slice());
        more.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
    }
    more.flush().unwrap();
    running.until_landed(&[3, 1, 0]);
    // The watermark waits for each member, so an empty one is in the log, too.
    running.until("the empty one has its record", |seen| seen.topic_partitions[&2].seq == 1);
    running.stop();
    assert_eq!(landing.origins(), [(0, 2), (1, 0)]);
    assert_eq!(landing.records().len(), 3, "the members");
}
