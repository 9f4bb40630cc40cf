//! A day whose topic gets more topic partitions while it flows, and whose feed is killed around that.
//!
//! Each hour must close once, with all of its rows: one that closes too early closes again.
//! `TIDEMILL_SEED` chooses the moments of the kills; the seed of each run is printed.

use crate::chaos::asked;
use crate::project::{Project, Role, kill, machine, wait_until};
use crate::wikimedia::{RAW, await_day, check_day_of, made_up_day, watch};
use crate::{broker, servers, tables};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use std::thread::sleep;
use std::time::Duration;

/// The day takes 48 s, and longer by what the kills cost.
const SPEED: u32 = 1800;
const KILLS: usize = 4;

/// Waits until so many hours have been counted: the day is flowing.
fn await_hours(project: &Project, count: usize) {
    wait_until("the day flows", || {
        let runs = project.runs("wikimedia").len();
        if runs >= count { Ok(()) } else { Err(format!("{runs} hours")) }
    });
}

/// Kills the feed some times, each a moment after it was met.
fn kill_feed(project: &Project, random: &mut StdRng, most_ms: u64) {
    for _ in 0..KILLS {
        let pid = wait_until("the feed is at work", || {
            project.processes_of(Role::Feed).first().copied().ok_or_else(String::new)
        });
        sleep(Duration::from_millis(random.random_range(0..most_ms)));
        kill(pid, Signal::KILL); // It may have been drained meanwhile, for the edit.
    }
}

/// Raises `partitions` in the topic's file; its feed makes it so.
fn raise(project: &Project, from: u32, to: u32) {
    let file = format!("topics/{}.toml", project.topic());
    project.edit(&file, &format!("partitions = {from}"), &format!("partitions = {to}"));
}

/// Grows the topic to 6 by `grow`, which shows what its file says then, and to 7 by its file while the
/// day flows; to 8 when it has ended.
fn live(project: &Project, grow: impl FnOnce(&Project) -> u32) {
    let _machine = machine();
    let seed = asked("TIDEMILL_SEED").unwrap_or_else(rand::random::<u64>);
    println!("repeat with: TIDEMILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let day = made_up_day();
    let file = day.file.display();
    project.feed_from(&format!("replay = {{ file = \"{file}\", speed = {SPEED} }}"));
    project.edit("jobs/recentchange_land/job.toml", "every = \"5m\"", "every = \"500ms\"");
    let lister = watch(project);
    let daemon = project.up();
    await_hours(project, 3);
    let said = grow(project);
    kill_feed(project, &mut random, 3000);
    await_hours(project, 8);
    raise(project, said, 7);
    kill_feed(project, &mut random, 800);
    await_day(project, &day);
    // The end is told to what is added after it, or the next day would never close.
    raise(project, 7, 8);
    wait_until("the last one has its mark", || {
        let records = tables::records(&project.lake(), RAW);
        let last = records.iter().rfind(|record| record.topic_partition == 7);
        let marked = last.and_then(|record| record.watermark);
        marked.map(drop).ok_or_else(|| format!("{last:?}"))
    });
    await_day(project, &day);
    daemon.stop();
    check_day_of(8, project, &day, lister);
}

#[test]
fn a_day_survives_its_topics_growth_and_kills_on_the_embedded_log() {
    live(&Project::shipped(), |project| {
        raise(project, 4, 6);
        6
    });
}

#[test]
fn a_day_survives_its_topics_growth_and_kills_on_a_real_broker() {
    let Some(brokers) = servers::kafka() else { return };
    let mut project = Project::shipped();
    project.on_brokers(brokers);
    // As `kafka-topics --alter` does, and nobody tells the feed.
    live(&project, |project| {
        broker::grow(brokers, &project.topic().parse().unwrap(), 6);
        4
    });
}
