//! Marks: how far a feed that has ended may vouch for, and so how far any mark may go.

use super::hive::{Grain, PartitionBy};
use super::time::EventTime;
use std::time::Duration;

/// How a table that reads the topic is cut, and how long after a partition's end it closes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader {
    pub partition_by: PartitionBy,
    pub close_after: Duration,
}

/// Returns the mark that ends a feed whose newest event is dated `newest`: the end of that event's
/// UTC day, or of its hive partition in a table cut otherwise, and as much more as that table waits.
///
/// So the last hour closes, and the day with it. The next day's events are still in time: a second
/// file may be replayed after the first. A month ends only with an event, or an end, in the next one.
pub fn end_mark(newest: EventTime, readers: &[Reader]) -> EventTime {
    let end = |by: &PartitionBy| by.range(&by.key_of(newest)).1;
    let day = end(&PartitionBy::utc(Grain::Day));
    let of = |reader: &Reader| {
        let own = match reader.partition_by.grain {
            Grain::Hour | Grain::Day => end(&reader.partition_by),
            Grain::Month => day,
        };
        own.max(day).plus(reader.close_after)
    };
    readers.iter().map(of).max().unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::super::time::Micros;
    use super::*;

    #[track_caller]
    fn check(newest: &str, readers: &[(Grain, &str, u64)], expected: &str) {
        let readers: Vec<_> = readers
            .iter()
            .map(|(grain, timezone, minutes)| Reader {
                partition_by: PartitionBy { grain: *grain, timezone: timezone.parse().unwrap() },
                close_after: Duration::from_mins(*minutes),
            })
            .collect();
        let newest = Micros::from(newest.parse::<jiff::Timestamp>().unwrap());
        assert_eq!(end_mark(newest, &readers).to_string(), expected);
    }

    #[test]
    fn the_last_hour_and_its_day_close_and_no_hour_of_the_next() {
        check("2015-09-12T23:59:59Z", &[(Grain::Hour, "UTC", 10)], "2015-09-13T00:10:00Z");
        check("2015-09-12T05:00:00Z", &[(Grain::Hour, "UTC", 10)], "2015-09-13T00:10:00Z");
    }

    #[test]
    fn the_table_that_waits_longest_decides() {
        let readers = [(Grain::Hour, "UTC", 10), (Grain::Day, "UTC", 60)];
        check("2015-09-12T05:00:00Z", &readers, "2015-09-13T01:00:00Z");
    }

    #[test]
    fn a_day_elsewhere_closes_too() {
        let readers = [(Grain::Day, "Europe/Madrid", 0)];
        check("2015-09-12T23:30:00Z", &readers, "2015-09-13T22:00:00Z");
    }

    #[test]
    fn a_month_stays_open_for_its_other_days() {
        check("2015-09-12T05:00:00Z", &[(Grain::Month, "UTC", 0)], "2015-09-13T00:00:00Z");
    }
}
