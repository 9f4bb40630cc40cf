//! Hive partitions of a table: which have closed, how their runs stand, and what holds an open one up.

use super::Stamp;
use super::definitions::Definitions;
use super::needs::Trouble;
use super::runs::RunFacts;
use crate::error::Error;
use crate::lake::Lake;
use crate::model::attempt::{Attempt, AttemptState};
use crate::model::closing::Closed;
use crate::model::commit::{ClosedFile, Closing};
use crate::model::dag::TableContent;
use crate::model::hive::{Grain, PartitionKey};
use crate::model::job::JobKind;
use crate::model::name::TableName;
use crate::model::problem::About;
use crate::model::stream::{Stream, StreamState};
use crate::model::table::{LakeTable, OpenPartition};
use crate::model::time::Micros;
use crate::store::Store;
use crate::store::pages::ClosedPartition;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A gap of so many hive partitions between two that have rows is listed one by one.
const GAP_MAX: usize = 1_000;
/// Records that are read at once.
const READS_MAX: usize = 16;
/// So many runs of a hive partition are told, the newest; of others the number.
const RUNS_MAX: u32 = 100;

#[derive(Debug, Serialize)]
pub struct PartitionList {
    pub table: TableName,
    pub grain: Grain,
    pub timezone: String,
    pub close_after_secs: u64,
    /// Whether a stream writes it, else a batch.
    pub streamed: bool,
    pub partitions: BTreeMap<PartitionKey, PartitionLine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionLine {
    pub state: PartitionState,
    /// How often it has closed.
    pub revision: u32,
}

/// Where a hive partition stands; of what holds, the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// It has rows and no closing.
    Open,
    /// A run of its newest closing failed.
    Failed,
    /// Rows wait that came after it had closed: for its next closing, or for a person.
    Late,
    /// A run of its newest closing is queued or at work.
    Unfinished,
    /// Closed although rows may be missing.
    Partial,
    /// Closed for the second time or more, its runs done.
    Again,
    /// It passed without rows.
    Empty,
    /// Closed, its runs done.
    Closed,
}

pub async fn list(store: &Store, table: &LakeTable) -> Result<PartitionList, Error> {
    let name = &table.table.name;
    let mut partitions = BTreeMap::new();
    for closed in store.closed_partitions(name).await? {
        let line = PartitionLine { state: state_of(&closed), revision: closed.n };
        partitions.insert(closed.key, line);
    }
    for open in store.open_partitions(name).await? {
        let state = if open.closings == 0 { PartitionState::Open } else { PartitionState::Late };
        partitions.insert(open.key, PartitionLine { state, revision: open.closings });
    }
    if table.is_streamed() {
        fill_gaps(&mut partitions, table);
    }
    Ok(PartitionList {
        table: name.clone(),
        grain: table.table.partition_by.grain,
        timezone: table.table.partition_by.timezone.to_string(),
        close_after_secs: table.close_after.as_secs(),
        streamed: table.is_streamed(),
        partitions,
    })
}

fn state_of(closed: &ClosedPartition) -> PartitionState {
    if closed.runs.any_failed {
        PartitionState::Failed
    } else if closed.runs.any_held {
        PartitionState::Late
    } else if closed.runs.any_open {
        PartitionState::Unfinished
    } else if closed.partial {
        PartitionState::Partial
    } else if closed.n > 1 {
        PartitionState::Again
    } else if closed.rows == 0 {
        PartitionState::Empty
    } else {
        PartitionState::Closed
    }
}

/// Hive partitions that passed without rows have no closing: they lie between those that have one.
fn fill_gaps(partitions: &mut BTreeMap<PartitionKey, PartitionLine>, table: &LakeTable) {
    let known: Vec<_> = partitions.keys().copied().collect();
    for (before, after) in known.iter().zip(known.iter().skip(1)) {
        let between = std::iter::successors(Some(before.next()), |key| Some(key.next()));
        let between: Vec<_> = between.take_while(|key| key < after).take(GAP_MAX + 1).collect();
        if between.len() > GAP_MAX {
            continue; // A date far from all others says little of the time between.
        }
        for key in between {
            let end = table.table.partition_by.range(&key).1;
            let passed = table.frontier.is_some_and(|frontier| end <= frontier);
            let state = if passed { PartitionState::Empty } else { PartitionState::Open };
            partitions.insert(key, PartitionLine { state, revision: 0 });
        }
    }
}

