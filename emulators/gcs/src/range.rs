//! Byte ranges of `Range` headers.

use crate::refusal::Refusal;
use std::ops::Range;

/// The bytes that a `Range` header asks for; `None` if it is none that we know, which means all.
pub fn wanted(header: &str, size: u64) -> Result<Option<Range<u64>>, Refusal> {
    let Some(text) = header.strip_prefix("bytes=") else { return Ok(None) };
    let Some((first, last)) = text.split_once('-') else { return Ok(None) };
    let (first, last) = (first.trim(), last.trim());
    let range = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        _ => return Ok(None),
    };
    if range.start >= size { Err(Refusal::range()) } else { Ok(Some(range)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: &Result<Option<Range<u64>>, u16>) {
        assert_eq!(wanted(header, 10).map_err(|refusal| refusal.status), *expected);
    }

    #[test]
    fn ranges_are_cut_at_the_end_of_the_object() {
        check("bytes=2-4", &Ok(Some(2..5)));
        check("bytes=2-400", &Ok(Some(2..10)));
        check("bytes=2-", &Ok(Some(2..10)));
        check("bytes=-3", &Ok(Some(7..10)));
        check("bytes=-30", &Ok(Some(0..10)));
        check("bytes=10-12", &Err(416));
        check("lines=1-2", &Ok(None));
    }
}
