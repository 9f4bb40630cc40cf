//! The writing thread: judges, routes and writes what was read, and commits it when it is due.

// Over 400 lines: one thread from its start to its end.

use super::chunk::Chunk;
use super::header::RecordHeader;
use super::judge::Judge;
use super::ledger::Ledger;
use super::link::{Event, Link, Start};
use super::output::lake::ParquetFiles;
use super::owned::{Commit, Owned};
use super::progress::{Meter, Progress};
use super::roll;
use super::roll::{OpenBytes, Policy, Reason, Relief};
use super::route::Router;
use super::watermark::Others;
use crate::clock::Clock;
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::TopicFacts;
use crate::lake::Lake;
use crate::lake::members::OtherTopic;
use crate::model::commit::{FORMAT, Members, Publish, Record};
use crate::model::job::StreamJob;
use crate::model::schema::Schema;
use crate::model::time::Micros;
use crate::model::topic::{Idle, Topic};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

/// How long the writer waits for an event before it looks around by itself.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What the writing thread is given.
pub struct Writer {
    pub job: StreamJob,
    pub job_hash: String,
    pub topic: Topic,
    pub lake: Lake,
    pub clock: Clock,
    pub runtime: Handle,
    /// For files that are not staged yet.
    pub files_bytes: u64,
    pub memory_bytes: u64,
    pub ping: Arc<dyn Fn() + Send + Sync>,
    pub progress: watch::Sender<Progress>,
    pub link: Arc<Link>,
}

/// A writer at work.
struct Writing {
    given: Writer,
    header: Arc<RecordHeader>,
    judge: Judge,
    policy: Policy,
    router: Router,
    owned: BTreeMap<u32, Owned>,
    /// How many topic partitions there were when the table began.
    first_members: u32,
    life: u64,
    heard: Heard,
    meter: Meter,
}

/// How often each topic partition was heard, ours or not.
#[derive(Default)]
struct Heard {
    counts: BTreeMap<u32, u64>,
    /// The end offsets seen last.
    ends: BTreeMap<u32, i64>,
    /// What all others' counts came to when a topic partition was last looked at.
    others: BTreeMap<u32, u64>,
}

impl Writer {
    /// Works until the reader ends or nothing more can be done.
    pub fn run(self, events: &Receiver<Event>) -> Result<(), Error> {
        let judge = Judge::new(&self.topic)?;
        let Ok(Event::Topic(facts)) = events.recv() else { return Ok(()) };
        let mut writing = self.begin(judge, &facts)?;
        loop {
            match events.recv_timeout(writing.wait()) {
                Ok(event) => writing.handle(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    writing.tell();
                    return Ok(());
                }
            }
            if writing.given.link.abandoned() {
                return Ok(());
            }
            writing.roll_what_is_due()?;
            writing.relieve()?;
            if writing.meter.due(writing.now()) {
                writing.tell();
            }
        }
    }

    fn begin(self, judge: Judge, facts: &TopicFacts) -> Result<Writing, Error> {
        let output = self.job.table.clone();
        let members = members(&self.topic, &facts.id, facts.partitions);
        let schema = Schema::of(&self.job.partition_by, &self.topic);
        let (first_members, schema) = self.runtime.block_on(async {
            self.lake.declare_members(&output, &members, OtherTopic::Refuse).await?;
            let first = self.lake.first_members(&output).await?;
            let schema = self.lake.schema_number(&output, &schema).await?;
            Ok::<_, Error>((first.unwrap_or(facts.partitions), schema))
        })?;
        let header = RecordHeader {
            output,
            topic: self.topic.name.clone(),
            topic_id: facts.id.clone(),
            schema,
            job: self.job_hash.clone(),
            writer: Uuid::new_v4().simple().to_string(),
            partition_by: self.job.partition_by.clone(),
            publish: self.job.publish,
        };
        let policy = Policy {
            every: self.job.roll.every,
            size_bytes: self.job.roll.size_bytes,
            close_after: self.job.close_after,
            partition_by: self.job.partition_by.clone(),
        };
        Ok(Writing {
            router: Router::new(&self.job.partition_by),
            meter: Meter::new(self.memory_bytes),
            given: self,
            header: Arc::new(header),
            judge,
            policy,
            owned: BTreeMap::new(),
            first_members,
            life: 0,
            heard: Heard::default(),
        })
    }
}

fn members(topic: &Topic, topic_id: &str, topic_partitions: u32) -> Members {
    let (topic, topic_id) = (topic.name.clone(), topic_id.to_owned());
    Members { format: FORMAT, topic, topic_id, topic_partitions }
}

impl Writing {
    /// By which waiting is measured.
    fn now(&self) -> Micros {
        self.given.clock.steady().into()
    }

    fn wait(&self) -> Duration {
        let next = |owned: &Owned| roll::next(&owned.facts(), &self.policy);
        let next = self.owned.values().filter_map(next).min();
        next.map_or(WAIT_MAX, |at| at.since(self.now()).min(WAIT_MAX))
    }

    fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Topic(facts) => self.declare(&facts.id, facts.partitions)?,
            Event::Assigned(ours) => ours.into_iter().try_for_each(|at| self.begin_at(at))?,
            Event::Started { topic_partition, life, offset, cut, at_end } => {
                let Some(owned) = self.current(topic_partition, life) else { return Ok(()) };
                owned.ledger.started(offset, cut);
                // A life that ended before its first record would let the next begin at a later
                // end, and nobody would land what lies between.
                if at_end {
                    self.heard.ends.entry(topic_partition).or_insert(offset);
                    self.commit(topic_partition, Reason::First)?;
                }
            }
            Event::Chunk(chunk) => self.take(*chunk)?,
            Event::Looked { topic_partition, ours, at, end } => {
                self.looked(topic_partition, ours, at, end);
            }
            Event::Revoked(given_up, answer) => {
                for at in given_up {
                    self.commit_news(at, Reason::Rebalance)?;
                    self.owned.remove(&at);
                }
                self.tell();
                answer.send(()).ok(); // A reader that is gone needs no answer.
            }
            Event::Lost(lost) => {
                for at in lost {
                    self.owned.remove(&at);
                    self.given.link.back().starts.remove(&at);
                }
            }
            Event::Drain(answer) => {
                let ours: Vec<u32> = self.owned.keys().copied().collect();
                ours.into_iter().try_for_each(|at| self.commit_news(at, Reason::Stop))?;
                self.tell();
                answer.send(()).ok();
            }
        }
        Ok(())
    }

    fn declare(&mut self, topic_id: &str, topic_partitions: u32) -> Result<(), Error> {
        info!(topic.name = %self.header.topic, topic_partitions, "the topic has changed");
        let lake = &self.given.lake;
        let members = members(&self.given.topic, topic_id, topic_partitions);
        let declared = lake.declare_members(&self.header.output, &members, OtherTopic::Refuse);
        self.given.runtime.block_on(declared)?;
        Ok(())
    }

    /// Finds the end of a topic partition's log and lets the reader begin there.
    fn begin_at(&mut self, topic_partition: u32) -> Result<(), Error> {
        let RecordHeader { output, topic_id, .. } = &*self.header;
        let log = self.given.lake.log(output, topic_id, topic_partition);
        let tip = self.given.runtime.block_on(async {
            let tip = log.recover().await?;
            // Of records that are published on close the stage holds all that has not closed yet: the
            // daemon looks through it, a start would be slow.
            let on_close = tip.last().filter(|last| last.publish == Publish::OnClose);
            log.sweep(on_close.map_or(0, |last| last.seq)).await?;
            Ok::<_, Error>(tip)
        });
        let tip = tip.doing(|| format!("recover topic partition {topic_partition} of {output}"))?;
        self.life += 1;
        let ledger = Ledger::new(topic_partition, tip, &self.given.topic.event_time);
        let schema = Arc::clone(self.judge.table());
        let output =
            ParquetFiles::new(topic_partition, Arc::clone(&self.header), schema, log.clone());
        let (life, output) = (self.life, Box::new(output));
        let owned = Owned { topic_partition, life, ledger, output, log };
        let added = topic_partition >= self.first_members;
        let start = Start { life, offset: owned.ledger.committed_end(), added };
        self.owned.insert(topic_partition, owned);
        self.given.link.back().starts.insert(topic_partition, start);
        Ok(())
    }

    /// The topic partition, if it is ours and was not begun again since.
    fn current(&mut self, topic_partition: u32, life: u64) -> Option<&mut Owned> {
        self.owned.get_mut(&topic_partition).filter(|owned| owned.life == life)
    }

    fn take(&mut self, mut chunk: Chunk) -> Result<(), Error> {
        let at = chunk.topic_partition;
        if self.current(at, chunk.life).is_none() {
            return Ok(());
        }
        let judged = self.judge.judge(&mut chunk, self.given.clock.now().into())?;
        let times = self.judge.event_times(&judged.rows).values().clone();
        let parts = self.router.route(&judged, &times)?;
        self.meter.read(chunk.read);
        if chunk.read > 0 {
            *self.heard.counts.entry(at).or_insert(0) += 1;
        }
        if let Some(owned) = self.owned.get_mut(&at) {
            owned.take(&chunk, judged, parts, self.given.clock.steady().into())?;
            crash::point("fetch");
        }
        Ok(())
    }

    fn looked(&mut self, topic_partition: u32, ours: Option<(u64, i64)>, at: Micros, end: i64) {
        let grown = self.heard.grown(topic_partition, end);
        let Some((life, position)) = ours else {
            if grown {
                *self.heard.counts.entry(topic_partition).or_insert(0) += 1;
            }
            return;
        };
        let others = match self.given.topic.event_time.idle {
            Idle::Advance => Others::DontMatter,
            Idle::Others => self.heard.others(topic_partition),
        };
        let has_marks = self.owned.values().any(|owned| owned.ledger.watermark.marked());
        let Some(owned) = self.current(topic_partition, life) else { return };
        let ledger = &mut owned.ledger;
        if has_marks {
            ledger.watermark.topic_has_marks();
        }
        let moved = ledger.moved(position);
        let settled = ledger.settled();
        let caught_up = ledger.end >= end && position >= end;
        let rowless = ledger.last().is_none_or(|last| last.behind);
        ledger.empty = caught_up && rowless && settled == ledger.end;
        ledger.watermark.looked(at, caught_up, others);
        if moved && settled == position {
            self.given.link.back().committed.insert(topic_partition, settled);
        }
    }

    fn roll_what_is_due(&mut self) -> Result<(), Error> {
        let now = self.now();
        let due = |owned: &Owned| {
            let reason = roll::due(&owned.facts(), &self.policy, now)?;
            Some((owned.topic_partition, reason))
        };
        let due: Vec<_> = self.owned.values().filter_map(due).collect();
        due.into_iter().try_for_each(|(at, reason)| self.commit(at, reason))
    }

    /// Makes room while the files take more memory than they may.
    fn relieve(&mut self) -> Result<(), Error> {
        while self.memory() > self.given.files_bytes {
            let open: Vec<OpenBytes> = self.owned.values().flat_map(Owned::open).collect();
            match roll::relief(&open, self.given.files_bytes) {
                Some(Relief::Seal { topic_partition, key }) => {
                    if let Some(owned) = self.owned.get_mut(&topic_partition) {
                        self.given.runtime.block_on(owned.seal(key))?;
                    }
                }
                Some(Relief::Roll { topic_partition }) => {
                    self.commit(topic_partition, Reason::Memory)?;
                }
                // What is left is quarantine: whoever holds most of it commits.
                None => {
                    let most = self.owned.values().max_by_key(|owned| owned.output.memory());
                    let Some(most) = most.map(|owned| owned.topic_partition) else { return Ok(()) };
                    self.commit(most, Reason::Memory)?;
                }
            }
        }
        Ok(())
    }

    fn memory(&self) -> u64 {
        self.owned.values().map(|owned| owned.output.memory()).sum()
    }

    fn commit_news(&mut self, at: u32, reason: Reason) -> Result<(), Error> {
        if self.owned.get(&at).is_some_and(|owned| owned.ledger.has_news()) {
            self.commit(at, reason)?;
        }
        Ok(())
    }

    fn commit(&mut self, at: u32, reason: Reason) -> Result<(), Error> {
        let now = self.now();
        let Some(owned) = self.owned.get_mut(&at) else { return Ok(()) };
        let ledger = &mut owned.ledger;
        ledger.behind = self.heard.ends.get(&at).is_none_or(|end| ledger.end < *end);
        crash::because(&reason.to_string());
        let commit = self.given.runtime.block_on(owned.commit(&self.header, now));
        let output = &self.header.output;
        match commit.doing(|| format!("commit topic partition {at} of {output}"))? {
            Commit::Ours(record) => {
                self.given.link.back().committed.insert(at, record.end);
                (self.given.ping)();
                let duration_ms = u64::try_from(self.now().since(now).as_millis()).unwrap_or(0);
                told(&record, reason, duration_ms);
                self.meter.committed(&record);
                Ok(())
            }
            Commit::Theirs => {
                warn!(
                    lake.table = %output,
                    topic_partition = at,
                    "another writer has moved the log: what is not committed is read again"
                );
                self.begin_at(at)
            }
        }
    }

    fn tell(&mut self) {
        let times = (self.now(), self.given.clock.now().into());
        let progress = self.meter.progress(times, &self.owned, &self.heard.ends, self.memory());
        self.given.progress.send_replace(progress);
    }
}

