//! The reading thread: drives the source and decodes what it gives.

// Over 400 lines: one thread from its start to its end.

use super::chunk::{Chunk, OpenChunk, Reading};
use super::link::{Event, Link, Start};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{Change, Source, TopicFacts};
use crate::model::job;
use crate::model::job::OnGap;
use crate::model::time::Micros;
use crate::model::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long one poll waits; so soon a stop is noticed.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Messages of one poll.
const POLL_MAX: usize = 8192;
/// A chunk that does not fill goes on after this; its rows are this much later than need be.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// How often end offsets are asked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often, and how many times, the broker is asked for topic partitions that a mark has told of.
const ASK_PAUSE: Duration = Duration::from_millis(100);
const ASKS_MAX: u32 = 20;
/// So seldom a stream waits for topic partitions that may never be: wrong marks must not hold it up.
const PATIENT_EVERY: Duration = Duration::from_mins(1);
/// How often the topic itself is asked for: it may have grown, or be another one.
const TOPIC_EVERY: Duration = Duration::from_secs(10);

pub struct Reader {
    pub source: Box<dyn Source>,
    pub topic: Topic,
    pub start: job::Start,
    pub on_gap: OnGap,
    pub reading: Reading,
    pub clock: Clock,
    pub stop: CancellationToken,
    pub link: Arc<Link>,
    pub events: SyncSender<Event>,
    pub state: State,
}

/// What the reader remembers between two polls.
#[derive(Default)]
pub struct State {
    /// What the group gave us; a start for anything else comes too late.
    assigned: BTreeSet<u32>,
    flowing: BTreeMap<u32, Flowing>,
    topic: Option<TopicFacts>,
    topic_asked: Micros,
    /// When a mark last told of topic partitions that the broker did not have.
    refuted: Option<Micros>,
    looked: Micros,
}

/// A topic partition whose messages flow.
struct Flowing {
    life: u64,
    open: OpenChunk,
    /// When the first message of the open chunk came.
    since: Option<Micros>,
    /// Older messages are left-overs from before the start.
    next: i64,
}

impl Flowing {
    /// Where reading stands.
    fn position(&self, at: u32, source: &mut dyn Source) -> Result<i64, Error> {
        Ok(source.position(at)?.max(self.next))
    }
}

/// The writer has ended; it tells why.
struct Gone;

enum Ended {
    Gone,
    Failed(Error),
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for Ended {
    fn from(err: Error) -> Self {
        Self::Failed(err)
    }
}

impl Reader {
    /// Reads until told to stop, until the stream is dropped, or until the writer ends.
    pub fn run(mut self) -> Result<(), Error> {
        match self.read() {
            Ok(()) | Err(Ended::Gone) => Ok(()),
            Err(Ended::Failed(err)) => Err(err),
        }
    }

    fn read(&mut self) -> Result<(), Ended> {
        loop {
            let now = Micros::from(self.clock.steady());
            if self.link.abandoned() {
                return Ok(());
            }
            self.ask_for_topic(now)?;
            if self.stop.is_cancelled() {
                return self.drain();
            }
            self.begin_starts()?;
            self.tell_group();
            let (changes, idle) = self.poll()?;
            for change in changes {
                self.change(change)?;
            }
            let now = Micros::from(self.clock.steady());
            self.flush(|flowing| {
                idle || flowing.since.is_some_and(|since| now.since(since) >= FLUSH_AFTER)
            })?;
            self.look(now)?;
        }
    }

    fn send(&self, event: Event) -> Result<(), Gone> {
        self.events.send(event).map_err(|_| Gone)
    }

