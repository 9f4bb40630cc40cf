//! One topic partition that is ours: what was read since its last record, and how that becomes the
//! next one.

use super::batch::Batch;
use super::batch::Rejected;
use super::file::Files;
use super::file::OpenFile;
use super::file::SealedFile;
use super::judge::Judge;
use super::judge::Judged;
use super::quarantine;
use super::roll::Facts;
use super::roll::OpenBytes;
use super::roll::Policy;
use super::route::Part;
use super::watermark::Watermark;
use crate::crash;
use crate::error::Error;
use crate::lake::commit::Append;
use crate::lake::commit::Log;
use crate::lake::commit::NewFile;
use crate::lake::commit::Tip;
use crate::model::commit::Counts;
use crate::model::commit::FORMAT;
use crate::model::commit::File;
use crate::model::commit::Publish;
use crate::model::commit::Record;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::name::TopicName;
use crate::model::time::Micros;
use futures::StreamExt;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many files of a record are staged at once: each is hashed by one core and synced by the disk.
const STAGED_AT_ONCE: usize = 4;

/// What all records of this process share.
pub struct Table {
    pub output: TableName,
    pub topic: TopicName,
    pub topic_id: String,
    pub schema: u32,
    pub job: String,
    /// Random for each process.
    pub writer: String,
    pub judge: Judge,
    pub policy: Policy,
    pub out_of_order: Duration,
    pub publish: Publish,
}

/// A topic partition that is ours, from one start to the next.
pub struct Owned {
    pub topic_partition: u32,
    pub epoch: u64,
    pub watermark: Watermark,
    /// Where everything read ends.
    pub end: i64,
    /// No row was ever read, and there is nothing to read; markers of transactions at most.
    pub empty: bool,
    /// There is more to read, or there may be.
    pub behind: bool,
    pub committed_at: Option<Micros>,
    log: Log,
    tip: Tip,
    start: i64,
    cut: bool,
    files: Files,
    staged: Vec<File>,
    /// Number of the next file of the record.
    index: u32,
    quarantine: Option<OpenFile>,
    counts: Counts,
    reasons: BTreeMap<String, u64>,
    since: Option<Micros>,
}

/// What became of a record.
pub enum Commit {
    Ours(Box<Record>),
    /// Another writer has moved the log: begin again at its end.
    Theirs,
}

impl Owned {
    pub fn new(topic_partition: u32, epoch: u64, log: Log, tip: Tip, table: &Table) -> Self {
        let end = tip.end().unwrap_or(0);
        Self {
            topic_partition,
            epoch,
            watermark: Watermark::after(tip.last(), table.out_of_order),
            end,
            empty: false,
            behind: true,
            committed_at: None,
            log,
            tip,
            start: end,
            cut: false,
            files: Files::new(),
            staged: Vec::new(),
            index: 0,
            quarantine: None,
            counts: Counts::default(),
            reasons: BTreeMap::new(),
            since: None,
        }
    }

    pub fn last(&self) -> Option<&Record> {
        self.tip.last()
    }

    /// Where its log ends, and reading begins; `None` while there is no record.
    pub fn committed_end(&self) -> Option<i64> {
        self.tip.end()
    }

    /// Reading has begun, at `offset`; `cut` where older messages exist or existed that will never
    /// land.
    pub fn started(&mut self, offset: i64, cut: bool) {
        self.start = offset;
        self.end = offset;
        self.cut = cut;
    }

    /// The position has moved without messages, over what is none; whether it has.
    pub fn moved(&mut self, position: i64) -> bool {
        let moved = self.end < position;
        self.end = self.end.max(position);
        moved
    }

    /// Up to where nothing is left to commit. What follows the last record may be no message, as the
    /// marker that ends a transaction: that waits for nothing, so it is no lag.
    pub fn settled(&self) -> i64 {
        if self.counts.read == 0 { self.end } else { self.start }
    }

    /// Takes the judged rows of a batch in, cut by hive partition.
    pub fn take(
        &mut self,
        batch: &Batch,
        judged: Judged,
        parts: Vec<Part>,
        table: &Table,
        now: Micros,
    ) -> Result<(), Error> {
        self.end = self.end.max(batch.end);
        self.empty = false;
        if batch.read > 0 {
            self.since.get_or_insert(now);
            self.watermark.heard();
        }
        let landed: usize = parts.iter().map(|part| part.rows.num_rows()).sum();
        self.counts.read += batch.read;
        self.counts.landed += landed as u64;
        self.counts.tombstones += batch.tombstones;
        self.counts.marks += batch.marks;
        for (rule, rows) in judged.dropped {
            self.counts.dropped += rows;
            *self.reasons.entry(rule).or_insert(0) += rows;
        }
        for part in parts {
            self.watermark.landed(part.lowest, part.highest);
            let file = self.files.entry(part.key);
            file.or_insert_with(|| OpenFile::new(table.judge.table())).push(part)?;
        }
        if batch.marks > 0 {
            self.watermark.topic_has_marks();
        }
        if let Some(mark) = batch.mark {
            self.watermark.mark(mark);
        }
        self.reject(&judged.rejected)
    }

