//! The loop of a feed: read, wait, send, flush, mark; and begin anew over more topic partitions.

use super::cursor::Cursor;
use super::cursor::Key;
use super::ending::{Reader, end_mark};
use super::pace::Pace;
use super::{Ended, Event, Source};
use crate::clock::Clock;
use crate::error::{Doing, Error};
use crate::kafka::{Mark, Outgoing, Producer};
use crate::model::time::{EventTime, Micros};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing::warn;

/// Readers see an event this long after it was due, at most.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Between events the watermark moves with marks; more of them would only fill the topic.
pub(super) const MARK_EVERY: Duration = Duration::from_secs(2);
/// How often the topic is asked whether it has grown: a stream that has seen it holds its hours open
/// until this feed has, too.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a sleep may last before it looks at `stop` again.
const NAP_MAX: Duration = Duration::from_millis(20);

/// How far a feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events of this feed in the topic, those of earlier lives too.
    pub produced: u64,
    /// Events that this life has sent.
    pub sent: u64,
    /// The newest event's date.
    pub newest: Option<EventTime>,
    /// The last mark: no event before it will follow.
    pub marked: Option<EventTime>,
}

/// A feed at work.
pub(super) struct Filling<'a> {
    pub cursor: Cursor,
    pub producer: &'a mut dyn Producer,
    pub pace: Pace,
    pub readers: &'a [Reader],
    pub mark_every: Duration,
    pub look_every: Duration,
    pub clock: &'a Clock,
    pub stop: &'a CancellationToken,
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Keeps that every event before this one is in, and whether none was sent since.
    pub note: &'a mut dyn FnMut(&Cursor, u64, bool) -> Result<(), Error>,
}

/// What has happened since the start.
struct State {
    progress: Progress,
    /// The first number not yet sent.
    next: u64,
    dirty: bool,
    flushed: Micros,
    marked: Micros,
    looked: Micros,
}

impl Filling<'_> {
    pub fn fill(mut self, source: &mut Source) -> Result<Ended, Error> {
        let now = self.now();
        let mut state = State {
            progress: Progress { marked: self.cursor.marked().map(Micros), ..Progress::default() },
            next: source.begins_at(),
            dirty: false,
            flushed: now,
            marked: now,
            looked: now,
        };
        state.progress.produced = source.begins_at();
        (self.note)(&self.cursor, self.cursor.first_missing(), false)?;
        let mut event = Event::default();
        while source.read(&mut event)? {
            if self.cursor.has(event.number) {
                state.next = event.number + 1;
                state.progress.produced += 1;
                continue;
            }
            state.next = event.number;
            if !self.wait(&event, source, &mut state)? {
                self.flush(source, &mut state)?;
                (self.note)(&self.cursor, state.next, true)?;
                return Ok(Ended::Stopped);
            }
            self.cursor.sends(event.number);
            let key = self.cursor.key(Key::Event(event.number));
            self.producer
                .send(Outgoing {
                    topic_partition: self.cursor.topic_partition(event.number),
                    key: Some(key.as_bytes()),
                    payload: Some(&event.payload),
                    mark: None,
                })
                .doing(|| format!("send event {}", event.number))?;
            state.next = event.number + 1;
            state.dirty = true;
            state.progress.sent += 1;
            state.progress.produced += 1;
        }
        self.flush(source, &mut state)?;
        // What was added to the topic until now gets the end mark, too.
        state.looked = Micros::MIN;
        self.keep_up(state.next, self.now(), source, &mut state)?;
        if let Some(newest) = source.newest() {
            self.mark(end_mark(newest, self.readers), &mut state)?;
        }
        (self.note)(&self.cursor, state.next, true)?;
        (self.progress)(&state.progress);
        Ok(Ended::Complete)
    }

    /// Waits until `event` is due, flushing and marking meanwhile; false when asked to stop.
    fn wait(&mut self, event: &Event, source: &Source, state: &mut State) -> Result<bool, Error> {
        let mut now = self.now();
        let due = now.plus(self.pace.wait(event.at, now));
        loop {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            self.keep_up(event.number, now, source, state)?;
            if state.dirty && now.since(state.flushed) >= FLUSH_EVERY {
                self.flush(source, state)?;
            }
            if now.since(state.marked) >= self.mark_every {
                self.flush(source, state)?;
                state.marked = now;
                (self.note)(&self.cursor, event.number, false)?;
                // The event in hand is not sent yet: the promise is about it too.
                if let Some(promise) = source.promise_before(event.number) {
                    self.mark(promise, state)?;
                }
            }
            if now >= due {
                return Ok(true);
            }
            std::thread::sleep(due.since(now).min(NAP_MAX));
            now = self.now();
        }
    }

    /// Lets all topic partitions take part that there are now, from event `next` on, which is not sent
    /// yet; but where later ones are in, as a kill leaves it, what is missing before them comes first.
    fn keep_up(
        &mut self,
        next: u64,
        now: Micros,
        source: &Source,
        state: &mut State,
    ) -> Result<(), Error> {
        if now.since(state.looked) >= self.look_every {
            state.looked = now;
            if let Err(error) = self.producer.look() {
                warn!(%error, "whether the topic has grown is not known now; going on");
            }
        }
        let partitions = self.producer.partitions();
        if self.cursor.has_begun(partitions) || next < self.cursor.behind_all() {
            return Ok(());
        }
        self.flush(source, state)?;
        self.cursor.begin(partitions, next);
        info!(
            topic_partitions = partitions,
            "filling {partitions} topic partitions from event {next} on"
        );
        // Where event time begins its first event says: a watermark before it would have hours pass that
        // the feed knows nothing of.
        let at = source.promise_before(next).filter(|_| next > 0);
        self.tell_all(Key::Begin(next), at)?;
        state.progress.marked = at;
        state.marked = now;
        (self.note)(&self.cursor, next, false)
    }

    fn flush(&mut self, source: &Source, state: &mut State) -> Result<(), Error> {
        self.producer.flush().doing(|| "wait for the topic's acknowledgement".to_owned())?;
        state.dirty = false;
        state.flushed = self.now();
        state.progress.newest = source.newest();
        (self.progress)(&state.progress);
        Ok(())
    }

    /// Tells every topic partition that no event before `at` will follow; everything sent is durable.
    fn mark(&mut self, at: EventTime, state: &mut State) -> Result<(), Error> {
        if state.progress.marked.is_some_and(|marked| marked >= at) {
            return Ok(());
        }
        self.tell_all(Key::Mark(state.next), Some(at)).doing(|| format!("mark {at}"))?;
        state.progress.marked = Some(at);
        Ok(())
    }

    /// Sends a mark to every topic partition that takes part.
    fn tell_all(&mut self, key: Key, at: Option<EventTime>) -> Result<(), Error> {
        let (key, spread) = (self.cursor.key(key), self.cursor.spread());
        for topic_partition in 0..spread {
            self.producer.send(Outgoing {
                topic_partition,
                key: Some(key.as_bytes()),
                payload: None,
                mark: Some(Mark { at, topic_partitions: Some(spread) }),
            })?;
        }
        self.producer.flush()
    }

    fn now(&self) -> Micros {
        Micros::from(self.clock.steady())
    }
}
