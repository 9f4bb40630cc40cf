//! What a feed looks at in an event: its date, and the id that is written once only.

use super::Event;
use super::pick::{Scalar, pick};
use super::unique::Recent;
use crate::model::moment;
use crate::model::time::EventTime;

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

/// A date that a stream reads too: what it would quarantine dates nothing.
fn date(scalar: Scalar) -> Option<EventTime> {
    match scalar {
        Scalar::Text(text) => moment::read(&text).ok(),
        Scalar::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        moment::read(text).unwrap()
    }

    #[track_caller]
    fn check(date: &str, expected: Option<&str>) {
        let mut fields = Fields::new(Some(vec!["at".to_owned()]), at("2026-11-20T05:31:07Z"), None);
        let payload = format!("{{\"at\":{date}}}").into_bytes();
        assert!(fields.admits(&mut Event { payload, ..Event::default() }));
        assert_eq!(fields.newest(), expected.map(at), "{date}");
    }

    #[test]
    fn a_date_with_more_digits_than_any_clock_has_is_believed() {
        check("\"2026-11-20T05:31:06.123456789012Z\"", Some("2026-11-20T05:31:06.123456Z"));
        check("\"2026-11-20 05:31:06,5+01\"", Some("2026-11-20T04:31:06.5Z"));
    }

    #[test]
    fn a_date_that_a_stream_would_refuse_dates_nothing() {
        for date in ["\"2026-11-20\"", "\"2026-11-20T05:31:06\"", "1763616667", "null"] {
            check(date, None);
        }
        check("\"2026-11-20T05:31:07.000001Z\"", None);
    }
}
