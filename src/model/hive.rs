//! Hive partitions: which stretch of event time a row belongs to, and what that is called.
//!
//! A key reads `2026-11-20T05`, `2026-11-20` or `2026-11`; as a path it is `dt=2026-11-20/hour=05`,
//! `dt=2026-11-20` or `month=2026-11`. Hours are UTC; days and months may live in another timezone,
//! where a day has 23, 24 or 25 hours.
//!
//! Each hive partition is one interval of instants, and the next one begins where it ends: folders, closings,
//! data intervals and pruning all go by it. A day begins when its timezone's clocks show its date for good.
//! Where clocks are set back across midnight that is the second midnight; where a day was skipped, its
//! interval is empty.

use super::name::BadName;
use super::time::{EventTime, Micros};
use super::zone::Zone;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long a hive partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    Hour,
    Day,
    Month,
}

impl Grain {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The column that Tidemill adds to warehouse tables of this grain.
    pub fn start_column(self) -> &'static str {
        match self {
            Self::Hour => "hour_start",
            Self::Day => "day_start",
            Self::Month => "month_start",
        }
    }

    /// Days are longer or shorter by an hour, months by days.
    pub fn shortest(self) -> Duration {
        match self {
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
            Self::Month => Duration::from_hours(28 * 24),
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Hour => 1.hour(),
            Self::Day => 1.day(),
            Self::Month => 1.month(),
        }
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a table is cut: the grain, and the timezone whose days or months are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionBy {
    pub grain: Grain,
    /// `UTC` for hours, always.
    pub timezone: Zone,
}

impl PartitionBy {
    pub fn utc(grain: Grain) -> Self {
        Self { grain, timezone: Zone::utc() }
    }

    /// Whether each hive partition of `whole` consists of whole ones of this.
    pub fn divides(&self, whole: &Self) -> bool {
        self.timezone == whole.timezone && self.grain <= whole.grain
    }

    /// The hive partition that `at` lies in: the one whose [`Self::range`] holds it.
    pub fn key_of(&self, at: EventTime) -> PartitionKey {
        let local = self.timezone.rules().to_datetime(at.timestamp());
        let start = match self.grain {
            Grain::Hour => local.date().at(local.hour(), 0, 0, 0),
            Grain::Day => self.day_of(at, local.date()).to_datetime(Time::midnight()),
            Grain::Month => {
                let day = self.day_of(at, local.date());
                day.first_of_month().to_datetime(Time::midnight())
            }
        };
        PartitionKey { grain: self.grain, start }
    }

    /// The day whose interval holds `at`, when clocks show `shown`: a date before, if they will show that
    /// again.
    fn day_of(&self, at: EventTime, shown: Date) -> Date {
        let mut day = shown;
        while at < self.begin(day.to_datetime(Time::midnight())) {
            let Ok(before) = day.yesterday() else { break };
            day = before;
        }
        day
    }

    /// The half-open stretch of event time that `key` covers.
    pub fn range(&self, key: &PartitionKey) -> (EventTime, EventTime) {
        (self.begin(key.start), self.begin(key.next().start))
    }

    /// The first instant from which on clocks never show a time before `civil`, a midnight or a full hour.
    fn begin(&self, civil: DateTime) -> Micros {
        let rules = self.timezone.rules();
        let begin = rules.to_ambiguous_timestamp(civil);
        let offset = begin.offset();
        let Ok(latest) = begin.later() else { return Micros::MAX };
        if let AmbiguousOffset::Unambiguous { .. } = offset {
            return Micros::from(latest);
        }
        let Some(change) = change_until(rules, latest) else { return Micros::from(latest) };
        Micros::from(match offset {
            // What a gap swallows begins when the gap does.
            AmbiguousOffset::Gap { .. } => change,
            // Clocks are set back to `civil` itself: they have not shown less since they were there first.
            AmbiguousOffset::Fold { .. } if change == latest => begin.earlier().unwrap_or(latest),
            AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => latest,
        })
    }
}

/// When clocks were changed last, up to `at` and then as well.
fn change_until(rules: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let behind = at.checked_add(1.nanosecond()).ok()?;
    rules.preceding(behind).next().map(|change| change.timestamp())
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.timezone {
            zone if zone.is_utc() => write!(f, "{}", self.grain),
            zone => write!(f, "{} in {zone}", self.grain),
        }
    }
}

