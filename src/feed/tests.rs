// Over 400 lines: one claim a test, all on one bed.

use super::fill::LOOK_EVERY;
use super::resume::MARK_EVERY;
use super::resume::cursor::Cursor;
use super::*;
use crate::kafka::{Mark, Message, Outgoing, Producer};
use crate::model::hive::{Grain, PartitionBy};
use crate::model::job::{LateRows, Simulate};
use std::collections::HashSet;
use std::io::Write;

const PARTITIONS: u32 = 4;

/// Of the day that events lie in, and `close_after` more.
const END: Micros = Micros(86_400_000_000 + 600_000_000);

type Sent = (Option<String>, Option<Vec<u8>>, Option<Mark>);

/// A topic in memory whose producer dies at a given call: of what was not flushed, each topic
/// partition keeps a part of its own, but the beginning of it.
pub(super) struct Topic {
    log: Vec<Vec<Sent>>,
    waiting: Vec<Vec<Sent>>,
    calls_left: u64,
    seed: u64,
    /// Gets one more topic partition at one call in so many; 0: never.
    grows: u64,
    /// How many its producer knows of.
    known: u32,
    look_every: Duration,
}

impl Topic {
    fn new(partitions: u32) -> Self {
        let empty = vec![Vec::new(); partitions as usize];
        let (calls_left, known) = (u64::MAX, partitions);
        let (log, waiting, look_every) = (empty.clone(), empty, LOOK_EVERY);
        Self { log, waiting, calls_left, seed: 0, grows: 0, known, look_every }
    }

    fn dice(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        self.seed >> 33
    }

    fn call(&mut self) -> Result<(), Error> {
        if self.grows > 0 && self.dice().is_multiple_of(self.grows) && self.log.len() < 12 {
            self.log.push(Vec::new());
            self.waiting.push(Vec::new());
        }
        if self.calls_left == 0 {
            for place in 0..self.log.len() {
                let kept = usize::try_from(self.dice()).unwrap() % (self.waiting[place].len() + 1);
                let waiting: Vec<_> = self.waiting[place].drain(..).take(kept).collect();
                self.log[place].extend(waiting);
            }
            return Err(Error::new(ErrorKind::Unavailable, "killed"));
        }
        self.calls_left -= 1;
        Ok(())
    }

    fn partitions(&self) -> u32 {
        u32::try_from(self.log.len()).unwrap()
    }

    fn cursor(&self, fingerprint: &Fingerprint) -> Cursor {
        // The last message of each topic partition is enough, if all of them tell of the same spread.
        let newest = self.told(fingerprint, 1);
        let told = if newest.is_all(self.partitions()) {
            newest
        } else {
            self.told(fingerprint, usize::MAX)
        };
        told.cursor(None, self.partitions()).unwrap()
    }

    fn told(&self, fingerprint: &Fingerprint, most: usize) -> Told {
        let mut told = Told::nothing(fingerprint.clone());
        for (place, log) in (0..).zip(&self.log) {
            for (key, payload, mark) in &log[log.len() - most.min(log.len())..] {
                told.see(&Message {
                    topic_partition: place,
                    offset: 0,
                    arrived: None,
                    key: key.as_deref().map(str::as_bytes),
                    payload: payload.as_deref(),
                    mark: *mark,
                    headers: &(),
                });
            }
        }
        told
    }

    pub(super) fn payloads(&self) -> Vec<&Vec<u8>> {
        self.log.iter().flatten().filter_map(|(_, payload, _)| payload.as_ref()).collect()
    }
}

