//! What must be true of a record before it is created, for it can't be taken back.

use super::super::paths::Place;
use crate::error::{Error, ErrorKind};
use crate::model::commit::{FORMAT, File, Record};
use std::collections::BTreeSet;

/// Whether `record` may follow `last` in the log at `place`.
pub fn follows(place: &Place, last: Option<&Record>, record: &Record) -> Result<(), Error> {
    let broken = own_rules(place, record).or_else(|| order(last, record));
    broken.map_or(Ok(()), |rule| Err(Error::new(ErrorKind::Bug, rule)))
}

/// The rule that `record` breaks by itself, whatever came before it.
pub fn own_rules(place: &Place, record: &Record) -> Option<String> {
    let Record { seq, start, end, counts, .. } = record;
    let rows: u64 = record.files.iter().map(|file| file.rows).sum();
    let quarantined = record.quarantine.as_ref().map_or(0, |file| file.rows);
    if record.format != FORMAT {
        return Some(format!("format {} is not the one written today, {FORMAT}", record.format));
    }
    if Place::new(&record.output, &record.topic_id, record.topic_partition) != *place {
        return Some(format!("it belongs to another log than {place:?}"));
    }
    if start > end {
        return Some(format!("offsets {start}..{end} run backwards"));
    }
    if !counts.add_up() {
        return Some(format!("the counts do not add up: {counts:?}"));
    }
    if counts.read > start.abs_diff(*end) {
        return Some(format!("{} messages cannot be in offsets {start}..{end}", counts.read));
    }
    if rows != counts.landed {
        return Some(format!("the files hold {rows} rows, and {} have landed", counts.landed));
    }
    if quarantined != counts.quarantined {
        return Some(format!(
            "the quarantine file holds {quarantined} rows, and {} are quarantined",
            counts.quarantined
        ));
    }
    if record.files.iter().any(|file| file.key.is_none()) {
        return Some("a file is in no hive partition".into());
    }
    let mut names = BTreeSet::new();
    record.files.iter().chain(&record.quarantine).find_map(|file| {
        let unique = names.insert(&file.published) && names.insert(&file.staged);
        (!unique || !named(place, *seq, file))
            .then(|| format!("{} from {} is not a name for it", file.published, file.staged))
    })
}

/// Whether the file is staged and will be published under names of this record.
fn named(place: &Place, seq: u64, file: &File) -> bool {
    let staged_here = place.staged_for(&file.staged.as_str().into()) == Some(seq);
    let index = file
        .published
        .rsplit_once('-')
        .and_then(|(_, rest)| rest.strip_suffix(".parquet")?.parse().ok());
    let published_here = index.is_some_and(|index| {
        place.published(seq, file.key.as_ref(), index).as_ref() == file.published
    });
    staged_here && published_here
}

/// The rule that `record` breaks as the one after `last`.
fn order(last: Option<&Record>, record: &Record) -> Option<String> {
    let Record { seq, start, watermark, .. } = record;
    let Some(last) = last else {
        return (*seq != 1).then(|| format!("the first record has number 1, not {seq}"));
    };
    if *seq != last.seq + 1 {
        return Some(format!("record {seq} cannot follow record {}", last.seq));
    }
    if record.topic_id != last.topic_id {
        return Some(format!("topic id {} is not {}", record.topic_id, last.topic_id));
    }
    // Only a gap that the record owns up to is one that somebody has allowed.
    if *start < last.end || (*start > last.end && !record.cut) {
        return Some(format!("it starts at offset {start}, and the last ended at {}", last.end));
    }
    if *watermark < last.watermark {
        return Some(format!("its watermark goes back from {:?} to {watermark:?}", last.watermark));
    }
    (last.marked && !record.marked).then(|| "it no longer says that marks were seen".into())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{place, record};
    use super::*;
    use crate::model::time::Micros;

    #[track_caller]
    fn check(last: Option<&Record>, change: impl FnOnce(&mut Record), rule: &str) {
        let mut next = record(last.map_or(1, |last| last.seq + 1), last.map_or(0, |last| last.end));
        change(&mut next);
        let problem = match follows(&place(), last, &next) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(problem.contains(rule) && problem.is_empty() == rule.is_empty(), "{problem:?}");
    }

    #[test]
    fn records_in_order_follow_each_other() {
        let first = record(1, 0);
        check(None, |_| {}, "");
        check(Some(&first), |_| {}, "");
    }

    #[test]
    fn a_record_starts_where_the_last_ended() {
        let first = record(1, 0);
        let shift = |by| {
            move |next: &mut Record| {
                next.start += by;
                next.end += by;
            }
        };
        check(Some(&first), shift(1), "the last ended at");
        check(Some(&first), shift(-1), "the last ended at");
    }

    #[test]
    fn a_gap_must_be_owned_up_to() {
        let shift = |next: &mut Record| {
            next.start += 5;
            next.end += 5;
        };
        check(Some(&record(1, 0)), shift, "the last ended at");
        let cut = |next: &mut Record| {
            shift(next);
            next.cut = true;
        };
        check(Some(&record(1, 0)), cut, "");
    }

    #[test]
    fn a_watermark_never_goes_back() {
        let mut first = record(1, 0);
        first.watermark = Some(Micros(7));
        check(Some(&first), |next| next.watermark = Some(Micros(7)), "");
        check(Some(&first), |next| next.watermark = Some(Micros(6)), "goes back");
        check(Some(&first), |next| next.watermark = None, "goes back");
    }

    #[test]
    fn counts_must_add_up() {
        check(None, |next| next.counts.dropped += 1, "do not add up");
        check(
            None,
            |next| {
                next.counts.read += 1;
                next.counts.landed += 1;
            },
            "cannot be in offsets",
        );
        check(None, |next| next.files[0].rows -= 1, "rows, and");
    }

    #[test]
    fn files_are_named_by_their_record() {
        check(None, |next| next.files[0].published.push('x'), "not a name for it");
        check(None, |next| next.files[0].staged = place().staged(2).to_string(), "not a name");
        check(None, |next| next.files.push(next.files[0].clone()), "rows, and");
    }

    #[test]
    fn numbers_have_no_gap() {
        check(Some(&record(1, 0)), |next| next.seq = 3, "not a name for it");
        check(None, |next| *next = record(2, 0), "number 1");
    }
}
