//! Writers of one log in a bucket that answers late, wrongly or not at all, under the eyes of a
//! plain lister.

use super::super::place::gcs::Patience;
use super::super::testing::Emulator;
use super::kill_tests::visible;
use super::test_writer::{Planted, land_all};
use std::collections::BTreeSet;
use std::time::Duration;

const OFFSETS: i64 = 120;
const PREFIX: &str = "wiki";

/// A stalled request may take effect after its sender has given up, and asked again.
fn rules(seed: u64) -> String {
    let rule = |fault: &str, status: u16, by: u64| {
        let seed = seed.wrapping_add(by);
        format!(
            r#"{{ "fault": "{fault}", "status": {status}, "stall_ms": 400, "probability": 0.04, "seed": {seed} }}"#
        )
    };
    let rules = [
        rule("after", 503, 1),
        rule("before", 503, 2),
        rule("before", 429, 3),
        rule("stall_before", 0, 4),
        rule("stall_after", 0, 5),
    ];
    format!("[{}]", rules.join(","))
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
async fn no_offset_is_seen_twice_or_lost_through_lost_and_late_answers() {
    let Some(emulator) = Emulator::start() else { return };
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let patience = Patience { answer_max: Duration::from_millis(250), retries_max: 1 };
    let lakes = [1, 2].map(async |_| emulator.lake_at(PREFIX, patience, 3).await);
    let lakes = futures::future::join_all(lakes).await;
    emulator.faults(&rules(seed));
    let writers = lakes.into_iter().zip(1..);
    let writers = writers.map(|(lake, process)| land_all(lake, process, OFFSETS, Planted::Nothing));
    let mut landed = Box::pin(futures::future::try_join_all(writers));
    let mut before = BTreeSet::new();
    loop {
        let look = tokio::time::timeout(Duration::from_millis(5), &mut landed).await;
        let now = visible(&emulator.files(PREFIX));
        assert!(before.is_subset(&now), "offsets have vanished");
        before = now;
        if let Ok(landed) = look {
            landed.unwrap();
            break;
        }
    }
    assert_eq!(before, (0..OFFSETS).collect());
    assert!(emulator.hits().iter().all(|hits| *hits > 0), "{:?}", emulator.hits());
}