    fn reject(&mut self, rejected: &[Rejected]) -> Result<(), Error> {
        if rejected.is_empty() {
            return Ok(());
        }
        self.counts.quarantined += rejected.len() as u64;
        for one in rejected {
            *self.reasons.entry(one.reject.reason.clone()).or_insert(0) += 1;
        }
        let file = self.quarantine.get_or_insert_with(quarantine::open);
        quarantine::push(file, self.topic_partition, rejected)
    }

    pub fn facts(&self) -> Facts {
        let staged: u64 = self.staged.iter().map(|file| file.bytes).sum();
        Facts {
            since: self.since,
            bytes: self.memory() + staged,
            committed_at: self.committed_at,
            has_record: self.tip.last().is_some(),
            behind: self.tip.last().is_some_and(|last| last.behind),
            empty: self.empty,
            watermark_before: self.watermark.before(),
            watermark_committed: self.watermark.committed().is_some(),
            watermark: self.watermark.now(),
        }
    }

    /// Whether a record made now would say anything.
    pub fn has_news(&self) -> bool {
        self.counts.read > 0 || self.end > self.start
    }

    pub fn memory(&self) -> u64 {
        let files = self.files.values().chain(&self.quarantine);
        files.map(OpenFile::memory).sum()
    }

    pub fn open(&self) -> impl Iterator<Item = OpenBytes> {
        self.files.iter().map(|(&key, file)| OpenBytes {
            topic_partition: self.topic_partition,
            key,
            bytes: file.memory(),
        })
    }

    /// Hive partitions with rows that are not committed.
    pub fn keys(&self) -> impl Iterator<Item = PartitionKey> {
        self.files.keys().copied().chain(self.staged.iter().filter_map(|file| file.key))
    }

    /// Closes and stages one file, ahead of the record that will name it.
    pub async fn seal(&mut self, table: &Table, key: PartitionKey) -> Result<(), Error> {
        let Some(file) = self.files.remove(&key) else { return Ok(()) };
        let file = self.sealed(table, Some(key), file)?;
        self.staged.push(self.log.stage(self.tip.next_seq(), file).await?);
        Ok(())
    }

    fn sealed(
        &mut self,
        table: &Table,
        key: Option<PartitionKey>,
        file: OpenFile,
    ) -> Result<NewFile, Error> {
        let metadata = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("table", table.output.to_string()),
            ("schema", table.schema.to_string()),
            ("topic", table.topic.to_string()),
            ("topic_id", table.topic_id.clone()),
            ("topic_partition", self.topic_partition.to_string()),
            ("seq", self.tip.next_seq().to_string()),
        ];
        let SealedFile { payload, rows, event_time_min, event_time_max } = file.seal(&metadata)?;
        let index = self.index;
        self.index += 1;
        Ok(NewFile { key, index, payload, rows, event_time_min, event_time_max })
    }

    /// Commits and publishes everything read so far.
    pub async fn commit(&mut self, table: &Table, now: Micros) -> Result<Commit, Error> {
        let seq = self.tip.next_seq();
        let mut files = Vec::with_capacity(self.files.len());
        for (key, file) in std::mem::take(&mut self.files) {
            files.push(self.sealed(table, Some(key), file)?);
        }
        let quarantine = match self.quarantine.take() {
            Some(file) => Some(self.sealed(table, None, file)?),
            None => None,
        };
        let staged: Vec<File> = futures::stream::iter(files.into_iter().chain(quarantine))
            .map(|file| self.log.stage(seq, file))
            .buffered(STAGED_AT_ONCE)
            .try_collect()
            .await?;
        let (mut quarantine, mut files) = (None, std::mem::take(&mut self.staged));
        for file in staged {
            match file.key {
                Some(_) => files.push(file),
                None => quarantine = Some(file),
            }
        }
        let record = self.record(table, seq, files, quarantine);
        match self.log.append(&self.tip, &record).await? {
            Append::Theirs(_) => Ok(Commit::Theirs),
            Append::Ours(unpublished) => {
                crash::point("record");
                self.tip = self.log.publish(&unpublished).await?;
                self.committed(&record, now);
                Ok(Commit::Ours(Box::new(record)))
            }
        }
    }

    fn record(
        &mut self,
        table: &Table,
        seq: u64,
        files: Vec<File>,
        quarantine: Option<File>,
    ) -> Record {
        Record {
            format: FORMAT,
            seq,
            output: table.output.clone(),
            topic: table.topic.clone(),
            topic_id: table.topic_id.clone(),
            topic_partition: self.topic_partition,
            start: self.start,
            end: self.end,
            schema: table.schema,
            partition_by: table.policy.partition_by.clone(),
            publish: table.publish,
            files,
            quarantine,
            watermark: self.watermark.now(),
            marked: self.watermark.marked(),
            behind: self.behind && self.watermark.now().is_none(),
            cut: self.cut,
            counts: self.counts,
            reasons: std::mem::take(&mut self.reasons),
            job: table.job.clone(),
            writer: table.writer.clone(),
        }
    }

    fn committed(&mut self, record: &Record, now: Micros) {
        self.start = record.end;
        self.cut = false;
        self.index = 0;
        self.counts = Counts::default();
        self.since = None;
        self.committed_at = Some(now);
        self.watermark.commit(record.watermark);
    }
}
