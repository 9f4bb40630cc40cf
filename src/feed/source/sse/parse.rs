//! Server-sent events, byte by byte, as the HTML standard of the WHATWG describes them (§ 9.2.6).
//!
//! Pure and incremental: any cut of the same bytes gives the same events. Memory is bounded whatever comes:
//! of an event that is too large nothing is kept but the fact.

use std::time::Duration;

/// Longer ids and kinds are left out: a mark carries the id, in each topic partition.
const WORD_BYTES_MAX: usize = 64 << 10;
const BOM: &[u8] = "\u{feff}".as_bytes();
/// A buffer that has held a large event gives its memory back.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// An event as it was dispatched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its `event` field; empty where it has none, which means `message`.
    pub kind: String,
    /// The lines of its `data` fields, joined by line feeds; empty where it was too large.
    pub data: Vec<u8>,
    /// Its own `id` field, if it has one.
    pub id: Option<String>,
    /// It was larger than allowed.
    pub is_too_large: bool,
}

/// A stream at any point between two of its bytes.
#[derive(Debug)]
pub struct Parser {
    data_bytes_max: usize,
    /// How much of a byte order mark has come; `None` behind the start.
    bom: Option<usize>,
    /// The last line ended in a carriage return: a line feed now belongs to it.
    is_after_cr: bool,
    line: Vec<u8>,
    /// More has come of this line than is kept.
    is_line_cut: bool,
    /// The data so far, if there was a field of it.
    data: Option<Vec<u8>>,
    is_too_large: bool,
    kind: String,
    id: Option<String>,
    /// Of the last event that was dispatched with one, whichever connection brought it.
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// `data_bytes_max`: how large an event may be.
    pub fn new(data_bytes_max: usize) -> Self {
        Self {
            data_bytes_max,
            bom: Some(0),
            is_after_cr: false,
            line: Vec::new(),
            is_line_cut: false,
            data: None,
            is_too_large: false,
            kind: String::new(),
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// Another connection begins: what was not complete is dropped, and comes again. The last id stays, also
    /// for events without one: an empty id there would lose the place to go on.
    pub fn restart(&mut self) {
        let (last_id, retry) = (self.last_id.take(), self.retry);
        *self = Self { last_id, retry, ..Self::new(self.data_bytes_max) };
    }

    /// Reads on, and takes what was read off `bytes`; `None` when all of it was.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        self.skip_mark(bytes);
        while !bytes.is_empty() {
            if std::mem::take(&mut self.is_after_cr) && bytes[0] == b'\n' {
                *bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.add(bytes);
                *bytes = &[];
                return None;
            };
            self.add(&bytes[..end]);
            self.is_after_cr = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            if let Some(frame) = self.end_line() {
                return Some(frame);
            }
        }
        None
    }

    /// What a new connection says that it has.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants a client to wait before it connects again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// A byte order mark at the very start means nothing.
    fn skip_mark(&mut self, bytes: &mut &[u8]) {
        while let (Some(seen), Some(byte)) = (self.bom, bytes.first()) {
            if BOM[seen] != *byte {
                self.line.extend_from_slice(&BOM[..seen]); // It was none.
                self.bom = None;
                return;
            }
            *bytes = &bytes[1..];
            self.bom = Some(seen + 1).filter(|seen| *seen < BOM.len());
        }
    }

    fn add(&mut self, part: &[u8]) {
        // A comment is nobody's; of another line its field and as much as an event may have are kept.
        let most = match self.line.first().or(part.first()) {
            Some(b':') => 1,
            _ => self.data_bytes_max.max(WORD_BYTES_MAX) + "data: ".len(),
        };
        let room = most.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.is_line_cut |= part.len() > room;
    }

    fn end_line(&mut self) -> Option<Frame> {
        if self.line.is_empty() {
            return self.dispatch();
        }
        let line = std::mem::take(&mut self.line);
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line.as_slice(), &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        self.field(name, value);
        self.is_line_cut = false;
        self.line = line;
        self.line.clear();
        self.line.shrink_to(KEPT_BYTES_MAX);
        None
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let is_word = !self.is_line_cut && value.len() <= WORD_BYTES_MAX;
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"data" => self.add_data(value),
            b"event" if is_word => self.kind = text(),
            // What no header can carry is no place to go on from: the id before it stays.
            b"id" if is_word && !value.iter().any(u8::is_ascii_control) => self.id = Some(text()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = text().parse().unwrap_or(u64::MAX); // More digits than a u64 has.
                self.retry = Some(Duration::from_millis(millis));
            }
            _ => {}
        }
    }

    fn add_data(&mut self, value: &[u8]) {
        let separator = usize::from(self.data.is_some());
        let data = self.data.get_or_insert_default();
        self.is_too_large |=
            self.is_line_cut || data.len() + separator + value.len() > self.data_bytes_max;
        if self.is_too_large {
            *data = Vec::new();
        } else {
            data.extend_from_slice(&b"\n"[..separator]);
            data.extend_from_slice(value);
        }
    }

    /// Ends an event; `None` where it has no data.
    fn dispatch(&mut self) -> Option<Frame> {
        let (kind, id) = (std::mem::take(&mut self.kind), self.id.take());
        if id.is_some() {
            self.last_id.clone_from(&id);
        }
        let is_too_large = std::mem::take(&mut self.is_too_large);
        let data = self.data.take()?;
        Some(Frame { kind, data, id, is_too_large })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn parse_with(most: usize, chunks: &[&[u8]]) -> (Vec<Frame>, Parser) {
        let mut parser = Parser::new(most);
        let mut frames = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(frame) = parser.next(&mut rest) {
                frames.push(frame);
            }
            assert!(rest.is_empty());
        }
        (frames, parser)
    }

