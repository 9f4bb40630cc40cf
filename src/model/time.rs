//! Event time and wall time, both as microseconds since 1970-01-01 UTC.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A moment, in microseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// Years 1 to 9999.
const CALENDAR: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// When something happened, as its own record tells it.
pub type EventTime = Micros;

impl Micros {
    pub const MIN: Self = Self(i64::MIN);
    pub const MAX: Self = Self(i64::MAX);

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long it is from `earlier` to here; zero when it is the other way round.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether what was put off by `delay`, until this moment, is due at `now`. It is too where it lies
    /// further ahead than that: the clock was set back, and nothing tells how long has been waited.
    pub fn is_due(self, delay: Duration, now: Self) -> bool {
        self <= now || self > now.plus(delay)
    }

    /// Whether it lies in years 1 to 9999 in UTC, which every reader of the lake knows.
    pub fn is_in_calendar(self) -> bool {
        CALENDAR.contains(&self.0)
    }

    /// The same moment for `jiff`, or the nearest one that it can hold.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

impl From<Timestamp> for Micros {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.as_microsecond())
    }
}

impl From<std::time::SystemTime> for Micros {
    fn from(time: std::time::SystemTime) -> Self {
        time.duration_since(std::time::UNIX_EPOCH).map_or(Self(0), |span| Self(0).plus(span))
    }
}

/// `2026-11-20T05:31:07.250Z`; as many digits of the second as there are.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_due_in_time_and_after_the_clock_was_set_back() {
        let (due, delay) = (Micros(1_000), Duration::from_micros(100));
        let found = [500, 899, 900, 999, 1_000].map(|now| due.is_due(delay, Micros(now)));
        assert_eq!(found, [true, true, false, false, true]);
    }
}
