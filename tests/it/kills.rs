//! The real day once more, while feed, stream, daemon, batches and shims are each killed ten times at
//! random moments. The daemon is started again by us, everything else must come back by itself.
//!
//! `TIDEMILL_SEED` chooses the moments; the seed of each run is printed.

use crate::project::{Daemon, Project, Role, kill};
use crate::servers;
use crate::wikimedia::{await_day, check_day, real_day, watch};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tidemill::clock::Clock;

const KILLS: usize = 10;

/// Back-off included, each is back long before.
const MEET_MAX: Duration = Duration::from_mins(2);
const MEET_EVERY: Duration = Duration::from_millis(10);

/// Event time passes so fast that the day takes 48 s, and longer by what the kills cost.
const SPEED: u32 = 1800;

#[test]
fn a_day_survives_kills_on_the_embedded_log() {
    survive(&Project::shipped());
}

#[test]
fn a_day_survives_kills_on_a_real_broker() {
    let Some(brokers) = servers::kafka() else { return };
    let mut project = Project::shipped();
    project.on_brokers(brokers);
    survive(&project);
}

fn survive(project: &Project) {
    let Some(day) = real_day() else { return };
    let seed = seed();
    println!("TIDEMILL_SEED={seed}");
    let file = day.file.display();
    project.feed_from(&format!("replay = {{ file = \"{file}\", speed = {SPEED} }}"));
    let land = "jobs/recentchange_land/job.toml";
    project.edit(land, "every = \"5m\"", "every = \"1s\"");
    for dag in ["dags/wikimedia.toml", "dags/wikimedia_daily.toml"] {
        // Each try may be killed; the delay doubles.
        project.edit(dag, "retries     = 3", "retries     = 12");
        project.edit(dag, "retry_delay = \"5s\"", "retry_delay = \"100ms\"");
    }
    let lister = watch(project);
    let daemon = kill_all(project, seed);
    await_day(project, &day);
    daemon.stop();
    check_day(project, &day, lister);
}

/// Kills everything ten times while the day flows; returns the daemon that lives.
fn kill_all(project: &Project, seed: u64) -> Daemon<'_> {
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let _failed = SetInPanic(&failed);
        let mut daemon = project.up();
        let killers = [
            (Role::Feed, 0..1, 0..3000), // All its lives together end before the day does.
            (Role::Stream, 0..1, 0..6000),
            (Role::Batch, 0..100, 0..40), // They are short, and come in bursts.
            (Role::Shim, 0..3000, 0..3000), // A feed's, a stream's or a batch's.
        ];
        let killers = killers.map(|(role, pauses, lives)| {
            let mut killer = Killer { project, role, pauses, lives, moments: of(seed, role) };
            let failed = &failed;
            scope.spawn(move || killer.kill_all(failed))
        });
        let mut moments = of(seed, Role::Daemon);
        for _ in 0..KILLS {
            pause(&mut moments, &(0..6000));
            daemon.kill();
            pause(&mut moments, &(0..1000));
            daemon = project.up();
        }
        for killer in killers {
            killer.join().unwrap();
        }
        daemon
    })
}

struct Killer<'a> {
    project: &'a Project,
    role: Role,
    /// Milliseconds before the next one is looked for.
    pauses: Range<u64>,
    /// Milliseconds that one lives after it was met.
    lives: Range<u64>,
    moments: StdRng,
}

impl Killer<'_> {
    fn kill_all(&mut self, failed: &AtomicBool) {
        let clock = Clock::system();
        for done in 0..KILLS {
            pause(&mut self.moments, &self.pauses);
            let began = clock.now();
            while !self.kill_one() {
                if failed.load(Ordering::Relaxed) {
                    return;
                }
                let waited = clock.now().duration_since(began).unwrap();
                let role = self.role;
                assert!(waited < MEET_MAX, "no {role:?} to kill after {done} kills: {waited:?}");
                thread::sleep(MEET_EVERY);
            }
        }
    }

    /// Whether one was met and killed at work.
    fn kill_one(&mut self) -> bool {
        let met = self.project.processes_of(self.role);
        let Some(pid) = met.choose(&mut self.moments).copied() else { return false };
        pause(&mut self.moments, &self.lives);
        self.project.processes_of(self.role).contains(&pid) && kill(pid, Signal::KILL)
    }
}

fn of(seed: u64, role: Role) -> StdRng {
    StdRng::seed_from_u64(seed ^ role as u64)
}

fn pause(moments: &mut StdRng, span_ms: &Range<u64>) {
    thread::sleep(Duration::from_millis(moments.random_range(span_ms.clone())));
}

/// Tells the other threads that this one has failed, or they would wait for it.
struct SetInPanic<'a>(&'a AtomicBool);

impl Drop for SetInPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "not configuration: which moments a person wants")]
fn seed() -> u64 {
    let chosen = std::env::var("TIDEMILL_SEED").ok();
    chosen.map_or_else(rand::random, |text| text.parse().unwrap())
}