fn told(record: &Record, reason: Reason, duration_ms: u64) {
    let watermark = record.watermark.map(|at| at.to_string());
    info!(
        lake.table = %record.output,
        topic_partition = record.topic_partition,
        seq = record.seq,
        rows = record.counts.landed,
        quarantined = record.counts.quarantined,
        files = record.files.len(),
        watermark,
        %reason,
        duration_ms,
        "committed offsets {} to {}",
        record.start,
        record.end,
    );
}

impl Heard {
    /// Notes the end offset of a topic partition, and says whether it has grown.
    fn grown(&mut self, topic_partition: u32, end: i64) -> bool {
        self.ends.insert(topic_partition, end).is_some_and(|before| before < end)
    }

    /// Whether another topic partition was heard since this was last asked for this one.
    fn others(&mut self, topic_partition: u32) -> Others {
        let others = self.counts.iter().filter(|(at, _)| **at != topic_partition);
        let others: u64 = others.map(|(_, count)| count).sum();
        match self.others.insert(topic_partition, others) {
            Some(before) if before < others => Others::Spoke,
            Some(_) | None => Others::Silent,
        }
    }
}

/// The error of a thread that has panicked.
pub fn panicked(name: &str) -> Error {
    Error::new(ErrorKind::Bug, format!("the {name} thread panicked"))
}
