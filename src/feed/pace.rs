//! Says when the next event is due.

use crate::model::job::Replay;
use crate::model::time::{EventTime, Micros};
use std::time::Duration;

/// How a feed keeps time with the wall clock. It begins anew with each start: what an outage has
/// missed is not caught up at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    rule: Rule,
    /// When the first event was asked for, and its event time.
    began: Option<(Micros, Option<EventTime>)>,
    asked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    AtOnce,
    /// Events a second.
    Rate(f64),
    /// Seconds of event time a second.
    Speed(f64),
}

impl Pace {
    pub fn rate(events_per_sec: f64) -> Self {
        Self::of(Rule::Rate(events_per_sec))
    }

    pub fn at_once() -> Self {
        Self::of(Rule::AtOnce)
    }

    pub fn replay(replay: &Replay) -> Self {
        Self::of(replay.speed.map_or(Rule::AtOnce, Rule::Speed))
    }

    fn of(rule: Rule) -> Self {
        Self { rule, began: None, asked: 0 }
    }

    /// How long the event dated `at` has still to wait. Ask once for each event, in order.
    #[expect(clippy::cast_precision_loss, reason = "a wait is good to a millisecond for centuries")]
    pub fn wait(&mut self, at: Option<EventTime>, now: Micros) -> Duration {
        let (began, first) = *self.began.get_or_insert((now, at));
        let secs = match (self.rule, at, first) {
            (Rule::AtOnce, ..) | (Rule::Speed(_), None, _) => 0.0,
            (Rule::Rate(rate), ..) => self.asked as f64 / rate,
            (Rule::Speed(_), Some(at), None) => {
                self.began = Some((now, Some(at))); // The first with a date sets the start.
                return Duration::ZERO;
            }
            (Rule::Speed(speed), Some(at), Some(first)) => at.since(first).as_secs_f64() / speed,
        };
        self.asked += 1;
        let due = began.plus(Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX));
        due.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_rate_spaces_events_evenly_and_catches_up_after_a_stall() {
        let mut pace = Pace::rate(10.0);
        let waits: Vec<_> = [0, 0, 0, SECOND]
            .map(|now| pace.wait(None, Micros(now)).as_millis())
            .into_iter()
            .collect();
        assert_eq!(waits, [0, 100, 200, 0]);
    }

    #[test]
    fn a_speed_shrinks_event_time() {
        let mut pace = Pace::replay(&Replay { file: String::new(), speed: Some(60.0) });
        let waits = [None, Some(0), Some(120 * SECOND), Some(60 * SECOND), None]
            .map(|at| pace.wait(at.map(Micros), Micros(0)).as_millis());
        assert_eq!(waits, [0, 0, 2000, 1000, 0]);
    }
}
