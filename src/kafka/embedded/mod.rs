//! The embedded topic log: durable topics on local disk, shared by processes.
//!
//! For laptops, demos and simulation; it is no broker. There is no server process: whoever writes
//! does it under the topic's file lock, and whoever dies, by `kill -9` too, loses its locks to the
//! operating system, which is how others take over.
//!
//! ```text
//! <dir>/<topic>/topic.json                id, topic partitions, retention
//!               lock                      held while appending
//!               ends                      how far each topic partition is acknowledged
//!               <p>/<first offset>.log    segments of frames
//!               groups/<group>/           who is a member, and who owns what
//! ```

mod ends;
mod frame;
mod group;
mod reader;
mod retention;
mod segments;
mod source;
mod writer;

pub use source::EmbeddedSource;
pub use writer::Writer;

use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{Message, TopicFacts, another_topic};
use crate::model::name::TopicName;
use crate::model::stored::{Stored, decode};
use crate::model::time::Micros;
use ends::{End, EndsFile};
use reader::Reader;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::info;
use uuid::Uuid;

/// `topic.json`; only the number of topic partitions ever changes, and only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TopicFile {
    format: u32,
    id: String,
    partitions: u32,
    retention_ms: u64,
}

impl Stored for TopicFile {
    const NAME: &'static str = "topic";
}

/// A topic on disk, as it was when it was opened.
#[derive(Clone, Debug)]
pub struct Topic {
    folder: PathBuf,
    name: TopicName,
    file: TopicFile,
}

impl Topic {
    /// Opens the topic, or creates it for everyone at once; the first one decides what it is.
    pub fn ensure(
        dir: &Path,
        name: &TopicName,
        partitions: u32,
        retention: Duration,
    ) -> Result<Self, Error> {
        if let Some(topic) = Self::open(dir, name)? {
            return Ok(topic);
        }
        if partitions == 0 {
            return Err(Error::new(
                ErrorKind::Input,
                format!("topic {name} needs a topic partition"),
            ));
        }
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let id = Uuid::new_v4().simple().to_string();
        let file = TopicFile { format: TopicFile::FORMAT, id, partitions, retention_ms };
        create(dir, name, &file).doing(|| format!("create topic {name}"))?;
        Self::existing(dir, name)
    }

    pub fn open(dir: &Path, name: &TopicName) -> Result<Option<Self>, Error> {
        let folder = dir.join(name.as_str());
        let file = read_file(&folder).doing(|| format!("open topic {name}"))?;
        Ok(file.map(|file| Self { folder, name: name.clone(), file }))
    }

    pub fn existing(dir: &Path, name: &TopicName) -> Result<Self, Error> {
        Self::open(dir, name)?.ok_or_else(|| {
            Error::new(ErrorKind::Input, format!("there is no topic {name} in {}", dir.display()))
        })
    }

    pub fn facts(&self) -> TopicFacts {
        TopicFacts { id: self.file.id.clone(), partitions: self.file.partitions }
    }

    fn partitions(&self) -> u32 {
        self.file.partitions
    }

    fn retention(&self) -> Duration {
        Duration::from_millis(self.file.retention_ms)
    }

    fn partition_folder(&self, topic_partition: u32) -> PathBuf {
        self.folder.join(topic_partition.to_string())
    }

    /// Looks whether the topic has grown. An error once it has been deleted or replaced: what we hold
    /// open is then no one's.
    fn refresh(&mut self) -> Result<(), Error> {
        match read_file(&self.folder)? {
            Some(file) if file.id == self.file.id => {
                self.file = file;
                Ok(())
            }
            Some(_) | None => Err(another_topic(&self.name)),
        }
    }

    /// The topic with at least so many topic partitions. They are there when `topic.json` says so;
    /// whoever dies before has left empty folders, after it a file of ends that says nothing of them.
    pub fn grow(mut self, partitions: u32) -> Result<Self, Error> {
        let lock = self.lock()?;
        lock.lock().map_err(disk)?;
        self.refresh()?;
        let before = self.partitions();
        if before < partitions {
            self.add(before..partitions).doing(|| format!("let topic {} grow", self.name))?;
            info!(topic.name = %self.name, "topic {} has {partitions} topic partitions now", self.name);
        }
        lock.unlock().map_err(disk)?;
        Ok(self)
    }

    /// Under the lock.
    fn add(&mut self, added: std::ops::Range<u32>) -> Result<(), Error> {
        self.file.partitions = added.end;
        for topic_partition in added {
            let folder = self.partition_folder(topic_partition);
            fs::create_dir_all(&folder).map_err(disk)?;
            segments::create(&folder, 0)?;
        }
        segments::sync_folder(&self.folder)?;
        let draft = self.folder.join("topic.json.draft");
        write_durably(&draft, &json(&self.file)?)?;
        fs::rename(&draft, self.folder.join("topic.json")).map_err(disk)?;
        segments::sync_folder(&self.folder)?;
        let mut ends = EndsFile::open(&self.folder.join("ends"), self.partitions())?;
        let sound = self.sound_ends(&mut ends)?;
        ends.write(&sound)
    }