    /// Hands over what is there; true if nothing was.
    fn poll(&mut self) -> Result<(Vec<Change>, bool), Ended> {
        let Self { source, reading, state, topic, clock, .. } = self;
        let (now, began) = (Micros::from(clock.now()), Micros::from(clock.steady()));
        let mut full = Vec::new();
        let mut messages = 0;
        let changes = source.poll(POLL_WAIT, POLL_MAX, &mut |message| {
            messages += 1;
            let at = message.topic_partition;
            let Some(flowing) = state.flowing.get_mut(&at) else { return };
            if message.offset < flowing.next {
                return;
            }
            flowing.next = message.offset + 1;
            flowing.since.get_or_insert(began);
            if reading.read(&message, now, &mut flowing.open) {
                flowing.since = None;
                let keeps_payloads = reading.keeps_payloads();
                full.push(flowing.open.finish(at, flowing.life, keeps_payloads, None));
            }
        });
        let changes = match changes {
            Ok(changes) => changes,
            Err(err) if err.kind == ErrorKind::Data => return self.overrun(err),
            Err(err) => return Err(err).doing(|| format!("read topic {}", topic.name))?,
        };
        for chunk in full {
            self.hand_over(chunk)?;
        }
        Ok((changes, messages == 0))
    }

    /// Ends the stream, whose source has given up with `err`. What was read may be nowhere else any
    /// more: it is committed first.
    fn overrun<T>(&mut self, err: Error) -> Result<T, Ended> {
        let why = self.why_overrun(err);
        self.drain()?;
        Err(why.into())
    }

    /// The topic is another one, or messages that were not read yet are gone.
    fn why_overrun(&mut self, err: Error) -> Error {
        let Self { source, state, topic, on_gap, .. } = self;
        if let Err(err) = source.facts().doing(|| format!("read topic {}", topic.name)) {
            return err;
        }
        for (&at, flowing) in &state.flowing {
            let doing = || format!("read topic partition {at} of topic {}", topic.name);
            let Ok((first, end)) = source.offsets(at) else { continue };
            let Ok(position) = flowing.position(at, source.as_mut()) else { continue };
            if let Err(mut gone) = within(position, first, end, OnGap::Stop).doing(doing) {
                if position < first && *on_gap == OnGap::Skip {
                    // The next life begins behind the gap, and its first record owns up to it.
                    gone.kind = ErrorKind::Unavailable;
                }
                return gone;
            }
        }
        err
    }

    /// Sends the open chunks that `due` names.
    fn flush(&mut self, due: impl Fn(&Flowing) -> bool) -> Result<(), Ended> {
        let keeps_payloads = self.reading.keeps_payloads();
        let mut chunks = Vec::new();
        for (&at, flowing) in &mut self.state.flowing {
            if flowing.open.is_empty() || !due(flowing) {
                continue;
            }
            let position = flowing.position(at, self.source.as_mut())?;
            flowing.since = None;
            let chunk = flowing.open.finish(at, flowing.life, keeps_payloads, Some(position));
            chunks.push(chunk);
        }
        for chunk in chunks {
            self.hand_over(chunk)?;
        }
        Ok(())
    }

    /// Hands a chunk over. What follows a mark that tells of more topic partitions may let hours close whose
    /// rows its feed has sent there: the writer hears of them before it has the chunk.
    fn hand_over(&mut self, chunk: Chunk) -> Result<(), Ended> {
        let known = self.state.topic.as_ref().map_or(0, |topic| topic.partitions);
        if chunk.spread > known {
            self.confirm(chunk.spread)?;
        }
        Ok(self.send(Event::Chunk(Box::new(chunk)))?)
    }

