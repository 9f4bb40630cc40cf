//! Decides which hive partitions of a streamed table close now.
//!
//! Whatever makes a partition close, the rule looks only at what has been mirrored from the lake's
//! log: a commit that arrives while we decide is late, and never lost.

// Over 400 lines: half of it is the tests of one rule.

use crate::model::hive::{PartitionBy, PartitionKey};
use crate::model::table::{Cut, OpenPartition};
use crate::model::time::Micros;
use std::collections::BTreeSet;
use std::time::Duration;

/// However often late rows trickle in, a partition closes again this long after the first.
pub const LATE_MAX: Duration = Duration::from_mins(15);

/// All topic partitions of a new topic are empty at first, and a replay may fill one with days of
/// event time before the first rows of the next are committed: so much later they would be there.
pub const EMPTY_REST: Duration = Duration::from_secs(10);

/// Hive partitions without rows that follow each other and close for a gap, or get runs. A year has 8,784 hours;
/// where more of them pass at once, one row's event time is wrong by years.
pub const STRETCH_MAX: u32 = 10_000;

/// So many hive partitions without rows one plan closes: the frontier waits for the rest.
pub const LOST_MAX: usize = 1_000;

/// One table, as far as its log has been mirrored.
#[derive(Clone, Debug)]
pub struct Facts {
    pub partition_by: PartitionBy,
    pub close_after: Duration,
    pub late_quiet: Duration,
    /// Of each member.
    pub heard: Vec<Heard>,
    /// As it stood before.
    pub frontier: Option<Micros>,
    /// Where the table begins, and its frontier with it while there is none.
    pub begin: Option<Micros>,
    /// Hive partitions with files that their newest closing lacks, in the order of their keys.
    pub open: Vec<OpenPartition>,
    pub cuts: Vec<Cut>,
}

/// What the log says of a topic partition's event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// No record, or none yet of marks that others have had, or none of rows though there is more to
    /// read: its rows may lie anywhere, so it holds every hive partition open.
    Nothing,
    /// Read to its end, and no row was there. It holds nothing once [`EMPTY_REST`] has passed, or a
    /// topic partition that no key ever falls into would hold everything for ever.
    Empty,
    Watermark(Micros),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub frontier: Option<Micros>,
    /// In the order of the keys.
    pub close: Vec<Close>,
    /// When late rows will have been quiet for long enough.
    pub wake: Option<Micros>,
}

/// Closing `n` of a hive partition is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub key: PartitionKey,
    pub n: u32,
    pub late: bool,
    pub partial: bool,
    /// No row of it has come, and rows that are lost may have been of it.
    pub lost: bool,
}

pub fn plan(facts: &Facts, now: Micros) -> Plan {
    if let Some(rested) = rested(facts).filter(|rested| !rested.is_due(EMPTY_REST, now)) {
        return Plan { wake: Some(rested), ..Plan::default() };
    }
    let mut plan = Plan { frontier: frontier(facts), ..Plan::default() };
    if let Some(passed) = &mut plan.frontier {
        let lost = lost(facts, passed);
        plan.wake = lost.is_cut_short.then_some(now);
        plan.close = lost.keys.into_iter().map(Close::lost).collect();
    }
    let frontier = plan.frontier;
    for open in &facts.open {
        let end = facts.partition_by.range(&open.key).1;
        // Rows that come before the frontier has passed are in time, also after a forced closing. A
        // new store knows no frontier, and the closings that it has found know theirs.
        let late = open.passed || facts.frontier.is_some_and(|before| end <= before);
        let due = match (late, frontier) {
            (true, _) => (open.last_seen.plus(facts.late_quiet))
                .min(open.first_seen.plus(LATE_MAX.max(facts.late_quiet))),
            (false, Some(frontier)) if end <= frontier => now,
            (false, _) => continue,
        };
        if due.is_due(facts.late_quiet, now) {
            let partial = is_cut(facts, &open.key);
            let n = open.closings + 1;
            plan.close.push(Close { key: open.key, n, late, partial, lost: false });
        } else {
            plan.wake = Some(plan.wake.map_or(due, |wake| wake.min(due)));
        }
    }
    plan.close.sort_by_key(|close| close.key);
    plan
}

impl Close {
    fn lost(key: PartitionKey) -> Self {
        Self { key, n: 1, late: false, partial: true, lost: true }
    }
}

/// Hive partitions of which no row has come, and that lie in a gap: they close as partial, for to pass them as
/// empty would say that nothing has happened in them.
struct Lost {
    keys: BTreeSet<PartitionKey>,
    /// There are more, and the frontier waits before them.
    is_cut_short: bool,
}

