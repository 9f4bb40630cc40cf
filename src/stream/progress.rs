//! How far a stream has come, as heartbeats and screens show it.

use super::owned::Owned;
use crate::model::commit::{Counts, Record};
use crate::model::time::{EventTime, Micros};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How often progress is reported.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Over how many tellings the rate is taken.
const RATE_TELLINGS: usize = 5;

/// A stream's state at one moment; a new one about every second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub at: Micros,
    /// What this process has committed since it started.
    pub counts: Counts,
    /// Messages read since it started, committed or not.
    pub read: u64,
    /// Messages read a second, over the last few seconds.
    pub rate: f64,
    /// Buffered rows and unfinished files.
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    /// Hive partitions with rows that are not committed yet.
    pub open: u32,
    /// The topic partitions that are ours now.
    pub topic_partitions: BTreeMap<u32, TopicPartitionProgress>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopicPartitionProgress {
    /// Every message before it is committed: where the last record ends, or behind what follows it
    /// and is no message.
    pub committed: i64,
    /// The end offset, when it was last asked for.
    pub end: i64,
    /// From the last record.
    pub watermark: Option<EventTime>,
    /// Number of the last record; 0 while there is none.
    pub seq: u64,
    pub committed_at: Option<Micros>,
}

impl TopicPartitionProgress {
    /// Messages between the last record and the end offset.
    pub fn lag(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.committed)).unwrap_or(0)
    }
}

impl Progress {
    pub fn lag(&self) -> u64 {
        self.topic_partitions.values().map(TopicPartitionProgress::lag).sum()
    }
}

/// Counts what a writer does, and reports it.
pub(super) struct Meter {
    limit_bytes: u64,
    counts: Counts,
    read: u64,
    told: Micros,
    /// When how many messages had been read, the last few times it was reported.
    reads: VecDeque<(Micros, u64)>,
}

impl Meter {
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            counts: Counts::default(),
            read: 0,
            told: Micros::MIN,
            reads: VecDeque::new(),
        }
    }

    pub fn read(&mut self, messages: u64) {
        self.read += messages;
    }

    pub fn committed(&mut self, record: &Record) {
        let Counts { read, landed, quarantined, dropped, tombstones, marks } = record.counts;
        self.counts.read += read;
        self.counts.landed += landed;
        self.counts.quarantined += quarantined;
        self.counts.dropped += dropped;
        self.counts.tombstones += tombstones;
        self.counts.marks += marks;
        self.told = Micros::MIN;
    }

    pub fn due(&self, now: Micros) -> bool {
        now.since(self.told) >= TELL_EVERY
    }

    /// `now` by the steady time, as all that this process measures, and by the wall clock.
    pub fn progress(
        &mut self,
        (now, wall): (Micros, Micros),
        owned: &BTreeMap<u32, Owned>,
        ends: &BTreeMap<u32, i64>,
        memory_bytes: u64,
    ) -> Progress {
        self.told = now;
        let open: BTreeSet<_> = owned.values().flat_map(|owned| owned.output.keys()).collect();
        let topic_partition = |(&at, owned): (&u32, &Owned)| {
            let ledger = &owned.ledger;
            let committed = ledger.settled();
            let progress = TopicPartitionProgress {
                committed,
                end: ends.get(&at).copied().unwrap_or(committed).max(ledger.end),
                watermark: ledger.watermark.committed(),
                seq: ledger.last().map_or(0, |record| record.seq),
                committed_at: ledger.committed_at.map(|at| wall.minus(now.since(at))),
            };
            (at, progress)
        };
        Progress {
            at: wall,
            counts: self.counts,
            read: self.read,
            rate: self.rate(now),
            memory_bytes,
            memory_limit_bytes: self.limit_bytes,
            open: u32::try_from(open.len()).unwrap_or(u32::MAX),
            topic_partitions: owned.iter().map(topic_partition).collect(),
        }
    }

    fn rate(&mut self, now: Micros) -> f64 {
        let recent = self.reads.back().is_some_and(|(at, _)| now.since(*at) < TELL_EVERY);
        if !recent {
            self.reads.push_back((now, self.read));
        }
        if self.reads.len() > RATE_TELLINGS {
            self.reads.pop_front();
        }
        let Some(&(since, read)) = self.reads.front() else { return 0.0 };
        let seconds = now.since(since).as_secs_f64();
        let messages = u32::try_from(self.read - read).unwrap_or(u32::MAX);
        if seconds > 0.0 { f64::from(messages) / seconds } else { 0.0 }
    }
}
