//! What every implementation of the topic seam keeps; the real broker and the embedded log both run
//! all of it.

use crate::project::{is, wait_until};
use crate::servers;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::error::{Error, ErrorKind};
use tidemill::kafka::{Change, Cluster, Mark, Message, Outgoing, Source};
use tidemill::model::name::TopicName;
use tidemill::model::time::Micros;

/// Far longer than anything here takes; a takeover from a silent Kafka member needs 6 s.
const PATIENCE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Somewhere to keep topics, and one topic name that is nobody else's.
pub struct Bed {
    pub cluster: Cluster,
    pub topic: TopicName,
    pub delete: Box<dyn Fn(&TopicName)>,
    _folder: tempfile::TempDir,
}

pub fn topic_name() -> TopicName {
    format!("t-{}", uuid::Uuid::new_v4().simple()).parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as the brokers, which may be missing")]
pub fn embedded() -> Option<Bed> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let cluster = Cluster::Embedded { dir: dir.clone(), keep_bytes: 1 << 30 };
    let delete = move |topic: &TopicName| {
        std::fs::remove_dir_all(dir.join(topic.as_str())).unwrap();
    };
    Some(Bed { cluster, topic: topic_name(), delete: Box::new(delete), _folder: folder })
}

pub fn brokers() -> Option<Bed> {
    let servers = servers::kafka()?;
    // What is added is seen soon.
    let soon = ("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned());
    let properties = BTreeMap::from([soon]);
    let cluster = Cluster::Brokers { servers: servers.to_owned(), properties };
    let delete = move |topic: &TopicName| crate::broker::delete_topic(servers, topic);
    let folder = tempfile::tempdir().unwrap();
    Some(Bed { cluster, topic: topic_name(), delete: Box::new(delete), _folder: folder })
}

impl Bed {
    fn create(&self, partitions: u32) {
        self.cluster.ensure_topic(&self.topic, partitions, DAY).unwrap();
    }

    fn source(&self) -> Box<dyn Source> {
        self.cluster.source(&self.topic, "tidemill.test", &Clock::system()).unwrap()
    }

    /// Sends `payloads` to topic partition 0 and waits until they are durable.
    fn send(&self, payloads: impl IntoIterator<Item = String>) {
        let mut producer = self.cluster.producer(&self.topic, &Clock::system()).unwrap();
        for payload in payloads {
            let payload = Some(payload.as_bytes());
            producer.send(Outgoing { payload, ..Outgoing::default() }).unwrap();
        }
        producer.flush().unwrap();
    }

    fn tail(&self, since: Micros) -> Vec<Got> {
        let mut all = Vec::new();
        self.cluster.tail(&self.topic, since, &mut |message| all.push(Got::of(&message))).unwrap();
        all
    }
}

/// A message that outlives the poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub topic_partition: u32,
    pub offset: i64,
    pub arrived: Option<Micros>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub mark: Option<Mark>,
}

impl Got {
    pub fn of(message: &Message<'_>) -> Self {
        Self {
            topic_partition: message.topic_partition,
            offset: message.offset,
            arrived: message.arrived,
            key: message.key.map(<[u8]>::to_vec),
            payload: message.payload.map(<[u8]>::to_vec),
            mark: message.mark,
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone().unwrap()).unwrap()
    }
}

/// Polls, and starts whatever is assigned at `from`, until `done`.
pub fn poll_until(
    source: &mut dyn Source,
    from: i64,
    got: &mut Vec<Got>,
    mut done: impl FnMut(&[Got], &[Change]) -> bool,
) -> Result<(), Error> {
    let clock = Clock::system();
    let deadline = clock.now() + PATIENCE;
    let mut changes = Vec::new();
    while !done(got, &changes) {
        assert!(clock.now() < deadline, "after {} messages and {changes:?}", got.len());
        let wait = Duration::from_millis(50);
        let news = source.poll(wait, 1_000, &mut |message| got.push(Got::of(&message)))?;
        for change in &news {
            if let Change::Assigned(partitions) = change {
                partitions.iter().try_for_each(|partition| source.start(*partition, from))?;
            }
        }
        changes.extend(news);
    }
    Ok(())
}

