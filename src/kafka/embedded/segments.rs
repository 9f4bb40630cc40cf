//! The files of one topic partition, `<first offset>.log`, and how their true end is found again.

use super::disk;
use super::ends::End;
use super::frame::{self, Decoded};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::time::Micros;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tracing::warn;

const SCAN_BYTES: usize = 1 << 20;

pub fn path(folder: &Path, base: i64) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

/// The first offsets of all segments, ascending.
pub fn bases(folder: &Path) -> Result<Vec<i64>, Error> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk)? {
        let name = entry.map_err(disk)?.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(".log"));
        bases.extend(base.and_then(|digits| digits.parse::<i64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Makes a new, empty segment; its name is durable when this returns.
pub fn create(folder: &Path, base: i64) -> Result<File, Error> {
    let path = path(folder, base);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(disk)
        .doing(|| format!("create {}", path.display()))?;
    sync_folder(folder)?;
    Ok(file)
}

pub fn open(folder: &Path, base: i64) -> io::Result<File> {
    File::options().read(true).write(true).open(path(folder, base))
}

pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk)
}

/// When the segment's first message arrived; `None` while it has none.
pub fn first_arrived(file: &File) -> Result<Option<Micros>, Error> {
    let mut arrived = [0; 8];
    match file.read_exact_at(&mut arrived, frame::HEADER_BYTES as u64) {
        Ok(()) => Ok(Some(Micros(i64::from_le_bytes(arrived)))),
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(err) => Err(disk(err)),
    }
}

/// Finds the end of a topic partition whose last writer may have died, and cuts a torn tail.
///
/// Only under the topic's lock, so that no live writer is between its write and its new end. What
/// lies behind `known` was acknowledged to nobody; whole frames of it are kept nevertheless.
pub fn recover(folder: &Path, known: Option<End>) -> Result<End, Error> {
    let bases = bases(folder)?;
    let Some(last) = bases.last().copied() else {
        return Err(Error::new(
            ErrorKind::Data,
            format!("{} has no segment left", folder.display()),
        ));
    };
    // A segment is synced before the next one is created, so only the last one can be torn.
    let mut end = known.filter(|end| bases.binary_search(&end.base).is_ok()).unwrap_or(End {
        offset: last,
        base: last,
        ..End::default()
    });
    loop {
        let file = open(folder, end.base).map_err(disk)?;
        let bytes = file.metadata().map_err(disk)?.len();
        if bytes < end.position {
            let path = path(folder, end.base);
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "{} has lost acknowledged messages: {bytes} of {} bytes are left",
                    path.display(),
                    end.position
                ),
            ));
        }
        scan(&file, bytes, &mut end)?;
        if end.position < bytes {
            warn!(
                bytes = bytes - end.position,
                offset = end.offset,
                "cut a torn tail off {}",
                path(folder, end.base).display()
            );
            file.set_len(end.position).map_err(disk)?;
        }
        // Whole frames that were kept get their acknowledgement now.
        file.sync_all().map_err(disk)?;
        if end.offset > end.base && bases.binary_search(&end.offset).is_ok() {
            end = End { base: end.offset, position: 0, ..end };
        } else {
            break;
        }
    }
    for base in bases.into_iter().filter(|base| *base > end.base) {
        fs::remove_file(path(folder, base)).map_err(disk)?;
    }
    sync_folder(folder)?;
    Ok(end)
}

/// Moves `end` over every whole frame up to `bytes`.
fn scan(file: &File, bytes: u64, end: &mut End) -> Result<(), Error> {
    let mut buffer = vec![0; SCAN_BYTES];
    while end.position < bytes {
        let left = usize::try_from(bytes - end.position).unwrap_or(usize::MAX);
        let filled = buffer.len().min(left);
        file.read_exact_at(&mut buffer[..filled], end.position).map_err(disk)?;
        let mut at = 0;
        loop {
            match frame::decode(&buffer[at..filled]) {
                Decoded::Frame(stored, bytes) => {
                    at += bytes;
                    end.offset += 1;
                    end.arrived = end.arrived.max(stored.arrived);
                }
                Decoded::Short(needed) if needed <= left - at && at > 0 => break,
                Decoded::Short(needed) if needed <= left - at => {
                    buffer.resize(needed.max(buffer.len() * 2), 0);
                    break;
                }
                Decoded::Short(_) | Decoded::Damaged => {
                    end.position += at as u64;
                    return Ok(());
                }
            }
        }
        end.position += at as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Outgoing;

    fn frames(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            let message = Outgoing { payload: Some(b"payload"), ..Outgoing::default() };
            frame::encode(&mut bytes, Micros(1), &message);
        }
        bytes
    }

    fn check(files: &[(i64, &[u8])], known: Option<End>, offset: i64, left: &[i64]) {
        let dir = tempfile::tempdir().unwrap();
        for (base, bytes) in files {
            fs::write(path(dir.path(), *base), bytes).unwrap();
        }
        let end = recover(dir.path(), known).unwrap();
        assert_eq!((end.offset, bases(dir.path()).unwrap().as_slice()), (offset, left));
        assert_eq!(fs::metadata(path(dir.path(), end.base)).unwrap().len(), end.position);
        assert_eq!(recover(dir.path(), Some(end)).unwrap(), end);
    }

    #[test]
    fn a_tail_cut_at_any_byte_leaves_the_whole_frames() {
        let whole = frames(3);
        let one = whole.len() / 3;
        for cut in 0..=whole.len() {
            check(&[(0, &whole[..cut])], None, i64::try_from(cut / one).unwrap(), &[0]);
        }
    }

    #[test]
    fn the_search_goes_on_from_an_old_end_into_later_segments() {
        let known = End { offset: 1, base: 0, position: frames(1).len() as u64, ..End::default() };
        check(&[(0, &frames(2)), (2, &frames(3))], Some(known), 5, &[0, 2]);
        check(&[(0, &frames(2)), (2, &[])], Some(known), 2, &[0, 2]);
    }

    #[test]
    fn a_segment_behind_a_torn_tail_goes() {
        let known = End::default();
        check(&[(0, &frames(2)[..20]), (2, &frames(1))], Some(known), 0, &[0]);
    }

    #[test]
    fn missing_acknowledged_bytes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path(), 0), b"").unwrap();
        let known = End { offset: 1, base: 0, position: 10, ..End::default() };
        assert_eq!(recover(dir.path(), Some(known)).unwrap_err().kind, ErrorKind::Data);
    }

    #[test]
    fn a_frame_longer_than_the_scan_buffer_is_kept() {
        let payload = vec![7; SCAN_BYTES * 3];
        let mut bytes = Vec::new();
        let message = Outgoing { payload: Some(&payload), ..Outgoing::default() };
        frame::encode(&mut bytes, Micros(1), &message);
        bytes.extend_from_slice(&frames(2));
        check(&[(0, &bytes)], None, 3, &[0]);
    }
}
