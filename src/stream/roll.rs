//! When the files of a topic partition are closed and committed, and what gives way when memory is
//! short. Pure: the writer asks after each event and on a timer.

use crate::model::hive::{PartitionBy, PartitionKey};
use crate::model::time::{EventTime, Micros};
use std::fmt;
use std::time::Duration;

/// A replay passes the end of an hour many times a second; each commit costs disk syncs, so a
/// topic partition makes at most one a second for its watermark's sake.
pub const WATERMARK_PAUSE: Duration = Duration::from_secs(1);

/// A smaller file is not worth sealing early: it would leave many small ones in a hive partition.
const SEAL_BYTES_MIN: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Size,
    Time,
    /// A hive partition may close now.
    Watermark,
    /// The log says nothing of this topic partition yet, or nothing of its event time.
    First,
    Memory,
    Rebalance,
    Stop,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "size",
            Self::Time => "time",
            Self::Watermark => "watermark",
            Self::First => "first",
            Self::Memory => "memory",
            Self::Rebalance => "rebalance",
            Self::Stop => "stop",
        })
    }
}

/// What the job says.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub every: Duration,
    pub size_bytes: u64,
    pub close_after: Duration,
    pub partition_by: PartitionBy,
}

/// What is known of a topic partition.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When the first message came that is not committed yet.
    pub since: Option<Micros>,
    pub bytes: u64,
    pub committed_at: Option<Micros>,
    pub has_record: bool,
    /// That record says that there was more to read.
    pub behind: bool,
    /// No row was ever read, and there is nothing to read.
    pub empty: bool,
    /// Of the last record, or where it began.
    pub watermark_before: Option<EventTime>,
    /// Whether the last record has one.
    pub watermark_committed: bool,
    pub watermark: Option<EventTime>,
}

/// Why a record is due now, if it is.
pub fn due(facts: &Facts, policy: &Policy, now: Micros) -> Option<Reason> {
    if facts.empty && (!facts.has_record || facts.behind) {
        return Some(Reason::First);
    }
    // A record without a watermark was an empty one, which holds nothing back: its first rows must
    // not wait while others close the hours that they lie in.
    if facts.has_record && !facts.watermark_committed && facts.watermark.is_some() {
        return Some(Reason::First);
    }
    if facts.since.is_some() && facts.bytes >= policy.size_bytes {
        return Some(Reason::Size);
    }
    if facts.since.is_some_and(|since| now.since(since) >= policy.every) {
        return Some(Reason::Time);
    }
    let rested = facts.committed_at.is_none_or(|at| now.since(at) >= WATERMARK_PAUSE);
    (rested && lets_close(facts, policy)).then_some(Reason::Watermark)
}

/// When to ask again if nothing happens before.
pub fn next(facts: &Facts, policy: &Policy) -> Option<Micros> {
    let time = facts.since.map(|since| since.plus(policy.every));
    let rested = facts.committed_at.map(|at| at.plus(WATERMARK_PAUSE));
    let watermark = if lets_close(facts, policy) { rested } else { None };
    time.into_iter().chain(watermark).min()
}

/// Whether the frontier has passed the end of a hive partition since the last record.
fn lets_close(facts: &Facts, policy: &Policy) -> bool {
    let (Some(before), Some(watermark)) = (facts.watermark_before, facts.watermark) else {
        return false;
    };
    let key = |at: EventTime| policy.partition_by.key_of(at.minus(policy.close_after));
    watermark > before && key(watermark) > key(before)
}

/// A file that is still written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBytes {
    pub topic_partition: u32,
    pub key: PartitionKey,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// Close and stage this file; the record that names it comes later.
    Seal { topic_partition: u32, key: PartitionKey },
    /// Commit what this topic partition holds.
    Roll { topic_partition: u32 },
}

