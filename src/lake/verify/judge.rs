//! What counts as wrong, how bad it is, and what mends it. Pure: facts in, findings out.

use super::super::paths::Place;
use super::super::{closings, paths};
use super::Report;
use super::found::{ByKey, Closings, Files, Finding, Held, Listed, Seen, Severity, record_of};
use super::numbers::Lost;
use crate::error::Error;
use crate::model::commit::{ClosedFile, Closing, File, Publish, Record};
use crate::model::name::TableName;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

pub(super) const FROM_A_COPY: &str =
    "put the object back from a copy, and see that no lifecycle rule deletes in the lake";

pub(super) fn finding(severity: Severity, what: String, mend: &str) -> Finding {
    Finding { severity, what, mend: mend.to_owned() }
}

/// Notes what a record holds.
pub(super) fn add(record: &Record, files: &mut Files, report: &mut Report) {
    report.records += 1;
    let (all, one) = (&mut report.counts, &record.counts);
    all.read += one.read;
    all.landed += one.landed;
    all.quarantined += one.quarantined;
    all.dropped += one.dropped;
    all.tombstones += one.tombstones;
    all.marks += one.marks;
    for file in record.files.iter().chain(&record.quarantine) {
        report.files += 1;
        report.bytes += file.bytes;
        let File { key, staged, bytes, checksum, rows, .. } = file.clone();
        let waits = record.publish == Publish::OnClose && key.is_some();
        let waits = waits.then(|| record.id());
        files.insert(file.published.clone(), Listed { key, staged, bytes, checksum, rows, waits });
    }
}

pub(super) fn broken(record: &Record, rule: &str) -> Finding {
    let Record { topic_partition, seq, .. } = record;
    let what = format!("record {seq} of topic partition {topic_partition}: {rule}");
    finding(Severity::Damage, what, "put the record back from a copy; nothing may write there")
}

/// The objects of these numbers are not there, and something tells that they were.
pub(super) fn missing(what: &str, of: &str, gap: &RangeInclusive<u64>) -> Finding {
    let (first, last) = (gap.start(), gap.end());
    let what = if first == last {
        format!(
            "{what} {first} of {of} is missing: later ones, files or the state store refer to it"
        )
    } else {
        format!(
            "{what}s {first} to {last} of {of} are missing: later ones, files or the state store refer to them"
        )
    };
    finding(Severity::Damage, what, FROM_A_COPY)
}

pub(super) fn no_lake(lake: &str, id: &str) -> Finding {
    let what = format!("there is no lake at {lake}, and the state store mirrors lake {id}");
    let mend = "put the lake back from a copy, or let `lake.url` name the one that it was";
    finding(Severity::Damage, what, mend)
}

pub(super) fn broken_object(path: &Path, error: &Error) -> Finding {
    let what = format!("{path} is not what Tidemill wrote: {}", error.cause());
    let mend = "put it back from a copy; nothing but Tidemill may write under `_tidemill/`";
    finding(Severity::Damage, what, mend)
}

pub(super) fn garbage(name: &str, seq: u64) -> Finding {
    let what = format!("{name} was staged, and record {seq} does not name it");
    finding(Severity::Unfinished, what, "the daemon sweeps it within ten minutes")
}

pub(super) fn stranger(name: &str) -> Finding {
    let what = format!("{name} is in the table's folder, and no record names it");
    finding(Severity::Foreign, what, "move it out of the lake, and find out who wrote it")
}

pub(super) fn stranger_among_ours(name: &str) -> Finding {
    let what = format!("{name} is in a folder of Tidemill's own, and Tidemill gives no such names");
    finding(Severity::Foreign, what, "move it out of the lake, and find out who wrote it")
}

/// A file that what is lost, by its name, would list.
pub(super) fn orphan(name: &str, of: &str) -> Finding {
    let what = format!("{name} belongs to {of}, which is missing or broken");
    finding(Severity::Damage, what, "leave it there, and restore that object from a copy")
}

/// What is wrong with a visible object that nothing lists.
pub(super) fn unlisted(
    name: &str,
    table: &TableName,
    closings: &Closings,
    records: &Lost<Place>,
) -> Option<Finding> {
    let path = Path::from(name);
    if let Some((place, seq)) = paths::published_by(table, &path)
        && records.has(&place, seq)
    {
        return Some(orphan(name, &record_of(&place, seq)));
    }
    if let Some((key, n)) = paths::sorted_by(table, &path)
        && closings.lost.has(&key, n)
    {
        return Some(orphan(name, &format!("closing {n} of {key}")));
    }
    let key = paths::key_of(table, &path).filter(|_| paths::is_success(&path));
    let is_of_lost = key.is_some_and(|key| closings.lost.has_any(&key));
    (!is_of_lost).then(|| stranger(name))
}

