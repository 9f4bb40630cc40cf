//! The entries of the lake's log and the closings made from them: formats that last for ever.
//!
//! They are JSON, one object each, created if absent and never changed; each holds the number of its
//! format.

use super::hive::{PartitionBy, PartitionKey};
use super::name::{ProjectName, TableName, TopicName};
use super::stored::Stored;
use super::time::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of the format written today.
pub const FORMAT: u32 = 1;

impl Stored for Record {
    const NAME: &'static str = "record";
}

impl Stored for Closing {
    const NAME: &'static str = "closing";
}

impl Stored for Members {
    const NAME: &'static str = "list of members";
}

impl Stored for LakeIdentity {
    const NAME: &'static str = "lake identity";
}

impl Stored for Output {
    const NAME: &'static str = "output";
}

/// Entry `seq` of one topic partition's log: the one place where offsets, files and watermark
/// become true together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// Counted from 1, without gaps.
    pub seq: u64,
    pub output: TableName,
    pub topic: TopicName,
    pub topic_id: String,
    pub topic_partition: u32,
    /// Half-open range of offsets. The end is the fetch position, so that transaction markers and
    /// compacted gaps are covered; the next record starts there.
    pub start: i64,
    pub end: i64,
    /// Number of the table's schema in `schema/<k>.json`.
    pub schema: u32,
    pub partition_by: PartitionBy,
    /// How its files become visible, whatever its job says later.
    #[serde(default, skip_serializing_if = "Publish::is_on_commit")]
    pub publish: Publish,
    pub files: Vec<File>,
    pub quarantine: Option<File>,
    /// Before this event time the topic partition expects no more rows. Never goes back.
    pub watermark: Option<Micros>,
    /// Whether a mark has been seen: such a topic partition never moves on by the clock.
    pub marked: bool,
    /// No row was read yet, and more messages were there: their rows may lie in any hive partition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
    /// Rows before `start` exist or existed that this table never got.
    pub cut: bool,
    pub counts: Counts,
    /// Rows dropped or quarantined, by rule or reason.
    pub reasons: BTreeMap<String, u64>,
    /// Content hash of the job that wrote it.
    pub job: String,
    /// Random for each process, so that another writer's bytes differ from ours.
    pub writer: String,
}

/// When the rows of a record become visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// As soon as they are committed, in the record's own files.
    #[default]
    OnCommit,
    /// When their hive partition closes, sorted together with those of other records. Until then the
    /// record's files stay staged; only its quarantine file is published.
    OnClose,
}

impl Publish {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    fn is_on_commit(&self) -> bool {
        *self == Self::OnCommit
    }
}

/// `read = landed + quarantined + dropped + tombstones + marks`, checked before every create.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub read: u64,
    pub landed: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub tombstones: u64,
    pub marks: u64,
}

impl Counts {
    pub fn add_up(&self) -> bool {
        self.read == self.landed + self.quarantined + self.dropped + self.tombstones + self.marks
    }
}

/// A file of a record: staged under one name, published under another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The hive partition; `None` for a quarantine file.
    pub key: Option<PartitionKey>,
    /// Object names from the lake's root.
    pub staged: String,
    pub published: String,
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub checksum: String,
    pub rows: u64,
    pub event_time_min: Option<Micros>,
    pub event_time_max: Option<Micros>,
}

/// The `n`-th time that a hive partition was declared complete: `closed/<key>/<n>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    pub format: u32,
    pub table: TableName,
    pub key: PartitionKey,
    /// Counted from 1.
    pub n: u32,
    /// Cut by the first offset, or closed by force.
    pub partial: bool,
    /// Every file of the hive partition, by its published name, in that order.
    pub files: Vec<ClosedFile>,
    pub rows: u64,
    /// The frontier when it was decided.
    pub frontier: Micros,
    /// For a table written by a batch: the closing of its input that it was made from.
    pub made_from: Option<MadeFrom>,
    /// What has become of records that are published on close; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction: Option<Compaction>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClosedFile {
    pub published: String,
    pub topic_id: String,
    pub topic_partition: u32,
    pub seq: u64,
    pub rows: u64,
    pub bytes: u64,
    pub checksum: String,
    /// Lowest and highest; `None` where an earlier version wrote it, and for what a batch has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time_min: Option<Micros>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time_max: Option<Micros>,
}

/// The sorted files that closings have made of staged ones. Each closing adds those of the records that
/// the one before it lacks, and repeats the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// The frontier had passed the hive partition: nothing but late rows can follow, and `_SUCCESS`
    /// says so once all is visible. Not so where a person closed it ahead of time.
    pub complete: bool,
    /// The files that this closing adds: staged under one name, published under another once the
    /// closing exists. They are listed among its files too.
    pub added: Vec<File>,
    /// Whose rows of the hive partition the sorted files of this closing and all before it hold, in
    /// the order of topic and topic partition.
    pub records: Vec<Compacted>,
}

/// Records of one topic partition whose staged files of a hive partition were compacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    pub topic_id: String,
    pub topic_partition: u32,
    /// In order, each once.
    pub seqs: Vec<u64>,
    /// Their rows in the hive partition.
    pub rows: u64,
}

/// A record among all those of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    pub topic_id: String,
    pub topic_partition: u32,
    pub seq: u64,
}

/// Closing `n` of a hive partition, to be made out of staged files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compact {
    pub table: TableName,
    pub key: PartitionKey,
    pub n: u32,
    pub partial: bool,
    /// Only late rows can follow.
    pub complete: bool,
    pub frontier: Micros,
}