/// What gives way when `open` files hold more than `limit` bytes.
pub fn relief(open: &[OpenBytes], limit: u64) -> Option<Relief> {
    if open.iter().map(|file| file.bytes).sum::<u64>() <= limit {
        return None;
    }
    let largest = open.iter().max_by_key(|file| file.bytes)?;
    if largest.bytes >= SEAL_BYTES_MIN.min(limit / 2) {
        let OpenBytes { topic_partition, key, .. } = *largest;
        return Some(Relief::Seal { topic_partition, key });
    }
    let held = |topic_partition: u32| {
        let own = open.iter().filter(|file| file.topic_partition == topic_partition);
        own.map(|file| file.bytes).sum::<u64>()
    };
    let most = open.iter().map(|file| file.topic_partition).max_by_key(|&at| held(at))?;
    Some(Relief::Roll { topic_partition: most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hive::Grain;

    const HOUR: i64 = 3_600_000_000;
    const NOW: Micros = Micros(1_000_000_000);

    fn policy() -> Policy {
        Policy {
            every: Duration::from_mins(5),
            size_bytes: 1000,
            close_after: Duration::from_mins(10),
            partition_by: PartitionBy::utc(Grain::Hour),
        }
    }

    fn facts() -> Facts {
        Facts {
            since: Some(Micros(NOW.0 - 1_000_000)),
            bytes: 10,
            committed_at: Some(Micros(NOW.0 - 2_000_000)),
            has_record: true,
            behind: false,
            empty: false,
            watermark_before: Some(Micros(HOUR)),
            watermark_committed: true,
            watermark: Some(Micros(HOUR + 1)),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), reason: Option<Reason>) {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(due(&facts, &policy(), NOW), reason);
    }

    #[test]
    fn rows_wait_until_they_are_many_or_old() {
        check(|_| {}, None);
        check(|facts| facts.bytes = 1000, Some(Reason::Size));
        check(|facts| facts.since = Some(Micros(NOW.0 - 300_000_000)), Some(Reason::Time));
        check(|facts| facts.since = None, None);
    }

    #[test]
    fn a_watermark_past_the_end_of_an_hour_and_its_delay_rolls_at_once() {
        let ten_minutes = 600_000_000;
        let end = 2 * HOUR + ten_minutes;
        check(
            |facts| {
                facts.watermark_before = Some(Micros(HOUR + ten_minutes));
                facts.watermark = Some(Micros(end - 1));
            },
            None,
        );
        check(|facts| facts.watermark = Some(Micros(end)), Some(Reason::Watermark));
        check(
            |facts| {
                facts.watermark = Some(Micros(end));
                facts.since = None;
            },
            Some(Reason::Watermark),
        );
    }

    #[test]
    fn a_replay_commits_for_its_watermark_once_a_second() {
        let mut facts = facts();
        facts.watermark = Some(Micros(9 * HOUR));
        facts.committed_at = Some(Micros(NOW.0 - 999_999));
        assert_eq!(due(&facts, &policy(), NOW), None);
        assert_eq!(next(&facts, &policy()), Some(Micros(NOW.0 + 1)));
        assert_eq!(due(&facts, &policy(), Micros(NOW.0 + 1)), Some(Reason::Watermark));
    }

    #[test]
    fn an_empty_topic_partition_says_so_once() {
        let empty = |facts: &mut Facts| {
            facts.empty = true;
            facts.since = None;
            facts.watermark = None;
            facts.watermark_before = None;
            facts.watermark_committed = false;
        };
        check(
            |facts| {
                empty(facts);
                facts.has_record = false;
            },
            Some(Reason::First),
        );
        check(empty, None);
        check(
            |facts| {
                empty(facts);
                facts.behind = true;
            },
            Some(Reason::First),
        );
    }

    #[test]
    fn the_first_rows_after_an_empty_record_do_not_wait() {
        check(|facts| facts.watermark_committed = false, Some(Reason::First));
    }

    fn open(topic_partition: u32, hour: i64, mebibytes: u64) -> OpenBytes {
        let key = PartitionBy::utc(Grain::Hour).key_of(Micros(hour * HOUR));
        OpenBytes { topic_partition, key, bytes: mebibytes << 20 }
    }

    #[test]
    fn over_budget_the_largest_file_is_sealed() {
        let files = [open(0, 1, 30), open(1, 2, 50), open(1, 3, 30)];
        assert_eq!(relief(&files, 110 << 20), None);
        let seal = Relief::Seal { topic_partition: 1, key: files[1].key };
        assert_eq!(relief(&files, 100 << 20), Some(seal));
    }

    #[test]
    fn where_all_files_are_small_the_fullest_topic_partition_rolls() {
        let mut files: Vec<_> = (0..100).map(|hour| open(0, hour, 1)).collect();
        files.extend((0..50).map(|hour| open(1, hour, 3)));
        assert_eq!(relief(&files, 200 << 20), Some(Relief::Roll { topic_partition: 1 }));
    }
}