/// Finds what the frontier would pass now, and takes it back where that is too much for once.
fn lost(facts: &Facts, frontier: &mut Micros) -> Lost {
    let mut keys = BTreeSet::new();
    let Some(begin) = facts.begin else { return Lost { keys, is_cut_short: false } };
    let by = &facts.partition_by;
    // What passes for a longer one comes from a wrong event time.
    let longest = by.grain.shortest() * STRETCH_MAX;
    for cut in &facts.cuts {
        let to = cut.to.map_or(*frontier, |to| to.min(*frontier));
        let from = cut.from.map_or(begin, |from| from.max(begin)).max(to.minus(longest));
        let mut key = by.key_of(from);
        let mut found = 0;
        while found <= LOST_MAX {
            let (start, end) = by.range(&key);
            if end > *frontier || cut.to.is_some_and(|to| to < start) {
                break;
            }
            let is_open = facts.open.binary_search_by_key(&key, |open| open.key).is_ok();
            if begin < end && start < end && !is_open {
                keys.insert(key);
                found += 1;
            }
            key = key.next();
        }
    }
    let too_many = keys.iter().nth(LOST_MAX).copied();
    if let Some(first) = too_many {
        drop(keys.split_off(&first));
        *frontier = by.range(&first).0;
    }
    Lost { keys, is_cut_short: too_many.is_some() }
}

/// When an empty topic partition is believed to stay so. Only the table's first rows wait for that:
/// later ones find a frontier.
fn rested(facts: &Facts) -> Option<Micros> {
    let asked = facts.frontier.is_none() && facts.heard.contains(&Heard::Empty);
    let first_row = facts.open.iter().map(|open| open.first_seen).min();
    first_row.filter(|_| asked).map(|first_row| first_row.plus(EMPTY_REST))
}

/// The event time before which everything has been heard, less `close_after`. Never goes back.
pub fn frontier(facts: &Facts) -> Option<Micros> {
    let watermark = if facts.heard.contains(&Heard::Nothing) {
        None
    } else {
        let heard = facts.heard.iter().filter_map(|heard| match heard {
            Heard::Nothing | Heard::Empty => None,
            Heard::Watermark(at) => Some(*at),
        });
        heard.min()
    };
    watermark.map(|watermark| watermark.minus(facts.close_after)).max(facts.frontier)
}

