//! The log of an attempt: what its process writes, within a limit.
//!
//! How a program began and how it ended are what people look for. So a log that has grown too long is
//! written again: its head, a line that says how much is left out, its tail. That takes one pass over
//! the tail for each time that it has filled again, and a reader finds one file at any moment.

use crate::error::{Doing, Error, ErrorKind};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What of a log is kept; with the tail growing to twice its length it has 17 MiB at most.
pub const KEPT: Kept = Kept { head_bytes: 1 << 20, tail_bytes: 8 << 20 };

/// As much as a pipe holds.
const READ_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub head_bytes: usize,
    pub tail_bytes: usize,
}

/// Only its owner may read it: programs print secrets.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    kept: Kept,
    bytes: u64,
    /// Of the head and of the line after it, once it was cut.
    cut: Option<(u64, u64)>,
    left_out: u64,
}

impl Log {
    pub fn open(path: &Path, kept: Kept) -> Result<Self, Error> {
        let opened = create(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened
            .map_err(|error| Error::new(ErrorKind::Input, error))
            .doing(|| format!("open the log {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, kept, bytes, cut: None, left_out: 0 })
    }

    /// Takes everything that comes, to its end. What a full disk refuses is lost, and its writer goes
    /// on.
    pub fn take(&mut self, mut from: impl Read) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => drop(self.write(&buffer[..read])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    pub fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        let full = self.kept.head_bytes + 2 * self.kept.tail_bytes;
        if self.bytes > full as u64 { self.shorten() } else { Ok(()) }
    }

    fn shorten(&mut self) -> io::Result<()> {
        let head = match self.cut {
            Some((head, _)) => head,
            None => self.head()?,
        };
        let before = self.cut.map_or(head, |(head, line)| head + line);
        let tail = self.tail()?;
        let left_out = self.left_out + self.bytes - before - tail.len() as u64;
        let line = format!("[… {left_out} bytes are left out …]\n");

        let draft = self.path.with_extension("draft");
        drop(fs::remove_file(&draft)); // Of a shim that was killed here.
        let mut file = create(&draft)?;
        file.write_all(&self.read(0, head)?)?;
        file.write_all(line.as_bytes())?;
        file.write_all(&tail)?;
        fs::rename(&draft, &self.path)?;
        self.file = file;
        self.cut = Some((head, line.len() as u64));
        self.left_out = left_out;
        self.bytes = head + line.len() as u64 + tail.len() as u64;
        Ok(())
    }

    /// Whole lines, unless there is none so short.
    fn head(&self) -> io::Result<u64> {
        let head = self.read(0, self.kept.head_bytes as u64)?;
        let end = head.iter().rposition(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1);
        Ok(end as u64)
    }

    fn tail(&self) -> io::Result<Vec<u8>> {
        let length = self.kept.tail_bytes as u64;
        let mut tail = self.read(self.bytes - length, length)?;
        let begin = tail.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if begin < tail.len() {
            tail.drain(..begin);
        }
        Ok(tail)
    }

    fn read(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut read = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut read, at)?;
        Ok(read)
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Kept = Kept { head_bytes: 20, tail_bytes: 40 };

    fn written(lines: &[String]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(&path, SMALL).unwrap();
        log.take(lines.concat().as_bytes());
        for line in lines {
            log.write(line.as_bytes()).unwrap();
        }
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_short_log_is_kept_whole() {
        assert_eq!(written(&["one\n".into(), "two\n".into()]), "one\ntwo\none\ntwo\n");
    }

    #[test]
    fn of_a_long_log_the_head_and_the_tail_stay_and_what_is_left_out_is_counted() {
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        let text = written(&lines);
        assert!(text.starts_with("line 0\nline 1\n["), "{text}");
        assert!(text.ends_with("line 998\nline 999\n"), "{text}");
        assert!(text.len() <= 20 + 40 + 2 * 40, "{text}");
        let (_, after) = text.split_once("[… ").unwrap();
        let (left_out, tail) = after.split_once(" bytes are left out …]\n").unwrap();
        let all = 2 * lines.concat().len();
        let kept = "line 0\nline 1\n".len() + tail.len();
        assert_eq!(left_out.parse::<usize>().unwrap(), all - kept);
    }

    #[test]
    fn a_line_without_an_end_is_cut_all_the_same() {
        let text = written(&["x".repeat(1000)]);
        assert!(text.len() <= 20 + 40 + 2 * 40, "{}", text.len());
    }
}
