//! Uploads files to where nobody looks, and clears away those that no record names.

use super::super::{CALLS_MAX, Lake, at_once};
use super::log::Log;
use crate::checksum::Checksum;
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{File, Record};
use crate::model::hive::PartitionKey;
use crate::model::time::EventTime;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload};
use std::collections::{BTreeMap, BTreeSet};

/// How many staged objects, and their records, a sweep holds in memory at once. A stage holds what a
/// few lives left, and all that waits for a closing.
const STAGED_AT_ONCE: usize = 2_000;

/// A file that is about to be staged.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The hive partition; `None` for a quarantine file.
    pub key: Option<PartitionKey>,
    /// Tells the files of one record apart; each has its own.
    pub index: u32,
    /// All of it, in as many pieces as it comes.
    pub payload: PutPayload,
    pub rows: u64,
    pub event_time_min: Option<EventTime>,
    pub event_time_max: Option<EventTime>,
}

impl Log {
    /// Uploads a file for record `seq`, durably. It counts only if that record names it.
    pub async fn stage(&self, seq: u64, file: NewFile) -> Result<File, Error> {
        let NewFile { key, index, payload, rows, event_time_min, event_time_max } = file;
        let staged = self.lake.stage(&payload, || self.place.staged(seq)).await;
        let (staged, checksum) =
            staged.doing(|| format!("stage a file of {}", self.place.output()))?;
        crash::point("stage");
        Ok(File {
            key,
            staged: staged.to_string(),
            published: self.place.published(seq, key.as_ref(), index).to_string(),
            bytes: payload.content_length() as u64,
            checksum,
            rows,
            event_time_min,
            event_time_max,
        })
    }

    /// Deletes what writers staged for record `from` or a later one and never committed, and returns
    /// how many objects that were.
    ///
    /// Safe beside writers at work: an object staged for record `seq` is garbage exactly when that
    /// record exists and does not name it.
    pub async fn sweep(&self, from: u64) -> Result<usize, Error> {
        let doing = || format!("sweep the stage of {}", self.place.output());
        let (mut swept, mut staged) = (0, self.staged(from));
        while let Some(chunk) = staged.next().await.doing(doing)? {
            for (record, objects) in chunk {
                let garbage = garbage(&record, objects);
                swept += garbage.len();
                self.lake.delete_all(&garbage).await.doing(doing)?;
            }
        }
        Ok(swept)
    }

    /// What is staged for each record that exists, from record `from` on.
    pub(in super::super) fn staged(&self, from: u64) -> Staged<'_> {
        Staged { log: self, from, listed: self.list_stage(), broken: 0 }
    }

    fn list_stage(&self) -> Listed {
        self.lake.objects().list(Some(&self.place.stage())).chunks(STAGED_AT_ONCE).boxed()
    }
}

type Listed = BoxStream<'static, Vec<object_store::Result<ObjectMeta>>>;

/// A stage that is looked through chunk by chunk.
pub(in super::super) struct Staged<'a> {
    log: &'a Log,
    from: u64,
    listed: Listed,
    /// How often the listing has broken off.
    broken: u32,
}

impl Staged<'_> {
    /// The next records with what is staged for them; `None` at the end.
    pub(in super::super) async fn next(
        &mut self,
    ) -> Result<Option<Vec<(Record, Vec<Path>)>>, Error> {
        let Some(chunk) = self.chunk().await? else { return Ok(None) };
        let mut staged: BTreeMap<u64, Vec<Path>> = BTreeMap::new();
        for path in chunk.into_iter().map(|meta| meta.location) {
            if let Some(seq) = self.log.place.staged_for(&path).filter(|seq| *seq >= self.from) {
                staged.entry(seq).or_default().push(path);
            }
        }
        let reads = staged.keys().copied().map(|seq| self.log.read(seq)).collect();
        let records: Vec<Option<Record>> = at_once(CALLS_MAX, reads).await?;
        // Records have no gaps: none of a later number exists either.
        let records = records.into_iter().map_while(|record| record);
        let with_staged = |record: Record| {
            let objects = staged.remove(&record.seq).unwrap_or_default();
            (record, objects)
        };
        Ok(Some(records.map(with_staged).collect()))
    }

    /// A listing that breaks off begins anew: what the caller has deleted is not in it any more, and
    /// of the rest it is told twice.
    async fn chunk(&mut self) -> Result<Option<Vec<ObjectMeta>>, Error> {
        loop {
            let Some(chunk) = self.listed.next().await else { return Ok(None) };
            match chunk.into_iter().collect::<object_store::Result<Vec<ObjectMeta>>>() {
                Ok(chunk) => return Ok(Some(chunk)),
                Err(error) => {
                    self.broken += 1;
                    self.log.lake.retry().again(self.broken, error.into()).await?;
                    self.listed = self.log.list_stage();
                }
            }
        }
    }
}

