//! Walks over JSON text and makes nothing of it: where a string ends, where a value does.
//!
//! What is not JSON, or is too unusual to be worth the code here, is `None`; whoever needs words
//! for it asks the parser of [`super::fields`].

use std::ops::Range;

/// Values within values; deeper ones are left to the parser.
const DEPTH_MAX: usize = 32;

/// Digits that surely fit into 64 bits.
const DIGITS_MAX: usize = 18;

/// The bits that a word has for each of its bytes: the lowest, and the highest.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// A place in a text.
pub struct Scan<'m> {
    text: &'m str,
    bytes: &'m [u8],
    at: usize,
    /// How many characters were written by their number, `\u00e9`.
    numbered: usize,
}

/// A string of the text.
pub struct Quoted {
    /// Without its quotes.
    pub within: Range<usize>,
    pub escaped: bool,
}

impl<'m> Scan<'m> {
    pub fn new(text: &'m str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, numbered: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn numbered(&self) -> usize {
        self.numbered
    }

    pub fn text(&self, range: Range<usize>) -> Option<&'m str> {
        self.text.get(range)
    }

    /// The next byte that is not space, left where it is.
    pub fn next(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// Steps over `byte`, and space before it.
    pub fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    pub fn at_end(&mut self) -> bool {
        self.next().is_none()
    }

    pub fn word(&mut self, word: &str) -> Option<()> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// Steps over a string.
    pub fn string(&mut self) -> Option<Quoted> {
        self.take(b'"')?;
        let (start, mut escaped) = (self.at, false);
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(Quoted { within: start..self.at - 1, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.at += match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                self.numbered += 1;
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
            }
            _ => return None,
        };
        Some(())
    }

    /// Steps over a whole number of few enough digits.
    pub fn integer(&mut self) -> Option<i64> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let digits = &self.bytes[self.at + usize::from(negative)..];
        let mut value = 0;
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = digits.get(count) {
            if count == DIGITS_MAX {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
        }
        // A zero stands alone, and has no sign.
        if count == 0 || (digits[0] == b'0' && (count > 1 || negative)) {
            return None;
        }
        if let Some(b'.' | b'e' | b'E') = digits.get(count) {
            return None;
        }
        self.at += count + usize::from(negative);
        Some(if negative { -value } else { value })
    }

    fn number(&mut self) -> Option<()> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let zero = self.bytes.get(self.at) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return None;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            (self.digits() > 0).then_some(())?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            (self.digits() > 0).then_some(())?;
        }
        Some(())
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Steps over any value, and says where it stands.
    pub fn value(&mut self) -> Option<Range<usize>> {
        self.next()?;
        let start = self.at;
        self.within(DEPTH_MAX)?;
        Some(start..self.at)
    }

    fn within(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.string().map(drop),
            b'{' => self.each(b'}', depth, |scan| {
                scan.string()?;
                scan.take(b':')
            }),
            b'[' => self.each(b']', depth, |_| Some(())),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// Steps over what stands between brackets; `before` over what precedes each value.
    fn each(
        &mut self,
        close: u8,
        depth: usize,
        before: impl Fn(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.at += 1;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            before(self)?;
            self.within(depth)?;
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }
}

/// How many bytes there are before one that a string can't hold as it is: its closing quote, an
/// escape, a control character.
fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Each sets the highest bit of the bytes that it looks for. A borrow may set it in later
        // bytes too, and only the first one counts.
        let zero = |word: u64| word.wrapping_sub(LOW) & !word;
        let quote = zero(word ^ (LOW * u64::from(b'"')));
        let escape = zero(word ^ (LOW * u64::from(b'\\')));
        let control = word.wrapping_sub(LOW * 0x20) & !word;
        let found = (quote | escape | control) & HIGH;
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(stops).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_the_first_byte_that_it_cannot_hold() {
        for stop in ['"', '\\', '\n', '\u{1f}'] {
            for before in 0..40 {
                for after in 0..12 {
                    let text = format!("{}{stop}{}", "é!".repeat(before), "\"\n".repeat(after));
                    assert_eq!(plain(text.as_bytes()), before * 3, "{text:?}");
                }
            }
        }
        assert_eq!(plain("\u{7f} ~ÿ".as_bytes()), "\u{7f} ~ÿ".len());
    }

    #[track_caller]
    fn check(text: &str, whole: bool) {
        let mut scan = Scan::new(text);
        let walked = scan.value().is_some() && scan.at_end();
        assert_eq!(walked, whole, "{text}");
        assert_eq!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), whole, "{text}");
    }

    #[test]
    fn a_value_is_walked_over_exactly_where_it_is_json() {
        for json in [
            "0",
            "-0",
            "-0.5",
            "10.25e-3",
            "1E9",
            "true",
            "null",
            r#""a\"\\\/\u00e9\b""#,
            "[]",
            " [ 1 , [ ] , { } ] ",
            r#"{"a":{"b":[{"c":null}]}, "d" : "e"}"#,
            r#""\ud800""#,
        ] {
            check(json, true);
        }
        for broken in [
            "",
            "-",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "tru",
            "nul",
            "nullx",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"a\nb\"",
            "[",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "1 1",
            "'a'",
            "+1",
            "NaN",
        ] {
            check(broken, false);
        }
    }

    #[test]
    fn a_whole_number_is_read_or_left() {
        for (text, value) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("123456789012345678", Some(123_456_789_012_345_678)),
        ] {
            assert_eq!(Scan::new(text).integer(), value, "{text}");
        }
        for text in ["", "-", "-0", "01", "1.0", "1e3", "1234567890123456789", "x"] {
            assert_eq!(Scan::new(text).integer(), None, "{text}");
        }
    }
}
