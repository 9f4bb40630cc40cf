//! How far event time has come in one topic partition.
//!
//! Rows that land move it, and marks. Where a topic has no marks, silence moves it too, but only
//! while the topic partition has nothing left to read, at wall-clock pace from where its data left
//! it, and only while another one speaks: a topic that is silent as a whole is taken for an outage
//! and holds its hours open. So replayed days of 2015 stay in 2015.

use crate::model::commit::Record;
use crate::model::time::{EventTime, Micros};
use std::time::Duration;

/// A silence of the whole topic that is longer than this was an outage: when another topic
/// partition is heard again, the time in between does not count, for what was held up may follow.
const OUTAGE: Duration = Duration::from_mins(10);

/// Who else was heard since the last look at a topic partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    Spoke,
    Silent,
    /// `idle = "advance"`: silence means that nothing has happened.
    DontMatter,
}

/// The watermark of one topic partition, and what it is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    out_of_order: Duration,
    /// Of the last record; what follows is never below it.
    committed: Option<EventTime>,
    /// Where event time began for us, if no record tells it.
    began: Option<EventTime>,
    highest: Option<EventTime>,
    mark: Option<EventTime>,
    marked: bool,
    without_marks: bool,
    quiet: Option<Quiet>,
}

/// A topic partition that is read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quiet {
    seen: Micros,
    /// Time that counts.
    counted: Duration,
    /// Time that counts as soon as another topic partition is heard.
    waiting: Duration,
}

impl Watermark {
    /// As the last record left it.
    pub fn after(last: Option<&Record>, out_of_order: Duration) -> Self {
        let committed = last.and_then(|record| record.watermark);
        Self {
            out_of_order,
            committed,
            began: None,
            highest: committed.map(|at| at.plus(out_of_order)),
            mark: None,
            marked: last.is_some_and(|record| record.marked),
            without_marks: false,
            quiet: None,
        }
    }

    /// Marks do not count, nor those that earlier records have seen.
    pub fn without_marks(self) -> Self {
        Self { without_marks: true, ..self }
    }

    /// A message has come, whatever became of it: this is no silence.
    pub fn heard(&mut self) {
        self.quiet = None;
    }

    /// Rows have landed whose event times lie between these two, both included.
    pub fn landed(&mut self, lowest: EventTime, highest: EventTime) {
        self.begins(lowest.minus(self.out_of_order));
        self.highest = self.highest.max(Some(highest));
    }

    /// "No event before `at` will follow."
    pub fn mark(&mut self, at: EventTime) {
        self.begins(at);
        self.mark = self.mark.max(Some(at));
        self.marked = true;
    }

    fn begins(&mut self, at: EventTime) {
        self.began = Some(self.began.map_or(at, |began| began.min(at)));
    }

    /// A mark was seen, here or in another topic partition: this topic has marks.
    pub fn topic_has_marks(&mut self) {
        self.marked = true;
    }

    /// At `at`, and then only, the end offset was asked for, and nothing was left to read, or was.
    pub fn looked(&mut self, at: Micros, caught_up: bool, others: Others) {
        if !caught_up {
            self.quiet = None;
            return;
        }
        let Some(quiet) = &mut self.quiet else {
            let (counted, waiting) = (Duration::ZERO, Duration::ZERO);
            self.quiet = Some(Quiet { seen: at, counted, waiting });
            return;
        };
        quiet.waiting += at.since(quiet.seen);
        // Also where the clock was set back: time goes on from there.
        quiet.seen = at;
        match others {
            Others::Silent => {}
            Others::Spoke if quiet.waiting > OUTAGE => quiet.waiting = Duration::ZERO,
            Others::Spoke | Others::DontMatter => {
                quiet.counted += std::mem::take(&mut quiet.waiting);
            }
        }
    }

    /// What a record made now would say.
    pub fn now(&self) -> Option<EventTime> {
        let data = self.highest.map(|highest| highest.minus(self.out_of_order));
        let idle = match (&self.quiet, self.highest) {
            (Some(quiet), Some(highest)) if !self.marked || self.without_marks => {
                let moved = highest.plus(quiet.counted).min(quiet.seen);
                Some(moved.minus(self.out_of_order))
            }
            _ => None,
        };
        self.committed.max(data).max(self.mark).max(idle)
    }

    pub fn committed(&self) -> Option<EventTime> {
        self.committed
    }

    pub fn marked(&self) -> bool {
        self.marked
    }

    /// Where the watermark stood before anything of ours, for whoever asks what it has passed.
    pub fn before(&self) -> Option<EventTime> {
        self.committed.or(self.began)
    }

