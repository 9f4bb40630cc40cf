//! Hive partitions of records that are published on close: one sorted set of files in place of many
//! staged ones.
//!
//! A compaction stages its set where nobody looks; the closing, created if absent, names the set of
//! whoever was first, and every other one is garbage. Only then is the set published, after it
//! `_SUCCESS`, and only when all of it is seen to be visible do the records' staged files go. So each
//! row is at every moment in what is staged or in what is visible, and never twice in the latter.
//! What follows the closing anyone may repeat.

use super::commit::Log;
use super::{CALLS_MAX, Lake, at_once, paths};
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{ClosedFile, Closing, File, Publish, Record};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::time::EventTime;
use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A sorted file that is about to be staged for closing `n` of a hive partition.
#[derive(Clone, Debug)]
pub struct NewSorted {
    pub key: PartitionKey,
    pub n: u32,
    /// Tells the files that one closing adds apart, in the order of their rows.
    pub index: u32,
    pub payload: PutPayload,
    pub rows: u64,
    pub event_time_min: Option<EventTime>,
    pub event_time_max: Option<EventTime>,
}

impl Lake {
    /// Uploads a sorted file, durably. It counts only if closing `n` names it.
    pub async fn stage_sorted(&self, table: &TableName, file: NewSorted) -> Result<File, Error> {
        let NewSorted { key, n, index, payload, rows, event_time_min, event_time_max } = file;
        let staged = self.stage(&payload, || paths::sorted_staged(table, &key, n)).await;
        let (staged, checksum) =
            staged.doing(|| format!("stage a sorted file of {key} of {table}"))?;
        Ok(File {
            key: Some(key),
            staged: staged.to_string(),
            published: paths::sorted(table, &key, n, index).to_string(),
            bytes: payload.content_length() as u64,
            checksum,
            rows,
            event_time_min,
            event_time_max,
        })
    }

    /// Makes what a closing adds visible, and says then that the hive partition is complete, if it is.
    /// Anyone may, at any time, again and again.
    pub async fn publish_closing(&self, closing: &Closing) -> Result<(), Error> {
        self.publish_added(closing).await?;
        if closing.compaction.as_ref().is_some_and(|compaction| compaction.complete) {
            crash::point("compact-publish");
            // It never changes: closings to come only add rows to a partition that was complete.
            let success = paths::success(&closing.table, &closing.key);
            self.create(&success, Bytes::new()).await?;
        }
        Ok(())
    }

    /// Deletes these staged files, whose rows the closing holds, once all that it lists is seen to be
    /// visible; says how many went.
    pub async fn retire(&self, closing: &Closing, staged: &[Path]) -> Result<usize, Error> {
        let doing = || format!("clear what closing {} of {} took", closing.n, closing.key);
        self.is_visible(closing).await.doing(doing)?;
        crash::point("compact-success");
        self.delete_all(staged).await.doing(doing)?;
        Ok(staged.len())
    }

    /// An error, unless every sorted file of the closing is where readers look.
    async fn is_visible(&self, closing: &Closing) -> Result<(), Error> {
        let sorted = closing.files.iter().filter(|file| file.is_compacted());
        let look = async |file: &ClosedFile| {
            let size = self.size(&file.published.as_str().into()).await?;
            Ok::<_, Error>((size != Some(file.bytes)).then(|| file.published.clone()))
        };
        let missing: Vec<Option<String>> = at_once(CALLS_MAX, sorted.map(look).collect()).await?;
        match missing.into_iter().flatten().next() {
            None => Ok(()),
            Some(name) => Err(Error::new(
                ErrorKind::Data,
                format!("{name}, which it lists, is not there as it was"),
            )
            .remedy("put it back from a copy; what its rows were made of is kept until then")),
        }
    }

    /// Deletes those of a set, staged for this closing, that it does not name.
    pub async fn drop_sorted(&self, closing: &Closing, staged: Vec<Path>) -> Result<(), Error> {
        self.delete_all(&unnamed(closing, staged)).await
    }

    /// Deletes the staged sets of compactions that came second, or were killed; says how many objects.
    ///
    /// Safe beside compactions at work: a set for closing `n` is garbage exactly when that closing
    /// exists and does not name it.
    pub async fn sweep_sorted(&self, table: &TableName) -> Result<usize, Error> {
        let doing = || format!("sweep the sorted files of {table}");
        let listed = self.list(&paths::sorted_stage(table)).await?;
        let mut staged: BTreeMap<(PartitionKey, u32), Vec<Path>> = BTreeMap::new();
        for path in listed.into_iter().map(|meta| meta.location) {
            if let Some(its) = paths::sorted_staged_for(&path) {
                staged.entry(its).or_default().push(path);
            }
        }
        let mut swept = 0;
        for ((key, n), objects) in staged {
            let Some(closing) = self.closing(table, &key, n).await.doing(doing)? else { continue };
            let garbage = unnamed(&closing, objects.clone());
            swept += garbage.len();
            self.delete_all(&garbage).await.doing(doing)?;
            // What it does name waits for somebody to publish it.
            if garbage.len() < objects.len() {
                self.publish_closing(&closing).await.doing(doing)?;
            }
        }
        Ok(swept)
    }
}

impl Log {
    /// Deletes staged files whose rows a closing holds, where a compaction was cut short; says how
    /// many. What no closing has taken is left alone.
    pub async fn retire_closed(&self) -> Result<usize, Error> {
        let mut newest: BTreeMap<PartitionKey, Option<Closing>> = BTreeMap::new();
        let (mut retired, mut staged) = (0, self.staged(0));
        while let Some(chunk) = staged.next().await? {
            let mut over: BTreeMap<PartitionKey, Vec<Path>> = BTreeMap::new();
            for (record, objects) in chunk {
                for (key, staged) in waiting(&record, &objects) {
                    let closing = match newest.entry(key) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(empty) => {
                            empty.insert(self.lake.newest_closing(&record.output, &key).await?)
                        }
                    };
                    if closing.as_ref().is_some_and(|closing| closing.has_compacted(&record.id())) {
                        over.entry(key).or_default().extend(staged);
                    }
                }
            }
            for (key, staged) in over {
                let Some(Some(closing)) = newest.get(&key) else { continue };
                self.lake.publish_closing(closing).await?;
                retired += self.lake.retire(closing, &staged).await?;
            }
        }
        Ok(retired)
    }
}

/// The objects staged for the closing that it does not name.
pub(crate) fn unnamed(closing: &Closing, staged: Vec<Path>) -> Vec<Path> {
    let added = closing.compaction.iter().flat_map(|compaction| &compaction.added);
    let named: BTreeSet<&str> = added.map(|file| file.staged.as_str()).collect();
    staged.into_iter().filter(|path| !named.contains(path.as_ref())).collect()
}

/// Those of the staged objects that the record names and that wait for a closing, by its key.
fn waiting(record: &Record, staged: &[Path]) -> BTreeMap<PartitionKey, Vec<Path>> {
    let mut waiting: BTreeMap<PartitionKey, Vec<Path>> = BTreeMap::new();
    if record.publish == Publish::OnClose {
        for file in &record.files {
            let path = Path::from(file.staged.as_str());
            if let Some(key) = file.key.filter(|_| staged.contains(&path)) {
                waiting.entry(key).or_default().push(path);
            }
        }
    }
    waiting
}