impl Record {
    pub fn id(&self) -> RecordId {
        let Self { topic_id, topic_partition, seq, .. } = self;
        RecordId { topic_id: topic_id.clone(), topic_partition: *topic_partition, seq: *seq }
    }

    /// Where event time goes on in this record, for a topic partition that had come to `from`: at its first row
    /// that is not late, or at a mark. A watermark that only follows the clock says nothing of what was lost.
    pub fn goes_on(&self, from: Option<Micros>) -> Option<Micros> {
        let is_late = |at: Micros| from.is_some_and(|from| at < from);
        let row = |file: &File| {
            let bounds = [file.event_time_min?, file.event_time_max?];
            bounds.into_iter().find(|at| !is_late(*at))
        };
        let first = self.files.iter().filter_map(row).min();
        let mark = self.watermark.filter(|at| self.marked && from.is_none_or(|from| from < *at));
        first.or(mark)
    }
}

impl Closing {
    /// Whether the record's rows of the hive partition are among those that were compacted.
    pub fn has_compacted(&self, record: &RecordId) -> bool {
        let mut records = self.compaction.iter().flat_map(|compaction| &compaction.records);
        records.any(|its| its.holds(record))
    }
}

impl Compacted {
    pub fn holds(&self, record: &RecordId) -> bool {
        let RecordId { topic_id, topic_partition, seq } = record;
        (&self.topic_id, &self.topic_partition) == (topic_id, topic_partition)
            && self.seqs.binary_search(seq).is_ok()
    }
}

impl ClosedFile {
    /// A record's file, as a closing lists it.
    pub fn of_record(record: &Record, file: &File) -> Self {
        let Record { topic_id, topic_partition, seq, .. } = record;
        let (topic_id, topic_partition, seq) = (topic_id.clone(), *topic_partition, *seq);
        Self { topic_id, topic_partition, seq, ..Self::sorted(file, 0) }
    }

    /// A file with the rows of many records, sorted for closing `n`.
    pub fn sorted(file: &File, n: u32) -> Self {
        Self {
            published: file.published.clone(),
            topic_id: String::new(),
            topic_partition: 0,
            seq: u64::from(n),
            rows: file.rows,
            bytes: file.bytes,
            checksum: file.checksum.clone(),
            event_time_min: file.event_time_min,
            event_time_max: file.event_time_max,
        }
    }

    /// Each file once, in the order of their names. Closings of earlier versions do not tell event times:
    /// who also knows them from the file's record wins.
    pub fn each_once(mut files: Vec<Self>) -> Vec<Self> {
        files.sort_unstable_by(|a, b| {
            let place =
                |file: &Self| (file.event_time_min.is_none(), file.event_time_max.is_none());
            a.published.cmp(&b.published).then_with(|| place(a).cmp(&place(b)))
        });
        let timeless =
            |file: &Self| Self { event_time_min: None, event_time_max: None, ..file.clone() };
        files.dedup_by(|later, kept| {
            later.published == kept.published && timeless(later) == timeless(kept)
        });
        files
    }

    /// Whether it holds the sorted rows of many records, and not one record's.
    pub fn is_compacted(&self) -> bool {
        self.topic_id.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFrom {
    pub table: TableName,
    pub key: PartitionKey,
    pub n: u32,
    pub run: String,
}

/// The topic partitions that a table's watermark waits for: `sources/<k>.json`, the newest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    pub format: u32,
    pub topic: TopicName,
    pub topic_id: String,
    pub topic_partitions: u32,
}

/// `_tidemill/lake.json`: which lake this is, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeIdentity {
    pub format: u32,
    /// Four hexadecimal digits are part of consumer groups.
    pub lake_id: String,
    pub project: String,
}

/// The digits of a lake's id that people and consumer groups see.
pub const LAKE_ID_DIGITS: usize = 4;

/// The consumer group of the one stream that writes `output`: a copy of the project with a lake of its
/// own never takes topic partitions from this one, and access can be given by prefix.
pub fn consumer_group(project: &ProjectName, lake_id: &str, output: &TableName) -> String {
    let lake = lake_id.get(..LAKE_ID_DIGITS).unwrap_or(lake_id);
    format!("tidemill.{project}.{lake}.{output}")
}

/// Which closing the one object of a batch's hive partition was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub format: u32,
    pub table: TableName,
    pub key: PartitionKey,
    /// The number of the run; an output with a lower one never replaces this one.
    pub n: u32,
    pub run: String,
    /// The closing of exactly this hive partition that it was made from; `None` for a coarser range,
    /// and where an earlier version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<OutputInput>,
    /// `None`: the result had no rows.
    pub file: Option<OutputFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputInput {
    pub table: TableName,
    pub n: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub staged: String,
    pub published: String,
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub checksum: String,
    pub rows: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(published: &str, seq: u64, at: Option<i64>) -> ClosedFile {
        ClosedFile {
            published: published.into(),
            topic_id: "t".into(),
            topic_partition: 0,
            seq,
            rows: 1,
            bytes: 1,
            checksum: String::new(),
            event_time_min: at.map(Micros),
            event_time_max: at.map(Micros),
        }
    }

    #[test]
    fn a_file_is_listed_once_with_its_event_times_where_any_one_knows_them() {
        let files = vec![file("b", 1, None), file("a", 2, None), file("b", 1, Some(7))];
        let once = ClosedFile::each_once(files);
        assert_eq!(once, [file("a", 2, None), file("b", 1, Some(7))]);
    }

    #[test]
    fn two_files_of_one_name_stay_two_so_that_no_closing_is_made_of_them() {
        let files = vec![file("b", 1, None), file("b", 2, Some(7))];
        assert_eq!(ClosedFile::each_once(files).len(), 2);
    }
}
