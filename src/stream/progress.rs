//! How far a stream has come, as heartbeats and screens tell it.

use crate::model::commit::Counts;
use crate::model::time::EventTime;
use crate::model::time::Micros;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// A stream's state at one moment; a new one about every second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub at: Micros,
    /// What this process has committed since it started.
    pub counts: Counts,
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
    /// Where the last record ends.
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
