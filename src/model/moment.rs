//! Moments and dates as events write them: one grammar for streams, feeds and their marks.
//!
//! A moment is `2026-11-20T05:31:07.25+01:00`: ISO 8601 with seconds, and with `Z` or an offset. The fraction
//! may have any number of digits; those behind the microseconds are cut off. Years are 1 to 9999, in UTC:
//! other readers of the lake know no others.

use super::time::Micros;
use std::fmt;

const DAY_US: i64 = 86_400_000_000;

/// Why a text is no moment, or no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMoment {
    /// It is written in another way, or there is no such day or time.
    Unreadable,
    OutsideYears,
}

impl fmt::Display for NoMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "it is not written like 2026-11-20T05:31:07.25+01:00 or \u{2026}Z",
            Self::OutsideYears => OUTSIDE_YEARS,
        })
    }
}

impl std::error::Error for NoMoment {}

/// What is said of a moment or a date that is refused for its year.
pub const OUTSIDE_YEARS: &str = "outside years 1 to 9999 in UTC";

/// Reads a moment.
pub fn read(text: &str) -> Result<Micros, NoMoment> {
    let at = micros(text).ok_or(NoMoment::Unreadable)?;
    if at.is_in_calendar() { Ok(at) } else { Err(NoMoment::OutsideYears) }
}

/// Reads `2026-11-20` as days since 1970-01-01.
pub fn date(text: &str) -> Result<i32, NoMoment> {
    let days = days(text.as_bytes()).ok_or(NoMoment::Unreadable)?;
    if is_in_calendar(days) { Ok(days) } else { Err(NoMoment::OutsideYears) }
}

/// Whether a date, in days since 1970-01-01, lies in years 1 to 9999.
pub fn is_in_calendar(days: i32) -> bool {
    Micros(i64::from(days) * DAY_US).is_in_calendar()
}

/// A leap second is the one before it.
fn micros(text: &str) -> Option<Micros> {
    let bytes = text.as_bytes();
    let (day, rest) = bytes.split_at_checked(10)?;
    let day = i64::from(days(day)?);
    let (time, mut rest) = rest.split_at_checked(9)?;
    if !matches!(time[0], b'T' | b't' | b' ') || time[3] != b':' || time[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(time, 1)?, two(time, 4)?, two(time, 7)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut micros = 0;
    if let [b'.' | b',', digits @ ..] = rest {
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len == 0 {
            return None;
        }
        let digit = |at: usize| if at < len { i64::from(digits[at] - b'0') } else { 0 };
        micros = (0..6).fold(0, |sum, at| sum * 10 + digit(at));
        rest = &digits[len..];
    }
    let seconds = hour * 3600 + minute * 60 + second.min(59) - offset(rest)?;
    Some(Micros(day * DAY_US + seconds * 1_000_000 + micros))
}

/// Seconds that `Z`, `+01`, `+0100` or `+01:00` is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (two(digits, 0)?, 0),
        4 => (two(digits, 0)?, two(digits, 2)?),
        5 if digits[2] == b':' => (two(digits, 0)?, two(digits, 3)?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days(text: &[u8]) -> Option<i32> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    // Howard Hinnant's days_from_civil: years begin in March, so that a leap day comes last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[track_caller]
    fn check(text: &str, same: &str) {
        let same: jiff::Timestamp = same.parse().unwrap();
        assert_eq!(read(text), Ok(same.into()), "{text}");
    }

    #[test]
    fn a_timestamp_may_have_any_fraction_and_offset() {
        check("2015-09-12T00:49:12.942Z", "2015-09-12T00:49:12.942Z");
        check("2019-03-04T13:30:32+00:00", "2019-03-04T13:30:32Z");
        check("2026-11-20 05:31:07.1234567891-0330", "2026-11-20T09:01:07.123456Z");
        check("2026-11-20t05:31:07,5+01z".trim_end_matches('z'), "2026-11-20T04:31:07.5Z");
        check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z");
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        check("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z");
        check("2026-11-20T05:31:07.123456789012Z", "2026-11-20T05:31:07.123456Z");
        check(&format!("2026-11-20T05:31:07.{}Z", "9".repeat(1000)), "2026-11-20T05:31:07.999999Z");
    }

    #[test]
    fn a_text_that_is_no_moment_is_no_timestamp() {
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T05:31:07",
            "2026-11-20T05:31Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T05:31:07.Z",
            "2026-11-20T05:31:07Z ",
            "2026-11-20T05:31:07+1:00",
            "２０26-11-20T05:31:07Z",
            "１１１１１１１１１１",
        ] {
            assert_eq!(read(text), Err(NoMoment::Unreadable), "{text}");
        }
    }

    #[test]
    fn dates_agree_with_the_calendar_for_four_hundred_years() {
        let first: jiff::civil::Date = "1899-12-31".parse().unwrap();
        let epoch: jiff::civil::Date = "1970-01-01".parse().unwrap();
        for day in first.series(jiff::Span::new().days(1)).take(146_097) {
            let days = epoch.until(day).unwrap().get_days();
            assert_eq!(date(&day.to_string()), Ok(days), "{day}");
        }
    }

    #[test]
    fn years_are_1_to_9999_in_utc() {
        check("0000-12-31T23:59:59-01:00", "0001-01-01T00:59:59Z");
        let last = Micros(253_402_300_799_999_999);
        assert_eq!(read("9999-12-31T23:59:59.9999999Z"), Ok(last));
        for text in [
            "0001-01-01T00:59:59+01:00",
            "0000-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:59.9-00:01",
        ] {
            assert_eq!(read(text), Err(NoMoment::OutsideYears), "{text}");
        }
        assert_eq!(date("0000-12-31"), Err(NoMoment::OutsideYears));
        assert_eq!((date("0001-01-01"), date("9999-12-31")), (Ok(-719_162), Ok(2_932_896)));
    }
}
