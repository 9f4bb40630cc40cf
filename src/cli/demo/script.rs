//! What the demo does and says when: a pure function of what it sees.

use super::watch::Facts;
use crate::cli::screen::count;
use crate::model::duration::show_duration;
use crate::model::hive::PartitionKey;
use crate::model::time::Micros;

/// The landing process is killed when this share of the hours has closed, in percent.
const KILL_AT: usize = 40;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Say(String),
    Kill(i32),
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
    Killed { at: Micros, epoch: u64, topic_partition: u32 },
    Over,
}

impl Script {
    pub fn new(hours: Vec<PartitionKey>, late: Option<(u32, Vec<PartitionKey>)>) -> Self {
        Self { hours, late, kill: Kill::Waiting, late_said: false, again_said: false }
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
            Kill::Waiting => {
                let late_enough = facts.closed.len() * 100 >= self.hours.len() * KILL_AT;
                if facts.feed_ended {
                    self.kill = Kill::Over; // Too short a play for it.
                } else if let Some(landing) =
                    facts.landing.filter(|_| late_enough && !facts.closed.is_empty())
                {
                    let (topic_partition, offset) = landing.place;
                    let offset = count(u64::try_from(offset).unwrap_or(0));
                    acts.push(Act::Say(format!(
                        "we kill -9 the landing process (pid {}) at offset {offset} of topic partition {topic_partition}",
                        landing.pid
                    )));
                    acts.push(Act::Kill(landing.pid));
                    self.kill = Kill::Killed { at: now, epoch: landing.epoch, topic_partition };
                }
            }
            Kill::Killed { at, epoch, topic_partition } => {
                if facts.landing.is_some_and(|landing| landing.epoch > epoch) {
                    let committed = facts.committed.get(&topic_partition).copied().unwrap_or(0);
                    let committed = count(u64::try_from(committed).unwrap_or(0));
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
        let late_done = self.late.is_none() || self.again_said;
        let closed = self.hours.iter().all(|hour| facts.closed.contains_key(hour));
        let counted = facts.closed.values().map(|n| *n as usize).sum::<usize>();
        facts.feed_ended
            && closed
            && late_done
            && !matches!(self.kill, Kill::Killed { .. })
            && facts.batches_open == 0
            && facts.batches_done >= counted
            && facts.days_done > 0
    }
}