    /// A record with what [`Self::now`] said is in the log.
    pub fn commit(&mut self, watermark: Option<EventTime>) {
        self.committed = self.committed.max(watermark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_holds_silence_only_where_it_stands_then() {
        let mut watermark = Watermark::after(None, Duration::ZERO);
        watermark.landed(Micros(0), Micros(0));
        let minutes = |minutes: i64| Micros(minutes * 60 * SECOND);
        for at in [600, 605, 420, 425] {
            watermark.looked(minutes(at), true, Others::Spoke);
        }
        assert_eq!(watermark.now(), Some(minutes(10)));
    }

    #[test]
    fn a_machine_that_slept_for_days_does_not_take_them_for_silence() {
        let mut watermark = Watermark::after(None, Duration::ZERO);
        watermark.landed(Micros(0), Micros(0));
        let minutes = |minutes: i64| Micros(minutes * 60 * SECOND);
        for at in [600, 605, 605 + 48 * 60, 606 + 48 * 60] {
            watermark.looked(minutes(at), true, Others::Spoke);
        }
        assert_eq!(watermark.now(), Some(minutes(6)));
    }

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Micros {
        Micros(seconds * SECOND)
    }

    fn fresh() -> Watermark {
        Watermark::after(None, Duration::from_secs(5))
    }

    #[track_caller]
    fn check(watermark: &Watermark, seconds: i64) {
        assert_eq!(watermark.now(), Some(at(seconds)));
    }

    #[test]
    fn rows_move_it_and_it_never_goes_back() {
        let mut watermark = fresh();
        assert_eq!(watermark.now(), None);
        watermark.landed(at(90), at(100));
        check(&watermark, 95);
        watermark.commit(watermark.now());
        watermark.landed(at(10), at(20));
        check(&watermark, 95);
    }

    #[test]
    fn a_mark_moves_it_to_its_own_time() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        watermark.mark(at(200));
        check(&watermark, 200);
        watermark.mark(at(150));
        check(&watermark, 200);
    }

    #[test]
    fn it_knows_where_it_began() {
        let mut watermark = fresh();
        watermark.mark(at(50));
        watermark.mark(at(200));
        assert_eq!(watermark.before(), Some(at(50)));
        watermark.landed(at(40), at(300));
        assert_eq!(watermark.before(), Some(at(35)));
        watermark.commit(watermark.now());
        assert_eq!(watermark.before(), Some(at(295)));
    }

    #[test]
    fn silence_moves_it_at_wall_clock_pace_while_others_speak() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        watermark.looked(at(1000), true, Others::Spoke);
        check(&watermark, 95);
        watermark.looked(at(1030), true, Others::Spoke);
        check(&watermark, 125);
    }

    #[test]
    fn a_silent_topic_holds_it_and_a_short_silence_counts_later() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        for second in [1000, 1030, 1060] {
            watermark.looked(at(second), true, Others::Silent);
            check(&watermark, 95);
        }
        watermark.looked(at(1090), true, Others::Spoke);
        check(&watermark, 185);
    }

    #[test]
    fn an_outage_does_not_count() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        watermark.looked(at(1000), true, Others::Silent);
        watermark.looked(at(5000), true, Others::Silent);
        watermark.looked(at(5001), true, Others::Spoke);
        check(&watermark, 95);
    }

    #[test]
    fn silence_that_does_not_matter_moves_it_alone() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        watermark.looked(at(1000), true, Others::DontMatter);
        watermark.looked(at(9000), true, Others::DontMatter);
        check(&watermark, 8095);
    }

    #[test]
    fn it_never_passes_the_wall_clock() {
        let mut watermark = fresh();
        watermark.landed(at(1020), at(1020));
        watermark.looked(at(1000), true, Others::Spoke);
        watermark.looked(at(1030), true, Others::Spoke);
        check(&watermark, 1025);
    }

    #[test]
    fn what_is_left_to_read_starts_the_silence_anew() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        watermark.looked(at(1000), true, Others::Spoke);
        watermark.looked(at(1010), false, Others::Spoke);
        watermark.looked(at(1020), true, Others::Spoke);
        check(&watermark, 95);
        watermark.looked(at(1025), true, Others::Spoke);
        check(&watermark, 100);
        watermark.heard();
        check(&watermark, 95);
    }

    #[test]
    fn a_topic_with_marks_never_uses_the_clock() {
        let mut watermark = fresh();
        watermark.landed(at(100), at(100));
        watermark.mark(at(100));
        watermark.looked(at(1000), true, Others::Spoke);
        watermark.looked(at(2000), true, Others::Spoke);
        check(&watermark, 100);
        let mut watermark = watermark.without_marks();
        watermark.looked(at(2030), true, Others::Spoke);
        check(&watermark, 125);
    }

    #[test]
    fn a_topic_partition_without_a_message_has_none() {
        let mut watermark = fresh();
        watermark.looked(at(1000), true, Others::DontMatter);
        watermark.looked(at(2000), true, Others::DontMatter);
        assert_eq!(watermark.now(), None);
    }
}
