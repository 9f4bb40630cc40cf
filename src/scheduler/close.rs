//! Makes closings of streamed tables: the lake's object first, then one transaction for the mirror,
//! the runs and the frontier.
//!
//! A crash between the two repeats the step, finds its own object (or another's, and takes that)
//! and goes on. The frontier moves no further than what has been closed, so that a failure in one
//! hive partition makes no row of it late.

use super::compact::Taken;
use super::fate::Cause;
use super::frontier::{Close, Facts, Heard};
use super::make::ActiveDag;
use super::{compact, frontier, make};
use crate::crash;
use crate::error::{Error, ErrorKind};
use crate::lake::{Created, Lake};
use crate::model::closing::Circumstances;
use crate::model::commit::{ClosedFile, Closing, Compaction, FORMAT};
use crate::model::dag::Empty;
use crate::model::hive::PartitionKey;
use crate::model::run::{Class, RunKind, RunState, Subject};
use crate::model::table::{Cursor, LakeTable, OpenPartition};
use crate::model::time::Micros;
use crate::store::{Store, Tx};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tracing::{info, warn};

/// Closings that become visible together; a replayed year closes in many small transactions.
const CHUNK: usize = 32;

/// Closings that are made side by side.
const CREATES_MAX: usize = 4;

/// What could not be closed is tried again this much later.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Ranges without rows that one step gives runs to; the frontier waits for the rest.
const EMPTY_MAX: usize = 1_000;

/// What closing needs to reach.
#[derive(Clone, Copy)]
pub struct Closer<'a> {
    pub store: &'a Store,
    pub lake: &'a Lake,
    pub dags: &'a [ActiveDag],
    pub now: Micros,
    /// So many attempts make closings at once.
    pub parallelism: u32,
    /// Is set where an attempt was queued.
    pub launched: &'a AtomicBool,
}

/// How a look at a table has left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// When something is due even if its log has nothing new.
    pub wake: Option<Micros>,
    /// An attempt makes a closing, and its end is to be looked for.
    pub pending: bool,
}

