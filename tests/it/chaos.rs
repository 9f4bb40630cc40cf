//! Days of events while everything is killed, stopped and woken, edited, and forgotten at random.
//! Each round has a project, a feed and an end of its own; `tests/chaos` chooses how many kills.
//!
//! A plain lister polls all the while. At the end everything must have come back by itself: what is
//! visible, quarantined and dropped is what was produced, the log has no gap, the warehouse is what
//! another engine makes of the same events, and nothing is left over.

use crate::chaos_events::{Events, write};
use crate::project::{Daemon, Project, Role, kill, machine, wait_until};
use crate::wikimedia::{RAW, compare, watch};
use crate::{servers, tables};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::model::run::RunState;

/// Kills of one round; then the day flows on in peace, and everything is checked.
const KILLS_A_ROUND: usize = 25;

/// Event time passes so fast that the day takes half a minute, and longer by what the kills cost.
const SPEED: u32 = 2880;

/// A role that nobody plays for so long is not waited for.
const MEET_MAX: Duration = Duration::from_millis(1500);
const MEET_EVERY: Duration = Duration::from_millis(10);

const TABLES: [&str; 3] = [RAW, "agg.recentchange_by_hour", "agg.recentchange_by_day"];

/// What may happen, and how often beside the others.
const FATES: [(Fate, u32); 9] = [
    (Fate::Kill(Role::Stream), 5),
    (Fate::Kill(Role::Batch), 5),
    (Fate::Kill(Role::Shim), 4),
    (Fate::Kill(Role::Daemon), 3),
    (Fate::Kill(Role::Feed), 3),
    (Fate::Sleep(Role::Stream), 1),
    (Fate::Sleep(Role::Batch), 1),
    (Fate::Edit, 1),
    (Fate::LoseStore, 1),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kill(Role),
    /// Stopped in the middle of anything, and woken when others have gone on.
    Sleep(Role),
    /// A killed stream comes back with another job.
    Edit,
    /// The daemon is killed, and its successor finds no state store.
    LoseStore,
}

#[test]
fn chaos() {
    let _machine = machine();
    let (kills, seed) = (asked("TIDEMILL_CHAOS_KILLS").unwrap_or(25), asked("TIDEMILL_SEED"));
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("repeat with: tests/chaos --kills {kills} --seed {seed}");
    let clock = Clock::system();
    let began = clock.now();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let mut left = usize::try_from(kills).unwrap();
    for round in 0.. {
        if left == 0 {
            break;
        }
        let mut round = Round::new(seed.wrapping_add(round), left.min(KILLS_A_ROUND));
        left -= round.live();
        for (fate, times) in round.told {
            *told.entry(fate).or_default() += times;
        }
        let took = clock.now().duration_since(began).unwrap().as_secs();
        println!("{took:>5} s: {left} kills left; so far {told:?}");
    }
    println!("no violation");
}

struct Round {
    project: Project,
    events: Events,
    random: StdRng,
    kills: usize,
    told: BTreeMap<String, u64>,
}

impl Round {
    fn new(seed: u64, kills: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let project = Project::shipped();
        let events = write(&project.path("events.jsonl"), &mut random);
        let file = project.path("events.jsonl");
        project
            .feed_from(&format!("replay = {{ file = \"{}\", speed = {SPEED} }}", file.display()));
        let land = "jobs/recentchange_land/job.toml";
        project.edit(land, "every = \"5m\"", "every = \"1s\"");
        project.edit(land, "late_quiet   = \"1m\"", "late_quiet   = \"1s\"");
        for dag in ["dags/wikimedia.toml", "dags/wikimedia_daily.toml"] {
            // Each try may be killed; the delay doubles.
            project.edit(dag, "retries     = 3", "retries     = 20");
            project.edit(dag, "retry_delay = \"5s\"", "retry_delay = \"50ms\"");
        }
        Self { project, events, random, kills, told: BTreeMap::new() }
    }