    fn lock(&self) -> Result<File, Error> {
        let path = self.folder.join("lock");
        File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(disk)
            .doing(|| format!("open {}", path.display()))
    }

    /// Opens the file of ends, after it has been put right if its last writer died.
    fn ends(&self) -> Result<(EndsFile, Vec<End>), Error> {
        let mut file = EndsFile::open(&self.folder.join("ends"), self.partitions())?;
        // Most often nothing is wrong, and a stopped writer's lock need not be waited for.
        let known: Option<Vec<End>> = file.read()?.map(Iterator::collect);
        if let Some(known) = known
            && self.all_closed_well(&known)?
        {
            return Ok((file, known));
        }
        let lock = self.lock()?;
        lock.lock().map_err(disk)?;
        let ends = self.sound_ends(&mut file).doing(|| format!("open topic {}", self.name))?;
        lock.unlock().map_err(disk)?;
        Ok((file, ends))
    }

    /// The true ends; only under the lock. Rewrites the file if a writer died before it could.
    fn sound_ends(&self, file: &mut EndsFile) -> Result<Vec<End>, Error> {
        let known: Option<Vec<End>> = file.read()?.map(Iterator::collect);
        if let Some(known) = &known
            && self.all_closed_well(known)?
        {
            return Ok(known.clone());
        }
        let recover = |topic_partition: u32| {
            let known = known.as_ref().and_then(|known| known.get(topic_partition as usize));
            let known = known.copied();
            segments::recover(&self.partition_folder(topic_partition), known)
                .doing(|| format!("recover topic partition {topic_partition}"))
        };
        let ends = (0..self.partitions()).map(recover).collect::<Result<Vec<_>, _>>()?;
        file.write(&ends)?;
        Ok(ends)
    }

    /// Whether every file ends where it was acknowledged.
    fn all_closed_well(&self, ends: &[End]) -> Result<bool, Error> {
        for (topic_partition, end) in (0..).zip(ends) {
            let folder = self.partition_folder(topic_partition);
            match fs::metadata(segments::path(&folder, end.base)) {
                Ok(found) if found.len() == end.position => {}
                Ok(_) => return Ok(false),
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(err) => return Err(disk(err)),
            }
        }
        Ok(true)
    }

    /// See [`Cluster::tail`](crate::kafka::Cluster::tail).
    pub fn tail(&self, since: Micros, each: &mut dyn FnMut(Message<'_>)) -> Result<(), Error> {
        let (_, ends) = self.ends()?;
        for (topic_partition, end) in (0..).zip(ends) {
            let folder = self.partition_folder(topic_partition);
            let offset = reader::offset_at(&folder, topic_partition, &end, since)?;
            let mut reader = Reader::open(&folder, topic_partition, offset, &end)?;
            while reader.read(&end, usize::MAX, each)? > 0 {}
        }
        Ok(())
    }
}

fn read_file(folder: &Path) -> Result<Option<TopicFile>, Error> {
    let bytes = match fs::read(folder.join("topic.json")) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(disk(err)),
    };
    decode(&bytes).map(Some)
}

/// Builds the topic aside and gives it its name when it is whole. Losing to another is success.
fn create(dir: &Path, name: &TopicName, file: &TopicFile) -> Result<(), Error> {
    let folder = dir.join(format!(".new-{}", Uuid::new_v4().simple()));
    fs::create_dir_all(folder.join("groups")).map_err(disk)?;
    for topic_partition in 0..file.partitions {
        let partition = folder.join(topic_partition.to_string());
        fs::create_dir(&partition).map_err(disk)?;
        segments::create(&partition, 0)?;
    }
    let ends = ends::encode(&vec![End::default(); file.partitions as usize]);
    for (name, bytes) in [("topic.json", json(file)?), ("ends", ends), ("lock", Vec::new())] {
        write_durably(&folder.join(name), &bytes)?;
    }
    segments::sync_folder(&folder)?;
    // A topic's folder is never empty, so this can't replace one.
    if let Err(err) = fs::rename(&folder, dir.join(name.as_str())) {
        fs::remove_dir_all(&folder).map_err(disk)?;
        match err.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {}
            _ => return Err(disk(err)),
        }
    }
    segments::sync_folder(dir)
}

fn json(file: &TopicFile) -> Result<Vec<u8>, Error> {
    serde_json::to_vec_pretty(file).map_err(|err| Error::new(ErrorKind::Bug, err))
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).and_then(|()| File::open(path)?.sync_all()).map_err(disk)
}

fn disk(err: io::Error) -> Error {
    let kind = match err.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Input,
        _ => ErrorKind::Unavailable, // A full disk too: it may have room again.
    };
    Error::new(kind, err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stored::testing::{check_written, written_by};

    #[test]
    fn topics_of_every_release_keep_their_meaning() {
        let file = TopicFile {
            format: 1,
            id: "8c8b26be0ecf45cdb980fefb77676b6f".into(),
            partitions: 2,
            retention_ms: 604_800_000,
        };
        let lines = written_by("97188dc", "topic");
        assert_eq!(lines.len(), 1);
        assert_eq!(decode::<TopicFile>(lines[0].as_bytes()).unwrap(), file);
        check_written("topic", &[serde_json::to_string(&file).unwrap()]);
    }
}
