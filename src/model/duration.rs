//! Durations and sizes as people write them: `10m`, `1h 30m`, `128MiB`.

use std::time::Duration;

const UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Reads `90s`, `10m`, `1h 30m`, `7d`; `None` for anything else, a bare number too.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut millis = 0_u64;
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let tail = rest[digits..].trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &tail[..letters])?.1;
        millis = millis.checked_add(number.checked_mul(unit)?)?;
        rest = tail[letters..].trim_start();
    }
    Some(Duration::from_millis(millis))
}

/// Reads `128MiB`, `2GiB`, `500kB`; `None` for anything else, a bare number too.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = SIZES.iter().find(|(name, _)| *name == text[digits..].trim())?.1;
    number.checked_mul(unit)
}

/// Two units at most, as on every screen: `1 min 35 s`, `3 h 12 min`, `0.9 s`.
pub fn show_duration(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 if span.as_millis() < 100 => format!("{} ms", span.as_millis()),
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..60 => format!("{secs} s"),
        60..3600 => two(secs / 60, "min", secs % 60, "s"),
        3600..86_400 => two(secs / 3600, "h", secs % 3600 / 60, "min"),
        _ => two(secs / 86_400, "d", secs % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {unit}")
    } else {
        format!("{large} {unit} {small} {small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_their_units() {
        assert_eq!(parse_duration("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
    }

    #[test]
    fn a_number_without_a_unit_is_no_duration() {
        assert_eq!(parse_duration("10"), None);
        assert_eq!(parse_duration(""), None);
        assert_eq!(parse_duration("10 parsecs"), None);
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        assert_eq!(parse_size("128MiB"), Some(134_217_728));
        assert_eq!(parse_size("500 kB"), Some(500_000));
        assert_eq!(parse_size("12"), None);
    }

    #[test]
    fn a_duration_is_shown_in_two_units_at_most() {
        assert_eq!(show_duration(Duration::from_secs(95)), "1 min 35 s");
        assert_eq!(show_duration(Duration::from_secs(11_520)), "3 h 12 min");
        assert_eq!(show_duration(Duration::from_millis(900)), "0.9 s");
    }
}
