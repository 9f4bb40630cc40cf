//! The same for records that are published on close: their staged files, and what closings made of them.

use super::super::{Lake, paths};
use super::found::{Closings, Finding, Listed, Seen, Severity};
use super::judge::{FROM_A_COPY, finding};
use super::logs::Before;
use super::{Report, judge};
use crate::error::Error;
use crate::model::commit::{Closing, File, Record};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// By itself it goes on where it was cut short.
const SWEPT: &str = "the daemon finishes it within ten minutes";

impl Lake {
    /// Looks for the staged files of a record that waits for its closings. What is `staged` was listed
    /// before; of the `newest` closings those are known that an earlier record has asked for.
    pub(super) async fn verify_waiting(
        &self,
        record: &Record,
        (staged, newest): (&BTreeSet<String>, &mut BTreeMap<PartitionKey, Option<Closing>>),
        before: Before<'_>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let holds = |newest: &Option<Closing>| {
            newest.as_ref().is_some_and(|newest| newest.has_compacted(&record.id()))
        };
        for file in &record.files {
            let Some(key) = &file.key else { continue };
            if before.visible.contains(&file.published) {
                let what =
                    format!("{} is visible, and its record is published on close", file.published);
                report.found([finding(Severity::Foreign, what, "move it out of the lake")]);
            }
            if before.closings.lost.has_any(key) {
                continue; // One of the lost closings may hold its rows.
            }
            let taken = match newest.entry(*key) {
                Entry::Occupied(known) => holds(known.get()),
                Entry::Vacant(empty) => {
                    holds(empty.insert(self.newest_closing(&record.output, key).await?))
                }
            };
            if taken && !staged.contains(&file.staged) {
                continue;
            }
            // The record may be newer than the list.
            let seen = self.seen(&file.staged, file.bytes, &file.checksum).await?;
            if !taken && seen != Seen::Same {
                // A closing may be newer than the one that we know: what goes was taken before.
                newest.insert(*key, self.newest_closing(&record.output, key).await?);
                if holds(&newest[key]) {
                    continue;
                }
            }
            report.found(waiting(record.seq, file, seen, taken));
        }
        Ok(())
    }

    /// Looks for what the closings of one hive partition have added, and for its sign of completeness.
    pub(super) async fn verify_added(
        &self,
        closings: &[Closing],
        report: &mut Report,
    ) -> Result<(), Error> {
        for closing in closings {
            for file in closing.compaction.iter().flat_map(|compaction| &compaction.added) {
                report.files += 1;
                report.bytes += file.bytes;
                let mut seen = self.seen(&file.published, file.bytes, &file.checksum).await?;
                let waits = self.size(&Path::from(file.staged.as_str())).await?.is_some();
                if seen == Seen::Missing && !waits {
                    // Perhaps it was published between the two looks.
                    seen = self.seen(&file.published, file.bytes, &file.checksum).await?;
                }
                report.found(added(closing, file, seen, waits));
            }
        }
        let complete =
            |closing: &&Closing| closing.compaction.as_ref().is_some_and(|its| its.complete);
        match closings.iter().find(complete) {
            Some(closing) => self.verify_success(closing, report).await,
            None => Ok(()),
        }
    }

    /// Looks for `_SUCCESS`, which comes before the closing's staged files go.
    async fn verify_success(&self, closing: &Closing, report: &mut Report) -> Result<(), Error> {
        let success = paths::success(&closing.table, &closing.key);
        if self.size(&success).await?.is_some() {
            return Ok(());
        }
        let what = format!("{success} is not there, and closing {} is", closing.n);
        for file in closing.compaction.iter().flat_map(|compaction| &compaction.added) {
            if self.size(&Path::from(file.staged.as_str())).await?.is_some() {
                report.found([finding(Severity::Unfinished, what, SWEPT)]);
                return Ok(());
            }
        }
        // Perhaps the one came and the others went between the looks.
        if self.size(&success).await?.is_none() {
            report.found([finding(Severity::Damage, what, "make an empty object of that name")]);
        }
        Ok(())
    }

    /// Looks for staged sets that no closing has named.
    pub(super) async fn verify_sorted_stage(
        &self,
        table: &TableName,
        closings: &Closings,
        report: &mut Report,
    ) -> Result<(), Error> {
        for meta in self.list(&paths::sorted_stage(table)).await? {
            let Some((key, n)) = paths::sorted_staged_for(&meta.location) else { continue };
            if closings.lost.has(&key, n.into()) {
                let of = format!("closing {n} of {key}");
                report.found([judge::orphan(meta.location.as_ref(), &of)]);
                continue;
            }
            let closing = self.closing(table, &key, n).await?;
            let named = |closing: &Closing| {
                let mut added = closing.compaction.iter().flat_map(|compaction| &compaction.added);
                added.any(|file| file.staged == meta.location.as_ref())
            };
            match closing {
                None => report.staged += 1,
                Some(closing) if named(&closing) => {}
                Some(_) => {
                    let what = format!(
                        "{} was staged, and closing {n} of {key} does not name it",
                        meta.location
                    );
                    report.found([finding(Severity::Unfinished, what, SWEPT)]);
                }
            }
        }
        Ok(())
    }
}

