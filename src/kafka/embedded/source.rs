//! The embedded topic log as a [`Source`].

use super::ends::{End, EndsFile};
use super::group::Member;
use super::reader::{self, Reader};
use super::{Topic, segments};
use crate::backoff::{Backoff, Pauses};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::kafka::{Change, Message, Source, TopicFacts};
use crate::model::time::Micros;
use std::thread;
use std::time::Duration;

/// How soon a new or a dead member is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How long a silent topic is left alone, growing while it stays silent: it bounds both the latency
/// and the idle wake-ups.
const LOOKS: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(40));

pub struct EmbeddedSource {
    topic: Topic,
    ends_file: EndsFile,
    ends: Vec<End>,
    member: Member,
    readers: Vec<Option<Reader>>,
    /// The topic partition that reads first, so that none starves.
    turn: usize,
    /// Before it is looked again, while there is nothing.
    pauses: Pauses,
    clock: Clock,
    looked: Option<Micros>,
}

impl EmbeddedSource {
    pub fn open(topic: Topic, group: &str, clock: Clock) -> Result<Self, Error> {
        let (ends_file, ends) = topic.ends()?;
        let member = Member::join(&topic.folder, group, topic.partitions())?;
        let readers = ends.iter().map(|_| None).collect();
        Ok(Self {
            topic,
            ends_file,
            ends,
            member,
            readers,
            turn: 0,
            pauses: LOOKS.pauses(),
            clock,
            looked: None,
        })
    }

    fn now(&self) -> Micros {
        Micros::from(self.clock.steady())
    }

    /// Looks at the group and at the topic, but not at every poll.
    fn look(&mut self, now: Micros) -> Result<Vec<Change>, Error> {
        if self.looked.is_some_and(|looked| now.since(looked) < LOOK_EVERY) {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        self.refresh()?;
        self.member.look()
    }

    /// Takes note of topic partitions that were added.
    fn refresh(&mut self) -> Result<(), Error> {
        self.topic.refresh()?;
        let partitions = self.topic.partitions();
        self.readers.resize_with(partitions as usize, || None);
        self.ends_file.grow(partitions);
        self.member.grow(partitions);
        Ok(())
    }

    fn hand_over(&mut self, max: usize, each: &mut dyn FnMut(Message<'_>)) -> Result<usize, Error> {
        let count = self.readers.len();
        let mut handed = 0;
        for step in 0..count {
            let place = (self.turn + step) % count;
            let topic_partition = u32::try_from(place).expect("counted in u32");
            if let Some(reader) = &mut self.readers[place]
                && self.member.keeps(topic_partition)
                && handed < max
            {
                handed += reader.read(&self.ends[place], max - handed, each)?;
            }
        }
        self.turn = (self.turn + 1) % count;
        Ok(handed)
    }

    fn refreshed_end(&mut self, topic_partition: u32) -> Result<End, Error> {
        self.ends_file.read_shared(&mut self.ends)?;
        self.ends.get(topic_partition as usize).copied().ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("there is no topic partition {topic_partition}"))
        })
    }
}

impl Source for EmbeddedSource {
    fn poll(
        &mut self,
        wait: Duration,
        max: usize,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<Vec<Change>, Error> {
        let mut now = self.now();
        let deadline = now.plus(wait);
        loop {
            let changes = self.look(now)?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.ends_file.read_shared(&mut self.ends)?;
            if self.hand_over(max, each)? > 0 {
                self.pauses = LOOKS.pauses();
                return Ok(Vec::new());
            }
            if now >= deadline {
                return Ok(Vec::new());
            }
            thread::sleep(self.pauses.longer().min(deadline.since(now)));
            now = self.now();
        }
    }

    fn start(&mut self, topic_partition: u32, offset: i64) -> Result<(), Error> {
        let end = self.refreshed_end(topic_partition)?;
        let folder = self.topic.partition_folder(topic_partition);
        let reader = Reader::open(&folder, topic_partition, offset, &end)?;
        self.readers[topic_partition as usize] = Some(reader);
        Ok(())
    }

    fn release(&mut self, topic_partitions: &[u32]) -> Result<(), Error> {
        for topic_partition in topic_partitions {
            self.readers[*topic_partition as usize] = None;
            self.member.release(*topic_partition);
        }
        Ok(())
    }

    fn position(&mut self, topic_partition: u32) -> Result<i64, Error> {
        let reader = self.readers.get(topic_partition as usize).and_then(Option::as_ref);
        reader.map(Reader::next).ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("topic partition {topic_partition} is not started"))
        })
    }

    fn offsets(&mut self, topic_partition: u32) -> Result<(i64, i64), Error> {
        let end = self.refreshed_end(topic_partition)?;
        let bases = segments::bases(&self.topic.partition_folder(topic_partition))?;
        Ok((bases.first().copied().unwrap_or(end.offset), end.offset))
    }

    fn offset_at(&mut self, topic_partition: u32, at: Micros) -> Result<i64, Error> {
        let end = self.refreshed_end(topic_partition)?;
        reader::offset_at(&self.topic.partition_folder(topic_partition), topic_partition, &end, at)
    }

    fn commit_advisory(&mut self, offsets: &[(u32, i64)]) -> Result<(), Error> {
        offsets.iter().try_for_each(|(topic_partition, offset)| {
            self.member.commit_advisory(*topic_partition, *offset)
        })
    }

    fn facts(&mut self) -> Result<TopicFacts, Error> {
        self.refresh()?;
        Ok(self.topic.facts())
    }
}