impl Producer for Topic {
    fn send(&mut self, message: Outgoing<'_>) -> Result<(), Error> {
        self.call()?;
        self.waiting[message.topic_partition as usize].push((
            message.key.map(|key| String::from_utf8(key.to_vec()).unwrap()),
            message.payload.map(<[u8]>::to_vec),
            message.mark,
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

    fn settle(&mut self) -> Result<(), Error> {
        self.call()
    }

    fn look(&mut self) -> Result<(), Error> {
        self.call()?;
        self.known = Topic::partitions(self);
        Ok(())
    }

    fn partitions(&self) -> u32 {
        self.known
    }
}

fn fill(
    topic: &mut Topic,
    fingerprint: &Fingerprint,
    mark_every: Duration,
    source: &dyn Fn(Resume) -> Box<dyn Source>,
) -> Result<Ended, Error> {
    topic.known = topic.partitions();
    let (cursor, look_every) = (topic.cursor(fingerprint), topic.look_every);
    let (token, in_topic) = topic.told(fingerprint, usize::MAX).seam().resume(None);
    let (first_missing, behind_all) = (cursor.first_missing(), cursor.behind_all());
    let mut source = source(Resume { first_missing, behind_all, token: token.clone(), in_topic });
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
        look_every,
        clock: &Clock::system(),
        stop: &CancellationToken::new(),
        progress: &mut |_| {},
        token,
        note: &mut |_, _, _, _| Ok(()),
    };
    filling.fill(source.as_mut())
}

/// Runs the feed with kills at random calls until it completes; returns the topic.
fn killed_often(
    seed: u64,
    mark_every: Duration,
    source: &dyn Fn(Resume) -> Box<dyn Source>,
) -> Topic {
    killed_while_growing(seed, 0, mark_every, source)
}

/// Likewise, while the topic grows, at one call in `grows`.
pub(super) fn killed_while_growing(
    seed: u64,
    grows: u64,
    mark_every: Duration,
    source: &dyn Fn(Resume) -> Box<dyn Source>,
) -> Topic {
    let fingerprint = Fingerprint::of(&[b"tested"]);
    let mut topic = Topic { grows, look_every: Duration::ZERO, ..Topic::new(PARTITIONS) };
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

fn simulation(model: &Model, resume: &Resume) -> Box<dyn Source> {
    Box::new(Simulation::new(model.clone(), resume.first_missing))
}

/// What a source that goes by tokens gives out: number `n` has id `n`, and is dated `n` seconds.
const SERVED: u64 = 400;

/// A server that goes on at a token, from a little before it, as servers do.
struct Served {
    at: u64,
    next: u64,
    in_topic: HashSet<String>,
    /// The token behind what was read, and before the last event.
    token: Option<String>,
    before_last: Option<String>,
}

impl Served {
    fn open(resume: Resume) -> Box<dyn Source> {
        let token = resume.token.map(|token| token.text);
        let at = token.as_ref().map_or(0, |token| token.parse().unwrap());
        let at = u64::saturating_sub(at, 3);
        let (next, in_topic) = (resume.behind_all, resume.in_topic);
        Box::new(Self { at, next, in_topic, before_last: token.clone(), token })
    }
}

impl Source for Served {
    fn read(&mut self, event: &mut Event) -> Result<Next, Error> {
        while self.at < SERVED {
            let (id, before) = (self.at.to_string(), self.token.clone());
            self.at += 1;
            // What lies before the token is in, and its keys may be out of sight.
            let token: u64 = before.as_deref().map_or(0, |token| token.parse().unwrap());
            if self.at > token {
                self.token = Some(self.at.to_string());
            }
            let digest = resume::token::digest(&id);
            if self.at <= token || self.in_topic.contains(&digest) {
                continue;
            }
            self.before_last = before;
            event.number = self.next;
            event.id_digest = Some(digest);
            event.payload = id.into_bytes();
            event.at = None;
            self.next += 1;
            return Ok(Next::Event);
        }
        Ok(Next::End)
    }

    fn promise_before(&self, _: u64) -> Option<EventTime> {
        None
    }

    fn newest(&self) -> Option<EventTime> {
        Some(Micros(0))
    }

    fn token_before(&self, number: u64) -> Option<&str> {
        if number < self.next { self.before_last.as_deref() } else { self.token.as_deref() }
    }
}

#[test]
fn a_source_that_goes_by_tokens_killed_anywhere_sends_every_id_once() {
    let mut expected: Vec<_> = (0..SERVED).map(|id| id.to_string().into_bytes()).collect();
    expected.sort();
    for seed in 1..60 {
        let (marks, grows) = ([MARK_EVERY, Duration::ZERO][seed % 2], [0, 40, 400][seed % 3]);
        let topic = killed_while_growing(seed as u64 * 7727, grows, marks, &Served::open);
        let mut payloads: Vec<_> = topic.payloads().into_iter().cloned().collect();
        payloads.sort();
        assert_eq!(payloads, expected, "seed {seed}");
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
            killed_often(seed * 7919, MARK_EVERY, &|next: Resume| simulation(&model, &next));
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
    let open = |_: Resume| {
        let unique = Some((path("id"), Recent::new(RECENT_MAX)));
        let fields = Fields::new(Some(path("at")), Micros::MAX, unique);
        let lines = Lines::open(file.path(), fields, &Clock::system());
        Box::new(lines.unwrap()) as Box<dyn Source>
    };
    for seed in 1..40 {
        let topic = killed_often(seed * 104_729, MARK_EVERY, &open);
        let ids: Vec<_> = topic
            .payloads()
            .iter()
            .map(|payload| pick::pick(payload, &path("id")).unwrap().written())
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
        let source = |next: Resume| simulation(&model, &next);
        let topic = killed_often(seed * 31, Duration::ZERO, &source);
        for log in &topic.log {
            let mut promised = Micros::MIN;
            for (key, payload, mark) in log {
                promised = promised.max(mark.and_then(|mark| mark.at).unwrap_or(Micros::MIN));
                if payload.is_some() {
                    let number = key.as_ref().unwrap().rsplit('.').next().unwrap();
                    let at = model.write(number.parse().unwrap(), &mut String::new());
                    assert!(at >= promised, "seed {seed}: event {number} after its mark");
                }
            }
            assert_eq!(promised, END, "seed {seed}: the end mark");
        }
    }
}

#[test]
fn a_complete_feed_that_is_run_again_sends_nothing() {
    let fingerprint = Fingerprint::of(&[b"tested"]);
    let model = Model::new(&simulate());
    let source = |next: Resume| simulation(&model, &next);
    let mut topic = Topic::new(PARTITIONS);
    fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap();
    let before = topic.log.clone();
    fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap();
    assert_eq!(topic.log, before);
}

#[test]
fn a_topic_that_grows_while_its_feed_is_killed_gets_every_event_once_and_every_mark() {
    let model = Model::new(&Simulate { late: None, ..simulate() });
    let total = model.total().unwrap();
    for seed in 1..60 {
        let (marks, grows) = ([MARK_EVERY, Duration::ZERO][seed % 2], [40, 400, 2000][seed % 3]);
        let source = |next: Resume| simulation(&model, &next);
        let topic = killed_while_growing(seed as u64 * 7727, grows, marks, &source);
        let mut numbers = Vec::new();
        for (place, log) in topic.log.iter().enumerate() {
            let at = |mark: &Mark| mark.at;
            let newest = log.iter().filter_map(|(_, _, mark)| mark.as_ref().and_then(at)).max();
            // What came after the last look of a feed that has ended is the next one's.
            if place < topic.known as usize {
                assert_eq!(newest, Some(END), "seed {seed}: the end mark");
            }
            let events = log.iter().filter(|(_, payload, _)| payload.is_some());
            let keys = events.map(|(key, ..)| key.as_deref().unwrap());
            let own: Vec<u64> =
                keys.map(|key| key.rsplit('.').next().unwrap().parse().unwrap()).collect();
            assert!(own.is_sorted(), "seed {seed}: topic partition {place} is out of order");
            numbers.extend(own);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..total).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// The promise of each topic partition's last mark, and how many events came after it.
fn last_marks(topic: &Topic) -> Vec<(Option<Micros>, usize)> {
    let of = |log: &Vec<Sent>| {
        let last = log.iter().rposition(|(_, _, mark)| mark.is_some_and(|mark| mark.at.is_some()));
        let at = last.and_then(|last| log[last].2).and_then(|mark| mark.at);
        (at, log.len() - last.map_or(0, |last| last + 1))
    };
    topic.log.iter().map(of).collect()
}

#[test]
fn what_was_added_a_moment_ago_gets_the_end_mark() {
    let model = Model::new(&Simulate { late: None, ..simulate() });
    let mut topic = Topic { grows: 100, ..Topic::new(PARTITIONS) };
    let source = |next: Resume| simulation(&model, &next);
    fill(&mut topic, &Fingerprint::of(&[b"tested"]), MARK_EVERY, &source).unwrap();
    assert!(topic.known > PARTITIONS);
    assert_eq!(last_marks(&topic)[topic.known as usize - 1], (Some(END), 0));
}

#[test]
fn a_complete_feed_whose_topic_has_grown_tells_its_end_and_sends_no_event() {
    let fingerprint = Fingerprint::of(&[b"tested"]);
    let model = Model::new(&Simulate { late: None, ..simulate() });
    let source = |next: Resume| simulation(&model, &next);
    let mut topic = Topic::new(PARTITIONS);
    fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap();
    let events = topic.payloads().len();
    topic.log.resize(6, Vec::new());
    topic.waiting.resize(6, Vec::new());
    for _run in 0..2 {
        fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap();
        assert_eq!((topic.payloads().len(), topic.log[5].len()), (events, 2));
        assert_eq!(last_marks(&topic), [(Some(END), 0); 6]);
    }
}

#[test]
fn a_feed_tells_all_of_its_spread_before_its_first_event_and_promises_nothing_yet() {
    let fingerprint = Fingerprint::of(&[b"tested"]);
    let model = Model::new(&simulate());
    let mut topic = Topic { calls_left: 6, ..Topic::new(PARTITIONS) };
    let source = |next: Resume| simulation(&model, &next);
    fill(&mut topic, &fingerprint, MARK_EVERY, &source).unwrap_err();
    for log in &topic.log {
        let told = Mark { at: None, topic_partitions: Some(PARTITIONS) };
        let (key, payload, mark) = &log[0];
        assert_eq!((payload, mark), (&None, &Some(told)), "{key:?}");
    }
}

#[test]
fn nothing_is_sent_under_a_wider_spread_before_all_know_of_it() {
    let model = Model::new(&Simulate { late: None, ..simulate() });
    for seed in 1..40 {
        let source = |next: Resume| simulation(&model, &next);
        let topic = killed_while_growing(seed * 131, 300, MARK_EVERY, &source);
        for log in &topic.log {
            let mut known = 0;
            for (key, payload, mark) in log {
                known = known.max(mark.and_then(|mark| mark.topic_partitions).unwrap_or(0));
                let spread: u32 = key.as_ref().unwrap().split('.').nth(1).unwrap().parse().unwrap();
                assert!(payload.is_none() || spread <= known, "seed {seed}: {key:?} after {known}");
            }
        }
    }
}