fn read(source: &mut dyn Source, from: i64, count: usize) -> Vec<Got> {
    let mut got = Vec::new();
    poll_until(source, from, &mut got, |got, _| got.len() >= count).unwrap();
    got
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn shown(got: &[Got]) -> Vec<String> {
    got.iter().map(Got::text).collect()
}

pub fn each_message_comes_once_and_in_order(bed: &Bed) {
    bed.create(4);
    let mut producer = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    assert_eq!(producer.partitions(), 4);
    for number in 0..20_000_u32 {
        let payload = number.to_string();
        producer
            .send(Outgoing {
                topic_partition: number % 4,
                payload: Some(payload.as_bytes()),
                ..Outgoing::default()
            })
            .unwrap();
        if number % 7_000 == 0 {
            producer.flush().unwrap();
        }
    }
    producer.flush().unwrap();
    let mut source = bed.source();
    let got = read(source.as_mut(), 0, 20_000);
    for topic_partition in 0..4 {
        let of = |got: &&Got| got.topic_partition == topic_partition;
        let offsets: Vec<i64> = got.iter().filter(of).map(|got| got.offset).collect();
        assert_eq!(offsets, (0..5_000).collect::<Vec<_>>());
        let expected: Vec<String> =
            (0..5_000).map(|number| (number * 4 + topic_partition).to_string()).collect();
        assert_eq!(got.iter().filter(of).map(Got::text).collect::<Vec<_>>(), expected);
        assert_eq!(source.position(topic_partition).unwrap(), 5_000);
        assert_eq!(source.offsets(topic_partition).unwrap(), (0, 5_000));
    }
}

pub fn reading_begins_and_begins_again_where_it_is_told(bed: &Bed) {
    bed.create(1);
    bed.send(texts(0..50));
    let mut source = bed.source();
    assert_eq!(shown(&read(source.as_mut(), 20, 30)), texts(20..50));
    source.start(0, 45).unwrap();
    assert_eq!(shown(&read(source.as_mut(), 0, 5)), texts(45..50));
}

pub fn an_offset_out_of_range_is_an_error_and_no_skip(bed: &Bed) {
    bed.create(1);
    bed.send(texts(0..3));
    let mut got = Vec::new();
    let err = poll_until(bed.source().as_mut(), 7, &mut got, |_, _| false).unwrap_err();
    assert_eq!((err.kind, got), (ErrorKind::Data, vec![]), "{err}");
}

pub fn keys_marks_tombstones_and_empty_payloads_are_told_apart(bed: &Bed) {
    bed.create(1);
    let mut producer = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    let told = |at, count| Some(Mark { at, topic_partitions: Some(count) });
    let messages = [
        Outgoing { key: Some(b"k"), payload: Some(b"v"), ..Outgoing::default() },
        Outgoing { key: Some(b"k"), ..Outgoing::default() },
        Outgoing { mark: Some(Micros(-5).into()), ..Outgoing::default() },
        Outgoing { mark: told(None, 6), ..Outgoing::default() },
        Outgoing { mark: told(Some(Micros(7)), 6), ..Outgoing::default() },
        Outgoing { payload: Some(b""), ..Outgoing::default() },
    ];
    for message in messages {
        producer.send(message).unwrap();
    }
    producer.flush().unwrap();
    let got = read(bed.source().as_mut(), 0, messages.len());
    for (got, sent) in got.iter().zip(messages) {
        assert_eq!((got.key.as_deref(), got.payload.as_deref()), (sent.key, sent.payload));
        assert_eq!(got.mark, sent.mark);
    }
}

pub fn a_topic_stays_as_it_was_created(bed: &Bed) {
    assert_eq!(bed.cluster.facts(&bed.topic).unwrap(), None);
    let first = bed.cluster.ensure_topic(&bed.topic, 2, DAY).unwrap();
    assert_eq!(first.partitions, 2);
    assert!(first.id.len() == 32 && first.id.bytes().all(|c| c.is_ascii_hexdigit()), "{first:?}");
    assert_eq!(bed.cluster.ensure_topic(&bed.topic, 5, DAY * 2).unwrap(), first);
    assert_eq!(bed.cluster.facts(&bed.topic).unwrap(), Some(first.clone()));
    assert_eq!(bed.source().facts().unwrap(), first);
}

pub fn a_topic_grows_under_its_producer_and_its_readers_and_never_shrinks(bed: &Bed) {
    bed.create(1);
    let mut producer = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    bed.send(["before".to_owned()]);
    let mut source = bed.source();
    let mut got = Vec::new();
    poll_until(source.as_mut(), 0, &mut got, |got, _| got.len() == 1).unwrap();
    let grown = bed.cluster.grow_topic(&bed.topic, 3).unwrap();
    assert_eq!(grown.partitions, 3);
    assert_eq!(bed.cluster.facts(&bed.topic).unwrap(), Some(grown.clone()));
    assert_eq!(bed.cluster.grow_topic(&bed.topic, 3).unwrap(), grown, "it is so already");
    let refused = bed.cluster.grow_topic(&bed.topic, 2).unwrap_err();
    assert!(refused.kind == ErrorKind::Input && refused.remedy.is_some(), "{refused}");
    wait_until("the producer knows", || {
        producer.look().unwrap();
        is(&producer.partitions(), &3)
    });
    for (topic_partition, text) in [(0, "old"), (1, "new"), (2, "new")] {
        let payload = Some(text.as_bytes());
        producer.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
    }
    producer.flush().unwrap();
    poll_until(source.as_mut(), 0, &mut got, |got, _| got.len() >= 4).unwrap();
    let mut shown: Vec<_> =
        got.iter().map(|got| (got.topic_partition, got.offset, got.text())).collect();
    shown.sort_unstable();
    let owned = |(at, offset, text): (u32, i64, &str)| (at, offset, text.to_owned());
    let expected = [(0, 0, "before"), (0, 1, "old"), (1, 0, "new"), (2, 0, "new")].map(owned);
    assert_eq!(shown, expected);
    assert_eq!(source.facts().unwrap(), grown);
    assert_eq!(bed.tail(Micros(0)).len(), 4);
}

pub fn without_a_topic_nothing_is_opened(bed: &Bed) {
    let clock = Clock::system();
    let source = bed.cluster.source(&bed.topic, "tidemill.test", &clock).err().unwrap();
    let producer = bed.cluster.producer(&bed.topic, &clock).err().unwrap();
    assert_eq!((source.kind, producer.kind), (ErrorKind::Input, ErrorKind::Input));
}

pub fn the_offset_at_a_time_is_the_first_that_arrived_then_or_later(bed: &Bed) {
    bed.create(1);
    for text in texts(0..3) {
        bed.send([text]);
        std::thread::sleep(Duration::from_millis(3)); // Kafka keeps milliseconds.
    }
    let mut source = bed.source();
    let got = read(source.as_mut(), 0, 3);
    for message in &got {
        let at = message.arrived.unwrap();
        assert_eq!(source.offset_at(0, at).unwrap(), message.offset);
        assert_eq!(source.offset_at(0, Micros(at.0 + 1)).unwrap(), message.offset + 1);
    }
    assert_eq!(source.offset_at(0, Micros(0)).unwrap(), 0);
}

pub fn a_new_producer_goes_on_where_the_last_one_ended(bed: &Bed) {
    bed.create(1);
    bed.send(texts(0..10));
    bed.send(texts(10..20));
    let got = read(bed.source().as_mut(), 0, 20);
    assert_eq!(shown(&got), texts(0..20));
    assert_eq!(got.last().unwrap().offset, 19);
}

pub fn the_tail_is_what_arrived_since(bed: &Bed) {
    bed.create(2);
    assert_eq!(bed.tail(Micros(0)), []);
    bed.send(texts(0..10));
    std::thread::sleep(Duration::from_millis(3));
    bed.send(texts(10..20));
    let all = bed.tail(Micros(0));
    assert_eq!(shown(&all), texts(0..20));
    assert_eq!(bed.tail(all[10].arrived.unwrap()), all[10..]);
    assert_eq!(bed.tail(Micros(all[19].arrived.unwrap().0 + 1_000)), []);
}

pub fn two_members_share_a_topic_and_the_last_takes_all(bed: &Bed) {
    bed.create(4);
    bed.send(texts(0..10));
    let mut first = bed.source();
    assert_eq!(read(first.as_mut(), 0, 10).len(), 10);
    let mut second = bed.source();
    let mut revoked = Vec::new();
    let mut taken = Vec::new();
    let clock = Clock::system();
    let deadline = clock.now() + PATIENCE;
    while taken.len() < 2 {
        assert!(clock.now() < deadline, "{revoked:?} {taken:?}");
        for change in first.poll(Duration::from_millis(20), 100, &mut |_| ()).unwrap() {
            match change {
                Change::Revoked(partitions) => {
                    assert_eq!(taken, [0; 0], "given away before it was released");
                    first.release(&partitions).unwrap();
                    revoked.extend(partitions);
                }
                other => panic!("{other:?}"),
            }
        }
        for change in second.poll(Duration::from_millis(20), 100, &mut |_| ()).unwrap() {
            match change {
                Change::Assigned(partitions) => {
                    for partition in &partitions {
                        second.start(*partition, 0).unwrap();
                    }
                    taken.extend(partitions);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    revoked.sort_unstable();
    taken.sort_unstable();
    assert_eq!(revoked, taken);
    first.commit_advisory(&[(0, 10)]).unwrap();
    drop(first);
    let all = |changes: &[Change]| -> usize {
        changes
            .iter()
            .map(|change| match change {
                Change::Assigned(partitions) => partitions.len(),
                Change::Revoked(_) | Change::Lost(_) => 0,
            })
            .sum()
    };
    poll_until(second.as_mut(), 0, &mut Vec::new(), |_, changes| all(changes) == 2).unwrap();
}

pub fn what_was_given_away_is_read_when_it_comes_back(bed: &Bed) {
    bed.create(2);
    let mut first = bed.source();
    let assigned = |changes: &[Change], count: usize| {
        let owned = |change: &Change| match change {
            Change::Assigned(partitions) => partitions.len(),
            Change::Revoked(_) | Change::Lost(_) => 0,
        };
        changes.iter().map(owned).sum::<usize>() == count
    };
    poll_until(first.as_mut(), 0, &mut Vec::new(), |_, news| assigned(news, 2)).unwrap();
    let mut second = bed.source();
    let (mut given, mut taken) = (Vec::new(), Vec::new());
    while taken.is_empty() {
        for change in first.poll(Duration::from_millis(20), 100, &mut |_| ()).unwrap() {
            if let Change::Revoked(partitions) = change {
                first.release(&partitions).unwrap();
                given = partitions;
            }
        }
        for change in second.poll(Duration::from_millis(20), 100, &mut |_| ()).unwrap() {
            if let Change::Assigned(partitions) = change {
                taken = partitions; // Never started: it leaves before it has found its offsets.
            }
        }
    }
    assert_eq!(given, taken);
    drop(second);
    let mut producer = bed.cluster.producer(&bed.topic, &Clock::system()).unwrap();
    for topic_partition in 0..2 {
        let payload = Some(b"v".as_slice());
        producer.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
    }
    producer.flush().unwrap();
    assert_eq!(read(first.as_mut(), 0, 2).len(), 2);
}

pub fn a_topic_created_again_is_told_and_not_read(bed: &Bed) {
    bed.create(1);
    bed.send(texts(0..5));
    let old = bed.cluster.facts(&bed.topic).unwrap().unwrap();
    let mut source = bed.source();
    let mut got = read(source.as_mut(), 0, 5);
    (bed.delete)(&bed.topic);
    bed.create(1);
    assert_ne!(bed.cluster.facts(&bed.topic).unwrap().unwrap().id, old.id);
    bed.send(texts(100..120));
    assert_eq!(source.facts().unwrap_err().kind, ErrorKind::Data);
    let err = poll_until(source.as_mut(), 0, &mut got, |_, _| false).unwrap_err();
    assert_eq!((err.kind, got.len()), (ErrorKind::Data, 5), "{err}");
}

/// One module of tests for each implementation, from the claims above.
macro_rules! conformance {
    ($implementation:ident: $($claim:ident)*) => {
        mod $implementation {
            $(
                #[test]
                fn $claim() {
                    if let Some(bed) = super::$implementation() {
                        super::$claim(&bed);
                    }
                }
            )*
        }
    };
    ($($claim:ident)*) => {
        conformance!(embedded: $($claim)*);
        conformance!(brokers: $($claim)*);
    };
}

conformance! {
    each_message_comes_once_and_in_order
    reading_begins_and_begins_again_where_it_is_told
    an_offset_out_of_range_is_an_error_and_no_skip
    keys_marks_tombstones_and_empty_payloads_are_told_apart
    a_topic_stays_as_it_was_created
    a_topic_grows_under_its_producer_and_its_readers_and_never_shrinks
    without_a_topic_nothing_is_opened
    the_offset_at_a_time_is_the_first_that_arrived_then_or_later
    a_new_producer_goes_on_where_the_last_one_ended
    the_tail_is_what_arrived_since
    two_members_share_a_topic_and_the_last_takes_all
    what_was_given_away_is_read_when_it_comes_back
    a_topic_created_again_is_told_and_not_read
}