fn waiting(seq: u64, file: &File, seen: Seen, taken: bool) -> Option<Finding> {
    let File { staged, rows, bytes, checksum, .. } = file;
    Some(match (seen, taken) {
        (Seen::Same, false) | (Seen::Missing, true) => return None,
        (Seen::Same | Seen::Other, true) => {
            let what = format!("{staged} is still staged, and a closing holds its rows");
            finding(Severity::Unfinished, what, SWEPT)
        }
        (Seen::Missing, false) => {
            let what =
                format!("{staged} is missing: {rows} rows of record {seq}, which no closing holds");
            finding(Severity::Damage, what, FROM_A_COPY)
        }
        (Seen::Other, false) => {
            let what = format!(
                "{staged} is not what record {seq} made: {bytes} bytes, SHA-256 {checksum}"
            );
            finding(Severity::Damage, what, FROM_A_COPY)
        }
    })
}

fn added(closing: &Closing, file: &File, seen: Seen, waits: bool) -> Option<Finding> {
    let Closing { n, key, .. } = closing;
    let File { published, rows, bytes, checksum, .. } = file;
    Some(match (seen, waits) {
        (Seen::Same, false) => return None,
        (Seen::Same, true) => {
            let what = format!("{published} is visible, and its staged copy is still there");
            finding(Severity::Unfinished, what, SWEPT)
        }
        (Seen::Missing, true) => {
            let what = format!("{published} of closing {n} of {key} is staged and not visible yet");
            finding(Severity::Unfinished, what, SWEPT)
        }
        (Seen::Missing, false) => {
            let what = format!("{published} is missing: {rows} rows of closing {n} of {key}");
            finding(Severity::Damage, what, FROM_A_COPY)
        }
        (Seen::Other, _) => {
            let what = format!(
                "{published} is not what closing {n} of {key} made: {bytes} bytes, SHA-256 {checksum}"
            );
            finding(Severity::Damage, what, FROM_A_COPY)
        }
    })
}

/// What the newest closing of a hive partition says it took, against what the records say.
pub(super) fn taken(closings: &[Closing], files: &[(&str, &Listed)]) -> Option<Finding> {
    let newest = closings.last()?;
    let compaction = newest.compaction.as_ref()?;
    let wrong = compaction.records.iter().find(|its| {
        let is_of_it = |file: &Listed| file.waits.as_ref().is_some_and(|record| its.holds(record));
        let of_it = files.iter().filter(|(_, file)| is_of_it(file));
        of_it.map(|(_, file)| file.rows).sum::<u64>() != its.rows
    })?;
    let Closing { n, key, .. } = newest;
    let what = format!(
        "closing {n} of {key} holds {} rows of topic partition {}, and its records say otherwise",
        wrong.rows, wrong.topic_partition
    );
    Some(finding(Severity::Damage, what, "put the records or the closing back from a copy"))
}
