//! The file that says how far each topic partition is acknowledged.
//!
//! A writer rewrites it after its fsync, still under the lock; readers look at nothing behind it,
//! so they never hand over what a power cut could take back. It is itself synced only when a new
//! segment begins: after a power cut it may be old or torn, and `segments::recover` finds the true
//! end from there. A topic that has just grown may have fewer ends than topic partitions: those of
//! which it says nothing are empty.

use super::disk;
use crate::error::{Error, ErrorKind};
use crate::model::time::Micros;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The acknowledged end of one topic partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Of the next message.
    pub offset: i64,
    /// The first offset of the segment that is being written.
    pub base: i64,
    /// Acknowledged bytes of that segment.
    pub position: u64,
    /// When the last message arrived.
    pub arrived: Micros,
}

const SLOT_BYTES: usize = 32;
const CRC_BYTES: usize = 4;
/// A reader may meet a half-written file; the writer needs microseconds to finish it.
const TRIES_MAX: usize = 1_000;

pub struct EndsFile {
    file: File,
    /// How many topic partitions there are, as far as is known.
    partitions: usize,
    bytes: Vec<u8>,
}

impl EndsFile {
    pub fn open(path: &Path, partitions: u32) -> Result<Self, Error> {
        let file = File::options().read(true).write(true).open(path).map_err(disk)?;
        Ok(Self { file, partitions: partitions as usize, bytes: Vec::new() })
    }

    /// The topic has so many topic partitions now.
    pub fn grow(&mut self, partitions: u32) {
        self.partitions = self.partitions.max(partitions as usize);
    }

    /// The end of each topic partition, at least of those that are known; `None` if what is there is
    /// not what a writer wrote.
    pub fn read(&mut self) -> Result<Option<impl Iterator<Item = End> + '_>, Error> {
        let filled = self.read_bytes()?;
        let Some((crc, slots)) = self.bytes[..filled].split_at_checked(CRC_BYTES) else {
            return Ok(None);
        };
        let sound = !slots.is_empty()
            && slots.len().is_multiple_of(SLOT_BYTES)
            && crc32fast::hash(slots).to_le_bytes() == *crc;
        let missing = self.partitions.saturating_sub(slots.len() / SLOT_BYTES);
        Ok(sound.then(|| {
            let told = slots.chunks_exact(SLOT_BYTES).map(decode);
            told.chain(std::iter::repeat_n(End::default(), missing))
        }))
    }

    /// Reads the whole file, however long it is; returns its length.
    fn read_bytes(&mut self) -> Result<usize, Error> {
        let expected = CRC_BYTES + SLOT_BYTES * self.partitions;
        let mut filled = 0;
        loop {
            if self.bytes.len() < filled + SLOT_BYTES {
                self.bytes.resize(expected.max(filled) + SLOT_BYTES, 0);
            }
            let read = self.file.read_at(&mut self.bytes[filled..], filled as u64).map_err(disk)?;
            if read == 0 {
                return Ok(filled);
            }
            filled += read;
        }
    }

    /// Reads into `ends` while writers may be at work.
    pub fn read_shared(&mut self, ends: &mut Vec<End>) -> Result<(), Error> {
        for _ in 0..TRIES_MAX {
            if let Some(read) = self.read()? {
                ends.clear();
                ends.extend(read);
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(Error::new(ErrorKind::Data, "the file `ends` of the topic is damaged"))
    }

    /// Only under the topic's lock.
    pub fn write(&mut self, ends: &[End]) -> Result<(), Error> {
        let bytes = encode(ends);
        self.file.write_all_at(&bytes, 0).map_err(disk)
    }

    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(disk)
    }
}

pub fn encode(ends: &[End]) -> Vec<u8> {
    let mut bytes = vec![0; CRC_BYTES];
    for end in ends {
        bytes.extend_from_slice(&end.offset.to_le_bytes());
        bytes.extend_from_slice(&end.base.to_le_bytes());
        bytes.extend_from_slice(&end.position.to_le_bytes());
        bytes.extend_from_slice(&end.arrived.0.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes[CRC_BYTES..]);
    bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(slot: &[u8]) -> End {
    let word = |at: usize| {
        let bytes = slot[at * 8..at * 8 + 8].try_into().expect("a slot has four words");
        i64::from_le_bytes(bytes)
    };
    End {
        offset: word(0),
        base: word(1),
        position: word(2).cast_unsigned(),
        arrived: Micros(word(3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_heard_that_the_topic_has_grown_reads_all_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ends");
        let all = [7, 8, 9].map(|offset| End { offset, ..End::default() });
        std::fs::write(&path, encode(&all)).unwrap();
        let mut file = EndsFile::open(&path, 1).unwrap();
        assert_eq!(file.read().unwrap().unwrap().collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_torn_file_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ends");
        let end = End { offset: 3, base: 1, position: 99, arrived: Micros(5) };
        std::fs::write(&path, encode(&[end, End::default()])).unwrap();
        let mut file = EndsFile::open(&path, 2).unwrap();
        assert_eq!(file.read().unwrap().unwrap().collect::<Vec<_>>(), [end, End::default()]);
        file.grow(3);
        let grown: Vec<_> = file.read().unwrap().unwrap().collect();
        assert_eq!(grown, [end, End::default(), End::default()]);
        let mut torn = encode(&[end, end]);
        torn[CRC_BYTES + 3] ^= 1;
        std::fs::write(&path, torn).unwrap();
        assert!(file.read().unwrap().is_none());
        std::fs::write(&path, []).unwrap();
        assert!(file.read().unwrap().is_none());
    }
}
