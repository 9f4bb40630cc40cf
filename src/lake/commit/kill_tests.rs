//! Two real processes write one log on a real disk, and are killed, stopped and woken at random
//! moments, while a plain lister reads the table.

use super::super::Lake;
use super::super::testing::output;
use super::test_writer::{Planted, land_all};
use crate::clock::Clock;
use crate::model::settings::LakeUrl;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const OFFSETS: i64 = 240;
/// Kills, stops and wake-ups, in total; then the writers are left alone.
const BLOWS: u32 = 24;
const CHILD: &str = "TIDEMILL_TEST_LAKE_WRITER";

#[test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
fn no_offset_is_seen_twice_or_lost_through_kill_9_and_zombies() {
    if let Some((folder, process)) = child() {
        return land(folder, process);
    }
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut started = 0;
    let mut start = || {
        started += 1;
        start(folder.path(), started)
    };
    let mut writers = [start(), start()];
    for _ in 0..BLOWS {
        // A moment is counted in looks at the table, not in time.
        for _ in 0..random.random_range(1..40) {
            visible(folder.path());
        }
        let writer = &mut writers[random.random_range(0..2)];
        match random.random_range(0..4) {
            0 => signal(writer, Signal::STOP),
            1 => signal(writer, Signal::CONT),
            _ => {
                writer.kill().unwrap();
                writer.wait().unwrap();
                *writer = start();
            }
        }
    }
    for writer in &mut writers {
        signal(writer, Signal::CONT);
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(visible(folder.path()), (0..OFFSETS).collect());
}

fn signal(writer: &Child, signal: Signal) {
    let pid = Pid::from_raw(writer.id().try_into().unwrap()).unwrap();
    // One that has landed everything is gone already, but not waited for: its pid is still its.
    kill_process(pid, signal).unwrap();
}

/// The offsets in the files of the table, found as `find` finds them.
pub(super) fn visible(lake: &Path) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    for file in files(&lake.join(output().data_set())) {
        let text = fs::read_to_string(&file).unwrap();
        for offset in text.split_whitespace().skip(1).map(|offset| offset.parse().unwrap()) {
            assert!(found.insert(offset), "offset {offset} is visible twice");
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn start(folder: &Path, process: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("lake::commit::kill_tests::no_offset_is_seen_twice_or_lost_through_kill_9_and_zombies")
        .env(CHILD, format!("{process}:{}", folder.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test that starts itself as another process")]
fn child() -> Option<(PathBuf, u64)> {
    let told = std::env::var(CHILD).ok()?;
    let (process, folder) = told.split_once(':').unwrap();
    Some((folder.into(), process.parse().unwrap()))
}

fn land(folder: PathBuf, process: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = LakeUrl::Folder(folder);
        let lake = Lake::open(&url, &"wiki".parse().unwrap(), Clock::system()).await.unwrap();
        land_all(lake, process, OFFSETS, Planted::Nothing).await.unwrap();
    });
}
