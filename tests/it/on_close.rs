//! A table that is published on close: an hour's rows appear once, sorted, and with them `_SUCCESS`.

use crate::lister::Seen;
use crate::project::{Project, Role, is, kill, machine, wait_until};
use crate::storage::Storage;
use crate::tables;
use crate::wikimedia::{Day, RAW, await_day, check_day, made_up_day, watch};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tidemill::model::commit::Closing;

const LAND: &str = "jobs/recentchange_land/job.toml";

/// Kills of compactions, as many as it takes a while to come by.
const KILLS: usize = 8;

const MEET_EVERY: Duration = Duration::from_millis(2);

/// The shipped project, whose table is published on close.
fn project() -> Project {
    let project = Project::shipped();
    publish(&project);
    project.edit(LAND, "every = \"5m\"", "every = \"300ms\"");
    project
}

/// Lets the shipped stream's table be published on close.
pub fn publish(project: &Project) {
    project.edit(LAND, "partition_by = ", "publish      = \"on_close\"\npartition_by = ");
}

/// Each complete hour says so, and said so when its rows were there.
pub fn check_successes(lake: &Path, seen: &Seen) {
    for (key, its) in tables::closings(lake, RAW) {
        let is_complete = |closing: &&Closing| {
            closing.compaction.as_ref().is_some_and(|compaction| compaction.complete)
        };
        let folder = lake.join("raw/recentchange").join(its[0].key.path());
        let beside = seen.successes.get(&folder.join("_SUCCESS"));
        let Some(first) = its.iter().find(is_complete) else {
            assert_eq!(beside, None, "{key} is not complete");
            continue;
        };
        let beside: BTreeSet<_> = beside.expect("a closed hour says so").iter().cloned().collect();
        let listed: BTreeSet<_> =
            first.files.iter().map(|file| lake.join(&file.published)).collect();
        assert!(listed.is_subset(&beside), "{key} was complete with {beside:?}");
    }
}

fn replay(project: &Project, day: &Day) {
    project.feed_from(&format!("replay = {{ file = \"{}\" }}", day.file.display()));
}

/// What must hold of hours that were published on close, beside all that holds of any.
fn check_on_close(project: &Project, seen: &Seen, hours: usize) {
    let lake = project.lake();
    let closings = tables::closings(&lake, RAW);
    assert_eq!(closings.len(), hours);
    check_successes(&lake, seen);
    assert_eq!(seen.successes.len(), hours);
    for its in closings.values() {
        for file in its.iter().flat_map(|closing| &closing.files) {
            let rows = tables::origins(&lake.join(&file.published)).unwrap().len();
            assert_eq!(rows as u64, file.rows, "{}", file.published);
        }
    }
    for staged in ["stage", "sorted"] {
        let left = tables::files(&lake.join("_tidemill").join(RAW).join(staged));
        assert_eq!(left, Vec::<PathBuf>::new(), "left staged");
    }
    let verified = project.tidemill(&["lake", "verify", RAW]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

fn await_swept(project: &Project) {
    let stage = |part: &str| project.lake().join("_tidemill").join(RAW).join(part);
    wait_until("nothing is left staged", || {
        let left = ["stage", "sorted"].map(|part| tables::files(&stage(part)).len());
        is(&left, &[0, 0])
    });
}

fn land(project: &Project) {
    let day = made_up_day();
    replay(project, &day);
    let lister = watch(project);
    let daemon = project.up();
    await_day(project, &day);
    await_swept(project);
    daemon.stop();
    let seen = check_day(project, &day, lister);
    check_on_close(project, &seen, 24);
    let query = format!("select count(*) as rows from {RAW}");
    let rows = project.tidemill(&["sql", &query, "-o", "json"]);
    assert!(rows.out.contains(&format!("\"rows\": {}", day.events)), "{rows:?}");
    let that = "wiki is not null";
    let traced =
        project.tidemill(&["lake", "trace", RAW, "--where", that, "-n", "3", "-o", "json"]);
    assert!(traced.out.contains("closing-1-00000.parquet"), "{traced:?}");
}

#[test]
fn a_day_that_is_published_on_close_has_the_same_rows_and_results() {
    let _machine = machine();
    land(&project());
}

#[test]
fn a_day_is_published_on_close_in_a_bucket() {
    let storage = Storage::start();
    let _machine = machine();
    let mut project = project();
    project.in_bucket(&storage, "wiki");
    land(&project);
}

#[test]
fn compactions_that_are_killed_or_made_twice_show_each_row_once() {
    let _machine = machine();
    let project = project();
    let day = made_up_day();
    replay(&project, &day);
    let lister = watch(&project);
    let daemon = project.up();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let killer = scope.spawn(|| kill_compactions(&project, &done));
        await_day(&project, &day);
        done.store(true, Ordering::Relaxed);
        assert!(killer.join().unwrap() > 0, "nothing was killed");
    });
    daemon.stop();
    // What kills have left is swept when the daemon starts.
    let daemon = project.up();
    await_swept(&project);
    daemon.stop();
    let seen = check_day(&project, &day, lister);
    check_on_close(&project, &seen, 24);
}

/// Kills the worker, at another moment of its life each time.
fn kill_compactions(project: &Project, done: &AtomicBool) -> usize {
    let mut killed = BTreeSet::new();
    while killed.len() < KILLS && !done.load(Ordering::Relaxed) {
        for pid in project.processes_of(Role::Compaction) {
            if killed.contains(&pid) {
                continue;
            }
            thread::sleep(MEET_EVERY * 20 * u32::try_from(killed.len()).unwrap());
            kill(pid, Signal::KILL);
            killed.insert(pid);
        }
        thread::sleep(MEET_EVERY);
    }
    killed.len()
}
