//! Values that JSON carries as text: timestamps, dates, decimals, bytes.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const DAY_US: i64 = 86_400_000_000;

/// Standard alphabet, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads ISO-8601 with `Z` or an offset, `2026-11-20T05:31:07.25+01:00`, as microseconds since
/// 1970-01-01 UTC. Digits behind the microseconds are cut off; a leap second is the one before it.
pub fn timestamp(text: &str) -> Option<i64> {
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
    Some(day * DAY_US + seconds * 1_000_000 + micros)
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

/// Reads `2026-11-20` as days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    days(text.as_bytes())
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

/// Reads a number with at most `scale` digits behind the point and `precision` in all, `-12.50` or
/// `1.25e3`, as the integer that it is at that scale. Nothing is ever rounded.
pub fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || mantissa.ends_with('.') {
        return None;
    }
    let mut value = 0_i128;
    let digits = whole.bytes().chain(fraction.bytes());
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let fraction = i32::try_from(fraction.len()).ok()?;
    let mut shift = i32::from(scale).checked_sub(fraction)?.checked_add(exponent)?;
    while shift > 0 && value != 0 {
        value = value.checked_mul(10)?;
        shift -= 1;
    }
    while shift < 0 && value != 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        shift += 1;
    }
    let fits = value < 10_i128.pow(u32::from(precision));
    fits.then_some(if negative { -value } else { value })
}

/// Appends what `text` means in base64 to `bytes`; false if it is none.
pub fn base64(text: &str, bytes: &mut Vec<u8>) -> bool {
    BASE64.decode_vec(text, bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, same: &str) {
        let same: jiff::Timestamp = same.parse().unwrap();
        assert_eq!(timestamp(text), Some(same.as_microsecond()), "{text}");
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
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn dates_agree_with_the_calendar_for_four_hundred_years() {
        let first: jiff::civil::Date = "1899-12-31".parse().unwrap();
        let epoch: jiff::civil::Date = "1970-01-01".parse().unwrap();
        for day in first.series(jiff::Span::new().days(1)).take(146_097) {
            let days = epoch.until(day).unwrap().get_days();
            assert_eq!(date(&day.to_string()), Some(days), "{day}");
        }
    }

    #[test]
    fn a_decimal_is_exact_or_refused() {
        assert_eq!(decimal("-12.5", 18, 2), Some(-1250));
        assert_eq!(decimal("1.25e3", 18, 2), Some(125_000));
        assert_eq!(decimal("12.500", 18, 2), Some(1250));
        assert_eq!(decimal("0e999999999", 18, 2), Some(0));
        assert_eq!(decimal(&"9".repeat(38), 38, 0), Some(10_i128.pow(38) - 1));
        for text in ["1.005", "1e40", "", "-", ".5", "5.", "1_0", "9".repeat(39).as_str(), "100"] {
            assert_eq!(decimal(text, 4, 2), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_base64_padded_or_not() {
        for text in ["aGk=", "aGk"] {
            let mut bytes = Vec::new();
            assert!(base64(text, &mut bytes));
            assert_eq!(bytes, b"hi");
        }
        assert!(!base64("a-_", &mut Vec::new()));
    }
}
