//! What is found of a table: its files, closings and findings, for those who read and who judge.

use super::super::paths;
use super::super::paths::Place;
use super::numbers::Lost;
use crate::model::commit::{Closing, RecordId};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;
use serde::Serialize;
use std::collections::BTreeMap;

/// The worst one decides how `verify` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A step was cut short; Tidemill finishes it by itself.
    Unfinished,
    /// A person must put something right; no row is lost.
    Foreign,
    /// Rows or entries are not what they were.
    Damage,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub what: String,
    pub mend: String,
}

/// What a name of the lake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Missing,
    /// Of the size and checksum that are written down.
    Same,
    Other,
}

/// Whether another record follows, so that all of this one must be visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Last,
    Followed,
}

/// What the records say of their files, by published name.
pub(super) type Files = BTreeMap<String, Listed>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub key: Option<PartitionKey>,
    pub staged: String,
    pub bytes: u64,
    pub checksum: String,
    pub rows: u64,
    /// Topic id, topic partition and number of its record, if that is published on close.
    pub waits: Option<RecordId>,
}

/// What the records say of the files of each hive partition, with their published names.
pub(super) type ByKey<'a> = BTreeMap<PartitionKey, Vec<(&'a str, &'a Listed)>>;

/// The closings of a table.
#[derive(Debug, Default)]
pub(super) struct Closings {
    /// Those of each hive partition that can be read, in the order of their numbers.
    pub whole: BTreeMap<PartitionKey, Vec<Closing>>,
    pub lost: Lost<PartitionKey>,
}

impl Closings {
    /// Whether readers may see this object because a closing says so.
    pub fn show(&self, name: &str, table: &TableName) -> bool {
        let path = Path::from(name);
        let its = paths::key_of(table, &path).and_then(|key| self.whole.get(&key));
        let mut compactions =
            its.into_iter().flatten().filter_map(|closing| closing.compaction.as_ref());
        if paths::is_success(&path) {
            return compactions.any(|compaction| compaction.complete);
        }
        compactions.flat_map(|compaction| &compaction.added).any(|file| file.published == name)
    }
}

/// How a record is named to people.
pub(super) fn record_of(place: &Place, seq: u64) -> String {
    format!("record {seq} of topic partition {}", place.topic_partition())
}
