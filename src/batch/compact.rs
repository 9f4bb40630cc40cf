//! One attempt at a closing of records that are published on close: their rows, sorted, in few files.
//!
//! Whoever comes second, after a kill or beside a zombie, finds the closing that is there and finishes
//! it: publishes what it adds, then clears what it took. Its own set is dropped.

use super::Budget;
use super::sorted::{Sorted, sort};
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::{Created, Lake, at_once};
use crate::model::commit::{
    ClosedFile, Closing, Compact, Compacted, Compaction, FORMAT, File, Publish, Record, RecordId,
};
use crate::model::hive::PartitionKey;
use object_store::path::Path;
use serde::Serialize;
use std::collections::BTreeMap;
use tracing::info;

/// Records that are read at once.
const READS_MAX: usize = 16;

/// A closing that is to be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub closing: Compact,
    /// All records with files in the hive partition, or at least those that the closing before lacks.
    pub records: Vec<RecordId>,
    /// By which column the rows are sorted; their place in the topic decides among equals, and alone
    /// where no stream writes the table any more.
    pub event_time: Option<String>,
}

/// What a compaction has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    pub files_read: u64,
    /// Sorted files that the closing adds.
    pub files: u64,
    /// In those.
    pub rows: u64,
    pub bytes: u64,
}

/// What a closing consists of, before its rows are sorted.
#[derive(Debug, Default)]
struct Gathered {
    /// Listed as they are: those of the closing before, and those that were published on commit.
    files: Vec<ClosedFile>,
    /// To be sorted.
    sources: Vec<File>,
    records: Vec<Compacted>,
    /// The newest that any of them was written by.
    schema: u32,
}

/// Makes the closing, or finds the one that is there, and finishes it.
pub async fn compact(lake: &Lake, wanted: &Wanted, budget: &Budget) -> Result<Made, Error> {
    let Compact { table, key, n, .. } = &wanted.closing;
    let doing = || format!("make closing {n} of {key} of {table}");
    let before = match n.saturating_sub(1) {
        0 => None,
        before => lake.closing(table, key, before).await.doing(doing)?,
    };
    let records = read(lake, wanted, before.as_ref()).await.doing(doing)?;
    let found = lake.closing(table, key, *n).await.doing(doing)?;
    let closing = if let Some(closing) = found {
        closing
    } else {
        let gathered = gather(before.as_ref(), &records, key);
        match make(lake, wanted, gathered, &records, budget).await.doing(doing) {
            Ok(closing) => closing,
            // Another one may have made it meanwhile, and cleared what we were reading.
            Err(error) => lake.closing(table, key, *n).await?.ok_or(error)?,
        }
    };
    lake.publish_closing(&closing).await.doing(doing)?;
    let taken = records.iter().filter(|record| closing.has_compacted(&record.id()));
    let staged: Vec<Path> = taken.flat_map(|record| sources(record, key)).map(staged).collect();
    let files_read = lake.retire(&closing, &staged).await.doing(doing)? as u64;
    let added = closing.compaction.as_ref().map_or(&[][..], |compaction| &compaction.added);
    let rows = added.iter().map(|file| file.rows).sum();
    let bytes = added.iter().map(|file| file.bytes).sum();
    let files = added.len() as u64;
    info!(table = %table, hive_partition = %key, n, rows, files, "sorted {rows} rows of {files_read} files into {files}");
    Ok(Made { files_read, files, rows, bytes })
}

/// The records but for those whose rows the closing before has sorted.
async fn read(
    lake: &Lake,
    wanted: &Wanted,
    before: Option<&Closing>,
) -> Result<Vec<Record>, Error> {
    let Compact { table, key, .. } = &wanted.closing;
    let is_new = |id: &&RecordId| before.is_none_or(|before| !before.has_compacted(id));
    let records = wanted.records.iter().filter(is_new);
    let reads = records.map(|RecordId { topic_id, topic_partition, seq }| {
        let log = lake.log(table, topic_id, *topic_partition);
        async move {
            let missing = || {
                let problem = format!("record {seq} of topic partition {topic_partition} is gone");
                Error::new(ErrorKind::Data, problem)
                    .remedy("put it back from a copy; nothing may delete in `_tidemill/`")
            };
            let mut record = log.read(*seq).await?.ok_or_else(missing)?;
            if record.publish == Publish::OnClose {
                // A record may have files of hundreds of hive partitions, and there are thousands.
                record.files.retain(|file| file.key == Some(*key));
            }
            Ok(record)
        }
    });
    at_once(READS_MAX, reads.collect()).await
}

