//! The folder: each object's bytes once under a number, its name as a link to them, and a journal.
//!
//! Other programs read `<root>/<bucket>/<object>` as they would read a folder. A link is replaced by
//! a rename, so they see the old object or the new one and never a part. What no file can be named
//! after (`a` beside `a/b`, `a/../b`) has its bytes and no link. The journal tells after a restart
//! what there was; links are made again from it. Nothing is synced: a killed emulator forgets
//! nothing, a machine without power may.

use crate::object::{Object, Place};
use crate::state::Entry;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// No bucket's name begins with a dot.
const OURS: &str = ".gcs-emulator";

#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    blobs: PathBuf,
}

/// Appended by one writer, under the table's lock.
#[derive(Debug)]
pub struct Journal(File);

impl Disk {
    pub fn open(root: &Path) -> io::Result<Self> {
        let blobs = root.join(OURS).join("blobs");
        fs::create_dir_all(&blobs)?;
        Ok(Self { root: root.canonicalize()?, blobs: blobs.canonicalize()? })
    }

    /// What the journal tells; a torn last line was never answered and counts for nothing.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let text = match fs::read_to_string(self.journal()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let entry = |line| serde_json::from_str(line).map_err(io::Error::other);
        whole.lines().map(entry).collect()
    }

    /// Begins the journal again with `entries`, and makes the folder agree with `live` objects.
    pub fn begin(
        &self,
        entries: &[Entry],
        kept: &[Object],
        live: &[Object],
    ) -> io::Result<Journal> {
        let fresh = self.journal().with_extension("part");
        let mut journal = Journal(File::create(&fresh)?);
        entries.iter().try_for_each(|entry| journal.append(entry))?;
        fs::rename(&fresh, self.journal())?;
        let blobs: BTreeSet<String> = kept.iter().map(|object| object.blob.to_string()).collect();
        for entry in fs::read_dir(&self.blobs)? {
            let entry = entry?;
            if !blobs.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(entry.path())?;
            }
        }
        let linked: BTreeSet<PathBuf> =
            live.iter().filter_map(|object| self.link_of(&object.place())).collect();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.is_dir() && path != self.root.join(OURS) {
                keep_only(&path, &linked)?;
            }
        }
        for object in live {
            self.show(object);
        }
        Ok(journal)
    }

    fn journal(&self) -> PathBuf {
        self.root.join(OURS).join("journal.jsonl")
    }

    fn blob(&self, blob: u64) -> PathBuf {
        self.blobs.join(blob.to_string())
    }

    pub fn write(&self, blob: u64, bytes: &[u8]) -> io::Result<()> {
        fs::write(self.blob(blob), bytes)
    }

    pub fn copy(&self, from: u64, to: u64) -> io::Result<()> {
        fs::hard_link(self.blob(from), self.blob(to))
    }

    pub fn open_blob(&self, blob: u64) -> io::Result<File> {
        File::open(self.blob(blob))
    }

    pub fn forget(&self, blobs: &[u64]) {
        for blob in blobs {
            // What stays behind is removed at the next start.
            let _ = fs::remove_file(self.blob(*blob));
        }
    }

    pub fn make_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(bucket))
    }

    pub fn remove_bucket(&self, bucket: &str) {
        let _ = fs::remove_dir_all(self.root.join(bucket));
    }

    /// Links the object's name to its bytes, as far as a file can have that name.
    pub fn show(&self, object: &Object) {
        let Some(link) = self.link_of(&object.place()) else { return };
        let blob = self.blob(object.blob);
        let inode = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
        if inode(&link).is_some() && inode(&link) == inode(&blob) {
            return;
        }
        let fresh = self.root.join(OURS).join("link");
        let shown = link.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let _ = fs::remove_file(&fresh);
            fs::hard_link(&blob, &fresh)?;
            fs::rename(&fresh, &link)
        });
        if shown.is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }

    pub fn hide(&self, place: &Place) {
        let Some(link) = self.link_of(place) else { return };
        if !link.is_file() || fs::remove_file(&link).is_err() {
            return;
        }
        let bucket = self.root.join(&place.bucket);
        for folder in link.ancestors().skip(1).take_while(|folder| **folder != bucket) {
            if fs::remove_dir(folder).is_err() {
                return; // It holds others.
            }
        }
    }

    fn link_of(&self, place: &Place) -> Option<PathBuf> {
        let odd =
            |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        let odd = place.name.split('/').any(odd);
        (!odd).then(|| self.root.join(&place.bucket).join(&place.name))
    }
}

impl Journal {
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

pub fn read(mut blob: File, range: &Range<u64>) -> io::Result<Bytes> {
    blob.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    blob.take(range.end - range.start).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn keep_only(folder: &Path, linked: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            keep_only(&path, linked)?;
            let _ = fs::remove_dir(&path); // Only if it is empty.
        } else if !linked.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
