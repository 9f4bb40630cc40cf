//! What a stream and an attempt do to a table that is published on close, for the bed.

use super::bed::{Bed, TOPIC_ID};
use crate::lake::Created;
use crate::lake::compaction::NewSorted;
use crate::model::attempt::{AttemptState, Owner};
use crate::model::commit::{
    ClosedFile, Closing, Compact, Compacted, Compaction, FORMAT, File, Publish, Record,
};
use crate::model::hive::PartitionKey;
use std::collections::BTreeMap;

/// An attempt that has read which records there are; whether it is still wanted it does not know.
pub struct Compacting {
    compact: Compact,
    records: Vec<Record>,
}

impl Bed {
    /// Commits ten rows in each of `hours` to both topic partitions, to be published on close.
    pub async fn commit_waiting(&self, hours: &[i64], watermark: i64) {
        for topic_partition in 0..2 {
            let on_close = |record: &mut Record| record.publish = Publish::OnClose;
            self.append(topic_partition, hours, Some(watermark), on_close).await;
        }
    }

    /// The attempts that are open, each as it begins.
    pub async fn compacting(&self) -> Vec<Compacting> {
        let mut all = Vec::new();
        for attempt in self.store.open_attempts().await.unwrap() {
            if let Owner::Closing(compact) = &attempt.owner {
                all.push(self.begin_compaction(compact).await);
            }
        }
        all
    }

    pub async fn end_one_compaction(&self) {
        for attempt in self.store.open_attempts().await.unwrap() {
            if let Owner::Closing(compact) = &attempt.owner {
                self.compact(compact).await;
                return self.end(&attempt, AttemptState::Succeeded).await;
            }
        }
    }

    async fn begin_compaction(&self, compact: &Compact) -> Compacting {
        let mirrored = self.store.records_of(&compact.table, &compact.key).await.unwrap();
        let mut records = Vec::new();
        for (id, _) in mirrored {
            let log = self.lake.log(&compact.table, &id.topic_id, id.topic_partition);
            records.push(log.read(id.seq).await.unwrap().unwrap());
        }
        Compacting { compact: compact.clone(), records }
    }

    /// Makes the closing as an attempt does, but for the sorting; it is killed before it publishes.
    pub async fn compact(&self, compact: &Compact) {
        self.go_on(&self.begin_compaction(compact).await).await;
    }

    /// The same for one that began earlier.
    pub async fn go_on(&self, Compacting { compact, records }: &Compacting) {
        let Compact { table, key, n, .. } = compact;
        if self.lake.closing(table, key, *n).await.unwrap().is_some() {
            return;
        }
        let before = match n - 1 {
            0 => None,
            before => self.lake.closing(table, key, before).await.unwrap(),
        };
        let new =
            |record: &&Record| before.as_ref().is_none_or(|its| !its.has_compacted(&record.id()));
        let (on_close, on_commit): (Vec<&Record>, Vec<&Record>) =
            records.iter().filter(new).partition(|its| its.publish == Publish::OnClose);
        let rows = on_close.iter().flat_map(|its| of_key(its, key)).map(|file| file.rows).sum();
        let added = match rows {
            0 => None,
            rows => Some(self.stage_sorted(compact, rows).await),
        };
        let mut files = before.as_ref().map_or_else(Vec::new, |before| before.files.clone());
        for record in on_commit {
            files.extend(of_key(record, key).map(|file| closed(file, TOPIC_ID, record)));
        }
        files.extend(added.iter().map(|file| closed(file, "", &records[0])));
        files.sort_by(|a, b| a.published.cmp(&b.published));
        files.dedup();
        let closing = Closing {
            format: FORMAT,
            table: table.clone(),
            key: *key,
            n: *n,
            partial: compact.partial,
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            frontier: compact.frontier,
            made_from: None,
            compaction: Some(Compaction {
                complete: compact.complete,
                added: added.into_iter().collect(),
                records: taken(before.as_ref(), &on_close, key),
            }),
        };
        assert_eq!(self.lake.create_closing(&closing).await.unwrap(), Created::Ours);
    }

    async fn stage_sorted(&self, Compact { table, key, n, .. }: &Compact, rows: u64) -> File {
        let new = NewSorted {
            key: *key,
            n: *n,
            index: 0,
            payload: format!("{key} {n} {rows}").into_bytes().into(),
            rows,
            event_time_min: None,
            event_time_max: None,
        };
        self.lake.stage_sorted(table, new).await.unwrap()
    }
}

fn of_key<'a>(record: &'a Record, key: &PartitionKey) -> impl Iterator<Item = &'a File> {
    record.files.iter().filter(move |file| file.key == Some(*key))
}

fn closed(file: &File, topic_id: &str, record: &Record) -> ClosedFile {
    if topic_id.is_empty() {
        ClosedFile::sorted(file, 0)
    } else {
        ClosedFile::of_record(record, file)
    }
}

fn taken(before: Option<&Closing>, new: &[&Record], key: &PartitionKey) -> Vec<Compacted> {
    let before = before.and_then(|before| before.compaction.as_ref());
    let mut taken: BTreeMap<u32, Compacted> = (before.iter())
        .flat_map(|compaction| &compaction.records)
        .map(|its| (its.topic_partition, its.clone()))
        .collect();
    for record in new {
        let Record { topic_id, topic_partition, .. } = record;
        let (topic_id, topic_partition) = (topic_id.clone(), *topic_partition);
        let empty = Compacted { topic_id, topic_partition, seqs: vec![], rows: 0 };
        let its = taken.entry(topic_partition).or_insert(empty);
        its.seqs.push(record.seq);
        its.rows += of_key(record, key).map(|file| file.rows).sum::<u64>();
    }
    taken.into_values().collect()
}