#[derive(Debug, Serialize)]
pub struct PartitionShown {
    pub table: TableName,
    pub partition_key: PartitionKey,
    pub state: PartitionStanding,
    pub start: Stamp,
    pub end: Stamp,
    pub revision: u32,
    pub rows: u64,
    pub files: u64,
    pub bytes: u64,
    /// Messages quarantined by the commits that its rows came with; of a stream's table.
    pub quarantined: Option<u64>,
    /// Rows that came when it had closed.
    pub late_rows: u64,
    /// Those of them that the newest closing lacks.
    pub waiting_rows: u64,
    pub partial: bool,
    pub closed: Option<Stamp>,
    /// What an open one of a stream's table waits for.
    pub closes: Option<Closes>,
    /// Who should move the watermark and does not.
    pub held_by: Vec<Holding>,
    /// Why it cannot close although it is due.
    pub problem: Option<Trouble>,
    /// The attempt that sorts its rows; of a table that is published on close.
    pub sorting: Option<Sorting>,
    /// The newest ones that its closings have made.
    pub runs: Vec<RunFacts>,
    pub runs_left_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionStanding {
    Open,
    Closed,
    /// Closed, and rows came since.
    LateRows,
    /// It passed without rows.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Closes {
    /// When the watermark passes this moment.
    pub passes: Stamp,
    /// Where it stands.
    pub watermark: Option<Stamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holding {
    pub stream: String,
    pub state: StreamState,
    /// Why it waits for a person, or what is the matter outside.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sorting {
    pub attempt: String,
    pub state: AttemptState,
    pub error: Option<String>,
}

/// What the store knows of a hive partition; `key` has the table's grain.
pub async fn show(
    store: &Store,
    table: &LakeTable,
    key: PartitionKey,
) -> Result<PartitionShown, Error> {
    let name = &table.table.name;
    let (start, end) = table.table.partition_by.range(&key);
    let closed = store.newest_closed_of(name, &key).await?;
    let open = store.open_partition(name, &key).await?;
    let passed = table.frontier.is_some_and(|frontier| end <= frontier);
    let waits = closed.is_none() && !passed && table.is_streamed();
    let held_by = if waits { held_by(store, table).await? } else { Vec::new() };
    let condition = Closes {
        passes: Stamp(end.plus(table.close_after)),
        watermark: table.frontier.map(|frontier| Stamp(frontier.plus(table.close_after))),
    };
    let revision = closed.as_ref().map_or(0, |closed| closed.n);
    let sorting = store.newest_compaction(name, &key, revision + 1).await?;
    let about = About::Closing { table: name.clone(), key };
    let (runs, all) = store.runs_of_partition(name, &key, RUNS_MAX).await?;
    let (rows, files, bytes) = sizes(closed.as_ref(), open.as_ref());
    Ok(PartitionShown {
        table: name.clone(),
        partition_key: key,
        state: standing(closed.as_ref(), open.as_ref(), passed),
        start: Stamp(start),
        end: Stamp(end),
        revision,
        rows,
        files,
        bytes,
        quarantined: None,
        late_rows: 0,
        waiting_rows: open.filter(|_| closed.is_some()).map_or(0, |open| open.rows),
        partial: closed.as_ref().is_some_and(|closed| closed.partial),
        closed: closed.map(|closed| Stamp(closed.created)),
        closes: waits.then_some(condition),
        held_by,
        problem: store.problem_about(&about).await?.map(Trouble::from),
        sorting: sorting.map(sorting_of),
        runs_left_out: all - runs.len() as u64,
        runs: runs.into_iter().map(RunFacts::from).collect(),
    })
}

fn standing(
    closed: Option<&Closed>,
    open: Option<&OpenPartition>,
    passed: bool,
) -> PartitionStanding {
    match (closed, open) {
        (Some(_), Some(_)) => PartitionStanding::LateRows,
        (Some(_), None) => PartitionStanding::Closed,
        (None, None) if passed => PartitionStanding::Empty,
        (None, _) => PartitionStanding::Open,
    }
}

/// Rows, files and bytes of what has closed and of what has not.
fn sizes(closed: Option<&Closed>, open: Option<&OpenPartition>) -> (u64, u64, u64) {
    let (rows, files, bytes) = closed.map_or((0, 0, 0), |its| (its.rows, its.files, its.bytes));
    let more = open.map_or((0, 0, 0), |its| (its.rows, its.files, its.bytes));
    (rows + more.0, files + more.1, bytes + more.2)
}

fn sorting_of(attempt: Attempt) -> Sorting {
    let error = attempt.failure.map(|failure| failure.error);
    Sorting { attempt: attempt.id, state: attempt.state, error }
}

/// The stream that writes the table and the feeds of its topic, as far as they do not go on.
async fn held_by(store: &Store, table: &LakeTable) -> Result<Vec<Holding>, Error> {
    let definitions = Definitions::read(store).await?;
    let TableContent::Topic(topic) = &table.table.content else { return Ok(Vec::new()) };
    let concerns = |stream: &&Stream| match definitions.job(stream) {
        Some(JobKind::Feed(feed)) => feed.topic == *topic,
        Some(JobKind::Stream(job)) => job.table == table.table.name,
        Some(JobKind::Batch(_)) | None => false,
    };
    let streams = definitions.streams.iter().filter(|stream| stream.present);
    Ok(streams.filter(concerns).filter_map(holding).collect())
}

fn holding(stream: &Stream) -> Option<Holding> {
    let note = stream.progress.as_ref().and_then(|progress| progress.note.clone());
    let reason = match stream.state {
        StreamState::Waiting => stream.waiting_for.clone(),
        StreamState::Running | StreamState::Ended => Some(note?),
        StreamState::Stopped | StreamState::Draining | StreamState::Retrying => note,
    };
    Some(Holding { stream: stream.id.clone(), state: stream.state, reason })
}

/// Adds what only the lake tells of a stream's hive partition, for the store forgets.
///
/// A message without a date belongs to no hive partition: counted are those that were committed
/// together with rows of this one. Late is what its first closing lacks.
pub async fn add_from_lake(
    lake: &Lake,
    store: &Store,
    shown: &mut PartitionShown,
) -> Result<(), Error> {
    let (name, key) = (&shown.table, &shown.partition_key);
    let closing = async |n| match n {
        0 => Ok(None),
        n => lake.closing(name, key, n).await,
    };
    let (first, newest) = (closing(shown.revision.min(1)).await?, closing(shown.revision).await?);
    let rows = |closing: &Option<Closing>| closing.as_ref().map_or(0, |closing| closing.rows);
    let late_rows = rows(&newest).saturating_sub(rows(&first)) + shown.waiting_rows;
    let records = records(store.files_of(name, key).await?, newest);
    let logs = records.into_iter().map(|(topic_id, topic_partition, seq)| {
        let log = lake.log(name, &topic_id, topic_partition);
        async move { log.read(seq).await }
    });
    let records: Vec<_> =
        futures::stream::iter(logs).buffer_unordered(READS_MAX).try_collect().await?;
    let quarantined = records.into_iter().flatten().map(|record| record.counts.quarantined);
    (shown.quarantined, shown.late_rows) = (Some(quarantined.sum()), late_rows);
    Ok(())
}

/// Topic id, topic partition and number of each record with rows of a hive partition.
fn records(mut files: Vec<ClosedFile>, newest: Option<Closing>) -> BTreeSet<(String, u32, u64)> {
    let mut records = BTreeSet::new();
    if let Some(newest) = newest {
        for its in newest.compaction.into_iter().flat_map(|compaction| compaction.records) {
            let record = |seq| (its.topic_id.clone(), its.topic_partition, seq);
            records.extend(its.seqs.iter().copied().map(record));
        }
        files.extend(newest.files.into_iter().filter(|file| !file.is_compacted()));
    }
    records.extend(files.into_iter().map(|file| (file.topic_id, file.topic_partition, file.seq)));
    records
}

impl PartitionShown {
    /// Whether the lake of a stream can tell more.
    pub fn has_landed(&self) -> bool {
        self.files > 0 || self.revision > 0
    }

    /// Whether its watermark moves on as it should at `now`.
    pub fn is_on_time(&self, now: Micros) -> bool {
        self.held_by.is_empty() && self.closes.is_some_and(|closes| now < closes.passes.0)
    }
}