impl Lake {
    /// Uploads what is to be published later, durably; returns where to, and its SHA-256.
    pub(in super::super) async fn stage(
        &self,
        payload: &PutPayload,
        name: impl Fn() -> Path,
    ) -> Result<(Path, String), Error> {
        let checksum = checksum(payload.clone()).await?;
        // A new name for each try: one that arrives late is garbage like any other.
        let call = || async {
            let staged = name();
            self.objects().put(&staged, payload.clone()).await?;
            Ok(staged)
        };
        Ok((self.retry().run(call).await?, checksum))
    }

    /// Whether there is an object at `path`, of that size and SHA-256.
    pub(in super::super) async fn holds(
        &self,
        path: &Path,
        bytes: u64,
        checksum: &str,
    ) -> Result<bool, Error> {
        if self.size(path).await? != Some(bytes) {
            return Ok(false);
        }
        Ok(self.digest(path).await?.is_some_and(|found| found == checksum))
    }

    /// The SHA-256 of an object, read piece by piece; `None` if there is no such object.
    async fn digest(&self, path: &Path) -> Result<Option<String>, Error> {
        let call = || async {
            let got = match self.objects().get(path).await {
                Ok(got) => got,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(Error::from(error)),
            };
            let (mut pieces, mut checksum) = (got.into_stream(), Checksum::default());
            while let Some(piece) = pieces.try_next().await? {
                checksum.add(&piece);
            }
            Ok(Some(checksum.finish()))
        };
        self.retry().run(call).await.doing(|| format!("read {path}"))
    }
}

impl Lake {
    pub(in super::super) async fn delete_all(&self, paths: &[Path]) -> Result<(), Error> {
        let delete = paths.iter().map(|path| self.delete(path)).collect();
        at_once(CALLS_MAX, delete).await.map(drop)
    }
}

/// The objects staged for `record` that it does not name.
pub(crate) fn garbage(record: &Record, staged: Vec<Path>) -> Vec<Path> {
    let files = record.files.iter().chain(&record.quarantine);
    let named: BTreeSet<&str> = files.map(|file| file.staged.as_str()).collect();
    staged.into_iter().filter(|path| !named.contains(path.as_ref())).collect()
}

/// What is hashed in under a millisecond is not worth the way to another thread.
const HASHED_HERE_MAX: usize = 256 << 10;

/// SHA-256, in hexadecimal, computed beside the loops that must stay responsive.
pub async fn checksum(payload: PutPayload) -> Result<String, Error> {
    let bytes = payload.content_length();
    let digest = move || {
        let mut checksum = Checksum::default();
        payload.iter().for_each(|chunk| checksum.add(chunk));
        checksum.finish()
    };
    if bytes <= HASHED_HERE_MAX {
        return Ok(digest());
    }
    tokio::task::spawn_blocking(digest)
        .await
        .map_err(|error| Error::new(ErrorKind::Bug, error))
        .doing(|| "compute a checksum".into())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{place, record};
    use super::*;

    #[test]
    fn only_what_an_existing_record_does_not_name_is_garbage() {
        let record = record(1, 0);
        let named = Path::from(record.files[0].staged.as_str());
        let other = place().staged(1);
        assert_eq!(garbage(&record, vec![named, other.clone()]), [other]);
    }
}
