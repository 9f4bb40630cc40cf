//! Looks through all that the lake has of a table and tells what is not as it should be.
//!
//! Nothing is changed, and the table may be at work meanwhile: what readers see is listed before the
//! closings are read, the closings before the records, and each of these says only what its
//! successors must already hold. So what a busy stream does in between is never taken for damage.

mod closed;
mod found;
mod judge;
mod logs;
mod look;
mod numbers;
mod on_close;
mod outputs;

#[cfg(test)]
mod lost_tests;
#[cfg(test)]
mod tests;

pub use found::{Finding, Severity};
pub use numbers::Known;

use super::{Lake, paths};
use crate::error::{Doing, Error};
use crate::model::commit::{Closing, Counts};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use found::Seen;
use logs::Before;
use numbers::Heard;
use object_store::path::Path;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What there is of a table, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub logs: u64,
    pub records: u64,
    /// Sums over all records.
    pub counts: Counts,
    pub files: u64,
    pub bytes: u64,
    pub closings: u64,
    /// In closed hive partitions, and not yet in their newest closing.
    pub late_rows: u64,
    /// Staged for records to come.
    pub staged: u64,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of a table whose lake is gone: the state store mirrors it.
    pub fn without_lake(lake: &str, id: &str) -> Self {
        Self { findings: vec![judge::no_lake(lake, id)], ..Self::default() }
    }

    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn found(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.findings.extend(found);
    }
}

impl Lake {
    /// Re-checks the log, the objects with their sizes and checksums, the counts and the closings.
    pub async fn verify(&self, table: &TableName, known: &Known) -> Result<Report, Error> {
        let mut report = Report::default();
        let verified = self.verify_all(table, known, &mut report).await;
        verified.doing(|| format!("verify {table}"))?;
        report.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.what.cmp(&b.what)));
        Ok(report)
    }

    async fn verify_all(
        &self,
        table: &TableName,
        known: &Known,
        report: &mut Report,
    ) -> Result<(), Error> {
        let visible = self.names(&paths::table(table)).await?;
        let quarantined = self.names(&paths::quarantine(table)).await?;
        let mut heard = Heard::of(table, known, visible.union(&quarantined));
        let closings = self.verify_closings(table, &mut heard, report).await?;
        let before = Before { visible: &visible, closings: &closings };
        let mut logs = self.verify_logs(table, heard, before, report).await?;
        self.verify_sorted_stage(table, &closings, report).await?;
        let told = self.verify_outputs(table, before, &mut logs.files, report).await?;
        for name in visible.union(&quarantined) {
            let is_listed = logs.files.contains_key(name) || told.contains(name);
            if is_listed || closings.show(name, table) {
                continue;
            }
            report.found(judge::unlisted(name, table, &closings, &logs.lost));
        }
        let by_key = judge::by_key(&logs.files);
        for (key, of_key) in &closings.whole {
            report.closings += of_key.len() as u64;
            if of_key.iter().any(|closing| closing.made_from.is_some()) {
                report.found(judge::order(of_key));
                continue;
            }
            let its = by_key.get(key).map_or(&[][..], Vec::as_slice);
            report.found(judge::closings(of_key, &logs.files));
            report.found(on_close::taken(of_key, its));
            self.verify_added(of_key, report).await?;
            report.late_rows += judge::late_rows(of_key, its);
        }
        Ok(())
    }

    /// Whether an object is what was written down.
    async fn seen(&self, name: &str, bytes: u64, checksum: &str) -> Result<Seen, Error> {
        let path = Path::from(name);
        if self.size(&path).await?.is_none() {
            return Ok(Seen::Missing);
        }
        let same = self.holds(&path, bytes, checksum).await?;
        Ok(if same { Seen::Same } else { Seen::Other })
    }

    async fn names(&self, folder: &Path) -> Result<BTreeSet<String>, Error> {
        let listed = self.list(folder).await?;
        Ok(listed.into_iter().map(|meta| meta.location.to_string()).collect())
    }

    /// Hears of each number that an object of the folder is named after; others are strangers.
    async fn hear<K: Ord>(
        &self,
        folder: &Path,
        of: impl Fn(&Path) -> Option<(K, u64)>,
        heard: &mut BTreeMap<K, BTreeSet<u64>>,
        report: &mut Report,
    ) -> Result<(), Error> {
        for name in self.names(folder).await? {
            match of(&Path::from(name.as_str())) {
                Some((owner, number)) => {
                    heard.entry(owner).or_default().insert(number);
                }
                None => report.found([judge::stranger_among_ours(&name)]),
            }
        }
        Ok(())
    }

    /// All closings of a hive partition, in the order of their numbers.
    pub async fn closings_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<Closing>, Error> {
        let mut closings = Vec::new();
        for n in 1.. {
            let Some(closing) = self.closing(table, key, n).await? else { break };
            closings.push(closing);
        }
        Ok(closings)
    }
}
