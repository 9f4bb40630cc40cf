//! Reads JSON lines, plain or gzip, in the file's order.
//!
//! A line is sent as it is, JSON or not: what cannot be read is for the stream to quarantine. Only a
//! line whose unique field was seen a moment ago is left out, and blank ones.

use super::Event;
use super::cursor::Fingerprint;
use super::pick::{Scalar, pick};
use super::unique::Recent;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::time::{EventTime, Micros};
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 1 << 18;
/// Some programs begin a text with it; the first line is none the less JSON.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// A file that is being read.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    line: u64,
    date: Option<Vec<String>>,
    unique: Option<(Vec<String>, Recent)>,
    newest: Option<EventTime>,
    /// Dates after this are mistakes: they do not move the end of the replay.
    date_max: EventTime,
}

impl Lines {
    /// `date` and `unique` are paths of fields.
    pub fn open(
        path: &Path,
        date: Option<Vec<String>>,
        unique: Option<(Vec<String>, Recent)>,
        date_max: EventTime,
    ) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            reader: open(path)?,
            line: 0,
            date,
            unique,
            newest: None,
            date_max,
        })
    }

    /// Fills `event` with the next line; false at the end of the file.
    pub fn read(&mut self, event: &mut Event) -> Result<bool, Error> {
        loop {
            event.payload.clear();
            let read = self.reader.read_until(b'\n', &mut event.payload);
            let bytes = read.map_err(|err| damaged(&self.path, self.line + 1, &err))?;
            if bytes == 0 {
                return Ok(false);
            }
            event.number = self.line;
            self.line += 1;
            while event.payload.last().is_some_and(u8::is_ascii_whitespace) {
                event.payload.pop();
            }
            if event.payload.is_empty() || !self.is_new(&event.payload) {
                continue;
            }
            event.at =
                self.date.as_ref().and_then(|path| pick(&event.payload, path)).and_then(date);
            let believed = event.at.filter(|at| *at <= self.date_max);
            self.newest = self.newest.max(believed);
            return Ok(true);
        }
    }

    /// The newest date read so far.
    pub fn newest(&self) -> Option<EventTime> {
        self.newest
    }

    fn is_new(&mut self, line: &[u8]) -> bool {
        let Some((path, recent)) = &mut self.unique else { return true };
        pick(line, path).is_none_or(|id| recent.is_new(id.to_string()))
    }
}

/// What makes this file's lines those of one feed: its name as the job file writes it, and its first
/// line. So a file that grows is gone on with, also in a project whose folder was moved, and another
/// file under the same name begins anew.
pub fn fingerprint(root: &Path, name: &str) -> Result<Fingerprint, Error> {
    let path = root.join(name);
    let mut first = Vec::new();
    open(&path)?.read_until(b'\n', &mut first).map_err(|err| damaged(&path, 1, &err))?;
    Ok(Fingerprint::of(&[b"replay", name.as_bytes(), &first]))
}

fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, Error> {
    let unreadable = |err| {
        Error::new(ErrorKind::Input, err)
            .remedy("name a file of JSON lines, plain or gzip; a relative path starts at the project's folder")
    };
    let doing = || format!("open {}", path.display());
    let file = File::open(path).map_err(unreadable).doing(doing)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let start = reader.fill_buf().map_err(unreadable).doing(doing)?;
    let mut reader: Box<dyn BufRead + Send> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    };
    let marked = reader.fill_buf().map_err(|err| damaged(path, 1, &err))?.starts_with(BOM);
    if marked {
        reader.consume(BOM.len());
    }
    Ok(reader)
}

fn damaged(path: &Path, line: u64, err: &std::io::Error) -> Error {
    Error::new(ErrorKind::Input, format!("read line {line} of {}: {err}", path.display()))
        .remedy("mend the file; a feed that has sent the lines before it goes on there")
}

/// A date as text with or without a zone, or seconds, milliseconds or microseconds since 1970.
fn date(scalar: Scalar) -> Option<EventTime> {
    match scalar {
        Scalar::Text(text) => text
            .parse::<Timestamp>()
            .ok()
            .or_else(|| {
                let civil = text.parse::<jiff::civil::DateTime>().ok()?;
                jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
            })
            .map(Micros::from),
        Scalar::Integer(number) => Some(Micros(match number.unsigned_abs() {
            0..100_000_000_000 => number * 1_000_000,
            100_000_000_000..100_000_000_000_000 => number * 1_000,
            _ => number,
        })),
        Scalar::Float(_) => None,
    }
}

#[cfg(test)]
mod tests {
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
        let mut lines = Lines::open(file.path(), Some(path("at")), unique, max).unwrap();
        let mut event = Event::default();
        let mut events = Vec::new();
        while lines.read(&mut event).unwrap() {
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
