use super::fill::MARK_EVERY;
use super::*;
use crate::kafka::Message;
use crate::kafka::Outgoing;
use crate::kafka::Producer;
use crate::model::hive::{Grain, PartitionBy};
use crate::model::job::{LateRows, Simulate};
use std::collections::HashSet;
use std::io::Write;

const PARTITIONS: u32 = 4;

type Sent = (Option<String>, Option<Vec<u8>>, Option<i64>);

/// A topic in memory whose producer dies at a given call: of what was not flushed, each topic
/// partition keeps a part of its own, but the beginning of it.
struct Topic {
    log: Vec<Vec<Sent>>,
    waiting: Vec<Vec<Sent>>,
    calls_left: u64,
    seed: u64,
}

impl Topic {
    fn new(partitions: u32) -> Self {
        let empty = vec![Vec::new(); partitions as usize];
        Self { log: empty.clone(), waiting: empty, calls_left: u64::MAX, seed: 0 }
    }

    fn call(&mut self) -> Result<(), Error> {
        if self.calls_left == 0 {
            for (log, waiting) in self.log.iter_mut().zip(&mut self.waiting) {
                self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                let kept = usize::try_from(self.seed >> 33).unwrap() % (waiting.len() + 1);
                log.extend(waiting.drain(..).take(kept));
            }
            return Err(Error::new(ErrorKind::Unavailable, "killed"));
        }
        self.calls_left -= 1;
        Ok(())
    }

    fn cursor(&self, fingerprint: &Fingerprint) -> Cursor {
        let mut cursor = Cursor::new(fingerprint.clone(), PARTITIONS);
        for (place, log) in self.log.iter().enumerate() {
            // The last message is enough.
            if let Some((key, payload, mark)) = log.last() {
                let message = Message {
                    topic_partition: u32::try_from(place).unwrap(),
                    offset: 0,
                    arrived: None,
                    key: key.as_deref().map(str::as_bytes),
                    payload: payload.as_deref(),
                    mark: mark.map(Micros),
                    headers: &(),
                };
                cursor.see(&message).unwrap();
            }
        }
        cursor
    }

    fn payloads(&self) -> Vec<&Vec<u8>> {
        self.log.iter().flatten().filter_map(|(_, payload, _)| payload.as_ref()).collect()
    }
}

impl Producer for Topic {
    fn send(&mut self, message: Outgoing<'_>) -> Result<(), Error> {
        self.call()?;
        self.waiting[message.topic_partition as usize].push((
            message.key.map(|key| String::from_utf8(key.to_vec()).unwrap()),
            message.payload.map(<[u8]>::to_vec),
            message.mark.map(|mark| mark.0),
        ));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.call()?;
        for (log, waiting) in self.log.iter_mut().zip(&mut self.waiting) {
            log.append(waiting);
        }
        Ok(())
    }

    fn partitions(&self) -> u32 {
        PARTITIONS
    }
}

fn fill(
    topic: &mut Topic,
    fingerprint: &Fingerprint,
    mark_every: Duration,
    source: &dyn Fn(u64) -> Source,
) -> Result<Ended, Error> {
    let cursor = topic.cursor(fingerprint);
    let mut source = source(cursor.first_missing());
    let readers = [Reader {
        partition_by: PartitionBy::utc(Grain::Hour),
        close_after: Duration::from_mins(10),
    }];
    let filling = Filling {
        cursor,
        producer: topic,
        pace: Pace::rate(1e9),
        readers: &readers,
        mark_every,
        clock: &Clock::system(),
        stop: &CancellationToken::new(),
        progress: &mut |_| {},
        note: &mut |_, _, _| Ok(()),
    };
    filling.fill(&mut source)
}

