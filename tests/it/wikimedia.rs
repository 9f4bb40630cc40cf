//! A day of Wikimedia changes, from a file to the warehouse, compared with what another engine makes
//! of the same file.

use crate::lister::{Lister, Seen};
use crate::project::{Project, is, machine, wait_until};
use crate::{servers, tables};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidemill::model::commit::Record;
use tidemill::model::run::RunState;

pub const RAW: &str = "raw.recentchange";

/// A file with the events of one whole day.
pub struct Day {
    pub file: PathBuf,
    pub date: &'static str,
    /// Events that must land.
    pub events: usize,
}

/// 39,199 real changes of 2015, kept outside the repository; `None` where they are not at hand.
pub fn real_day() -> Option<Day> {
    let file = sample("recentchange-derived-2015-09-12.jsonl.gz")?;
    Some(Day { file, date: "2015-09-12", events: 39_199 })
}

/// 960 changes that the `simulate` feed has made up, and 24 canaries.
pub fn made_up_day() -> Day {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/made-up-day.jsonl.gz");
    Day { file, date: "2020-03-01", events: 960 }
}

/// A file of `../shared/samples`; where it is missing the test is skipped and says so.
pub fn sample(name: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A worktree lies one folder deeper than the repository.
    let places = ["../shared/samples", "../../shared/samples"];
    let found = places.iter().map(|place| repository.join(place).join(name));
    let found = found.into_iter().find(|file| file.exists());
    if found.is_none() {
        servers::skipped(&format!("../shared/samples/{name}, which is not part of the repository"));
    }
    found
}

#[test]
fn a_made_up_day_goes_through_the_embedded_log() {
    let _machine = machine();
    land(&Project::shipped(), &made_up_day());
}

#[test]
fn a_made_up_day_goes_through_a_real_broker() {
    let Some(brokers) = servers::kafka() else { return };
    let _machine = machine();
    let mut project = Project::shipped();
    project.on_brokers(brokers);
    land(&project, &made_up_day());
}

#[test]
fn a_real_day_goes_through_the_embedded_log() {
    let Some(day) = real_day() else { return };
    let _machine = machine();
    land(&Project::shipped(), &day);
}

#[test]
fn a_real_day_goes_through_a_real_broker() {
    let (Some(day), Some(brokers)) = (real_day(), servers::kafka()) else { return };
    let _machine = machine();
    let mut project = Project::shipped();
    project.on_brokers(brokers);
    land(&project, &day);
}

/// Replays the day as fast as it goes, under the eyes of a plain lister.
pub fn land(project: &Project, day: &Day) {
    project.feed_from(&format!("replay = {{ file = \"{}\" }}", day.file.display()));
    let lister = watch(project);
    let daemon = project.up();
    await_day(project, day);
    daemon.stop();
    check_day(project, day, lister);
}

/// A lister of the shipped pipeline's tables.
pub fn watch(project: &Project) -> Lister {
    let replaced =
        ["recentchange_by_hour", "recentchange_by_day"].map(|table| format!("agg/{table}"));
    let (lake, warehouse) = (project.lake(), project.warehouse());
    let replaced = replaced.iter().flat_map(|table| [lake.join(table), warehouse.join(table)]);
    let replaced = replaced.collect();
    Lister::watch(lake, RAW, replaced)
}

/// Waits until each hour of the day, and the day, have been counted, each once.
pub fn await_day(project: &Project, day: &Day) {
    let counted = |key: String| (key, 1, RunState::Succeeded);
    let hours: Vec<_> = keys(day).map(counted).collect();
    wait_until("each hour and the day have been counted", || {
        is(&runs(project, "wikimedia"), &hours)?;
        is(&runs(project, "wikimedia_daily"), &vec![counted(day.date.to_owned())])
    });
}

/// Fails the test if one of them has failed for good.
fn runs(project: &Project, dag: &str) -> Vec<(String, u32, RunState)> {
    let runs = project.runs(dag);
    let failed = runs.iter().find(|(_, _, state, _)| *state == RunState::Failed);
    assert_eq!(failed, None, "a run has failed");
    runs.into_iter().map(|(key, n, state, _)| (key, n, state)).collect()
}

