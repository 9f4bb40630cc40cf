//! Looks through all that the lake has of a table and tells what is not as it should be.
//!
//! Nothing is changed, and the table may be at work meanwhile: what readers see is listed before the
//! closings are read, the closings before the records, and each of these says only what its
//! successors must already hold. So what a busy stream does in between is never taken for damage.

mod judge;
mod on_close;
mod outputs;

#[cfg(test)]
mod tests;

pub use judge::Finding;
pub use judge::Severity;

use super::Lake;
use super::commit::Log;
use super::commit::check;
use super::commit::shown_on_commit;
use super::paths;
use crate::error::Doing;
use crate::error::Error;
use crate::model::commit::Closing;
use crate::model::commit::Counts;
use crate::model::commit::File;
use crate::model::commit::Publish;
use crate::model::commit::Record;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use futures::StreamExt;
use futures::TryStreamExt;
use judge::Files;
use judge::Held;
use judge::Seen;
use object_store::path::Path;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Files that are read whole at once, to compare their checksums.
const READS_MAX: usize = 4;

/// Records that are in memory at once.
const RECORDS_MAX: usize = 64;

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
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    fn found(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.findings.extend(found);
    }
}

impl Lake {
    /// Re-checks the log, the objects with their sizes and checksums, the counts and the closings.
    pub async fn verify(&self, table: &TableName) -> Result<Report, Error> {
        let doing = || format!("verify {table}");
        let mut report = Report::default();
        let visible = self.names(&paths::table(table)).await.doing(doing)?;
        let quarantined = self.names(&paths::quarantine(table)).await.doing(doing)?;
        let closings = self.closings(table).await.doing(doing)?;
        let mut files = Files::new();
        for log in self.logs(table).await.doing(doing)? {
            self.verify_log(&log, &visible, &mut files, &mut report).await.doing(doing)?;
        }
        self.verify_sorted_stage(table, &mut report).await.doing(doing)?;
        let outputs = self.verify_outputs(table, &mut files, &mut report).await.doing(doing)?;
        let strangers = visible.union(&quarantined).filter(|name| !files.contains_key(*name));
        let strangers = strangers.filter(|name| !on_close::is_of_closing(name, table, &closings));
        report.found(strangers.map(|name| judge::stranger(name)));
        let by_key = judge::by_key(&files);
        for of_key in &closings {
            report.closings += of_key.len() as u64;
            let its = of_key.first().and_then(|closing| by_key.get(&closing.key));
            let its = its.map_or(&[][..], Vec::as_slice);
            if outputs {
                report.found(judge::order(of_key));
            } else {
                report.found(judge::closings(of_key, &files));
                report.found(on_close::taken(of_key, its));
                self.verify_added(of_key, &mut report).await.doing(doing)?;
                report.late_rows += judge::late_rows(of_key, its);
            }
        }
        report.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.what.cmp(&b.what)));
        Ok(report)
    }

    async fn verify_log(
        &self,
        log: &Log,
        visible: &BTreeSet<String>,
        files: &mut Files,
        report: &mut Report,
    ) -> Result<(), Error> {
        let staged = self.names(&log.place.stage()).await?;
        let numbers = self.names(&log.place.log()).await?.len() as u64;
        report.logs += 1;
        let mut last: Option<Record> = None;
        let (mut named, mut newest) = (BTreeSet::new(), BTreeMap::new());
        loop {
            let seq = last.as_ref().map_or(0, |last| last.seq);
            // One more than is judged: whether a record is the last one decides what it may lack.
            let mut records = log.after(seq, RECORDS_MAX + 1).await?;
            let is_end = records.len() <= RECORDS_MAX;
            records.truncate(RECORDS_MAX);
            let count = records.len();
            for (at, record) in records.into_iter().enumerate() {
                let broken = check::follows(&log.place, last.as_ref(), &record);
                report.found(broken.err().map(|rule| judge::broken(&record, &rule.to_string())));
                let place = if is_end && at + 1 == count { Held::Last } else { Held::Followed };
                self.verify_record(&record, place, &staged, report).await?;
                if record.publish == Publish::OnClose {
                    let known = (&staged, &mut newest);
                    self.verify_waiting(&record, known, visible, report).await?;
                }
                named.extend(staged_of(&record).filter(|name| staged.contains(*name)).cloned());
                judge::add(&record, files, report);
                last = Some(record);
            }
            if is_end {
                break;
            }
        }
        let seq = last.as_ref().map_or(0, |last| last.seq);
        if numbers > seq {
            report.found([judge::gap(&log.place, seq + 1)]);
        }
        for name in staged.difference(&named) {
            match log.place.staged_for(&Path::from(name.as_str())) {
                Some(its) if its <= seq => report.found([judge::garbage(name, its)]),
                Some(_) => report.staged += 1,
                None => report.found([judge::stranger(name)]),
            }
        }
        Ok(())
    }

    async fn verify_record(
        &self,
        record: &Record,
        place: Held,
        staged: &BTreeSet<String>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let files: Vec<&File> = shown_on_commit(record).collect();
        // Made beforehand: a closure held across `await` hides that the future may change threads.
        let looks: Vec<_> = files
            .iter()
            .map(|file| self.seen(&file.published, file.bytes, &file.checksum))
            .collect();
        let seen: Vec<Seen> =
            futures::stream::iter(looks).buffered(READS_MAX).try_collect().await?;
        for (file, seen) in files.iter().zip(seen) {
            if seen == Seen::Same && !staged.contains(&file.staged) {
                continue;
            }
            // What was listed may have been published since, and the record may be newer than the list.
            let staged = self.size(&Path::from(file.staged.as_str())).await?.is_some();
            let seen = match seen {
                Seen::Missing => self.seen(&file.published, file.bytes, &file.checksum).await?,
                Seen::Same | Seen::Other => seen,
            };
            report.found(judge::file(record.seq, place, file, seen, staged));
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

    /// All closings of a table, those of one hive partition together, in the order of their numbers.
    async fn closings(&self, table: &TableName) -> Result<Vec<Vec<Closing>>, Error> {
        let folders = self.list_folders(&paths::closings(table)).await?;
        let mut keys: Vec<PartitionKey> = folders.iter().filter_map(paths::closed_key).collect();
        keys.sort_unstable();
        let mut all = Vec::with_capacity(keys.len());
        for key in &keys {
            all.push(self.closings_of(table, key).await?);
        }
        Ok(all)
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

/// Where the record's files were staged.
fn staged_of(record: &Record) -> impl Iterator<Item = &String> {
    record.files.iter().chain(&record.quarantine).map(|file| &file.staged)
}
