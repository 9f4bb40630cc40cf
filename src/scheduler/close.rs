//! Makes closings of streamed tables: the lake's object first, then one transaction for the mirror,
//! the runs and the frontier.
//!
//! A crash between the two repeats the step, finds its own object (or another's, and takes that)
//! and goes on. The frontier moves no further than what has been closed, so that a failure in one
//! hive partition makes no row of it late.

use super::closing::{Asked, Closer, Looked, Taken};
use super::fate::Cause;
use super::frontier::{Close, Facts, Heard};
use super::turn::Turn;
use super::{compact, empty, frontier, make};
use crate::crash;
use crate::error::{Error, ErrorKind};
use crate::lake::Created;
use crate::model::closing::Circumstances;
use crate::model::commit::{ClosedFile, Closing, Compaction, FORMAT};
use crate::model::hive::PartitionKey;
use crate::model::problem::{About, Problem};
use crate::model::table::{Cursor, LakeTable, OpenPartition};
use crate::model::time::Micros;
use crate::store::Tx;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::{info, warn};

/// Closings that are made side by side.
const CREATES_MAX: usize = 4;

/// What could not be closed is tried again this much later.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Nothing is put off for longer.
const RETRY_MAX: Duration = Duration::from_mins(5);

impl Closer<'_> {
    /// Closes what is due, as far as the turn goes. `before`: how the last look has left the table.
    pub async fn close_due(
        &self,
        table: &LakeTable,
        before: Option<&Looked>,
        turn: &mut Turn,
    ) -> Result<Looked, Error> {
        let facts = self.facts(table).await?;
        let plan = frontier::plan(&facts, self.now);
        let mut looked = Looked { wake: plan.wake, ..Looked::default() };
        let Some(frontier) = plan.frontier else { return Ok(looked) };
        let passed = facts.begin;
        let chosen = self.choose(table, &plan.close, before, turn, &mut looked).await?;
        let created = self.create_all(table, &chosen, frontier).await;
        let mut made = Vec::with_capacity(chosen.len());
        for (close, created) in chosen.iter().zip(created) {
            let again = before.is_some_and(|before| before.retries.contains_key(&close.key));
            if let Some(closing) = self.taken(table, close, (created, again), &mut looked) {
                made.push((closing, close.late));
            }
        }
        let left = left_open(&plan.close, &made);
        looked.still_fail(before, &left);
        let until = first_held(table, &left).unwrap_or(frontier);
        if made.is_empty() && facts.frontier == Some(until) {
            return Ok(looked);
        }
        let mut tx = self.store.begin().await?;
        for (closing, late) in &made {
            self.mirror(&mut tx, table, closing, *late, Cause::Frontier).await?;
        }
        let passed = self.advance(&mut tx, table, passed, until).await?;
        tx.commit().await?;
        crash::point("run-created");
        // There are more ranges without rows than one step gives runs to.
        if passed < until {
            looked.at_latest(self.now);
        }
        Ok(looked)
    }

    /// What this turn tries: neither what an attempt is making, nor what has failed just before. So
    /// what cannot be closed keeps nothing else from its turn.
    async fn choose<'c>(
        &self,
        table: &LakeTable,
        due: &'c [Close],
        before: Option<&Looked>,
        turn: &mut Turn,
        looked: &mut Looked,
    ) -> Result<Vec<&'c Close>, Error> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let at_work = self.store.closings_at_work(&table.table.name).await?;
        let (mut chosen, mut again) = (Vec::new(), Vec::new());
        for close in due {
            let retry = before.and_then(|before| before.retries.get(&close.key));
            match retry {
                _ if at_work.contains(&(close.key, close.n)) => looked.pending = true,
                Some(at) if !at.is_due(RETRY_MAX, self.now) => looked.retry(close.key, *at),
                Some(_) => again.push(close),
                None => chosen.push(close),
            }
        }
        chosen.append(&mut again);
        let taken = turn.take(chosen.len());
        looked.more = taken < chosen.len();
        chosen.truncate(taken);
        Ok(chosen)
    }

    /// The closing that there is now, if there is one. `again`: it has failed just before.
    fn taken(
        &self,
        table: &LakeTable,
        close: &Close,
        (created, again): (Result<Taken, Error>, bool),
        looked: &mut Looked,
    ) -> Option<Closing> {
        let problem = |error: Error| {
            let about = About::Closing { table: table.table.name.clone(), key: close.key };
            Problem::of(about, &error, self.now)
        };
        match created {
            Ok(Taken::Ours(closing)) => Some(closing),
            // It may lack rows that we know of: they are late, and due after a while.
            Ok(Taken::Theirs(closing)) => {
                looked.at_latest(self.now);
                Some(closing)
            }
            Ok(Taken::AtWork) => {
                looked.pending = true;
                None
            }
            Ok(Taken::Wanted(compact)) => {
                looked.wanted.push(compact);
                // Whatever follows would wait for the same slots.
                looked.more = false;
                None
            }
            Ok(Taken::Failed { again, failure }) => {
                looked.retry(close.key, again);
                looked.problems.extend(failure.map(compact::failed).map(problem));
                None
            }
            Err(error) => {
                looked.retry(close.key, self.now.plus(RETRY_AFTER));
                let Close { key, n, .. } = close;
                let name = &table.table.name;
                warn!(table = %name, hive_partition = %key, n, %error,
                    "cannot close {key} of {name}; trying again");
                // What did not answer once may do so at the next look.
                if again || error.kind != ErrorKind::Unavailable {
                    looked.problems.push(problem(error));
                }
                None
            }
        }
    }

    /// Where the table begins: ranges without rows before it are none that have passed. Only a
    /// table without a frontier asks, a new one or one that a lost store has known.
    async fn first_row(
        &self,
        table: &LakeTable,
        open: &[OpenPartition],
    ) -> Result<Option<Micros>, Error> {
        let start = |open: &OpenPartition| table.table.partition_by.range(&open.key).0;
        let open = open.iter().map(start).min();
        let closed = self.store.first_closed(&table.table.name).await?;
        Ok(open.into_iter().chain(closed).min())
    }

    async fn create_all(
        &self,
        table: &LakeTable,
        chosen: &[&Close],
        frontier: Micros,
    ) -> Vec<Result<Taken, Error>> {
        let creates: Vec<_> =
            chosen.iter().map(|close| self.create(table, close, frontier)).collect();
        futures::stream::iter(creates).buffered(CREATES_MAX).collect().await
    }

    /// Closes one hive partition because a person asks for it, as it is or once more.
    pub async fn close_asked(
        &self,
        table: &LakeTable,
        key: &PartitionKey,
        cause: Cause,
    ) -> Result<Asked, Error> {
        let facts = self.facts(table).await?;
        let end = table.table.partition_by.range(key).1;
        let passed = facts.frontier.is_some_and(|frontier| end <= frontier);
        let newest = self.store.newest_closed_of(&table.table.name, key).await?;
        let n = newest.map_or(0, |closed| closed.n) + 1;
        let partial = !passed || frontier::is_cut(&facts, key);
        let close = Close { key: *key, n, late: passed, partial, lost: false };
        let frontier = facts.frontier.unwrap_or(Micros(0));
        let closing = match self.create(table, &close, frontier).await? {
            Taken::Ours(closing) | Taken::Theirs(closing) => closing,
            Taken::Failed { failure: Some(failure), .. } => return Err(compact::failed(failure)),
            Taken::Failed { failure: None, .. } | Taken::AtWork => return Ok(Asked::Waits(None)),
            Taken::Wanted(compact) => return Ok(Asked::Waits(Some(compact))),
        };
        let mut tx = self.store.begin().await?;
        self.mirror(&mut tx, table, &closing, close.late, cause).await?;
        Ok(Asked::Closed(tx, Box::new(closing)))
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
        let open = self.store.open_partitions(name).await?;
        let begin = match table.frontier {
            Some(before) => Some(before),
            None => self.first_row(table, &open).await?,
        };
        Ok(Facts {
            partition_by: table.table.partition_by.clone(),
            close_after: table.close_after,
            late_quiet: table.late_quiet,
            heard: heard.collect(),
            frontier: table.frontier,
            begin,
            open,
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
        if compact::is_at_work(self, table, close).await? {
            return Ok(Taken::AtWork);
        }
        let before = match n.saturating_sub(1) {
            0 => None,
            before => self.lake.closing(name, key, before).await?,
        };
        let complete = table.table.partition_by.range(key).1 <= frontier;
        if compact::is_needed(self, table, key, before.as_ref()).await? {
            return compact::found_or_wanted(self, table, close, (complete, frontier)).await;
        }
        let files = self.files(table, key, before.as_ref()).await?;
        if files.is_empty() && !close.lost {
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
        }
        Ok(ClosedFile::each_once(files))
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
        let name = &table.table.name;
        let until = match before {
            Some(before) => empty::pass(tx, self.dags, name, (before, frontier), self.now).await?,
            None => frontier,
        };
        tx.advance(name, until).await?;
        Ok(until)
    }
}

/// What is due and has not closed.
fn left_open<'c>(due: &'c [Close], made: &[(Closing, bool)]) -> Vec<&'c Close> {
    let made: BTreeSet<_> = made.iter().map(|(closing, _)| closing.key).collect();
    due.iter().filter(|close| !made.contains(&close.key)).collect()
}

/// The last moment at which the frontier leaves all of it open. What is late lies behind it already, and
/// holds nothing.
fn first_held(table: &LakeTable, left: &[&Close]) -> Option<Micros> {
    let held = left.iter().filter(|close| !close.late);
    held.map(|close| Micros(table.table.partition_by.range(&close.key).1.0 - 1)).min()
}