/// Runs the feed with kills at random calls until it completes; returns the topic.
fn killed_often(seed: u64, mark_every: Duration, source: &dyn Fn(u64) -> Source) -> Topic {
    let fingerprint = Fingerprint::of(&[b"tested"]);
    let mut topic = Topic::new(PARTITIONS);
    let mut lives = 0;
    for life in 0.. {
        topic.seed = seed ^ life;
        topic.calls_left = (seed.wrapping_mul(life + 7) >> 3) % 150;
        lives += 1;
        match fill(&mut topic, &fingerprint, mark_every, source) {
            Ok(ended) => {
                assert_eq!(ended, Ended::Complete);
                break;
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable),
        }
        for waiting in &mut topic.waiting {
            waiting.clear();
        }
    }
    assert!(lives > 3, "seed {seed}: it was hardly ever killed");
    topic
}

fn simulate() -> Simulate {
    Simulate {
        model: SimulateModel::Recentchange,
        seed: 7,
        rate: 1.0,
        from: Micros(0),
        span: Some(Duration::from_mins(6)),
        speed: None,
        late: Some(LateRows {
            rows: 20,
            from: Micros(0),
            span: Duration::from_mins(1),
            at: Micros(0).plus(Duration::from_mins(3)),
        }),
    }
}

#[test]
fn a_simulation_killed_anywhere_sends_every_event_once() {
    let model = Model::new(&simulate());
    let mut expected: Vec<_> = (0..model.total().unwrap())
        .map(|number| {
            let mut line = String::new();
            model.write(number, &mut line);
            line.into_bytes()
        })
        .collect();
    expected.sort();
    for seed in 1..40 {
        let topic =
            killed_often(seed * 7919, MARK_EVERY, &|next| Source::Model(model.clone(), next));
        let mut payloads: Vec<_> = topic.payloads().into_iter().cloned().collect();
        payloads.sort();
        assert_eq!(payloads, expected, "seed {seed}");
    }
}

#[test]
fn a_replay_killed_anywhere_sends_every_line_once_and_repeats_never() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in 0..500_u32 {
        writeln!(file, "{{\"id\":{},\"at\":{line}}}", line / 3 * 2 + line % 2).unwrap();
    }
    let path = |name: &str| vec![name.to_owned()];
    let open = |_| {
        let unique = Some((path("id"), Recent::new(RECENT_MAX)));
        Source::Lines(Lines::open(file.path(), Some(path("at")), unique, Micros::MAX).unwrap())
    };
    for seed in 1..40 {
        let topic = killed_often(seed * 104_729, MARK_EVERY, &open);
        let ids: Vec<_> = topic
            .payloads()
            .iter()
            .map(|payload| pick::pick(payload, &path("id")).unwrap().to_string())
            .collect();
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), distinct.len(), "seed {seed}: an id twice");
        assert_eq!(distinct.len(), 334, "seed {seed}: an id is missing");
    }
}

#[test]
fn after_every_kill_no_mark_stands_before_an_event_that_it_forbids() {
    let model = Model::new(&Simulate { late: None, ..simulate() });
    for seed in 1..20 {
        let source = |next| Source::Model(model.clone(), next);
        let topic = killed_often(seed * 31, Duration::ZERO, &source);
        for log in &topic.log {
            let mut promised = Micros::MIN;
            for (key, payload, mark) in log {
                promised = promised.max(mark.map_or(Micros::MIN, Micros));
                if payload.is_some() {
                    let number = key.as_ref().unwrap().rsplit('.').next().unwrap();
                    let at = model.write(number.parse().unwrap(), &mut String::new());
                    assert!(at >= promised, "seed {seed}: event {number} after its mark");
                }
            }
            let end = Micros(86_400_000_000 + 600_000_000);
            assert_eq!(promised, end, "seed {seed}: the end mark");
        }
    }
}

#[test]
fn a_complete_feed_that_is_run_again_sends_nothing() {
    let fingerprint = Fingerprint::of(&[b"tested"]);
    let model = Model::new(&simulate());
    let source = |next| Source::Model(model.clone(), next);
    let mut topic = Topic::new(PARTITIONS);
    fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap();
    let before = topic.log.clone();
    fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap();
    assert_eq!(topic.log, before);
}
