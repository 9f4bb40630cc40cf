//! Reads JSON lines, plain or gzip, in the file's order.
//!
//! A line is sent as it is, JSON or not: what cannot be read is for the stream to quarantine. Only a
//! line whose unique field was seen a moment ago is left out, and blank ones.
//!
//! A program may be writing the file. A last line without a line end is sent only if it is a whole JSON
//! value; otherwise the feed waits for the rest of it.

use super::super::resume::cursor::Fingerprint;
use super::fields::Fields;
use super::{Event, Next, Source};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::time::{EventTime, Micros};
use flate2::bufread::MultiGzDecoder;
use serde::de::IgnoredAny;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::warn;

const BUFFER_BYTES: usize = 1 << 18;
/// Some programs begin a text with it; the first line is none the less JSON.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// How long a half-written last line is waited for after the file has grown last.
const HALF_LINE_PATIENCE: Duration = Duration::from_secs(5);

/// A file that is being read.
pub struct Lines {
    path: PathBuf,
    reader: Reader,
    /// What has been read of the next line.
    half: Vec<u8>,
    /// The last line was sent without its line end: what may come now belongs to it.
    has_ended: bool,
    /// Since when the half line has not grown.
    waiting_since: Option<Micros>,
    patience: Duration,
    clock: Clock,
    line: u64,
    fields: Fields,
}

impl Lines {
    pub fn open(path: &Path, fields: Fields, clock: &Clock) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            reader: open(path)?,
            half: Vec::new(),
            has_ended: false,
            waiting_since: None,
            patience: HALF_LINE_PATIENCE,
            clock: clock.clone(),
            line: 0,
            fields,
        })
    }

    /// The lowest and the highest believable date so far.
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        self.fields.span()
    }

    /// Reads on until a line is whole.
    fn whole_line(&mut self) -> Result<Next, Error> {
        if self.has_ended {
            return Ok(Next::End);
        }
        let before = self.half.len();
        let read = self.reader.lines.read_until(b'\n', &mut self.half);
        read.map_err(|err| damaged(&self.path, self.line + 1, &err))?;
        if self.half.is_empty() {
            return Ok(Next::End);
        }
        if self.reader.is_whole(&self.half) {
            self.has_ended = !self.half.ends_with(b"\n");
            self.waiting_since = None;
            return Ok(Next::Event);
        }
        let now = Micros::from(self.clock.steady());
        let since = self.waiting_since.filter(|_| self.half.len() == before);
        let since = *self.waiting_since.insert(since.unwrap_or(now));
        if now.since(since) < self.patience {
            return Ok(Next::NotYet);
        }
        warn!(file = %self.path.display(), line = self.line + 1,
            "line {} of {} has no line end and is no whole JSON value; it is not sent. Start the feed \
             again when the rest of it is there, or when it has a line end",
            self.line + 1, self.path.display());
        Ok(Next::End)
    }
}

impl Source for Lines {
    fn read(&mut self, event: &mut Event) -> Result<Next, Error> {
        loop {
            match self.whole_line()? {
                Next::Event => {}
                nothing @ (Next::NotYet | Next::End) => return Ok(nothing),
            }
            std::mem::swap(&mut event.payload, &mut self.half);
            self.half.clear();
            event.number = self.line;
            self.line += 1;
            while event.payload.last().is_some_and(u8::is_ascii_whitespace) {
                event.payload.pop();
            }
            if !event.payload.is_empty() && self.fields.admits(event) {
                return Ok(Next::Event);
            }
        }
    }

    /// A file's order promises nothing before its end.
    fn promise_before(&self, _: u64) -> Option<EventTime> {
        None
    }

    fn newest(&self) -> Option<EventTime> {
        self.fields.newest()
    }

    fn left_out(&self) -> u64 {
        self.fields.left_out()
    }
}

