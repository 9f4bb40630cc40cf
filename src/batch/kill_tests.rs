//! A batch process is killed at random moments and tried again.

use super::tests::{of_hour, world_at};
use crate::error::ErrorKind;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CLOSINGS: u32 = 10;
const CHILD: &str = "TIDEMILL_TEST_BATCH";

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
async fn a_killed_batch_that_is_tried_again_has_one_result() {
    if let Some((folder, n)) = child() {
        world_at(&folder).await.run("by_hour", &of_hour(n)).await.unwrap();
        return;
    }
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let world = world_at(folder.path()).await;
    let mut files = Vec::new();
    let mut sum = 0;
    for n in 1..=CLOSINGS {
        sum += i64::from(n);
        files
            .push(world.publish(&format!("f{n:02}"), &[("dewiki", n.into()), ("enwiki", 1)]).await);
        world.close(n, files.clone()).await;
        let mut killed = start(folder.path(), n);
        // A moment is counted in looks at the disk, up to the time that a whole batch takes.
        for _ in 0..random.random_range(0..3000) {
            if killed.try_wait().unwrap().is_some() {
                break;
            }
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        world.run("by_hour", &of_hour(n)).await.unwrap();
        let (german, english) = (format!("dewiki {sum}"), format!("enwiki {n}"));
        let start = "2026-11-20T05:00:00";
        world.check(&[&format!("{start} {german}"), &format!("{start} {english}")]).await;
    }
    let late = world.run("by_hour", &of_hour(CLOSINGS - 1)).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced);
}

fn start(folder: &Path, n: u32) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("batch::kill_tests::a_killed_batch_that_is_tried_again_has_one_result")
        .env(CHILD, format!("{n}:{}", folder.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test that starts itself as another process")]
fn child() -> Option<(PathBuf, u32)> {
    let told = std::env::var(CHILD).ok()?;
    let (n, folder) = told.split_once(':').unwrap();
    Some((folder.into(), n.parse().unwrap()))
}
