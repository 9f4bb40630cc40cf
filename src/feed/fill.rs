//! The loop of a feed: read, wait, send, flush, mark; and begin anew over more topic partitions.

use super::Ended;
use super::pace::Pace;
use super::resume::cursor::{Cursor, Key};
use super::resume::token::Token;
use super::source::{Event, Next, Source};
use crate::clock::Clock;
use crate::error::{Doing, Error};
use crate::kafka::{Mark, Outgoing, Producer};
use crate::model::mark::{Reader, end_mark};
use crate::model::time::{EventTime, Micros};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Readers see an event this long after it was due, at most.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// How often the topic is asked whether it has grown: a stream that has seen it holds its hours open
/// until this feed has, too.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a sleep may last before it looks at `stop` again.
const NAP_MAX: Duration = Duration::from_millis(20);

/// How far a feed has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events of this feed in the topic, those of earlier lives too.
    pub produced: u64,
    /// Events that this life has sent.
    pub sent: u64,
    /// Events that this life has left out, because `unique` knew their ids.
    pub left_out: u64,
    /// Events that this life has passed over: too large, or not for the topic.
    pub passed_over: u64,
    /// The newest event's date.
    pub newest: Option<EventTime>,
    /// The last mark: no event before it will follow.
    pub marked: Option<EventTime>,
    /// What is the matter with the source.
    pub note: Option<String>,
}

/// Writes down that every event before this number is in, whether none was sent since, and the token.
pub(super) type Note<'a> = dyn FnMut(&Cursor, u64, bool, Option<Token>) -> Result<(), Error> + 'a;

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
    /// The last token that a mark has carried, in this life or an earlier one.
    pub token: Option<Token>,
    /// Keeps that every event before this one is in, whether none was sent since, and the source's token.
    pub note: &'a mut Note<'a>,
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
    pub fn fill(mut self, source: &mut dyn Source) -> Result<Ended, Error> {
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
        (self.note)(&self.cursor, self.cursor.first_missing(), false, self.token.clone())?;
        let mut event = Event::default();
        loop {
            match source.read(&mut event)? {
                Next::Event => {}
                Next::NotYet if self.rest(source, &mut state)? => continue,
                Next::NotYet => return self.stopped(source, &mut state),
                Next::End => break,
            }
            if self.cursor.has(event.number) {
                state.next = event.number + 1;
                state.progress.produced += 1;
                continue;
            }
            state.next = event.number;
            if !self.wait(&event, source, &mut state)? {
                return self.stopped(source, &mut state);
            }
            self.cursor.sends(event.number);
            let key = self.cursor.key(Key::Event(event.number), event.id_digest.as_deref());
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
        let end = source.newest().map(|newest| end_mark(newest, self.readers));
        self.mark(state.next, end, source, &mut state)?;
        (self.note)(&self.cursor, state.next, true, self.token.clone())?;
        (self.progress)(&state.progress);
        Ok(Ended::Complete)
    }

    /// Ends at a person's wish, with all that was sent durable.
    fn stopped(&mut self, source: &dyn Source, state: &mut State) -> Result<Ended, Error> {
        self.flush(source, state)?;
        self.mark(state.next, source.promise_before(state.next), source, state)?;
        (self.note)(&self.cursor, state.next, true, self.token.clone())?;
        Ok(Ended::Stopped)
    }

    /// Waits a moment for a source that has nothing now; false when asked to stop.
    fn rest(&mut self, source: &dyn Source, state: &mut State) -> Result<bool, Error> {
        let now = self.now();
        let goes_on = self.tend(state.next, now, source, state)?;
        if goes_on {
            std::thread::sleep(NAP_MAX);
        }
        Ok(goes_on)
    }

    /// Waits until `event` is due, flushing and marking meanwhile; false when asked to stop.
    fn wait(
        &mut self,
        event: &Event,
        source: &dyn Source,
        state: &mut State,
    ) -> Result<bool, Error> {
        let mut now = self.now();
        let due = now.plus(self.pace.wait(event.at, now));
        loop {
            if !self.tend(event.number, now, source, state)? {
                return Ok(false);
            }
            if now >= due {
                return Ok(true);
            }
            std::thread::sleep(due.since(now).min(NAP_MAX));
            now = self.now();
        }
    }

    /// Does what is due between two events, of which `next` is the one that is not sent yet; false when
    /// asked to stop.
    fn tend(
        &mut self,
        next: u64,
        now: Micros,
        source: &dyn Source,
        state: &mut State,
    ) -> Result<bool, Error> {
        if self.stop.is_cancelled() {
            return Ok(false);
        }
        self.keep_up(next, now, source, state)?;
        if state.dirty && now.since(state.flushed) >= FLUSH_EVERY {
            self.flush(source, state)?;
        }
        if now.since(state.marked) >= self.mark_every {
            self.flush(source, state)?;
            state.marked = now;
            self.mark(next, source.promise_before(next), source, state)?;
            (self.note)(&self.cursor, next, false, self.token.clone())?;
        }
        Ok(true)
    }

    /// Lets all topic partitions take part that there are now, from event `next` on, which is not sent
    /// yet; but where later ones are in, as a kill leaves it, what is missing before them comes first.
    fn keep_up(
        &mut self,
        next: u64,
        now: Micros,
        source: &dyn Source,
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
        self.tell_all(Key::Begin(next), at, None)?;
        state.progress.marked = at;
        state.marked = now;
        (self.note)(&self.cursor, next, false, self.token.clone())
    }

    fn flush(&mut self, source: &dyn Source, state: &mut State) -> Result<(), Error> {
        self.producer.flush().doing(|| "wait for the topic's acknowledgement".to_owned())?;
        state.dirty = false;
        state.flushed = self.now();
        state.progress.newest = source.newest();
        state.progress.left_out = source.left_out();
        state.progress.passed_over = source.passed_over();
        state.progress.note = source.note();
        (self.progress)(&state.progress);
        Ok(())
    }

    /// Marks that no event before `promise` will follow, and where the source goes on, as far as either is
    /// news; everything before `next` is durable. An event in hand is not sent yet: both are about it too.
    fn mark(
        &mut self,
        next: u64,
        promise: Option<EventTime>,
        source: &dyn Source,
        state: &mut State,
    ) -> Result<(), Error> {
        let promise = promise.filter(|at| state.progress.marked.is_none_or(|marked| marked < *at));
        let known = self.token.as_ref().map(|token| token.text.as_str());
        let token = source.token_before(next).filter(|token| known != Some(*token));
        if promise.is_none() && token.is_none() {
            return Ok(());
        }
        let encoded = token.map(Token::encoded);
        self.tell_all(Key::Mark(next), promise, encoded.as_deref())
            .doing(|| "send a mark".to_owned())?;
        state.progress.marked = promise.or(state.progress.marked);
        if let Some(text) = token {
            self.token = Some(Token { before: next, text: text.to_owned() });
        }
        Ok(())
    }

    /// Sends a mark to every topic partition that takes part.
    fn tell_all(
        &mut self,
        key: Key,
        at: Option<EventTime>,
        more: Option<&str>,
    ) -> Result<(), Error> {
        let (key, spread) = (self.cursor.key(key, more), self.cursor.spread());
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
