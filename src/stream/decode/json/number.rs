//! Numbers as they were written, to the last digit: nothing is ever rounded to fit a column.

use super::super::row::Slot;
use crate::model::column::ColumnType;

/// So many digits has the largest whole number of 64 bits.
const INT64_DIGITS: u8 = 19;

/// Why a text is no value of a column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNumber {
    Unreadable,
    /// It has more digits behind the point than the type holds.
    Fraction,
    TooLarge,
}

impl NoNumber {
    /// What a reject says of a column of this type.
    pub fn rule(self, kind: ColumnType) -> String {
        match (self, kind) {
            (Self::Unreadable, _) => format!("expected {kind}"),
            (Self::Fraction, ColumnType::Decimal(_, scale)) => {
                format!("{kind} holds {scale} digits behind the point")
            }
            (Self::Fraction, _) => format!("{kind} holds whole numbers"),
            (Self::TooLarge, _) => format!("too large for {kind}"),
        }
    }
}

/// The value of a column of numbers. A decimal may be written as a text.
pub fn slot(kind: ColumnType, raw: &str) -> Result<Slot, NoNumber> {
    let is_number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match kind {
        ColumnType::Decimal(precision, scale) => {
            decimal(raw.trim_matches('"'), precision, scale).map(Slot::Decimal)
        }
        ColumnType::Int64 if is_number => integer(raw).map(Slot::Int),
        ColumnType::Float64 if is_number => {
            let value: f64 = raw.parse().map_err(|_| NoNumber::Unreadable)?;
            if value.is_finite() { Ok(Slot::Float(value)) } else { Err(NoNumber::TooLarge) }
        }
        _ => Err(NoNumber::Unreadable),
    }
}

/// Reads a whole number, however it is written: `1.0`, `1e2` and `-0` are some.
fn integer(text: &str) -> Result<i64, NoNumber> {
    let value = decimal(text, INT64_DIGITS, 0)?;
    i64::try_from(value).map_err(|_| NoNumber::TooLarge)
}

/// Reads a number with at most `scale` digits behind the point and `precision` in all, `-12.50` or
/// `1.25e3`, as the integer that it is at that scale.
pub fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, NoNumber> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, power(exponent).ok_or(NoNumber::Unreadable)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || mantissa.ends_with('.') || !digits.all(|digit| digit.is_ascii_digit()) {
        return Err(NoNumber::Unreadable);
    }
    // Zeros at either end are none of the number's own digits.
    let trailing = |digits: &str| digits.len() - digits.trim_end_matches('0').len();
    let zeros = match trailing(fraction) {
        zeros if zeros < fraction.len() => zeros,
        zeros => zeros + trailing(whole),
    };
    let all = whole.len() + fraction.len() - zeros;
    let own = whole.bytes().chain(fraction.bytes()).take(all).skip_while(|digit| *digit == b'0');
    let count = own.clone().count();
    if count == 0 {
        return Ok(0);
    }
    // The power of ten of its last digit, at the column's scale.
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let last = exponent.saturating_add(length(zeros)).saturating_sub(length(fraction.len()));
    let shift = last.saturating_add(i64::from(scale));
    if shift < 0 {
        return Err(NoNumber::Fraction);
    }
    if shift.saturating_add(length(count)) > i64::from(precision) {
        return Err(NoNumber::TooLarge);
    }
    // At most 38 digits, as a column's precision is checked when it is read.
    let value = own.fold(0, |value: i128, digit| value * 10 + i128::from(digit - b'0'));
    let value = (0..shift).fold(value, |value, _| value * 10);
    Ok(if text.starts_with('-') { -value } else { value })
}

/// Reads an exponent; one beyond all bounds is as good as the nearest that a number holds.
fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_exact_or_refused() {
        assert_eq!(decimal("-12.5", 18, 2), Ok(-1250));
        assert_eq!(decimal("1.25e3", 18, 2), Ok(125_000));
        assert_eq!(decimal("12.500", 18, 2), Ok(1250));
        assert_eq!(decimal("0e999999999999999999999", 18, 2), Ok(0));
        assert_eq!(decimal(&"9".repeat(38), 38, 0), Ok(10_i128.pow(38) - 1));
        assert_eq!(decimal(&format!("1{}e-60", "0".repeat(60)), 4, 2), Ok(100));
        assert_eq!(decimal(&format!("0.{}1e61", "0".repeat(60)), 4, 2), Ok(100));
        for text in ["", "-", ".5", "5.", "1_0", "1e", "1e+", "1e1.0", "--1", "+1", "0x1"] {
            assert_eq!(decimal(text, 4, 2), Err(NoNumber::Unreadable), "{text}");
        }
        for text in ["1.005", "1e-3", "1e-99999999999999999999"] {
            assert_eq!(decimal(text, 4, 2), Err(NoNumber::Fraction), "{text}");
        }
        for text in ["100", "1e40", "1e99999999999999999999", &"9".repeat(39)] {
            assert_eq!(decimal(text, 4, 2), Err(NoNumber::TooLarge), "{text}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point_or_an_exponent() {
        for (text, value) in [
            ("1.0", 1),
            ("1e2", 100),
            ("-0", 0),
            ("-0.0e-7", 0),
            ("120e-1", 12),
            ("9223372036854775807.000", i64::MAX),
            ("-9.223372036854775808e18", i64::MIN),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        assert_eq!(integer("1.5"), Err(NoNumber::Fraction));
        assert_eq!(integer("9223372036854775808"), Err(NoNumber::TooLarge));
        assert_eq!(integer("-9223372036854775809"), Err(NoNumber::TooLarge));
    }
}
