//! Halves of surrogate pairs: JSON's grammar lets `"\ud800"` pass, and no text can hold it.

/// Whether a string of `json`, which is valid otherwise, escapes half of a surrogate pair.
pub fn is_lone(json: &str) -> bool {
    let mut rest = json.as_bytes();
    // A backslash stands in strings only.
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        rest = &rest[at..];
        let read = match unit(rest) {
            None => 2,
            Some(0xdc00..=0xdfff) => return true,
            Some(0xd800..=0xdbff) => match rest.get(6..).and_then(unit) {
                Some(0xdc00..=0xdfff) => 12,
                _ => return true,
            },
            Some(_) => 6,
        };
        rest = rest.get(read..).unwrap_or_default();
    }
    false
}

/// The code unit that `\u1234` at the start of `text` stands for.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_found_exactly_where_a_string_could_not_be_read() {
        let parts = [
            r"\ud83d",
            r"\ude00",
            r"\\",
            r"\u0041",
            r"\\ud800",
            "é",
            r"\n",
            r"\uD83D\uDE00",
            "d800",
        ];
        for a in parts {
            for b in parts {
                for c in parts {
                    let json = format!("\"{a}{b}{c}\"");
                    let unreadable = serde_json::from_str::<String>(&json).is_err();
                    assert_eq!(is_lone(&json), unreadable, "{json}");
                }
            }
        }
    }
}