fn keys(day: &Day) -> impl Iterator<Item = String> {
    (0..24).map(|hour| format!("{}T{hour:02}", day.date))
}

/// Everything that must hold of a day that has landed, however it came to that.
pub fn check_day(project: &Project, day: &Day, lister: Lister) -> Seen {
    check_day_of(4, project, day, lister)
}

/// Likewise, of a topic that has so many topic partitions at the end.
pub fn check_day_of(topic_partitions: usize, project: &Project, day: &Day, lister: Lister) -> Seen {
    let seen = lister.finish();
    assert!(seen.wrong.is_empty(), "a plain lister saw: {:#?}", seen.wrong);
    check_lake(project, day);
    check_log(topic_partitions, project, day);
    check_closings(project, day);
    check_aggregates(project, day);
    seen
}

fn check_lake(project: &Project, day: &Day) {
    let table = project.lake().join("raw/recentchange");
    let files = tables::files(&table);
    let origins: Vec<_> = files.iter().flat_map(|file| tables::origins(file).unwrap()).collect();
    let ids: Vec<_> = files.iter().flat_map(|file| tables::texts(file, "meta_id")).collect();
    assert_eq!(tables::repeated(origins), [], "offsets that landed twice");
    assert_eq!(ids.len(), day.events, "rows in the lake");
    assert_eq!(tables::repeated(ids), Vec::<String>::new(), "ids that landed twice");
    let expected: Vec<_> = (0..24).map(|hour| format!("dt={}/hour={hour:02}", day.date)).collect();
    assert_eq!(tables::hive_partitions(&table).into_iter().collect::<Vec<_>>(), expected);
}

/// The log of each topic partition has no gap, and mentions every message.
fn check_log(topic_partitions: usize, project: &Project, day: &Day) {
    let mut logs: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    for record in tables::records(&project.lake(), RAW) {
        logs.entry(record.topic_partition).or_default().push(record);
    }
    assert_eq!(logs.len(), topic_partitions, "topic partitions with a log");
    for log in logs.values() {
        assert_eq!((log[0].seq, log[0].start), (1, 0));
        for pair in log.windows(2) {
            assert_eq!((pair[1].seq, pair[1].start), (pair[0].seq + 1, pair[0].end));
        }
        assert!(log.iter().all(|record| record.counts.add_up()));
    }
    let landed: u64 = logs.values().flatten().map(|record| record.counts.landed).sum();
    assert_eq!(landed, day.events as u64);
}

/// Each hour has closed once, with exactly the files that are in its folder.
fn check_closings(project: &Project, day: &Day) {
    let closings = tables::closings(&project.lake(), RAW);
    let closed: Vec<_> = closings.keys().cloned().collect();
    assert_eq!(closed, keys(day).collect::<Vec<_>>());
    for (key, closings) in closings {
        let [closing] = closings.as_slice() else { panic!("{key} has closed {closings:?}") };
        assert!(!closing.partial, "{key} is partial");
        let folder = project.lake().join("raw/recentchange").join(closing.key.path());
        let listed = closing.files.iter().map(|file| project.lake().join(&file.published));
        assert_eq!(listed.collect::<Vec<_>>(), tables::files(&folder), "files of {key}");
    }
}

/// Compares lake and warehouse with what DuckDB computes from the day's file.
fn check_aggregates(project: &Project, day: &Day) {
    let Some(python) = servers::python() else { return };
    let warehouse = project.warehouse();
    if let Err(told) = compare(&python, &day.file, &project.lake(), warehouse.to_str().unwrap()) {
        panic!("DuckDB finds (- missing, + too many):\n{told}");
    }
}

/// The differences as an error. The warehouse is a folder, or the address of a BigQuery project.
pub fn compare(python: &Path, events: &Path, lake: &Path, warehouse: &str) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/expected.py");
    let mut compare = Command::new(python);
    compare.args([&script, events, lake]).arg(warehouse);
    let output = compare.output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
    let told = told.concat();
    if output.status.success() { Ok(()) } else { Err(told) }
}
