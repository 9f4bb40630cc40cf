//! Reads one topic partition in order, from its segments into the callback without a copy.

use super::ends::End;
use super::frame::{self, Decoded, Stored};
use super::{disk, segments};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Message;
use crate::model::time::Micros;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Large enough that the system call costs nothing beside the decoding, small enough to stay in
/// the cache of the core.
const BUFFER_BYTES: usize = 256 << 10;

pub struct Reader {
    folder: PathBuf,
    topic_partition: u32,
    segment: Segment,
    buffer: Vec<u8>,
    /// What of `buffer` is filled and not yet handed over.
    from: usize,
    to: usize,
    next: i64,
}

struct Segment {
    base: i64,
    file: File,
    /// Where the next read begins.
    position: u64,
    /// How long it is, once it is no longer written.
    closed_bytes: Option<u64>,
}

impl Reader {
    /// Stands at `offset`; an error of kind `Data` if it is not kept, or not yet there.
    pub fn open(
        folder: &Path,
        topic_partition: u32,
        offset: i64,
        end: &End,
    ) -> Result<Self, Error> {
        let bases = segments::bases(folder)?;
        let after = bases.partition_point(|base| *base <= offset);
        if after == 0 || offset > end.offset {
            let first = bases.first().copied().unwrap_or(end.offset);
            return Err(out_of_range(topic_partition, offset, first, end.offset));
        }
        let base = bases[after - 1];
        let mut reader = Self {
            folder: folder.to_owned(),
            topic_partition,
            segment: open(folder, topic_partition, base)?,
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            to: 0,
            next: base,
        };
        while reader.next < offset {
            let skip = usize::try_from(offset - reader.next).unwrap_or(usize::MAX);
            if reader.read(end, skip, &mut |_| ())? == 0 {
                return Err(out_of_range(topic_partition, offset, base, reader.next));
            }
        }
        Ok(reader)
    }

    /// The offset of the next message.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Hands over at most `max` messages before `end`, at most a buffer of them, and says how many.
    pub fn read(
        &mut self,
        end: &End,
        max: usize,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<usize, Error> {
        let mut handed = 0;
        while handed < max && self.next < end.offset {
            match frame::decode(&self.buffer[self.from..self.to]) {
                Decoded::Frame(stored, bytes) => {
                    each(message(self.topic_partition, self.next, &stored));
                    self.from += bytes;
                    self.next += 1;
                    handed += 1;
                }
                // Others want their turn, and the caller its pause.
                Decoded::Short(_) if handed > 0 => break,
                Decoded::Short(needed) => self.fill(needed, end)?,
                Decoded::Damaged => return Err(self.damaged()),
            }
        }
        Ok(handed)
    }

    fn fill(&mut self, needed: usize, end: &End) -> Result<(), Error> {
        let limit = self.segment.limit(end)?;
        if self.from == self.to && self.segment.position >= limit {
            return self.go_on_with_next_segment(end);
        }
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        let left = usize::try_from(limit - self.segment.position).unwrap_or(usize::MAX);
        let room = (self.buffer.len() - self.to).min(left);
        if self.to + room < needed {
            return Err(self.damaged()); // All before the end is whole frames.
        }
        let into = &mut self.buffer[self.to..self.to + room];
        self.segment.file.read_exact_at(into, self.segment.position).map_err(disk)?;
        self.segment.position += room as u64;
        self.to += room;
        Ok(())
    }

    fn go_on_with_next_segment(&mut self, end: &End) -> Result<(), Error> {
        if self.segment.base == end.base {
            return Err(self.damaged()); // The end promises more than its segment holds.
        }
        self.segment = open(&self.folder, self.topic_partition, self.next)?;
        Ok(())
    }

    fn damaged(&self) -> Error {
        let path = segments::path(&self.folder, self.segment.base);
        Error::new(
            ErrorKind::Data,
            format!("offset {} in {} is damaged", self.next, path.display()),
        )
    }
}

impl Segment {
    /// How many of its bytes may be read.
    fn limit(&mut self, end: &End) -> Result<u64, Error> {
        if self.base == end.base {
            return Ok(end.position);
        }
        if let Some(bytes) = self.closed_bytes {
            return Ok(bytes);
        }
        let bytes = self.file.metadata().map_err(disk)?.len();
        self.closed_bytes = Some(bytes);
        Ok(bytes)
    }
}

/// Opens the segment that begins with `base`.
fn open(folder: &Path, topic_partition: u32, base: i64) -> Result<Segment, Error> {
    match File::open(segments::path(folder, base)) {
        Ok(file) => Ok(Segment { base, file, position: 0, closed_bytes: None }),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let first = segments::bases(folder)?.first().copied().unwrap_or(base);
            Err(out_of_range(topic_partition, base, first, base))
        }
        Err(err) => Err(disk(err)).doing(|| format!("open segment {base}")),
    }
}

/// The first offset whose message arrived at or after `at`; the end offset if there is none.
pub fn offset_at(folder: &Path, topic_partition: u32, end: &End, at: Micros) -> Result<i64, Error> {
    // Arrivals never go back, so it is in the last segment that began before, or opens the next.
    let bases = segments::bases(folder)?;
    let mut begin = bases.first().copied().unwrap_or(end.offset);
    for base in bases.into_iter().rev() {
        let file = segments::open(folder, base).map_err(disk)?;
        if segments::first_arrived(&file)?.is_some_and(|arrived| arrived < at) {
            begin = base;
            break;
        }
    }
    let mut reader = Reader::open(folder, topic_partition, begin, end)?;
    let mut found = None;
    while found.is_none() {
        let handed = reader.read(end, usize::MAX, &mut |message| {
            if found.is_none() && message.arrived.is_some_and(|arrived| arrived >= at) {
                found = Some(message.offset);
            }
        })?;
        if handed == 0 {
            break;
        }
    }
    Ok(found.unwrap_or(end.offset))
}

fn message<'a>(topic_partition: u32, offset: i64, stored: &Stored<'a>) -> Message<'a> {
    Message {
        topic_partition,
        offset,
        arrived: Some(stored.arrived),
        key: stored.key,
        payload: stored.payload,
        mark: stored.mark,
        headers: &(),
    }
}

fn out_of_range(topic_partition: u32, offset: i64, first: i64, end: i64) -> Error {
    Error::new(
        ErrorKind::Data,
        format!(
            "offset {offset} of topic partition {topic_partition} is out of range: \
             {first} to {end} are kept"
        ),
    )
}