    /// Frames as `kind|id|data`, of a text in one piece and byte by byte.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        for chunks in [vec![text.as_bytes()], bytes] {
            let (frames, _) = parse_with(64, &chunks);
            let show = |frame: &Frame| {
                let id = frame.id.as_deref().unwrap_or("-");
                format!("{}|{id}|{}", frame.kind, String::from_utf8_lossy(&frame.data))
            };
            assert_eq!(frames.iter().map(show).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        check("data: YHOO\ndata: +2\ndata: 10\n\n", &["|-|YHOO\n+2\n10"]);
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &["|1|first event", "||second event", "|-| third event"],
        );
        check("data\n\ndata\ndata\n\ndata:", &["|-|", "|-|\n"]);
        check("data:test\n\ndata: test\n\n", &["|-|test", "|-|test"]);
        check("event: add\ndata: 73857293\n\n", &["add|-|73857293"]);
    }

    #[test]
    fn lines_end_in_any_of_three_ways() {
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["|-|a", "|-|b", "|-|c"]);
        check("data: a\r\ndata: b\r\n\r\n", &["|-|a\nb"]);
    }

    #[test]
    fn only_a_byte_order_mark_at_the_very_start_is_left_out() {
        check("\u{feff}data: a\n\n", &["|-|a"]);
        check("\u{feff}\u{feff}data: a\n\ndata: b\n\n", &["|-|b"]);
        check("\u{fec0}data: a\n\ndata: \u{feff}b\n\n", &["|-|\u{feff}b"]);
    }

    #[test]
    fn an_event_without_data_is_none_and_its_id_counts() {
        let (frames, parser) = parse_with(64, &[b"id: 7\nevent: x\n\nid: 8\n"]);
        assert_eq!((frames, parser.last_id()), (vec![], Some("7")));
    }

    #[test]
    fn an_id_with_nul_is_ignored() {
        check("id: a\0b\ndata: x\n\n", &["|-|x"]);
    }

    #[test]
    fn a_retry_counts_if_it_is_a_number() {
        for (text, millis) in [
            ("retry: 1500\n", Some(1500)),
            ("retry: 1.5\n", None),
            ("retry:\n", None),
            ("retry: 99999999999999999999999\n", Some(u64::MAX)),
        ] {
            let (_, parser) = parse_with(64, &[text.as_bytes()]);
            assert_eq!(parser.retry(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn what_is_incomplete_when_a_connection_ends_is_dropped_and_the_id_stays() {
        let mut parser = Parser::new(64);
        let mut half: &[u8] = b"id: 1\ndata: a\n\nid: 2\nevent: x\ndata: half";
        assert!(parser.next(&mut half).is_some() && parser.next(&mut half).is_none());
        parser.restart();
        assert_eq!(parser.last_id(), Some("1"));
        let mut whole: &[u8] = b"\xef\xbb\xbfdata: whole\n\n";
        let frame = parser.next(&mut whole).unwrap();
        assert_eq!((frame.kind.as_str(), frame.data.as_slice()), ("", b"whole".as_slice()));
        assert_eq!(parser.last_id(), Some("1"));
    }

    #[test]
    fn an_event_that_is_too_large_is_told_without_its_data_and_the_next_is_whole() {
        let lines = "data: 0123456789\n".repeat(7);
        for text in [
            format!("id: 1\n{lines}\nid: 2\ndata: b\n\n"),
            format!("id: 1\ndata: {}\n\nid: 2\ndata: b\n\n", "x".repeat(100_000)),
        ] {
            let (frames, parser) = parse_with(64, &[text.as_bytes()]);
            assert_eq!(frames[0].id.as_deref(), Some("1"));
            assert!(frames[0].is_too_large && frames[0].data.is_empty());
            assert_eq!((frames[1].is_too_large, frames[1].data.as_slice()), (false, &b"b"[..]));
            assert_eq!(parser.last_id(), Some("2"));
        }
    }

    fn held(parser: &Parser) -> usize {
        parser.line.capacity() + parser.data.as_ref().map_or(0, Vec::capacity)
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        for line in ["data: x", ": a comment ", "id: ", "event: ", "an unknown field ", ""] {
            let mut parser = Parser::new(1000);
            let piece = "y".repeat(1 << 16);
            let mut rest = line.as_bytes();
            assert!(parser.next(&mut rest).is_none());
            for _ in 0..100 {
                let mut rest = piece.as_bytes();
                assert!(parser.next(&mut rest).is_none());
                assert!(held(&parser) < 1 << 18, "{line}");
            }
        }
        let mut parser = Parser::new(1000);
        for _ in 0..10_000 {
            let mut rest: &[u8] = b"data: 0123456789012345678901234567890123456789\n";
            assert!(parser.next(&mut rest).is_none());
            assert!(held(&parser) < 1 << 18);
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_same_bytes_gives_the_same_events(
            words in proptest::collection::vec(0_usize..14, 0..60),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        ) {
            const WORDS: [&[u8]; 14] = [
                b"\n", b"\r", b"\r\n", b"data:", b"data: ", b"id: 7", b"id:\0", b"event: x", b": ",
                b"retry: 9", b"0123456789012345678901234567890123456789", b"\xef\xbb\xbf", b"\xff", b"\n\n",
            ];
            let text: Vec<u8> = words.iter().flat_map(|word| WORDS[*word].to_vec()).collect();
            let (whole, end) = parse_with(64, &[&text]);
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let chunks: Vec<_> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (cut, cut_end) = parse_with(64, &chunks);
            assert_eq!(cut, whole);
            assert_eq!((cut_end.last_id(), cut_end.retry()), (end.last_id(), end.retry()));
        }
    }
}