    /// Asks the broker whether there are as many topic partitions as a mark has told of. Anyone may write a
    /// mark, so only the broker's word counts; but it may hear of new ones a moment after the feed.
    fn confirm(&mut self, told: u32) -> Result<(), Ended> {
        let now = Micros::from(self.clock.steady());
        let is_patient = self.state.refuted.is_none_or(|at| now.since(at) >= PATIENT_EVERY);
        for ask in 0..if is_patient { ASKS_MAX } else { 1 } {
            if ask > 0 {
                std::thread::sleep(ASK_PAUSE);
            }
            let facts =
                self.source.facts().doing(|| format!("ask about topic {}", self.topic.name))?;
            if facts.partitions >= told {
                self.state.topic = Some(facts.clone());
                return Ok(self.send(Event::Topic(facts))?);
            }
        }
        if is_patient {
            self.state.refuted = Some(now);
            warn!(
                topic.name = %self.topic.name,
                "a mark tells of {told} topic partitions, and the broker of fewer; the mark counts for nothing \
                 in this"
            );
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<(), Ended> {
        match change {
            Change::Assigned(ours) => {
                info!(topic.name = %self.topic.name, ?ours, "topic partitions assigned");
                self.see_grown(&ours)?;
                self.state.assigned.extend(&ours);
                self.send(Event::Assigned(ours))?;
            }
            Change::Revoked(given_up) => {
                info!(topic.name = %self.topic.name, ?given_up, "topic partitions revoked");
                self.flush(|_| true)?;
                let (answer, answered) = sync_channel(1);
                self.send(Event::Revoked(given_up.clone(), answer))?;
                answered.recv().map_err(|_| Gone)?;
                self.tell_group();
                self.release(&given_up)?;
            }
            Change::Lost(lost) => {
                warn!(topic.name = %self.topic.name, ?lost, "topic partitions lost to another member");
                self.send(Event::Lost(lost.clone()))?;
                self.release(&lost)?;
            }
        }
        Ok(())
    }

    /// A topic partition is declared before its first record is written, and the group may be quicker
    /// than we are to see that there are more.
    fn see_grown(&mut self, ours: &[u32]) -> Result<(), Ended> {
        let least = ours.iter().max().map_or(0, |most| most + 1);
        if self.state.topic.as_ref().is_some_and(|topic| topic.partitions >= least) {
            return Ok(());
        }
        let mut facts =
            self.source.facts().doing(|| format!("ask about topic {}", self.topic.name))?;
        facts.partitions = facts.partitions.max(least);
        self.state.topic = Some(facts.clone());
        Ok(self.send(Event::Topic(facts))?)
    }

    fn release(&mut self, topic_partitions: &[u32]) -> Result<(), Error> {
        let mut back = self.link.back();
        for at in topic_partitions {
            self.state.assigned.remove(at);
            self.state.flowing.remove(at);
            back.starts.remove(at);
            back.committed.remove(at);
        }
        drop(back);
        self.source.release(topic_partitions).doing(|| "give topic partitions up".into())
    }

    /// Starts what the writer has recovered, or must begin again.
    fn begin_starts(&mut self) -> Result<(), Ended> {
        let starts = std::mem::take(&mut self.link.back().starts);
        for (topic_partition, Start { life, offset, added }) in starts {
            if !self.state.assigned.contains(&topic_partition) {
                continue;
            }
            let doing = || format!("begin to read topic partition {topic_partition}");
            let (first, end) = self.source.offsets(topic_partition).doing(doing)?;
            let begin = match (offset, self.start) {
                (Some(offset), _) => within(offset, first, end, self.on_gap).doing(doing)?,
                (None, job::Start::Earliest) => first,
                // What came before we saw that the topic has grown is not from before the start.
                (None, job::Start::Latest) if added => first,
                (None, job::Start::Latest) => end,
                (None, job::Start::At(at)) => {
                    self.source.offset_at(topic_partition, at).doing(doing)?
                }
            };
            self.source.start(topic_partition, begin).doing(doing)?;
            info!(topic.name = %self.topic.name, topic_partition, offset = begin, end, "reading");
            let open = OpenChunk::new(&self.topic);
            let flowing = Flowing { life, open, since: None, next: begin };
            self.state.flowing.insert(topic_partition, flowing);
            let cut = begin > offset.unwrap_or(0);
            if let Some(offset) = offset.filter(|_| cut) {
                warn!(
                    topic.name = %self.topic.name,
                    topic_partition,
                    "offsets {offset} to {begin} are gone before they were landed; on_gap = \"skip\""
                );
            }
            let at_end = offset.is_none() && begin >= end;
            self.send(Event::Started { topic_partition, life, offset: begin, cut, at_end })?;
            self.state.looked = Micros::MIN;
        }
        Ok(())
    }

    /// Tells the group how far the lake has come; for lag only.
    fn tell_group(&mut self) {
        let committed = std::mem::take(&mut self.link.back().committed);
        if committed.is_empty() {
            return;
        }
        let offsets: Vec<(u32, i64)> = committed.into_iter().collect();
        if let Err(error) = self.source.commit_advisory(&offsets) {
            warn!(%error, "the consumer group was not told; its lag looks larger than it is");
        }
    }

    /// Asks how far each topic partition goes: reads the clock first, so that whatever came before
    /// it is below the answer.
    fn look(&mut self, now: Micros) -> Result<(), Ended> {
        if now.since(self.state.looked) < LOOK_EVERY {
            return Ok(());
        }
        self.state.looked = now;
        let count = self.state.topic.as_ref().map_or(0, |topic| topic.partitions);
        for topic_partition in 0..count {
            let at = Micros::from(self.clock.now());
            let asked = self.source.offsets(topic_partition);
            let (_, end) = match asked {
                Ok(offsets) => offsets,
                Err(err) if err.kind == ErrorKind::Data => return self.overrun(err),
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    warn!(%error, topic_partition, "the end offset is not known now; going on");
                    return Ok(());
                }
                Err(err) => {
                    return Err(err)
                        .doing(|| format!("ask where topic partition {topic_partition} ends"))?;
                }
            };
            let ours = match self.state.flowing.get(&topic_partition) {
                Some(flowing) if flowing.open.is_empty() => {
                    let position = flowing.position(topic_partition, self.source.as_mut())?;
                    Some((flowing.life, position))
                }
                Some(flowing) => Some((flowing.life, i64::MIN)),
                None => None,
            };
            self.send(Event::Looked { topic_partition, ours, at, end })?;
        }
        Ok(())
    }

    fn ask_for_topic(&mut self, now: Micros) -> Result<(), Ended> {
        if self.state.topic.is_some() && now.since(self.state.topic_asked) < TOPIC_EVERY {
            return Ok(());
        }
        self.state.topic_asked = now;
        let facts = match self.source.facts() {
            Ok(facts) => facts,
            // A leader that has gone comes back, or another takes over.
            Err(error) if error.kind == ErrorKind::Unavailable && self.state.topic.is_some() => {
                warn!(%error, "the topic can't be asked for now; going on");
                return Ok(());
            }
            Err(err) => {
                return Err(err).doing(|| format!("ask about topic {}", self.topic.name))?;
            }
        };
        if self.state.topic.as_ref() != Some(&facts) {
            self.state.topic = Some(facts.clone());
            self.send(Event::Topic(facts))?;
        }
        Ok(())
    }

    /// Commits what was read and leaves.
    fn drain(&mut self) -> Result<(), Ended> {
        self.flush(|_| true)?;
        let (answer, answered) = sync_channel(1);
        self.send(Event::Drain(answer))?;
        answered.recv().map_err(|_| Gone)?;
        self.tell_group();
        Ok(())
    }
}

/// The offset, if messages from there on still exist; or, where gaps may be, the first that does.
fn within(offset: i64, first: i64, end: i64, on_gap: OnGap) -> Result<i64, Error> {
    if (first..=end).contains(&offset) {
        return Ok(offset);
    }
    if offset < first && on_gap == OnGap::Skip {
        return Ok(first);
    }
    let problem = if offset < first {
        format!("offsets {offset} to {first} are gone from the topic before they were landed")
    } else {
        format!("the lake has offsets up to {offset}, and the topic ends at {end}")
    };
    Err(Error::new(ErrorKind::Input, problem).remedy(
        "the topic's retention was too short, or it was cut off: put its messages back, or land it \
         in another table; where rows may be missing, on_gap = \"skip\" in the job's [from.kafka] \
         goes on behind those that retention took",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_out_of_range_is_skipped_only_where_the_job_says_so() {
        for on_gap in [OnGap::Stop, OnGap::Skip] {
            assert_eq!(within(5, 5, 9, on_gap).unwrap(), 5);
            assert_eq!(within(9, 5, 9, on_gap).unwrap(), 9);
            assert_eq!(within(10, 5, 9, on_gap).unwrap_err().kind, ErrorKind::Input);
        }
        assert_eq!(within(4, 5, 9, OnGap::Stop).unwrap_err().kind, ErrorKind::Input);
        assert_eq!(within(4, 5, 9, OnGap::Skip).unwrap(), 5);
    }
}