async fn make(
    lake: &Lake,
    wanted: &Wanted,
    gathered: Gathered,
    records: &[Record],
    budget: &Budget,
) -> Result<Closing, Error> {
    let Compact { table, key, n, .. } = &wanted.closing;
    for record in last_on_commit(records) {
        lake.publish(record).await?;
    }
    let sorted = Sorted { lake, table, key, n: *n, event_time: wanted.event_time.as_deref() };
    let added = sort(&sorted, gathered.schema, &gathered.sources, budget).await?;
    crash::point("compact");
    let ours = closing(wanted, gathered, added.clone());
    match lake.create_closing(&ours).await? {
        Created::Ours => {
            crash::point("compact-closing");
            Ok(ours)
        }
        Created::Theirs(theirs) => {
            // Nobody names them, so that the sweep would take them too.
            let unused: Vec<Path> = added.iter().map(staged).collect();
            lake.drop_sorted(&theirs, unused).await?;
            Ok(theirs)
        }
    }
}

/// Sorts out which files the closing lists as they are, and which it takes the rows of.
fn gather(before: Option<&Closing>, records: &[Record], key: &PartitionKey) -> Gathered {
    let mut gathered = Gathered::default();
    let mut taken: BTreeMap<(String, u32), (Vec<u64>, u64)> = BTreeMap::new();
    if let Some(before) = before {
        gathered.files.clone_from(&before.files);
        for its in before.compaction.iter().flat_map(|compaction| &compaction.records) {
            taken.insert((its.topic_id.clone(), its.topic_partition), (its.seqs.clone(), its.rows));
        }
    }
    for record in records {
        match record.publish {
            Publish::OnCommit => gathered.files.extend(closed_files(record, key)),
            Publish::OnClose => {
                let place = (record.topic_id.clone(), record.topic_partition);
                let (seqs, rows) = taken.entry(place).or_default();
                seqs.push(record.seq);
                *rows += sources(record, key).map(|file| file.rows).sum::<u64>();
                gathered.sources.extend(sources(record, key).cloned());
                gathered.schema = gathered.schema.max(record.schema);
            }
        }
    }
    gathered.records = (taken.into_iter())
        .map(|((topic_id, topic_partition), (mut seqs, rows))| {
            seqs.sort_unstable();
            Compacted { topic_id, topic_partition, seqs, rows }
        })
        .collect();
    gathered
}

fn closing(wanted: &Wanted, gathered: Gathered, added: Vec<File>) -> Closing {
    let Compact { table, key, n, partial, complete, frontier } = &wanted.closing;
    let mut files = gathered.files;
    files.extend(added.iter().map(|file| ClosedFile::sorted(file, *n)));
    let files = ClosedFile::each_once(files);
    Closing {
        format: FORMAT,
        table: table.clone(),
        key: *key,
        n: *n,
        partial: *partial,
        rows: files.iter().map(|file| file.rows).sum(),
        files,
        frontier: *frontier,
        made_from: None,
        compaction: Some(Compaction { complete: *complete, added, records: gathered.records }),
    }
}

/// Only the last record of a topic partition may be unpublished still.
fn last_on_commit(records: &[Record]) -> impl Iterator<Item = &Record> {
    let mut last: BTreeMap<(&str, u32), &Record> = BTreeMap::new();
    for record in records.iter().filter(|record| record.publish == Publish::OnCommit) {
        let its = last.entry((&record.topic_id, record.topic_partition)).or_insert(record);
        if its.seq < record.seq {
            *its = record;
        }
    }
    last.into_values()
}

/// The record's files in the hive partition that wait for its closing.
fn sources<'a>(record: &'a Record, key: &'a PartitionKey) -> impl Iterator<Item = &'a File> {
    let waits = record.publish == Publish::OnClose;
    record.files.iter().filter(move |file| waits && file.key.as_ref() == Some(key))
}

fn closed_files<'a>(
    record: &'a Record,
    key: &'a PartitionKey,
) -> impl Iterator<Item = ClosedFile> + 'a {
    let files = record.files.iter().filter(move |file| file.key.as_ref() == Some(key));
    files.map(|file| ClosedFile::of_record(record, file))
}

fn staged(file: &File) -> Path {
    file.staged.as_str().into()
}