/// One hive partition of a table: `2026-11-20T05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartitionKey {
    pub grain: Grain,
    /// Its civil start, in the table's timezone.
    pub start: DateTime,
}

impl PartitionKey {
    #[must_use]
    pub fn next(&self) -> Self {
        Self { grain: self.grain, start: self.start.saturating_add(self.grain.span()) }
    }

    /// The coarser partition that this one lies in, by civil time: hour 05 of a day lies in that day.
    #[must_use]
    pub fn within(&self, grain: Grain) -> Self {
        let date = self.start.date();
        let midnight = Time::midnight();
        let start = match grain {
            Grain::Hour => self.start,
            Grain::Day => date.to_datetime(midnight),
            Grain::Month => date.first_of_month().to_datetime(midnight),
        };
        Self { grain, start }
    }

    /// `dt=2026-11-20/hour=05`, as Hive, Spark, BigQuery and DuckDB read it.
    pub fn path(&self) -> String {
        match self.grain {
            Grain::Hour => format!("dt={}/hour={:02}", self.start.date(), self.start.hour()),
            Grain::Day => format!("dt={}", self.start.date()),
            Grain::Month => format!("month={}", self.start.strftime("%Y-%m")),
        }
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.grain {
            Grain::Hour => write!(f, "{}", self.start.strftime("%Y-%m-%dT%H")),
            Grain::Day => write!(f, "{}", self.start.date()),
            Grain::Month => write!(f, "{}", self.start.strftime("%Y-%m")),
        }
    }
}

impl FromStr for PartitionKey {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || {
            BadName(format!(
                "`{text}` is not a partition key: write 2026-11-20T05, 2026-11-20 or 2026-11"
            ))
        };
        let date = |text: &str| text.parse::<Date>().map_err(|_| bad());
        let (grain, start) = match (text.len(), text.is_ascii()) {
            (13, true) if text.as_bytes()[10] == b'T' => {
                let hour: i8 = text[11..].parse().map_err(|_| bad())?;
                let time = Time::new(hour, 0, 0, 0).map_err(|_| bad())?;
                (Grain::Hour, date(&text[..10])?.to_datetime(time))
            }
            (10, true) => (Grain::Day, date(text)?.to_datetime(Time::midnight())),
            (7, true) => {
                let first = date(&format!("{text}-01"))?;
                (Grain::Month, first.to_datetime(Time::midnight()))
            }
            _ => return Err(bad()),
        };
        let key = Self { grain, start };
        if key.to_string() == text { Ok(key) } else { Err(bad()) }
    }
}

impl TryFrom<String> for PartitionKey {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<PartitionKey> for String {
    fn from(key: PartitionKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_named_by_its_start_in_utc() {
        let by = PartitionBy::utc(Grain::Hour);
        let key = by.key_of("2026-11-20T05:31:07Z".parse::<jiff::Timestamp>().unwrap().into());
        assert_eq!(key.to_string(), "2026-11-20T05");
        assert_eq!(key.path(), "dt=2026-11-20/hour=05");
        assert_eq!(key.next().to_string(), "2026-11-20T06");
    }

    #[test]
    fn a_day_in_madrid_has_23_hours_when_the_clocks_go_forward() {
        let by = PartitionBy { grain: Grain::Day, timezone: "Europe/Madrid".parse().unwrap() };
        let (start, end) = by.range(&"2026-03-29".parse().unwrap());
        assert_eq!(end.since(start).as_secs(), 23 * 3600);
        assert_eq!(by.key_of(start).to_string(), "2026-03-29");
        assert_eq!(by.key_of(Micros(end.0 - 1)).to_string(), "2026-03-29");
        assert_eq!(by.key_of(end).to_string(), "2026-03-30");
    }

    #[test]
    fn keys_read_back_what_they_print() {
        for text in ["2026-11-20T05", "2026-11-20", "2026-11", "1969-12-31T23"] {
            assert_eq!(text.parse::<PartitionKey>().unwrap().to_string(), text);
        }
        for text in ["2026-11-20T24", "2026-13", "2026-11-2", "2026-11-20T5", "../../etc/pa"] {
            assert!(text.parse::<PartitionKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_hour_lies_within_its_day_and_month() {
        let hour: PartitionKey = "2026-11-20T05".parse().unwrap();
        assert_eq!(hour.within(Grain::Day).to_string(), "2026-11-20");
        assert_eq!(hour.within(Grain::Month).to_string(), "2026-11");
    }
}
