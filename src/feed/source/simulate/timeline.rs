//! When each simulated event happens: a function of its number alone.

use crate::model::job::{LateRows, Simulate};
use crate::model::time::{EventTime, Micros};
use std::f64::consts::TAU;
use std::time::Duration;

/// Events an hour of event time, where no speed says otherwise: a fifteenth of Wikimedia's, so that
/// a day of them is a minute's work.
const PER_HOUR: f64 = 9_000.0;
/// How far the busiest hour stands above the mean; the quietest is as far below.
const SWING: f64 = 0.15;
const DAY_SECS: f64 = 86_400.0;

/// Event numbers to event time and back.
#[derive(Clone, Debug)]
pub struct Timeline {
    from: EventTime,
    step_secs: f64,
    late: Option<LateRows>,
    /// The number of the first late event.
    late_at: u64,
    total: Option<u64>,
}

impl Timeline {
    pub fn new(simulate: &Simulate) -> Self {
        let step_secs = simulate.speed.map_or(3600.0 / PER_HOUR, |speed| speed / simulate.rate);
        let mut timeline =
            Self { from: simulate.from, step_secs, late: None, late_at: 0, total: None };
        let punctual = simulate.span.map(|span| timeline.first_at(simulate.from.plus(span)));
        if let Some(late) = &simulate.late {
            let at = timeline.first_at(late.at);
            if punctual.is_none_or(|total| at <= total) {
                timeline.late = Some(late.clone());
                timeline.late_at = at;
            }
        }
        let rows = timeline.late.as_ref().map_or(0, |late| u64::from(late.rows));
        timeline.total = punctual.map(|total| total + rows);
        timeline
    }

    /// How many events there are; `None`: without end.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// What event numbers mean: two feeds with the same answer make the same times.
    pub fn identity(&self) -> String {
        format!("{} {} {:?}", self.from.0, self.step_secs, self.late)
    }

    /// The place of a late event among the late ones.
    pub fn lateness(&self, number: u64) -> Option<(u64, &LateRows)> {
        let late = self.late.as_ref()?;
        let place = number.checked_sub(self.late_at)?;
        (place < u64::from(late.rows)).then_some((place, late))
    }

    /// When event `number` is sent, in event time; never goes back from one number to the next. Late
    /// events are sent with the punctual one before them.
    pub fn sent(&self, number: u64) -> EventTime {
        let late = self.late.as_ref().map_or(0, |late| u64::from(late.rows));
        if self.lateness(number).is_some() {
            return self.punctual(self.late_at.saturating_sub(1));
        }
        let held = if number < self.late_at { 0 } else { late };
        self.punctual(number - held)
    }

    /// The time of an event in a day whose evenings are busy and whose nights are quiet.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "microseconds of centuries fit"
    )]
    fn punctual(&self, number: u64) -> EventTime {
        let secs = number as f64 * self.step_secs;
        // The density of events is the inverse of this curve's slope: lowest at 03:00, and a whole
        // day stays a whole day.
        let swing = |secs: f64| ((secs / DAY_SECS - 0.125) * TAU).sin();
        let warped = secs + SWING * DAY_SECS / TAU * (swing(secs) - swing(0.0));
        Micros(self.from.0 + (warped * 1e6) as i64)
    }

    /// The number of the first punctual event at or after `at`.
    fn first_at(&self, at: EventTime) -> u64 {
        let span: Duration = at.since(self.from);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounding the upper end of a search up"
        )]
        let mut above = ((span.as_secs_f64() + DAY_SECS) / self.step_secs) as u64 + 2;
        let mut below = 0;
        while below < above {
            let middle = u64::midpoint(below, above);
            if self.punctual(middle) < at {
                below = middle + 1;
            } else {
                above = middle;
            }
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::SimulateModel;

    const HOUR: Duration = Duration::from_hours(1);

    fn day(late: Option<LateRows>) -> Timeline {
        Timeline::new(&Simulate {
            model: SimulateModel::Recentchange,
            seed: 7,
            rate: 5000.0,
            from: Micros(0),
            span: Some(24 * HOUR),
            speed: None,
            late,
        })
    }

    #[test]
    fn a_day_has_24_times_9000_events_and_stays_within_the_day() {
        let day = day(None);
        assert_eq!(day.total(), Some(216_000));
        assert!(day.sent(0) == Micros(0) && day.sent(215_999) < Micros(0).plus(24 * HOUR));
    }

    #[test]
    fn time_never_goes_back_and_every_hour_has_its_share() {
        let day = day(None);
        let mut hours = [0_u32; 24];
        let mut before = Micros(0);
        for number in 0..216_000 {
            let at = day.sent(number);
            assert!(at >= before);
            before = at;
            hours[usize::try_from(at.0 / 3_600_000_000).unwrap()] += 1;
        }
        assert!(hours.iter().all(|events| (7_500..11_000).contains(events)), "{hours:?}");
        assert!(hours[3] < hours[15]);
    }

    #[test]
    fn late_events_are_sent_together_when_their_time_has_come() {
        let late = LateRows {
            rows: 312,
            from: Micros(0).plus(9 * HOUR),
            span: 2 * HOUR,
            at: Micros(0).plus(17 * HOUR),
        };
        let day = day(Some(late));
        assert_eq!(day.total(), Some(216_312));
        let numbers: Vec<_> = (0..216_312).filter(|n| day.lateness(*n).is_some()).collect();
        assert_eq!(numbers.len(), 312);
        assert_eq!(numbers[311] - numbers[0], 311);
        assert_eq!(day.sent(numbers[0] - 1), day.sent(numbers[311]));
        assert!(day.sent(numbers[311] + 1) >= Micros(0).plus(17 * HOUR));
        assert!(day.sent(numbers[311]) < Micros(0).plus(17 * HOUR));
    }
}
