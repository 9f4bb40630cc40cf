//! What the demo does and says when: a pure function of what it sees.

use super::watch::Facts;
use crate::model::duration::show_duration;
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::time::Micros;
use crate::terminal::screen::count;
use std::collections::BTreeSet;
use std::time::Duration;

/// The landing process is killed when this share of the hours has closed, in percent.
const KILL_AT: usize = 40;
/// Of a live stream, whose hours close later: when so many rows have landed.
const LIVE_KILL_AT: u64 = 200;
/// How long to wait for a moment at which it holds rows that are not committed.
const HOLDS_NOTHING_MAX: Duration = Duration::from_secs(3);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Say(String),
    /// Kills the landing process, and says so with the end of that topic partition.
    Kill {
        pid: i32,
        topic_partition: u32,
    },
}

/// `end`: of the topic partition when the process was dead. It has read no further.
pub fn killed(pid: i32, topic_partition: u32, end: i64) -> String {
    let end = count(u64::try_from(end).unwrap_or(0));
    format!(
        "we kill -9 the landing process (pid {pid}) at offset {end} of topic partition {topic_partition}"
    )
}

/// How far the play is.
#[derive(Clone, Debug)]
pub struct Script {
    /// All hours that will close; none where that is not known before.
    hours: Vec<PartitionKey>,
    /// Late rows, and the hours that they belong to.
    late: Option<(u32, Vec<PartitionKey>)>,
    kill: Kill,
    late_said: bool,
    again_said: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Waiting,
    /// Since when it could be killed.
    Due(Micros),
    Killed {
        at: Micros,
        epoch: u64,
        topic_partition: u32,
        /// The end of its last commit, as far as that is known.
        committed: i64,
    },
    Over,
}

impl Script {
    pub fn new(hours: Vec<PartitionKey>, late: Option<(u32, Vec<PartitionKey>)>) -> Self {
        Self { hours, late, kill: Kill::Waiting, late_said: false, again_said: false }
    }

    /// Of a stream that goes on for ever: a kill, and nothing else.
    pub fn live() -> Self {
        Self::new(Vec::new(), None)
    }

    pub fn hours(&self) -> &[PartitionKey] {
        &self.hours
    }

    pub fn next(&mut self, facts: &Facts, now: Micros) -> Vec<Act> {
        let mut acts = Vec::new();
        self.kill(facts, now, &mut acts);
        self.late(facts, &mut acts);
        acts
    }

    fn kill(&mut self, facts: &Facts, now: Micros, acts: &mut Vec<Act>) {
        match self.kill {
            // Too short a play for it.
            Kill::Waiting | Kill::Due(_) if facts.feed_ended => self.kill = Kill::Over,
            Kill::Waiting => {
                let is_due = if self.hours.is_empty() {
                    facts.landed >= LIVE_KILL_AT
                } else {
                    facts.closed.len() * 100 >= self.hours.len() * KILL_AT
                        && !facts.closed.is_empty()
                };
                if is_due {
                    self.kill = Kill::Due(now);
                }
            }
            Kill::Due(since) => {
                let Some(landing) = facts.landing else { return };
                let (topic_partition, offset) = landing.place;
                let committed = facts.committed.get(&topic_partition).copied().unwrap_or(0);
                if offset <= committed && now.since(since) < HOLDS_NOTHING_MAX {
                    return;
                }
                acts.push(Act::Kill { pid: landing.pid, topic_partition });
                let epoch = landing.epoch;
                self.kill = Kill::Killed { at: now, epoch, topic_partition, committed };
            }
            Kill::Killed { at, epoch, topic_partition, ref mut committed } => {
                if facts.landing.is_none_or(|landing| landing.epoch <= epoch) {
                    // Until the next process works, a commit that appears is the dead one's.
                    let now = facts.committed.get(&topic_partition).copied();
                    *committed = now.unwrap_or(0).max(*committed);
                } else {
                    let committed = count(u64::try_from(*committed).unwrap_or(0));
                    acts.push(Act::Say(format!(
                        "it is back after {} at offset {committed}, its last commit",
                        show_duration(now.since(at))
                    )));
                    self.kill = Kill::Over;
                }
            }
            Kill::Over => {}
        }
    }

    /// Whether the process was killed and is back.
    pub fn has_shown_the_kill(&self) -> bool {
        self.kill == Kill::Over
    }

    fn late(&mut self, facts: &Facts, acts: &mut Vec<Act>) {
        let Some((rows, hours)) = &self.late else { return };
        let revisions: Vec<_> = hours.iter().filter_map(|hour| facts.closed.get(hour)).collect();
        let again = revisions.iter().filter(|n| ***n > 1).count();
        // A second closing is made of late rows; they are seen a moment before.
        let arrived = facts.late_rows > 0 || again > 0;
        let named: Vec<_> =
            hours.iter().map(|hour| hour.start.strftime("%H:%M").to_string()).collect();
        let named = named.join(" and ");
        if arrived && !self.late_said {
            acts.push(Act::Say(format!("{rows} rows for {named} arrive, hours after both closed")));
            self.late_said = true;
        }
        let others = facts.closed.iter().filter(|(hour, _)| !hours.contains(hour));
        if again == hours.len() && !self.again_said {
            let untouched = others.clone().all(|(_, n)| *n == 1);
            let rest = if untouched { "the others untouched" } else { "and others too" };
            acts.push(Act::Say(format!(
                "both close again: 2 batches, 2 warehouse partitions replaced, {rest}"
            )));
            self.again_said = true;
        }
    }

