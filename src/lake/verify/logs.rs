//! The logs of a table: their records, and what each says of its files.

use super::super::commit::{Log, check, shown_on_commit};
use super::super::paths::Place;
use super::super::{Lake, at_once, paths};
use super::found::{Closings, Files, Held, Seen, record_of};
use super::look::{Look, look};
use super::numbers::{Heard, Lost};
use super::{Report, judge, numbers};
use crate::error::Error;
use crate::model::commit::{File, Publish, Record};
use crate::model::name::TableName;
use futures::StreamExt;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};

/// Files that are read whole at once, to compare their checksums.
const READS_MAX: usize = 4;

/// Records that are in memory at once.
const RECORDS_MAX: usize = 64;

/// Records that are read at once.
const READ_AHEAD_MAX: usize = 16;

/// What was found out before the logs were read.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub visible: &'a BTreeSet<String>,
    pub closings: &'a Closings,
}

/// What the logs of a table say.
#[derive(Default)]
pub(super) struct Logs {
    pub files: Files,
    pub lost: Lost<Place>,
}

impl Lake {
    pub(super) async fn verify_logs(
        &self,
        table: &TableName,
        mut heard: Heard,
        before: Before<'_>,
        report: &mut Report,
    ) -> Result<Logs, Error> {
        let of = |object: &Path| paths::record_of(table, object);
        self.hear(&paths::logs(table), of, &mut heard.records, report).await?;
        let mut logs = Logs::default();
        for (place, heard) in heard.records {
            let log = Log { lake: self.clone(), place };
            self.verify_log(&log, &heard, before, &mut logs, report).await?;
        }
        Ok(logs)
    }

    async fn verify_log(
        &self,
        log: &Log,
        heard: &BTreeSet<u64>,
        before: Before<'_>,
        logs: &mut Logs,
        report: &mut Report,
    ) -> Result<(), Error> {
        let staged = self.names(&log.place.stage()).await?;
        let end = heard.last().copied().unwrap_or(0);
        report.logs += 1;
        let mut last: Option<Record> = None;
        let (mut named, mut newest, mut there) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        for seqs in numbers::to_look_at(heard).chunks(RECORDS_MAX) {
            // Made beforehand: a closure held across `await` hides that the future may change threads.
            let reads: Vec<_> = seqs.iter().map(|seq| log.read(*seq)).collect();
            let read: Vec<_> =
                futures::stream::iter(reads).buffered(READ_AHEAD_MAX).collect().await;
            for (&seq, read) in seqs.iter().zip(read) {
                let record = match look(&log.place.record(seq), read)? {
                    Look::Whole(record) => record,
                    Look::Missing => {
                        last = None;
                        continue;
                    }
                    Look::Broken(finding) => {
                        report.found([finding]);
                        logs.lost.add(log.place.clone(), seq..=seq);
                        there.push(seq);
                        last = None;
                        continue;
                    }
                };
                there.push(seq);
                let rule = broken_rule(&log.place, last.as_ref(), &record);
                report.found(rule.map(|rule| judge::broken(&record, &rule)));
                let place = if seq == end { Held::Last } else { Held::Followed };
                self.verify_record(&record, place, &staged, report).await?;
                if record.publish == Publish::OnClose {
                    self.verify_waiting(&record, (&staged, &mut newest), before, report).await?;
                }
                named.extend(staged_of(&record).filter(|name| staged.contains(*name)).cloned());
                judge::add(&record, &mut logs.files, report);
                last = Some(record);
            }
        }
        for gap in numbers::gaps(&there, end) {
            let of = format!("topic partition {}", log.topic_partition());
            report.found([judge::missing("record", &of, &gap)]);
            logs.lost.add(log.place.clone(), gap);
        }
        for name in staged.difference(&named) {
            match log.place.staged_for(&Path::from(name.as_str())) {
                Some(seq) if logs.lost.has(&log.place, seq) => {
                    report.found([judge::orphan(name, &record_of(&log.place, seq))]);
                }
                Some(seq) if seq <= end => report.found([judge::garbage(name, seq)]),
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
        let looks = files
            .iter()
            .map(|file| self.seen(&file.published, file.bytes, &file.checksum))
            .collect();
        let seen: Vec<Seen> = at_once(READS_MAX, looks).await?;
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
}

/// The rule that a record breaks; what only the one before it can tell is left out where that is lost.
fn broken_rule(place: &Place, last: Option<&Record>, record: &Record) -> Option<String> {
    if last.is_none() && record.seq > 1 {
        return check::own_rules(place, record);
    }
    check::follows(place, last, record).err().map(|rule| rule.to_string())
}

/// Where the record's files were staged.
fn staged_of(record: &Record) -> impl Iterator<Item = &String> {
    record.files.iter().chain(&record.quarantine).map(|file| &file.staged)
}
