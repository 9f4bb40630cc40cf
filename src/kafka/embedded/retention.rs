//! Decides which segments a topic no longer keeps.

use crate::model::time::Micros;
use std::time::Duration;

/// A segment that is no longer written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub topic_partition: u32,
    pub base: i64,
    pub bytes: u64,
    /// All its messages arrived before: when the first one of the next segment did.
    pub arrived_before: Micros,
}

/// The segments to delete: those past `retention`, then the oldest of the topic until all of it
/// takes at most `keep_bytes`. `active_bytes` are of the segments being written, which always stay.
pub fn expired(
    mut segments: Vec<Segment>,
    active_bytes: u64,
    now: Micros,
    retention: Duration,
    keep_bytes: u64,
) -> Vec<Segment> {
    // By base too, so that a topic partition only ever loses its oldest offsets.
    segments.sort_by_key(|segment| (segment.arrived_before, segment.base));
    let mut bytes = active_bytes + segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let limit = now.minus(retention);
    let mut goes = |segment: &Segment| {
        let goes = segment.arrived_before < limit || bytes > keep_bytes;
        if goes {
            bytes -= segment.bytes;
        }
        goes
    };
    segments.into_iter().take_while(|segment| goes(segment)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(topic_partition: u32, base: i64, secs: i64) -> Segment {
        let arrived_before = Micros(secs * 1_000_000);
        Segment { topic_partition, base, bytes: 10, arrived_before }
    }

    #[track_caller]
    fn check(now_secs: i64, keep_bytes: u64, expected: &[(u32, i64)]) {
        let segments = vec![segment(1, 5, 20), segment(0, 0, 10), segment(0, 9, 30)];
        let now = Micros(now_secs * 1_000_000);
        let gone = expired(segments, 5, now, Duration::from_mins(1), keep_bytes);
        let gone: Vec<_> = gone.iter().map(|gone| (gone.topic_partition, gone.base)).collect();
        assert_eq!(gone, expected);
    }

    #[test]
    fn what_is_young_and_small_stays() {
        check(70, 35, &[]);
    }

    #[test]
    fn age_takes_whole_segments() {
        check(81, 1_000, &[(0, 0), (1, 5)]);
    }

    #[test]
    fn size_takes_the_oldest_of_the_topic() {
        check(0, 34, &[(0, 0)]);
        check(0, 15, &[(0, 0), (1, 5)]);
        check(0, 0, &[(0, 0), (1, 5), (0, 9)]);
    }
}