/// Whether rows of the hive partition may be missing because the log begins, or goes on, behind them.
pub fn is_cut(facts: &Facts, key: &PartitionKey) -> bool {
    let (start, end) = facts.partition_by.range(key);
    facts
        .cuts
        .iter()
        .any(|cut| cut.from.is_none_or(|from| from < end) && cut.to.is_none_or(|to| to >= start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hive::Grain;

    const MINUTE: i64 = 60_000_000;
    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn an_hour_with_rows_closes_once_the_frontier_has_passed_its_end() {
        let mut facts = facts(&[Some(HOUR + 9 * MINUTE)], None);
        facts.open = vec![open(0, 0, 0, 0)];
        check(&facts, 0, "");
        facts.heard = vec![Heard::Watermark(Micros(HOUR + 10 * MINUTE))];
        check(&facts, 0, "close 1970-01-01T00 n 1");
    }

    #[test]
    fn an_unheard_topic_partition_holds_every_hour() {
        let mut facts = facts(&[Some(9 * HOUR), None], None);
        facts.open = vec![open(0, 0, 0, 0)];
        check(&facts, 0, "");
    }

    #[test]
    fn a_topic_partition_that_is_known_to_be_empty_holds_none() {
        let mut facts = facts(&[Some(9 * HOUR), None], None);
        facts.open = vec![open(0, 0, 0, 0)];
        facts.heard[1] = Heard::Empty;
        check(&facts, MINUTE, "close 1970-01-01T00 n 1");
        facts.heard[0] = Heard::Empty;
        check(&facts, MINUTE, "");
    }

    #[test]
    fn the_first_rows_wait_for_those_of_topic_partitions_that_were_empty_until_now() {
        let mut facts = facts(&[Some(9 * HOUR), None], None);
        facts.open = vec![open(0, 0, MINUTE, MINUTE), open(1, 0, 2 * MINUTE, 2 * MINUTE)];
        facts.heard[1] = Heard::Empty;
        check(&facts, MINUTE + 9_999_999, "wake 1");
        check(&facts, MINUTE + 10_000_000, "close 1970-01-01T00 n 1\nclose 1970-01-01T01 n 1");
        facts.frontier = Some(Micros(0));
        facts.open[0].first_seen = Micros(2 * MINUTE);
        check(&facts, MINUTE, "close 1970-01-01T00 n 1\nclose 1970-01-01T01 n 1");
    }

    #[test]
    fn the_slowest_topic_partition_decides() {
        let mut facts = facts(&[Some(9 * HOUR), Some(HOUR + 10 * MINUTE)], None);
        facts.open = vec![open(0, 0, 0, 0), open(1, 0, 0, 0)];
        check(&facts, 0, "close 1970-01-01T00 n 1");
    }

    #[test]
    fn late_rows_wait_until_it_has_been_quiet() {
        let mut facts = facts(&[Some(9 * HOUR)], Some(8 * HOUR));
        facts.open = vec![open(0, 1, 100 * MINUTE, 101 * MINUTE)];
        check(&facts, 101 * MINUTE, "wake 102");
        check(&facts, 102 * MINUTE, "close 1970-01-01T00 n 2 late");
    }

    #[test]
    fn late_rows_that_never_pause_close_after_a_quarter_of_an_hour() {
        let mut facts = facts(&[Some(9 * HOUR)], Some(8 * HOUR));
        facts.open = vec![open(0, 1, 100 * MINUTE, 115 * MINUTE - 1)];
        check(&facts, 115 * MINUTE - 1, "wake 115");
        check(&facts, 115 * MINUTE, "close 1970-01-01T00 n 2 late");
    }

    #[test]
    fn rows_of_an_hour_that_passed_empty_are_late() {
        let mut facts = facts(&[Some(9 * HOUR)], Some(8 * HOUR));
        facts.open = vec![open(3, 0, 100 * MINUTE, 100 * MINUTE)];
        check(&facts, 100 * MINUTE, "wake 101");
        check(&facts, 101 * MINUTE, "close 1970-01-01T03 n 1 late");
    }

    #[test]
    fn rows_after_a_forced_closing_wait_for_the_frontier_and_are_not_late() {
        let mut facts = facts(&[Some(HOUR)], Some(50 * MINUTE));
        facts.open = vec![open(0, 1, 0, 0)];
        check(&facts, 30 * MINUTE, "");
        facts.heard = vec![Heard::Watermark(Micros(2 * HOUR))];
        check(&facts, 30 * MINUTE, "close 1970-01-01T00 n 2");
    }

    #[test]
    fn rows_after_a_closing_in_time_are_late_though_a_new_store_knows_no_frontier() {
        let mut facts = facts(&[Some(9 * HOUR)], None);
        facts.open = vec![OpenPartition { passed: true, ..open(0, 1, 0, 0) }, open(1, 1, 0, 0)];
        check(&facts, 0, "close 1970-01-01T01 n 2\nwake 1");
        check(&facts, MINUTE, "close 1970-01-01T00 n 2 late\nclose 1970-01-01T01 n 2");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_neither_late_rows_nor_the_first() {
        let mut facts = facts(&[Some(9 * HOUR)], Some(8 * HOUR));
        facts.open = vec![open(0, 1, 300 * MINUTE, 301 * MINUTE)];
        check(&facts, MINUTE, "close 1970-01-01T00 n 2 late");
        (facts.frontier, facts.heard) =
            (None, vec![Heard::Watermark(Micros(9 * HOUR)), Heard::Empty]);
        facts.open = vec![open(0, 0, 300 * MINUTE, 301 * MINUTE)];
        check(&facts, MINUTE, "close 1970-01-01T00 n 1");
    }

    #[test]
    fn the_frontier_never_goes_back() {
        let facts = facts(&[Some(HOUR)], Some(8 * HOUR));
        assert_eq!(frontier(&facts), Some(Micros(8 * HOUR)));
    }

    #[test]
    fn an_hour_cut_by_the_first_offset_closes_as_partial() {
        let mut facts = facts(&[Some(9 * HOUR)], None);
        facts.open = vec![open(5, 0, 0, 0), open(6, 0, 0, 0)];
        facts.cuts = vec![Cut { from: None, to: Some(Micros(5 * HOUR + 20 * MINUTE)) }];
        check(&facts, 0, "close 1970-01-01T05 n 1 partial\nclose 1970-01-01T06 n 1");
    }

    #[test]
    fn hours_without_rows_close_as_partial_where_they_lie_in_a_gap() {
        let mut facts = facts(&[Some(9 * HOUR)], Some(2 * HOUR));
        facts.open = vec![open(5, 0, 0, 0)];
        facts.cuts = vec![cut(Some(2 * HOUR + 30 * MINUTE), Some(6 * HOUR))];
        let rows = "close 1970-01-01T05 n 1 partial";
        let lost = |hour: i64| format!("close 1970-01-01T0{hour} n 1 partial lost");
        let all = [lost(2), lost(3), lost(4), rows.into(), lost(6)].join("\n");
        check(&facts, 0, &all);
        // What has passed is not passed again.
        (facts.frontier, facts.begin) = (Some(Micros(4 * HOUR)), Some(Micros(4 * HOUR)));
        check(&facts, 0, &[lost(4), rows.into(), lost(6)].join("\n"));
    }

    #[test]
    fn a_gap_without_an_end_reaches_as_far_as_the_frontier() {
        let mut facts = facts(&[Some(4 * HOUR + 20 * MINUTE)], Some(2 * HOUR));
        facts.cuts = vec![cut(Some(2 * HOUR), None)];
        check(
            &facts,
            0,
            "close 1970-01-01T02 n 1 partial lost\nclose 1970-01-01T03 n 1 partial lost",
        );
    }

    #[test]
    fn a_gap_before_the_first_row_reaches_back_to_where_the_table_begins() {
        let mut facts = facts(&[Some(9 * HOUR)], None);
        facts.cuts = vec![cut(None, Some(4 * HOUR))];
        check(&facts, 0, "");
        facts.begin = Some(Micros(3 * HOUR));
        check(
            &facts,
            0,
            "close 1970-01-01T03 n 1 partial lost\nclose 1970-01-01T04 n 1 partial lost",
        );
    }

    #[test]
    fn days_in_a_gap_close_too_but_none_that_was_skipped() {
        let at = |text: &str| Micros::from(text.parse::<jiff::Timestamp>().unwrap());
        let mut facts = facts(&[Some(at("2012-01-01T09:00:00Z").0)], None);
        facts.partition_by =
            PartitionBy { grain: Grain::Day, timezone: "Pacific/Apia".parse().unwrap() };
        facts.begin = Some(at("2011-12-29T12:00:00Z"));
        facts.cuts = vec![cut(facts.begin.map(|begin| begin.0), None)];
        check(&facts, 0, "close 2011-12-29 n 1 partial lost\nclose 2011-12-31 n 1 partial lost");
    }

    #[test]
    fn a_long_gap_is_closed_step_by_step() {
        let hours = i64::try_from(LOST_MAX).unwrap() + 5;
        let mut facts = facts(&[Some((hours + 1) * HOUR)], Some(0));
        facts.cuts = vec![cut(Some(0), None)];
        let first = plan(&facts, Micros(7));
        assert_eq!((first.close.len(), first.wake), (LOST_MAX, Some(Micros(7))));
        assert_eq!(first.frontier, Some(Micros((hours - 5) * HOUR)));
        (facts.frontier, facts.begin) = (first.frontier, first.frontier);
        let second = plan(&facts, Micros(7));
        assert_eq!((second.close.len(), second.wake), (5, None));
    }

    fn cut(from: Option<i64>, to: Option<i64>) -> Cut {
        Cut { from: from.map(Micros), to: to.map(Micros) }
    }

    #[track_caller]
    fn check(facts: &Facts, now: i64, expected: &str) {
        let plan = plan(facts, Micros(now));
        let mark = |is: bool, word: &str| if is { format!(" {word}") } else { String::new() };
        let mut lines: Vec<_> = (plan.close.iter())
            .map(|close| {
                let (late, partial) = (mark(close.late, "late"), mark(close.partial, "partial"));
                let lost = mark(close.lost, "lost");
                format!("close {} n {}{late}{partial}{lost}", close.key, close.n)
            })
            .collect();
        lines.extend(plan.wake.map(|wake| format!("wake {}", wake.0 / MINUTE)));
        assert_eq!(lines.join("\n"), expected);
    }

    fn facts(heard: &[Option<i64>], frontier: Option<i64>) -> Facts {
        Facts {
            partition_by: PartitionBy::utc(Grain::Hour),
            close_after: Duration::from_mins(10),
            late_quiet: Duration::from_mins(1),
            heard: heard
                .iter()
                .map(|at| at.map_or(Heard::Nothing, |at| Heard::Watermark(Micros(at))))
                .collect(),
            frontier: frontier.map(Micros),
            begin: frontier.map(Micros),
            open: vec![],
            cuts: vec![],
        }
    }

    fn open(hour: i64, closings: u32, first_seen: i64, last_seen: i64) -> OpenPartition {
        OpenPartition {
            key: PartitionBy::utc(Grain::Hour).key_of(Micros(hour * HOUR)),
            closings,
            passed: false,
            first_seen: Micros(first_seen),
            last_seen: Micros(last_seen),
            files: 1,
            rows: 1,
            bytes: 1,
        }
    }
}
