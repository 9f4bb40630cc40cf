//! What the embedded topic log keeps beside the common promises: kills, torn tails, retention.

use crate::conformance::{Got, poll_until};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};
use tidemill::clock::Clock;
use tidemill::error::ErrorKind;
use tidemill::kafka::{Change, Cluster, Outgoing};
use tidemill::model::name::TopicName;
use tidemill::model::time::Micros;

const DAY: Duration = Duration::from_hours(24);
/// Set for a process that plays the other part of a test.
const ROLE_DIR: &str = "TIDEMILL_TEST_LOG";

/// The parts of an embedded topic that a test wants to break.
struct Log {
    cluster: Cluster,
    topic: TopicName,
    dir: PathBuf,
}

impl Log {
    fn new(dir: &Path, partitions: u32, keep_bytes: u64) -> Self {
        let topic: TopicName = "changes".parse().unwrap();
        let cluster = Cluster::Embedded { dir: dir.to_owned(), keep_bytes };
        cluster.ensure_topic(&topic, partitions, DAY).unwrap();
        Self { cluster, topic, dir: dir.to_owned() }
    }

    fn send(&self, payloads: &[&[u8]]) {
        let mut producer = self.cluster.producer(&self.topic, &Clock::system()).unwrap();
        for payload in payloads {
            producer.send(Outgoing { payload: Some(payload), ..Outgoing::default() }).unwrap();
        }
        producer.flush().unwrap();
    }

    fn all(&self) -> Vec<Got> {
        let mut all = Vec::new();
        self.cluster
            .tail(&self.topic, Micros(0), &mut |message| all.push(Got::of(&message)))
            .unwrap();
        all
    }

    fn segments(&self, topic_partition: u32) -> Vec<PathBuf> {
        let folder = self.dir.join(self.topic.as_str()).join(topic_partition.to_string());
        let mut paths: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// This test binary again, for the test `name` alone: a process that [`role_dir`] tells its part.
    fn child(&self, name: &str) -> Child {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("topic_log::{name}"), "--nocapture"])
            .env(ROLE_DIR, &self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// To the test that started this process.
fn say(line: &str) {
    io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Where to play the other process of a test; `None` in the test itself.
fn role_dir() -> Option<PathBuf> {
    env::var_os(ROLE_DIR).map(PathBuf::from)
}

#[test]
fn a_torn_tail_is_cut_by_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 1, 1 << 30);
    log.send(&[b"first", b"second"]);
    let segment = &log.segments(0)[0];
    let mut bytes = fs::read(segment).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(&bytes.clone()[..whole - 3]); // One frame, and most of another.
    fs::write(segment, bytes).unwrap();
    log.send(&[b"third"]);
    let texts: Vec<_> = log.all().iter().map(Got::text).collect();
    assert_eq!(texts, ["first", "second", "first", "third"]);
}

#[test]
fn damage_before_the_end_is_an_error_and_no_skip() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 1, 1 << 30);
    log.send(&[b"first", b"second"]);
    let segment = &log.segments(0)[0];
    let mut bytes = fs::read(segment).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(segment, bytes).unwrap();
    let mut source = log.cluster.source(&log.topic, "g", &Clock::system()).unwrap();
    let mut got = Vec::new();
    let err = poll_until(source.as_mut(), 0, &mut got, |_, _| false).unwrap_err();
    assert_eq!((err.kind, got.len()), (ErrorKind::Data, 1), "{err}");
}

/// Whoever lets a topic grow may die before, between and after its two steps.
#[test]
fn a_growth_that_was_cut_short_is_none_or_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 1, 1 << 30);
    log.send(&[b"first"]);
    let folder = dir.path().join("changes");
    fs::create_dir(folder.join("1")).unwrap();
    fs::write(folder.join("1").join(format!("{:020}.log", 0)), b"").unwrap();
    assert_eq!(log.cluster.facts(&log.topic).unwrap().unwrap().partitions, 1);
    let ends = fs::read(folder.join("ends")).unwrap();
    log.cluster.grow_topic(&log.topic, 3).unwrap();
    fs::write(folder.join("ends"), ends).unwrap();
    let mut source = log.cluster.source(&log.topic, "g", &Clock::system()).unwrap();
    let mut producer = log.cluster.producer(&log.topic, &Clock::system()).unwrap();
    for topic_partition in 0..3 {
        let payload = Some(b"later".as_slice());
        producer.send(Outgoing { topic_partition, payload, ..Outgoing::default() }).unwrap();
    }
    producer.flush().unwrap();
    let mut got = Vec::new();
    poll_until(source.as_mut(), 0, &mut got, |got, _| got.len() == 4).unwrap();
    assert_eq!(log.all().len(), 4);
}

#[test]
fn a_lost_file_of_ends_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 2, 1 << 30);
    log.send(&[b"first", b"second"]);
    fs::write(dir.path().join("changes").join("ends"), b"").unwrap();
    assert_eq!(log.all().len(), 2);
}

