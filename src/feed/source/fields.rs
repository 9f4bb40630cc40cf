//! What a feed looks at in an event: its date, and the id that is written once only.

use super::Event;
use super::pick::{Scalar, pick};
use super::unique::Recent;
use crate::model::time::{EventTime, Micros};
use jiff::Timestamp;

/// The fields that matter, and what they have told so far.
#[derive(Clone, Debug)]
pub struct Fields {
    /// The path of the event time, where it is a field.
    date: Option<Vec<String>>,
    /// Dates after this are mistakes.
    date_max: EventTime,
    unique: Option<(Vec<String>, Recent)>,
    /// The lowest and the highest date so far, of those that can be believed.
    span: Option<(EventTime, EventTime)>,
    left_out: u64,
}

impl Fields {
    /// `date` and `unique` are paths; a date after `date_max` is not believed.
    pub fn new(
        date: Option<Vec<String>>,
        date_max: EventTime,
        unique: Option<(Vec<String>, Recent)>,
    ) -> Self {
        Self { date, date_max, unique, span: None, left_out: 0 }
    }

    /// Dates an event by its payload; false, and counted, if its id was seen lately.
    pub fn admits(&mut self, event: &mut Event) -> bool {
        if !self.is_new(&event.payload) {
            self.leave_out();
            return false;
        }
        event.at = self.hear(&event.payload);
        true
    }

    /// Takes the date of what is not sent into account, and returns it.
    pub fn hear(&mut self, payload: &[u8]) -> Option<EventTime> {
        let at = self.date.as_ref().and_then(|path| pick(payload, path)).and_then(date);
        if let Some(at) = at.filter(|at| *at <= self.date_max) {
            let (first, last) = self.span.unwrap_or((at, at));
            self.span = Some((first.min(at), last.max(at)));
        }
        at
    }

    /// From now on dates up to `date_max` are believed: a feed that never ends sees time pass.
    pub fn believe_until(&mut self, date_max: EventTime) {
        self.date_max = date_max;
    }

    /// Counts an event that is known to be a repeat.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// The newest date so far, of those that can be believed.
    pub fn newest(&self) -> Option<EventTime> {
        self.span.map(|(_, last)| last)
    }

    /// The lowest and the highest of those dates.
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        self.span
    }

    /// How many events were left out as repeats.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn is_new(&mut self, event: &[u8]) -> bool {
        let Some((path, recent)) = &mut self.unique else { return true };
        pick(event, path).is_none_or(|id| recent.is_new(id.written()))
    }
}

/// A date as text with or without a zone, or seconds, milliseconds or microseconds since 1970.
fn date(scalar: Scalar) -> Option<EventTime> {
    match scalar {
        Scalar::Text(text) => text
            .parse::<Timestamp>()
            .ok()
            .or_else(|| {
                let civil = text.parse::<jiff::civil::DateTime>().ok()?;
                jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
            })
            .map(Micros::from),
        Scalar::Number(number) => {
            let number: i64 = number.parse().ok()?;
            Some(Micros(match number.unsigned_abs() {
                0..100_000_000_000 => number * 1_000_000,
                100_000_000_000..100_000_000_000_000 => number * 1_000,
                _ => number,
            }))
        }
    }
}