/// What is wrong with one file of a record.
pub(super) fn file(
    seq: u64,
    place: Held,
    file: &File,
    seen: Seen,
    staged: bool,
) -> Option<Finding> {
    let File { published, rows, bytes, checksum, .. } = file;
    let again = "the stream publishes its last record again when it starts";
    Some(match (seen, staged, place) {
        (Seen::Same, false, _) => return None,
        (Seen::Same, true, Held::Last) => {
            let what = format!("{published} is visible, and its staged copy is still there");
            finding(Severity::Unfinished, what, again)
        }
        (Seen::Same, true, Held::Followed) => {
            let what = format!("{published} is visible, and {} is still staged", file.staged);
            finding(Severity::Foreign, what, "delete the staged copy")
        }
        (Seen::Missing, true, Held::Last) => {
            let what = format!("{published} of record {seq} is staged and not visible yet");
            finding(Severity::Unfinished, what, again)
        }
        (Seen::Missing, true, Held::Followed) => {
            let what = format!("{published}: record {seq} is not published, and others follow");
            let mend = format!("copy {} to that name; then report this", file.staged);
            finding(Severity::Damage, what, &mend)
        }
        (Seen::Missing, false, _) => {
            let what = format!("{published} is missing: {rows} rows of record {seq}");
            finding(Severity::Damage, what, FROM_A_COPY)
        }
        (Seen::Other, ..) => {
            let what = format!(
                "{published} is not what record {seq} made: {bytes} bytes, SHA-256 {checksum}"
            );
            finding(Severity::Damage, what, FROM_A_COPY)
        }
    })
}

/// What is wrong with the closings of one hive partition of a streamed table.
pub(super) fn closings(closings: &[Closing], files: &Files) -> Vec<Finding> {
    let mut found = order(closings);
    let mut sorted = BTreeMap::new();
    for closing in closings {
        let added = closing.compaction.iter().flat_map(|compaction| &compaction.added);
        sorted.extend(added.map(|file| (file.published.as_str(), file)));
        let is_added = |file: &ClosedFile| {
            let its = sorted.get(file.published.as_str());
            its.is_some_and(|its| {
                (its.rows, its.bytes, &its.checksum) == (file.rows, file.bytes, &file.checksum)
            })
        };
        let unknown = closing.files.iter().filter(|file| {
            let is_known =
                if file.is_compacted() { is_added(file) } else { is_listed(file, files) };
            !is_known
        });
        found.extend(unknown.map(|file| {
            let Closing { key, n, .. } = closing;
            let what = format!("closing {n} of {key} lists {}, as no record does", file.published);
            finding(Severity::Damage, what, "put the record or the closing back from a copy")
        }));
    }
    for pair in closings.windows(2) {
        let names = |closing: &Closing| -> BTreeSet<String> {
            closing.files.iter().map(|file| file.published.clone()).collect()
        };
        if let Some(name) = names(&pair[0]).difference(&names(&pair[1])).next() {
            let Closing { key, n, .. } = &pair[1];
            let what = format!("closing {n} of {key} lacks {name}, which the one before it lists");
            let mend = format!("`tidemill partitions reopen` makes the next one of {key}");
            found.push(finding(Severity::Damage, what, &mend));
        }
    }
    found
}

/// What is wrong with closings of any table: their own rules.
pub(super) fn order(all: &[Closing]) -> Vec<Finding> {
    let broken = |closing: &Closing| {
        let rule = closings::check(closing, true).err()?;
        let what = format!("closing {} of {}: {rule}", closing.n, closing.key);
        Some(finding(Severity::Damage, what, FROM_A_COPY))
    };
    all.iter().filter_map(broken).collect()
}

fn is_listed(file: &ClosedFile, files: &Files) -> bool {
    files.get(&file.published).filter(|its| its.waits.is_none()).is_some_and(|its| {
        (its.rows, its.bytes, &its.checksum) == (file.rows, file.bytes, &file.checksum)
    })
}

pub(super) fn by_key(files: &Files) -> ByKey<'_> {
    let mut by_key = ByKey::new();
    for (name, file) in files {
        if let Some(key) = file.key {
            by_key.entry(key).or_default().push((name, file));
        }
    }
    by_key
}

/// Rows of a closed hive partition that its newest closing lacks.
pub(super) fn late_rows(closings: &[Closing], files: &[(&str, &Listed)]) -> u64 {
    let Some(newest) = closings.last() else { return 0 };
    let listed: BTreeSet<&str> = newest.files.iter().map(|file| file.published.as_str()).collect();
    let is_held = |name: &str, file: &Listed| match &file.waits {
        Some(record) => newest.has_compacted(record),
        None => listed.contains(name),
    };
    let late = files.iter().filter(|(name, file)| !is_held(name, file));
    late.map(|(_, file)| file.rows).sum()
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::record;
    use super::*;

    #[track_caller]
    fn check(place: Held, seen: Seen, staged: bool, expected: Option<(Severity, &str)>) {
        let record = record(7, 0);
        let found = file(7, place, &record.files[0], seen, staged);
        let is = found.as_ref().map(|found| found.severity);
        assert_eq!(is, expected.map(|(severity, _)| severity), "{found:?}");
        if let (Some(found), Some((_, words))) = (found, expected) {
            assert!(found.what.contains(words), "{}", found.what);
        }
    }

    #[test]
    fn a_file_that_is_visible_and_no_longer_staged_is_sound() {
        check(Held::Last, Seen::Same, false, None);
        check(Held::Followed, Seen::Same, false, None);
    }

    #[test]
    fn only_the_last_record_may_be_half_published() {
        let unfinished = Severity::Unfinished;
        check(Held::Last, Seen::Missing, true, Some((unfinished, "not visible yet")));
        check(Held::Last, Seen::Same, true, Some((unfinished, "still there")));
        check(Held::Followed, Seen::Missing, true, Some((Severity::Damage, "others follow")));
    }

    #[test]
    fn a_file_that_is_gone_or_another_is_damage() {
        check(Held::Last, Seen::Missing, false, Some((Severity::Damage, "10 rows of record 7")));
        check(Held::Followed, Seen::Other, true, Some((Severity::Damage, "not what record 7")));
    }
}
