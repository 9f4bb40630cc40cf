//! Closings of tables that batches write, and closings that the lake had before this store.
//!
//! A batch's table closes when the run that wrote it has succeeded, numbered on its own: a run that
//! was cleared and succeeds again makes a further closing, so that what reads it follows.

use super::fate::Cause;
use super::make;
use super::make::{ActiveDag, Carried};
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::{Created, Lake};
use crate::model::closing::Circumstances;
use crate::model::commit::{ClosedFile, Closing, FORMAT, MadeFrom, Output};
use crate::model::dag::DagVersion;
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::problem::About;
use crate::model::run::{Run, Subject};
use crate::model::table::LakeTable;
use crate::model::time::Micros;
use crate::store::Store;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};

/// Closings of a table that are looked after side by side when a new store takes it over.
const SHOWN_AT_ONCE: usize = 8;

#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    pub store: &'a Store,
    pub lake: &'a Lake,
    pub dags: &'a [ActiveDag],
    pub now: Micros,
}

impl Outputs<'_> {
    /// Closes what a run that succeeded has written.
    pub async fn close(&self, run: &Run, version: &DagVersion) -> Result<(), Error> {
        let mut closings = Vec::new();
        if let Some(of) = &run.subject {
            for table in make::outputs(version) {
                let closing = self.create(run, of, &table).await;
                closings.extend(closing.doing(|| format!("close {} of {table}", of.key))?);
            }
        }
        let mut tx = self.store.begin().await?;
        for closing in &closings {
            let Some(of) = &run.subject else { continue };
            let about = Circumstances { late: closing.n > 1, start: of.start, end: of.end };
            let Some(closed) = tx.mirror_closing(closing, about, self.now).await? else { continue };
            let none = BTreeMap::new();
            make::after_closing(&mut tx, self.dags, &closed, Cause::Frontier, &none, self.now)
                .await?;
        }
        tx.set_closed(&run.id).await?;
        tx.commit().await
    }

    /// Makes the next closing of an output, or finds the one that this run made before a crash.
    async fn create(
        &self,
        run: &Run,
        of: &Subject,
        table: &TableName,
    ) -> Result<Option<Closing>, Error> {
        let newest = self.store.newest_closed_of(table, &of.key).await?;
        let found = run.marked_by.as_deref() == Some(make::FOUND);
        if found && newest.as_ref().is_some_and(|newest| made_by(newest.made_from.as_ref(), of.n)) {
            return Ok(None);
        }
        let files = file_of(self.lake.output_at_once(table, &of.key).await?)
            .into_iter()
            .collect::<Vec<_>>();
        let made_from =
            MadeFrom { table: of.table.clone(), key: of.key, n: of.n, run: run.id.clone() };
        let ours = Closing {
            format: FORMAT,
            table: table.clone(),
            key: of.key,
            n: newest.map_or(0, |newest| newest.n) + 1,
            partial: of.partial,
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            frontier: of.end,
            made_from: Some(made_from),
            compaction: None,
        };
        let created = self.lake.create_closing(&ours).await?;
        crash::point("output-closing");
        Ok(Some(match created {
            Created::Ours => ours,
            Created::Theirs(theirs) => theirs,
        }))
    }

    /// Mirrors the newest closings that the lake has of a table; once for each store and table.
    pub async fn adopt(&self, table: &LakeTable) -> Result<(), Error> {
        let name = &table.table.name;
        let found = self.lake.newest_closings(name).await.doing(|| format!("adopt {name}"))?;
        let mut known = Vec::with_capacity(found.len());
        // A compaction that was killed may have left some half published.
        let shown: Vec<_> =
            found.iter().map(|closing| self.lake.publish_closing(closing)).collect();
        let shown = futures::stream::iter(shown).buffered(SHOWN_AT_ONCE);
        for (closing, shown) in found.iter().zip(shown.collect::<Vec<_>>().await) {
            if let Err(error) = shown {
                if error.kind != ErrorKind::Data {
                    return Err(error);
                }
                let Closing { key, n, .. } = closing;
                warn!(table = %name, hive_partition = %key, n, %error, "cannot show all of closing {n} of {key}");
            }
            let (start, end) = table.table.partition_by.range(&closing.key);
            let late = self.is_late(table, closing, end).await?;
            known.push((Circumstances { late, start, end }, self.carried(closing).await?));
        }
        let mut tx = self.store.begin().await?;
        for (closing, (about, carried)) in found.iter().zip(&known) {
            let Some(closed) = tx.mirror_closing(closing, *about, self.now).await? else {
                continue;
            };
            make::after_closing(&mut tx, self.dags, &closed, Cause::Found, carried, self.now)
                .await?;
        }
        tx.set_adopted(name).await?;
        tx.commit().await?;
        if !found.is_empty() {
            info!(table = %name, closings = found.len(), "took over what the lake says of {name}");
        }
        Ok(())
    }

    /// Whether a closing was made because of rows that came after the partition had closed; not so
    /// where the one before was forced, ahead of the frontier.
    async fn is_late(
        &self,
        table: &LakeTable,
        closing: &Closing,
        end: Micros,
    ) -> Result<bool, Error> {
        if closing.n == 1 || !table.is_streamed() {
            return Ok(closing.n > 1);
        }
        let before = self.lake.closing(&closing.table, &closing.key, closing.n - 1).await?;
        Ok(before.is_none_or(|before| end <= before.frontier))
    }

    /// What the outputs of each DAG that has any carry of this closing.
    async fn carried(&self, closing: &Closing) -> Result<BTreeMap<Name, Carried>, Error> {
        let mut carried = BTreeMap::new();
        for dag in self.dags.iter().filter(|dag| dag.waits_for(&closing.table).is_some()) {
            let outputs = make::outputs(&dag.version);
            if outputs.is_empty() {
                continue;
            }
            let its = self.carried_by(&outputs, closing).await?;
            let its = if make::loads(&dag.version) { its.unless_loaded() } else { its };
            carried.insert(dag.name().clone(), its);
        }
        Ok(carried)
    }

    async fn carried_by(
        &self,
        outputs: &BTreeSet<TableName>,
        closing: &Closing,
    ) -> Result<Carried, Error> {
        let (mut highest, mut all) = (0, true);
        for table in outputs {
            let Some(output) = self.lake.output_at_once(table, &closing.key).await? else {
                return Ok(Carried::Nothing);
            };
            highest = output.n.max(highest);
            all &= match &output.input {
                Some(input) => input.table == closing.table && input.n >= closing.n,
                None => output.n >= closing.n,
            };
        }
        Ok(if all { Carried::This(highest) } else { Carried::Older(highest) })
    }
}

/// The highest number that an output of the DAG carries for the partition; 0 where there is none.
pub async fn highest_number(
    lake: &Lake,
    version: &DagVersion,
    key: &PartitionKey,
) -> Result<u32, Error> {
    let mut highest = 0;
    for table in make::outputs(version) {
        highest = lake.output_at_once(&table, key).await?.map_or(0, |output| output.n).max(highest);
    }
    Ok(highest)
}

/// The first hive partition that the run writes: where its outputs cannot close, that one is told of.
pub fn first_of(run: &Run, version: &DagVersion) -> Option<About> {
    let table = make::outputs(version).into_iter().next()?;
    Some(About::Closing { table, key: run.subject.as_ref()?.key })
}

fn made_by(made_from: Option<&(String, u32)>, n: u32) -> bool {
    made_from.is_some_and(|(_, made)| *made == n)
}

fn file_of(output: Option<Output>) -> Option<ClosedFile> {
    let Output { n, file, .. } = output?;
    let file = file?;
    Some(ClosedFile {
        published: file.published,
        topic_id: String::new(),
        topic_partition: 0,
        seq: u64::from(n),
        rows: file.rows,
        bytes: file.bytes,
        checksum: file.checksum,
        event_time_min: None,
        event_time_max: None,
    })
}