/// Whether `text` is one JSON value that nothing can follow; a number might have another digit.
fn is_whole_value(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
        && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// What makes this file's lines those of one feed: its name as the job file writes it, and its first
/// line. So a file that grows is gone on with, also in a project whose folder was moved, and another
/// file under the same name begins anew.
pub fn fingerprint(root: &Path, name: &str) -> Result<Fingerprint, Error> {
    let path = root.join(name);
    let mut first = Vec::new();
    let mut reader = open(&path)?;
    reader.lines.read_until(b'\n', &mut first).map_err(|err| damaged(&path, 1, &err))?;
    if !first.is_empty() && !reader.is_whole(&first) {
        let half = format!("the first line of {} has no line end yet", path.display());
        return Err(Error::new(ErrorKind::Unavailable, half)
            .remedy("the feed begins when the line is whole; end it if nothing will follow"));
    }
    if !first.is_empty() && !first.ends_with(b"\n") {
        first.push(b'\n'); // It may get its line end later, and stays the same line.
    }
    Ok(Fingerprint::of(&[b"replay", name.as_bytes(), &first]))
}

/// The bytes of a file, unpacked.
struct Reader {
    lines: Box<dyn BufRead + Send>,
    is_packed: bool,
}

impl Reader {
    /// Whether nothing can follow in the same line. A packed file ends where its packer was done.
    fn is_whole(&self, line: &[u8]) -> bool {
        line.ends_with(b"\n") || self.is_packed || is_whole_value(line)
    }
}

fn open(path: &Path) -> Result<Reader, Error> {
    let unreadable = |err| {
        Error::new(ErrorKind::Input, err)
            .remedy("name a file of JSON lines, plain or gzip; a relative path starts at the project's folder")
    };
    let doing = || format!("open {}", path.display());
    let file = File::open(path).map_err(unreadable).doing(doing)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let start = reader.fill_buf().map_err(unreadable).doing(doing)?;
    let is_packed = start.starts_with(&[0x1f, 0x8b]);
    let mut lines: Box<dyn BufRead + Send> = if is_packed {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    };
    let marked = lines.fill_buf().map_err(|err| damaged(path, 1, &err))?.starts_with(BOM);
    if marked {
        lines.consume(BOM.len());
    }
    Ok(Reader { lines, is_packed })
}

fn damaged(path: &Path, line: u64, err: &std::io::Error) -> Error {
    Error::new(ErrorKind::Input, format!("read line {line} of {}: {err}", path.display()))
        .remedy("mend the file; a feed that has sent the lines before it goes on there")
}

#[cfg(test)]
mod tests {
    use super::super::unique::Recent;
    use super::*;
    use std::io::Write;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn read(content: &[u8]) -> (Vec<(u64, String, Option<i64>)>, Lines) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let unique = Some((path("id"), Recent::new(16)));
        let max = Micros(4_000_000_000_000_000);
        let mut lines =
            Lines::open(file.path(), Fields::new(Some(path("at")), max, unique), &Clock::system())
                .unwrap();
        let mut event = Event::default();
        let mut events = Vec::new();
        while lines.read(&mut event).unwrap() == Next::Event {
            let text = String::from_utf8_lossy(&event.payload).into_owned();
            events.push((event.number, text, event.at.map(|at| at.0 / 1_000_000)));
        }
        (events, lines)
    }

    const TEXT: &[u8] = b"{\"id\":1,\"at\":\"1970-01-01T00:00:09Z\"}\r\n\nnot json\n{\"id\":1}\n\
        {\"id\":2,\"at\":\"1970-01-01T01:00:07+01:00\"}\n{\"id\":3,\"at\":\"2999-01-01\"}";

    #[test]
    fn lines_come_in_order_under_their_numbers_without_blanks_and_repeats() {
        let (events, _) = read(TEXT);
        let numbers: Vec<_> = events.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, [0, 2, 4, 5]);
        assert_eq!(events[1].1, "not json");
    }

    #[test]
    fn the_newest_believable_date_is_known() {
        let (events, lines) = read(TEXT);
        assert_eq!((events[0].2, events[2].2), (Some(9), Some(7)));
        assert_eq!(lines.newest(), Some(Micros(9_000_000)));
    }

    /// A file that ends in a half line, opened by a feed that gives up at once or never.
    fn half(content: &str, patience: Duration) -> (tempfile::NamedTempFile, Lines) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let mut lines =
            Lines::open(file.path(), Fields::new(None, Micros::MAX, None), &Clock::system())
                .unwrap();
        lines.patience = patience;
        (file, lines)
    }

    #[track_caller]
    fn check_next(lines: &mut Lines, next: Next, payload: &str) {
        let mut event = Event::default();
        assert_eq!(lines.read(&mut event).unwrap(), next);
        assert_eq!(String::from_utf8_lossy(&event.payload), payload);
    }

    #[test]
    fn a_half_written_line_is_sent_once_whole() {
        let (mut file, mut lines) = half("{\"id\":1}\n{\"id\":2,\"te", Duration::MAX);
        check_next(&mut lines, Next::Event, "{\"id\":1}");
        check_next(&mut lines, Next::NotYet, "");
        file.write_all(b"xt\":").unwrap();
        check_next(&mut lines, Next::NotYet, "");
        file.write_all(b"7}\n{\"id\":3}\n").unwrap();
        check_next(&mut lines, Next::Event, "{\"id\":2,\"text\":7}");
        check_next(&mut lines, Next::Event, "{\"id\":3}");
        check_next(&mut lines, Next::End, "");
    }

    #[test]
    fn a_half_written_line_that_stays_so_ends_the_feed_unsent() {
        let (_file, mut lines) = half("{\"id\":1}\n{\"id\":2,\"te", Duration::ZERO);
        check_next(&mut lines, Next::Event, "{\"id\":1}");
        check_next(&mut lines, Next::End, "");
    }

    #[test]
    fn a_last_line_that_is_whole_needs_no_line_end() {
        let (mut file, mut lines) = half("{\"id\":1}", Duration::MAX);
        check_next(&mut lines, Next::Event, "{\"id\":1}");
        file.write_all(b"\n{\"id\":2}\n").unwrap();
        check_next(&mut lines, Next::End, "");
    }

    #[test]
    fn a_number_without_a_line_end_may_get_another_digit() {
        let (_file, mut lines) = half("12", Duration::MAX);
        check_next(&mut lines, Next::NotYet, "");
    }

    #[test]
    fn a_feed_begins_when_its_first_line_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "{\"id\":1").unwrap();
        let error = fingerprint(folder.path(), "a").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        std::fs::write(folder.path().join("a"), "{\"id\":1}").unwrap();
        let before = fingerprint(folder.path(), "a").unwrap();
        std::fs::write(folder.path().join("a"), "{\"id\":1}\n").unwrap();
        assert_eq!(before, fingerprint(folder.path(), "a").unwrap());
    }

    #[test]
    fn ids_that_differ_in_their_last_digit_are_different() {
        let ids = ["327267367867168100000", "327267367867168100001", "7", "7.0", "\"7\"", "7"];
        let text = ids.map(|id| format!("{{\"id\":{id}}}\n")).concat();
        let (events, lines) = read(text.as_bytes());
        assert_eq!((events.len(), lines.left_out()), (5, 1));
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(TEXT).unwrap();
        assert_eq!(read(&gzip.finish().unwrap()).0, read(TEXT).0);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let marked = [BOM, TEXT].concat();
        assert_eq!(read(&marked).0, read(TEXT).0);
    }

    #[test]
    fn a_file_that_grows_stays_the_same_feed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("a"), "one\n").unwrap();
        std::fs::write(root.join("b"), "one\n").unwrap();
        let before = fingerprint(root, "a").unwrap();
        assert_ne!(before, fingerprint(root, "b").unwrap());
        std::fs::write(root.join("a"), "one\ntwo\n").unwrap();
        assert_eq!(before, fingerprint(root, "a").unwrap());
    }

    #[test]
    fn a_project_that_is_moved_keeps_its_feed() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [before, after] = folders.each_ref().map(|folder| {
            std::fs::write(folder.path().join("a"), "one\n").unwrap();
            fingerprint(folder.path(), "a").unwrap()
        });
        assert_eq!(before, after);
    }
}