    /// Lives through the kills and checks what they have left; returns how many there were.
    fn live(&mut self) -> usize {
        let project = &self.project;
        let lister = watch(project);
        let mut daemon = project.up();
        let mut kills = 0;
        while kills < self.kills {
            let (fate, _) = FATES.choose_weighted(&mut self.random, |(_, weight)| *weight).unwrap();
            sleep(Duration::from_millis(self.random.random_range(0..900)));
            let done = match *fate {
                Fate::Kill(Role::Daemon) => {
                    daemon.kill();
                    sleep(Duration::from_millis(self.random.random_range(0..500)));
                    daemon = project.up();
                    true
                }
                Fate::Kill(role) => strike(project, role, &mut self.random, Signal::KILL).is_some(),
                Fate::Sleep(role) => rest(project, role, &mut self.random),
                Fate::Edit => edit(project, &mut self.random),
                Fate::LoseStore => {
                    daemon.kill();
                    lose_store(project);
                    daemon = project.up();
                    true
                }
            };
            if done {
                *self.told.entry(format!("{fate:?}")).or_default() += 1;
                kills += usize::from(!matches!(fate, Fate::Sleep(_)));
            }
        }
        self.await_end();
        daemon.stop();
        let seen = lister.finish();
        assert!(seen.wrong.is_empty(), "a plain lister saw: {:#?}", seen.wrong);
        self.check(project.up());
        kills
    }

    /// Waits until all that was produced is where it belongs.
    fn await_end(&self) {
        let Self { project, events, .. } = self;
        wait_until("every message is counted", || {
            let records = tables::records(&project.lake(), RAW);
            let sum = |of: fn(&tidemill::model::commit::Counts) -> u64| -> u64 {
                records.iter().map(|record| of(&record.counts)).sum()
            };
            let found = Events {
                landed: sum(|counts| counts.landed),
                quarantined: sum(|counts| counts.quarantined),
                dropped: sum(|counts| counts.dropped),
            };
            crate::project::is(&found, events)
        });
        wait_until("every run has ended well", || {
            for dag in ["wikimedia", "wikimedia_daily"] {
                let runs = project.runs(dag);
                let failed = runs.iter().find(|(_, _, state, _)| *state == RunState::Failed);
                assert_eq!(failed, None, "a run has failed");
                let open = |state| matches!(state, RunState::Queued | RunState::Running);
                if let Some(run) = runs.iter().find(|(_, _, state, _)| open(*state)) {
                    return Err(format!("{run:?}"));
                }
            }
            Ok(())
        });
        if let Some(python) = servers::python() {
            let file = project.path("events.jsonl");
            wait_until("the warehouse is what SQL makes of the events", || {
                compare(&python, project, &file)
            });
        }
    }

    /// After a last start nothing is left to do, and nothing is left over.
    fn check(&self, daemon: Daemon<'_>) {
        let project = &self.project;
        for table in TABLES {
            wait_until("a verified table is as it should be", || {
                let answer = project.tidemill(&["lake", "verify", table]);
                match answer.code {
                    Some(0) => Ok(()),
                    Some(3) => Err(answer.out),
                    _ => panic!("{table}: {answer:?}"),
                }
            });
        }
        let closings = tables::closings(&project.lake(), RAW);
        for (key, closings) in closings {
            let newest = closings.last().unwrap();
            let folder = project.lake().join("raw/recentchange").join(newest.key.path());
            let listed = newest.files.iter().map(|file| project.lake().join(&file.published));
            assert_eq!(listed.collect::<Vec<_>>(), tables::files(&folder), "files of {key}");
        }
        daemon.stop();
    }
}

/// Signals one that is met at work; returns its process.
fn strike(project: &Project, role: Role, random: &mut StdRng, signal: Signal) -> Option<i32> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(pid) = project.processes_of(role).choose(random).copied()
            && kill(pid, signal)
        {
            return Some(pid);
        }
        if waited >= MEET_MAX {
            return None;
        }
        sleep(MEET_EVERY);
        waited += MEET_EVERY;
    }
}

fn rest(project: &Project, role: Role, random: &mut StdRng) -> bool {
    let Some(pid) = strike(project, role, random, Signal::STOP) else { return false };
    sleep(Duration::from_millis(random.random_range(0..3000)));
    kill(pid, Signal::CONT); // It may have been given up meanwhile.
    true
}

fn edit(project: &Project, random: &mut StdRng) -> bool {
    let killed = strike(project, Role::Stream, random, Signal::KILL).is_some();
    let land = "jobs/recentchange_land/job.toml";
    let text = fs::read_to_string(project.path(land)).unwrap();
    let (slow, fast) = ("every = \"1s\"", "every = \"600ms\"");
    let (from, to) = if text.contains(slow) { (slow, fast) } else { (fast, slow) };
    project.edit(land, from, to);
    killed
}

/// What works goes on, and nobody knows it any more.
fn lose_store(project: &Project) {
    for end in ["", "-wal", "-shm"] {
        let file = project.path(&format!(".tidemill/state.db{end}"));
        if file.exists() {
            fs::remove_file(file).unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "not configuration: which chaos a person wants")]
fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}