impl Looked {
    fn at_latest(&mut self, at: Micros) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

impl Closer<'_> {
    /// Closes what is due.
    pub async fn close_due(&self, table: &LakeTable) -> Result<Looked, Error> {
        let facts = self.facts(table).await?;
        let plan = frontier::plan(&facts, self.now);
        let mut looked = Looked { wake: plan.wake, pending: false };
        let Some(frontier) = plan.frontier else { return Ok(looked) };
        let mut until = frontier;
        let mut passed = match facts.frontier {
            Some(before) => Some(before),
            None => self.first_row(table, &facts).await?,
        };
        let mut left = plan.close.as_slice();
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(left.len().min(CHUNK));
            left = rest;
            let mut made = Vec::with_capacity(chunk.len());
            for (close, created) in chunk.iter().zip(self.create_all(table, chunk, frontier).await)
            {
                if let Some(closing) = self.taken(table, close, created, &mut looked) {
                    made.push((closing, close.late));
                } else if !close.late {
                    // What is late lies behind the frontier already, and holds nothing.
                    until = until.min(before_end(table, close));
                }
            }
            let until = rest.first().map_or(until, |next| until.min(before_end(table, next)));
            let mut tx = self.store.begin().await?;
            for (closing, late) in &made {
                self.mirror(&mut tx, table, closing, *late, Cause::Frontier).await?;
            }
            passed = Some(self.advance(&mut tx, table, passed, until).await?);
            tx.commit().await?;
            crash::point("run-created");
        }
        if plan.close.is_empty() && facts.frontier != Some(frontier) {
            let mut tx = self.store.begin().await?;
            passed = Some(self.advance(&mut tx, table, passed, frontier).await?);
            tx.commit().await?;
        }
        // There are more ranges without rows than one step gives runs to.
        if passed.is_some_and(|passed| passed < until) {
            looked.at_latest(self.now);
        }
        Ok(looked)
    }

    /// The closing that there is now, if there is one.
    fn taken(
        &self,
        table: &LakeTable,
        close: &Close,
        created: Result<Taken, Error>,
        looked: &mut Looked,
    ) -> Option<Closing> {
        match created {
            Ok(Taken::Ours(closing)) => Some(closing),
            // It may lack rows that we know of: they are late, and due after a while.
            Ok(Taken::Theirs(closing)) => {
                looked.at_latest(self.now);
                Some(closing)
            }
            Ok(Taken::Pending { again, .. }) => {
                looked.pending = true;
                if let Some(again) = again {
                    looked.at_latest(again);
                }
                None
            }
            Err(error) => {
                looked.at_latest(self.now.plus(RETRY_AFTER));
                let Close { key, n, .. } = close;
                let name = &table.table.name;
                warn!(table = %name, hive_partition = %key, n, %error,
                    "cannot close {key} of {name}; trying again");
                None
            }
        }
    }

    /// Where the table begins: ranges without rows before it are none that have passed. Only a
    /// table without a frontier asks, a new one or one that a lost store has known.
    async fn first_row(&self, table: &LakeTable, facts: &Facts) -> Result<Option<Micros>, Error> {
        let start = |open: &OpenPartition| table.table.partition_by.range(&open.key).0;
        let open = facts.open.iter().map(start).min();
        let closed = self.store.first_closed(&table.table.name).await?;
        Ok(open.into_iter().chain(closed).min())
    }

    async fn create_all(
        &self,
        table: &LakeTable,
        chunk: &[Close],
        frontier: Micros,
    ) -> Vec<Result<Taken, Error>> {
        let creates: Vec<_> =
            chunk.iter().map(|close| self.create(table, close, frontier)).collect();
        futures::stream::iter(creates).buffered(CREATES_MAX).collect().await
    }

    /// Closes one hive partition because a person asks for it, as it is or once more.
    ///
    /// The transaction is left open for the request's outcome: neither is there without the other.
    /// `None`: an attempt is sorting its rows.
    pub async fn close_asked(
        &self,
        table: &LakeTable,
        key: &PartitionKey,
        cause: Cause,
    ) -> Result<Option<(Tx, Closing)>, Error> {
        let facts = self.facts(table).await?;
        let end = table.table.partition_by.range(key).1;
        let passed = facts.frontier.is_some_and(|frontier| end <= frontier);
        let newest = self.store.newest_closed_of(&table.table.name, key).await?;
        let n = newest.map_or(0, |closed| closed.n) + 1;
        let partial = !passed || frontier::is_cut(&facts, key);
        let close = Close { key: *key, n, late: passed, partial };
        let frontier = facts.frontier.unwrap_or(Micros(0));
        let closing = match self.create(table, &close, frontier).await? {
            Taken::Ours(closing) | Taken::Theirs(closing) => closing,
            Taken::Pending { failure: Some(failure), .. } => return Err(compact::failed(failure)),
            Taken::Pending { failure: None, .. } => return Ok(None),
        };
        let mut tx = self.store.begin().await?;
        self.mirror(&mut tx, table, &closing, close.late, cause).await?;
        Ok(Some((tx, closing)))
    }

    pub async fn facts(&self, table: &LakeTable) -> Result<Facts, Error> {
        let name = &table.table.name;
        let cursors = self.store.cursors(name).await?;
        let heard = table.members.iter().flat_map(|members| {
            let of_topic = |cursor: &&Cursor| cursor.topic_id == members.topic_id;
            // Marks go to every topic partition: where one has come, the others' are on their way.
            let marked = cursors.iter().filter(of_topic).any(|cursor| cursor.marked);
            let cursors = &cursors;
            (0..members.topic_partitions).map(move |topic_partition| {
                let mut its = cursors.iter().filter(of_topic);
                match its.find(|cursor| cursor.topic_partition == topic_partition) {
                    None => Heard::Nothing,
                    Some(Cursor { watermark: Some(at), .. }) => Heard::Watermark(*at),
                    Some(cursor) if marked || cursor.behind => Heard::Nothing,
                    Some(_) => Heard::Empty,
                }
            })
        });
        Ok(Facts {
            partition_by: table.table.partition_by.clone(),
            close_after: table.close_after,
            late_quiet: table.late_quiet,
            heard: heard.collect(),
            frontier: table.frontier,
            open: self.store.open_partitions(name).await?,
            cuts: self.store.cuts(name).await?,
        })
    }

    /// Publishes what the closing lists, then makes it, or takes the one that is there. What is to be
    /// sorted first is left to an attempt.
    async fn create(
        &self,
        table: &LakeTable,
        close: &Close,
        frontier: Micros,
    ) -> Result<Taken, Error> {
        let Close { key, n, .. } = close;
        let name = &table.table.name;
        if let Some(pending) = compact::at_work(self, table, close).await? {
            return Ok(pending);
        }
        let before = match n.saturating_sub(1) {
            0 => None,
            before => self.lake.closing(name, key, before).await?,
        };
        let complete = table.table.partition_by.range(key).1 <= frontier;
        if compact::is_needed(self, table, key, before.as_ref()).await? {
            return compact::found_or_asked(self, table, close, (complete, frontier)).await;
        }
        let files = self.files(table, key, before.as_ref()).await?;
        if files.is_empty() {
            return Err(Error::new(ErrorKind::Input, "it has no rows")
                .remedy("a hive partition without rows needs no closing"));
        }
        self.publish(table, &files).await?;
        let compacted = before.and_then(|before| before.compaction);
        let ours = Closing {
            format: FORMAT,
            table: name.clone(),
            key: *key,
            n: *n,
            partial: close.partial,
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            frontier,
            made_from: None,
            compaction: compacted.map(|its| Compaction { complete, added: Vec::new(), ..its }),
        };
        let created = self.lake.create_closing(&ours).await?;
        crash::point("closing");
        let taken = match created {
            Created::Ours => Taken::Ours(ours),
            Created::Theirs(theirs) => Taken::Theirs(theirs),
        };
        if let Taken::Ours(closing) | Taken::Theirs(closing) = &taken {
            self.lake.publish_closing(closing).await?;
        }
        Ok(taken)
    }

    /// What the closing lists: the files of the one before, and all visible ones that the mirror knows.
    /// It forgets files that have been closed for long.
    async fn files(
        &self,
        table: &LakeTable,
        key: &PartitionKey,
        before: Option<&Closing>,
    ) -> Result<Vec<ClosedFile>, Error> {
        let mut files = self.store.shown_files_of(&table.table.name, key).await?;
        if let Some(before) = before {
            files.extend(before.files.iter().cloned());
            files.sort_unstable_by(|a, b| a.published.cmp(&b.published));
            files.dedup();
        }
        Ok(files)
    }

    /// Only the last record of each topic partition may be unpublished still.
    async fn publish(&self, table: &LakeTable, files: &[ClosedFile]) -> Result<(), Error> {
        let mut last: BTreeMap<(&str, u32), u64> = BTreeMap::new();
        for file in files {
            let seq = last.entry((&file.topic_id, file.topic_partition)).or_default();
            *seq = file.seq.max(*seq);
        }
        for ((topic_id, topic_partition), seq) in last {
            let log = self.lake.log(&table.table.name, topic_id, topic_partition);
            if let Some(record) = log.read(seq).await? {
                self.lake.publish(&record).await?;
            }
        }
        Ok(())
    }

    async fn mirror(
        &self,
        tx: &mut Tx,
        table: &LakeTable,
        closing: &Closing,
        late: bool,
        cause: Cause,
    ) -> Result<(), Error> {
        let (start, end) = table.table.partition_by.range(&closing.key);
        let about = Circumstances { late, start, end };
        let Some(closed) = tx.mirror_closing(closing, about, self.now).await? else {
            return Ok(());
        };
        info!(table = %closed.table, hive_partition = %closed.key, n = closed.n, rows = closed.rows,
            files = closed.files, late, partial = closed.partial,
            "closed {} of {}", closed.key, closed.table);
        make::after_closing(tx, self.dags, &closed, cause, &BTreeMap::new(), self.now).await
    }

    /// Moves the frontier on, and gives ranges that passed without rows their runs where wanted.
    /// Returns how far it has come.
    async fn advance(
        &self,
        tx: &mut Tx,
        table: &LakeTable,
        before: Option<Micros>,
        frontier: Micros,
    ) -> Result<Micros, Error> {
        let mut until = frontier;
        for dag in self.dags {
            let Some(schedule) = dag.waits_for(&table.table.name) else { continue };
            let Some(before) = before.filter(|_| schedule.empty == Empty::Run) else { continue };
            let layout = super::fate::layout(schedule);
            let mut key = layout.key_of(before);
            for made in 0.. {
                let (start, end) = layout.range(&key);
                if end > frontier {
                    break;
                }
                if made == EMPTY_MAX {
                    until = until.min(start);
                    break;
                }
                let is_wanted = end > before && schedule.start.is_none_or(|first| start >= first);
                if is_wanted && tx.newest_closed(&table.table.name, (start, end)).await?.is_empty()
                {
                    let (table, grain) = (table.table.name.clone(), schedule.grain);
                    let others = tx.newest_number_of_others(dag.name(), &table, &key).await?;
                    let n = others.map_or(0, |newest| newest + 1);
                    let of = Subject { table, grain, key, n, start, end, partial: false };
                    let new = make::new_run(
                        dag,
                        RunKind::Close,
                        of,
                        RunState::Queued,
                        Class::Live,
                        self.now,
                    );
                    make::add(tx, dag, new, self.now).await?;
                }
                key = key.next();
            }
        }
        tx.advance(&table.table.name, until).await?;
        Ok(until)
    }
}

/// The last moment at which the frontier leaves the hive partition open.
fn before_end(table: &LakeTable, close: &Close) -> Micros {
    Micros(table.table.partition_by.range(&close.key).1.0 - 1)
}
