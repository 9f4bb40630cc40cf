//! What a load job is called and what it says of itself, and what is to be made of one that is found.
//!
//! All of it is pure. A job's labels say which rows it loads; only a job whose labels are those of
//! the load at hand is ever mistaken for it.

use crate::model::hive::{Grain, PartitionKey};
use crate::model::load::LoadIntent;
use crate::model::name::ProjectName;
use crate::model::time::Micros;
use std::collections::HashMap;
use std::time::Duration;

pub(super) type Labels = HashMap<String, String>;

const TABLE: &str = "tidemill_table";
const KEY: &str = "tidemill_partition";
const CLOSING: &str = "tidemill_closing";
const CONTENT: &str = "tidemill_content";
const PROJECT: &str = "tidemill_project";
/// On a job that only takes an id away.
const BURNS: &str = "tidemill_burns";

/// A label's value has 63 characters at most: half of a SHA-256 is enough to distinguish contents.
pub(super) const CONTENT_DIGITS: usize = 32;

/// A value of a label: lower-case letters, digits, `_` and `-`, 63 characters at most.
fn value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let text = text.to_ascii_lowercase();
    text.chars().map(|c| if allowed(c) { c } else { '-' }).take(63).collect()
}

/// The labels of the job that loads `intent`.
pub(super) fn labels(project: &ProjectName, intent: &LoadIntent) -> Labels {
    let pairs = [
        (PROJECT, value(project.as_str())),
        (TABLE, value(intent.table.as_str())),
        (KEY, value(&intent.key.to_string())),
        (CLOSING, intent.closing.to_string()),
        (CONTENT, intent.content.clone()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The labels of a job that takes the id of an older load.
pub(super) fn burning(project: &ProjectName) -> Labels {
    let pairs = [(PROJECT, value(project.as_str())), (BURNS, "yes".to_owned())];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The closing that a job loads into the hive partition of `intent`; `None` for every other job.
pub(super) fn closing_of(job: &Labels, ours: &Labels) -> Option<u32> {
    let same = |key| job.get(key).is_some_and(|value| ours.get(key) == Some(value));
    if [PROJECT, TABLE, KEY].into_iter().all(same) { job.get(CLOSING)?.parse().ok() } else { None }
}

/// `2026112005`: what follows the `$` of a table's name.
pub(super) fn decorator(key: &PartitionKey) -> String {
    let form = match key.grain {
        Grain::Hour => "%Y%m%d%H",
        Grain::Day => "%Y%m%d",
        Grain::Month => "%Y%m",
    };
    key.start.strftime(form).to_string()
}

/// Empties exactly one hive partition.
pub(super) fn delete(project: &str, intent: &LoadIntent) -> String {
    let LoadIntent { table, key, .. } = intent;
    let start = match key.grain {
        Grain::Hour => format!("DATETIME '{}'", key.start.strftime("%Y-%m-%d %H:%M:%S")),
        Grain::Day | Grain::Month => format!("DATE '{}'", key.start.date()),
    };
    let (set, name) = (table.data_set(), table.table());
    let column = key.grain.start_column();
    format!("DELETE FROM `{project}.{set}.{name}` WHERE {column} = {start}")
}

/// The rows of a table of this grain that are within a hive partition of the same or a coarser one.
pub(super) fn within(grain: Grain, key: &PartitionKey) -> String {
    if grain > key.grain {
        return "FALSE".to_owned();
    }
    let start = |key: &PartitionKey| match grain {
        Grain::Hour => format!("DATETIME '{}'", key.start.strftime("%Y-%m-%d %H:%M:%S")),
        Grain::Day | Grain::Month => format!("DATE '{}'", key.start.date()),
    };
    let column = grain.start_column();
    format!("{column} >= {} AND {column} < {}", start(key), start(&key.next()))
}

/// A job as the service reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Job {
    pub labels: Labels,
    pub done: bool,
    /// Reason and message, where it has failed.
    pub failure: Option<(String, String)>,
    /// Written by a load.
    pub rows: Option<u64>,
    /// By the service's clock.
    pub created: Option<Micros>,
}

/// The time between the beginnings of the first and the last of a list of jobs, newest first.
pub(super) fn spanned(jobs: &[(String, Job)]) -> Duration {
    let created = |listed: Option<&(String, Job)>| listed.and_then(|(_, job)| job.created);
    match (created(jobs.first()), created(jobs.last())) {
        (Some(newest), Some(oldest)) => newest.since(oldest),
        (None | Some(_), None) | (None, Some(_)) => Duration::ZERO,
    }
}

/// What is to be made of a job that has our id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is our load and still runs.
    Wait,
    /// It is our load and has written so many rows; `None` where it deleted.
    Loaded(Option<u64>),
    /// It has failed for good, by this reason and message; its id is used up.
    Failed { reason: String, message: String },
    /// It is not our load: a later process has taken the id.
    Taken,
}

pub(super) fn judge(job: &Job, ours: &Labels) -> Verdict {
    if job.labels != *ours {
        return Verdict::Taken;
    }
    match &job.failure {
        Some((reason, message)) if job.done => {
            Verdict::Failed { reason: reason.clone(), message: message.clone() }
        }
        Some(_) | None if job.done => Verdict::Loaded(job.rows),
        Some(_) | None => Verdict::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(key: &str, closing: u32) -> LoadIntent {
        let (table, key) = ("agg.by_hour".parse().unwrap(), key.parse().unwrap());
        LoadIntent { table, key, closing, content: "c0ffee".into() }
    }

    fn ours(closing: u32) -> Labels {
        labels(&"wiki".parse().unwrap(), &intent("2026-11-20T05", closing))
    }

    fn job(closing: u32, done: bool, failure: Option<&str>) -> Job {
        let failure = failure.map(|reason| (reason.to_owned(), "no".to_owned()));
        Job { labels: ours(closing), done, failure, rows: Some(2), created: None }
    }

    #[test]
    fn a_job_of_the_same_rows_is_waited_for_or_taken_over() {
        assert_eq!(judge(&job(2, false, None), &ours(2)), Verdict::Wait);
        assert_eq!(judge(&job(2, true, None), &ours(2)), Verdict::Loaded(Some(2)));
    }

    #[test]
    fn a_failed_job_is_never_taken_over() {
        let failed = Verdict::Failed { reason: "invalid".into(), message: "no".into() };
        assert_eq!(judge(&job(2, true, Some("invalid")), &ours(2)), failed);
    }

    #[test]
    fn a_job_of_other_rows_or_of_no_rows_is_not_ours() {
        assert_eq!(judge(&job(1, true, None), &ours(2)), Verdict::Taken);
        let mut other = job(2, true, None);
        other.labels.insert(CONTENT.into(), "other".into());
        assert_eq!(judge(&other, &ours(2)), Verdict::Taken);
        let burnt = Job { labels: burning(&"wiki".parse().unwrap()), done: true, ..Job::default() };
        assert_eq!(judge(&burnt, &ours(2)), Verdict::Taken);
    }

    #[test]
    fn a_list_of_jobs_spans_the_time_from_its_oldest_to_its_newest() {
        let begun = |secs: i64| {
            ("id".to_owned(), Job { created: Some(Micros(secs * 1_000_000)), ..Job::default() })
        };
        assert_eq!(spanned(&[begun(90), begun(60), begun(30)]), Duration::from_mins(1));
        assert_eq!(spanned(&[begun(90)]), Duration::ZERO);
        assert_eq!(spanned(&[]), Duration::ZERO);
    }

    #[test]
    fn the_closing_of_a_job_is_read_from_its_labels() {
        assert_eq!(closing_of(&ours(3), &ours(7)), Some(3));
        let other = labels(&"wiki".parse().unwrap(), &intent("2026-11-20T06", 3));
        assert_eq!(closing_of(&other, &ours(7)), None);
        assert_eq!(closing_of(&burning(&"wiki".parse().unwrap()), &ours(7)), None);
    }

    #[test]
    fn labels_keep_to_what_labels_may_hold() {
        for (key, value) in ours(1) {
            assert!(key.len() <= 63 && value.len() <= 63, "{key}={value}");
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            assert!(value.chars().all(allowed), "{value}");
        }
    }

    #[test]
    fn hours_are_read_by_themselves_or_by_the_day_that_they_lie_in() {
        for (grain, key, told) in [
            (
                Grain::Hour,
                "2026-11-20",
                "hour_start >= DATETIME '2026-11-20 00:00:00' AND hour_start < DATETIME '2026-11-21 00:00:00'",
            ),
            (
                Grain::Day,
                "2026-11-20",
                "day_start >= DATE '2026-11-20' AND day_start < DATE '2026-11-21'",
            ),
            (Grain::Day, "2026-11-20T05", "FALSE"),
        ] {
            assert_eq!(within(grain, &key.parse().unwrap()), told);
        }
    }

    #[test]
    fn a_partition_is_named_and_emptied_by_its_civil_start() {
        for (key, named, start) in [
            ("2026-11-20T05", "2026112005", "hour_start = DATETIME '2026-11-20 05:00:00'"),
            ("2026-11-20", "20261120", "day_start = DATE '2026-11-20'"),
            ("2026-11", "202611", "month_start = DATE '2026-11-01'"),
        ] {
            assert_eq!(decorator(&key.parse().unwrap()), named);
            let text = delete("acme", &intent(key, 1));
            assert_eq!(text, format!("DELETE FROM `acme.agg.by_hour` WHERE {start}"));
        }
    }
}
