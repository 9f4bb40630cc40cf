//! A loading process is killed at random moments; a plain reader looks on.

use super::local_tests::{HOUR, load_of, place_at, table, values};
use super::*;
use crate::model::file::testing::local_file_in;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const KILLS: u32 = 8;
const CHILD: &str = "TIDEMILL_TEST_WAREHOUSE_LOADER";

#[test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
fn a_kill_leaves_the_old_partition_or_the_new_one() {
    if let Some(folder) = child_folder() {
        return load_for_ever(&folder);
    }
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let warehouse = place_at(folder.path());
    let mut newest = 0;
    for _ in 0..KILLS {
        let mut child = start(folder.path());
        let from = newest;
        // A moment is counted in looks, after the child has begun to load.
        let mut looks = random.random_range(0..40);
        while newest == from || looks > 0 {
            let closing = look(&warehouse);
            assert!(closing >= newest, "closing {closing} after {newest}");
            looks -= i32::from(newest > from);
            newest = closing;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let next = look(&warehouse) + 1;
    runtime.block_on(warehouse.replace(&load_in(folder.path(), next))).unwrap();
    assert_eq!(look(&warehouse), next);
}

/// The closing that the partition is of now; its rows must be those of that closing.
fn look(warehouse: &Local) -> u32 {
    let Some(partition) = warehouse.partitions(&table()).unwrap().pop() else { return 0 };
    // Between the two looks a newer file may have come: it names its closing itself.
    let (closing, found) = values(&partition.file);
    assert_eq!(found, rows_of(closing));
    closing
}

/// Every fourth closing is empty; the others differ in how many rows they have.
fn rows_of(closing: u32) -> Vec<i64> {
    let rows = if closing.is_multiple_of(4) { 0 } else { 1000 * (closing as usize % 4) };
    vec![i64::from(closing); rows]
}

/// Its file is beside the warehouse.
fn load_in(folder: &Path, closing: u32) -> Load {
    let keep = |bytes: bytes::Bytes| local_file_in(&folder.join("results"), bytes);
    load_of(keep, HOUR, closing, &rows_of(closing))
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("warehouse::kill_tests::a_kill_leaves_the_old_partition_or_the_new_one")
        .env(CHILD, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test that starts itself as another process")]
fn child_folder() -> Option<PathBuf> {
    std::env::var(CHILD).ok().map(PathBuf::from)
}

fn load_for_ever(folder: &Path) {
    let warehouse = place_at(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let begun = look(&warehouse);
    for closing in begun + 1..begun + 10_000 {
        runtime.block_on(warehouse.replace(&load_in(folder, closing))).unwrap();
    }
}