/// As a power cut may leave it: whole messages on disk, an old file of ends.
#[test]
fn messages_behind_an_old_file_of_ends_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 1, 1 << 20);
    let ends = dir.path().join("changes").join("ends");
    log.send(&[b"first"]);
    let old = fs::read(&ends).unwrap();
    log.send(&[b"second", b"third"]);
    fs::write(&ends, old).unwrap();
    assert_eq!(log.all().len(), 3);
}

#[test]
fn old_segments_go_when_the_topic_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let keep_bytes = 2 << 20;
    let log = Log::new(dir.path(), 2, keep_bytes);
    let payload = vec![b'x'; 10_000];
    for _ in 0..100 {
        log.send(&[payload.as_slice(); 10]);
    }
    let bytes: u64 = log.segments(0).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= keep_bytes, "{bytes}");
    assert!(bytes > keep_bytes / 2, "{bytes}");
    let mut source = log.cluster.source(&log.topic, "g", &Clock::system()).unwrap();
    let (first, end) = source.offsets(0).unwrap();
    assert!(first > 0 && end == 1_000, "{first} {end}");
    assert_eq!(log.all().len(), usize::try_from(end - first).unwrap());
    let err = source.start(0, first - 1).unwrap_err();
    assert_eq!(err.kind, ErrorKind::Data, "{err}");
}

#[test]
fn a_reader_goes_through_many_segments_while_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 1, 8 << 20);
    let mut source = log.cluster.source(&log.topic, "g", &Clock::system()).unwrap();
    let mut got = Vec::new();
    let payload = vec![b'x'; 5_000];
    for round in 1..=40 {
        log.send(&[payload.as_slice(); 30]);
        poll_until(source.as_mut(), 0, &mut got, |got, _| got.len() == round * 30).unwrap();
    }
    assert!(log.segments(0).len() > 3);
    assert!(got.iter().map(|got| got.offset).eq(0..1_200));
}

/// Joins the group and says what it owns, until it is killed.
fn member(dir: &Path) {
    let log = Log::new(dir, 4, 1 << 30);
    let mut source = log.cluster.source(&log.topic, "g", &Clock::system()).unwrap();
    loop {
        for change in source.poll(Duration::from_millis(50), 100, &mut |_| ()).unwrap() {
            if let Change::Assigned(partitions) = change {
                say(&format!("owns {partitions:?}"));
            }
        }
    }
}

#[test]
fn a_killed_member_is_replaced_at_once() {
    if let Some(dir) = role_dir() {
        return member(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 4, 1 << 30);
    let mut child = log.child("a_killed_member_is_replaced_at_once");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.contains("owns [0, 1, 2, 3]")));
    let mut source = log.cluster.source(&log.topic, "g", &Clock::system()).unwrap();
    let mut none = |_: tidemill::kafka::Message<'_>| ();
    assert_eq!(source.poll(Duration::ZERO, 1, &mut none).unwrap(), []);
    child.kill().unwrap();
    child.wait().unwrap();
    let clock = Clock::system();
    let killed = clock.now();
    let all = [Change::Assigned(vec![0, 1, 2, 3])];
    poll_until(source.as_mut(), 0, &mut Vec::new(), |_, changes| changes == all).unwrap();
    assert!(clock.now().duration_since(killed).unwrap() < Duration::from_secs(5));
}

/// Goes on counting where the topic's tail ends, and says how far it was acknowledged.
fn counter(dir: &Path) {
    let log = Log::new(dir, 1, 1 << 30);
    let last = log.all().last().map_or(-1, |last| last.text().trim().parse().unwrap());
    let mut producer = log.cluster.producer(&log.topic, &Clock::system()).unwrap();
    for number in last + 1_i64.. {
        let payload = format!("{number:>1000}");
        let payload = Some(payload.as_bytes());
        producer.send(Outgoing { payload, ..Outgoing::default() }).unwrap();
        if number % 50 == 0 {
            producer.flush().unwrap();
            say(&format!("acknowledged {number}"));
        }
    }
}

#[test]
fn a_killed_writer_loses_and_doubles_nothing() {
    if let Some(dir) = role_dir() {
        return counter(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(dir.path(), 1, 1 << 30);
    let seed: u64 = rand::random();
    let mut random = <rand::rngs::SmallRng as rand::SeedableRng>::seed_from_u64(seed);
    let mut acknowledged = 0;
    for _ in 0..15 {
        let mut child = log.child("a_killed_writer_loses_and_doubles_nothing");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Kills it while it is at work on what follows this many acknowledgements.
        let count = rand::RngExt::random_range(&mut random, 1..20);
        let number = |line: String| line.rsplit_once("acknowledged ")?.1.parse().ok();
        acknowledged = lines.by_ref().filter_map(number).take(count).last().unwrap_or(acknowledged);
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = lines.filter_map(number).last().unwrap_or(acknowledged);
    }
    let all = log.all();
    assert!(i64::try_from(all.len()).unwrap() > acknowledged, "seed {seed}: {acknowledged}");
    for (number, got) in (0_i64..).zip(&all) {
        assert_eq!(
            (got.offset, got.text().trim()),
            (number, number.to_string().as_str()),
            "seed {seed}"
        );
    }
}