    /// Whether all that was to happen has happened.
    pub fn is_over(&self, facts: &Facts) -> bool {
        // Late rows of a file are seen before their hours close again. On a very slow machine those of the
        // simulation come before their hours have closed: no second closing.
        let landed = facts.landed + facts.quarantined + facts.dropped == facts.produced;
        let by = PartitionBy::utc(Grain::Hour);
        // An hour without rows passes without a closing.
        let passed = |hour: &PartitionKey| {
            facts.closed.contains_key(hour)
                || facts.frontier.is_some_and(|frontier| by.range(hour).1 <= frontier)
        };
        let counted = |(hour, n): (&PartitionKey, &u32)| facts.counted.get(hour) == Some(n);
        let days: BTreeSet<_> = facts.closed.keys().map(|hour| hour.within(Grain::Day)).collect();
        facts.feed_ended
            && landed
            && self.hours.iter().all(passed)
            && facts.closed.iter().all(counted)
            && facts.hours_open == 0
            && facts.to_follow == 0
            && !matches!(self.kill, Kill::Killed { .. })
            && facts.batches_open == 0
            && facts.days_done >= days.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch::Landing;
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn hours() -> Vec<PartitionKey> {
        (0..24).map(|hour| format!("2026-11-20T{hour:02}").parse().unwrap()).collect()
    }

    fn closed(count: usize) -> Facts {
        Facts {
            closed: hours()[..count].iter().map(|hour| (*hour, 1)).collect(),
            ..Facts::default()
        }
    }

    fn landing(epoch: u64, offset: i64) -> Landing {
        Landing { pid: 41_877, epoch, place: (2, offset) }
    }

    #[track_caller]
    fn check(script: &mut Script, facts: &Facts, secs: i64, expected: &[&str]) {
        let said: Vec<_> = script
            .next(facts, Micros(secs * SECOND))
            .into_iter()
            .map(|act| match act {
                Act::Say(what) => what,
                Act::Kill { pid, topic_partition } => format!("kill {pid} of {topic_partition}"),
            })
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn the_landing_process_is_killed_once_while_it_holds_rows() {
        let mut script = Script::new(hours(), None);
        check(&mut script, &closed(3), 0, &[]);
        let mut facts = closed(10);
        facts.landing = Some(landing(1, 26_102));
        facts.committed.insert(2, 26_102);
        check(&mut script, &facts, 20, &[]);
        check(&mut script, &facts, 21, &[]);
        facts.committed.insert(2, 25_880);
        check(&mut script, &facts, 21, &["kill 41877 of 2"]);
        facts.committed.insert(2, 26_000);
        check(&mut script, &facts, 21, &[]);
        facts.landing = Some(landing(2, 0));
        facts.committed.insert(2, 26_400);
        check(
            &mut script,
            &facts,
            22,
            &["it is back after 1.0 s at offset 26,000, its last commit"],
        );
        check(&mut script, &facts, 23, &[]);
    }

    #[test]
    fn of_a_live_stream_the_kill_comes_when_some_rows_have_landed() {
        let mut script = Script::live();
        let landing = Some(landing(1, 60));
        let facts = |landed| Facts { landed, landing, ..Facts::default() };
        check(&mut script, &facts(199), 5, &[]);
        check(&mut script, &facts(200), 6, &[]);
        check(&mut script, &facts(220), 7, &["kill 41877 of 2"]);
        assert!(!script.has_shown_the_kill());
    }

    #[test]
    fn late_rows_are_told_when_they_come_and_when_both_hours_have_closed_again() {
        let late = Some((312, hours()[9..=10].to_vec()));
        let mut script = Script::new(hours(), late);
        let mut facts = closed(9);
        check(&mut script, &facts, 1, &[]);
        facts = Facts { late_rows: 78, ..closed(17) };
        let arrive = "312 rows for 09:00 and 10:00 arrive, hours after both closed";
        check(&mut script, &facts, 2, &[arrive]);
        facts.closed.insert(hours()[9], 2);
        check(&mut script, &facts, 3, &[]);
        facts.closed.insert(hours()[10], 2);
        check(
            &mut script,
            &facts,
            4,
            &["both close again: 2 batches, 2 warehouse partitions replaced, the others untouched"],
        );
    }

    #[test]
    fn it_is_over_when_every_closing_has_its_batch_and_the_day_is_done() {
        let script = Script::new(hours(), None);
        let counted = closed(24).closed;
        let over = Facts { feed_ended: true, counted, days_done: 1, ..closed(24) };
        assert!(script.is_over(&over));
        assert!(!script.is_over(&Facts { feed_ended: false, ..over.clone() }));
        assert!(!script.is_over(&Facts { counted: closed(23).closed, ..over.clone() }));
        assert!(!script.is_over(&Facts { days_done: 0, ..over.clone() }));
        assert!(!script.is_over(&Facts { batches_open: 1, ..over.clone() }));
        assert!(!script.is_over(&Facts { hours_open: 1, ..over.clone() }), "late rows wait");
        assert!(!script.is_over(&Facts { to_follow: 1, ..over }), "the day is due again");
    }

    #[test]
    fn an_hour_without_rows_is_not_waited_for() {
        let script = Script::new(hours()[..3].to_vec(), None);
        let mut facts = closed(3);
        facts.closed.remove(&hours()[1]);
        facts.counted = facts.closed.clone();
        (facts.feed_ended, facts.days_done) = (true, 1);
        assert!(!script.is_over(&facts));
        facts.frontier = Some(PartitionBy::utc(Grain::Hour).range(&hours()[2]).1);
        assert!(script.is_over(&facts));
    }
}
