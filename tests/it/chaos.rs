//! Days of events while everything is killed, stopped and woken, edited, and forgotten at random; at
//! real brokers and the emulators of Google's services, those too. Each round has a project, a feed
//! and an end of its own; `tests/chaos` chooses how many kills.
//!
//! A plain lister polls all the while. At the end everything must have come back by itself: what is
//! visible, quarantined and dropped is what was produced, the log has no gap, the warehouse is what
//! another engine makes of the same events, and nothing is left over.

use crate::chaos_clock::FalseClock;
use crate::chaos_events::{Events, write};
use crate::chaos_fates::Nemesis;
use crate::chaos_servers::{Servers, Share};
use crate::lister::{Lister, Seen};
use crate::project::{Project, machine, wait_so_long};
use crate::wikimedia::{RAW, compare, watch};
use crate::{chaos_fates, on_close, servers, tables};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::model::run::RunState;

/// Kills of one round; then the day flows on in peace, and everything is checked.
const KILLS_A_ROUND: usize = 25;

/// Event time passes so fast that the day takes half a minute, and longer by what the kills cost.
const SPEED: u32 = 2880;

/// The delay before a try doubles; what was killed eleven times waits for a minute and a half.
const PEACE_MAX: Duration = Duration::from_mins(8);

const TABLES: [&str; 3] = [RAW, "agg.recentchange_by_hour", "agg.recentchange_by_day"];

#[test]
fn chaos() {
    let _machine = machine();
    let (kills, seed) = (asked("TIDEMILL_CHAOS_KILLS").unwrap_or(50), asked("TIDEMILL_SEED"));
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    let servers = match asked_servers() {
        Asked::Local => None,
        Asked::Servers(servers) => Some(servers),
        Asked::Missing => return,
    };
    let on = servers.as_ref().map_or("local", |_| "emulators");
    println!("repeat with: tests/chaos --kills {kills} --seed {seed} --on {on}");
    let clock = Clock::system();
    let began = clock.now();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let mut left = usize::try_from(kills).unwrap();
    for round in 0.. {
        if left == 0 {
            break;
        }
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let (mut project, events) = furnish(&mut random);
        let on_close = random.random::<bool>();
        if on_close {
            on_close::publish(&project);
        }
        let share = servers.as_ref().map(|servers| servers.share(&mut project, round));
        let false_clock = FalseClock::of(&mut project);
        let most = left.min(KILLS_A_ROUND);
        println!(
            "round {round}: {most} kills, published on {}",
            if on_close { "close" } else { "commit" }
        );
        let lister = watch(&project);
        let nemesis = Nemesis::of(&project, false_clock, share, random);
        let nemesis = if on_close { nemesis.and(&chaos_fates::ON_CLOSE) } else { nemesis };
        left -= live(&project, lister, nemesis, &events, most, &mut told);
        let took = clock.now().duration_since(began).unwrap().as_secs();
        println!("{took:>5} s: {left} kills left; so far {told:?}");
    }
    println!("no violation");
}

/// The servers that a person asks for.
pub enum Asked {
    Local,
    Servers(Servers),
    /// They can't be started here; that has been told.
    Missing,
}

pub fn asked_servers() -> Asked {
    match asked("TIDEMILL_CHAOS_EMULATORS") {
        Some(1) => Servers::start().map_or(Asked::Missing, Asked::Servers),
        Some(_) | None => Asked::Local,
    }
}

/// The shipped project with a day of events, and less patience.
pub fn furnish(random: &mut StdRng) -> (Project, Events) {
    let project = Project::shipped();
    let file = project.path("events.jsonl");
    let events = write(&file, random);
    project.feed_from(&format!("replay = {{ file = \"{}\", speed = {SPEED} }}", file.display()));
    let land = "jobs/recentchange_land/job.toml";
    project.edit(land, "every = \"5m\"", "every = \"1s\"");
    project.edit(land, "late_quiet   = \"1m\"", "late_quiet   = \"1s\"");
    for dag in ["dags/wikimedia.toml", "dags/wikimedia_daily.toml"] {
        // Each try may be killed; the delay doubles.
        project.edit(dag, "retries     = 3", "retries     = 20");
        project.edit(dag, "retry_delay = \"5s\"", "retry_delay = \"50ms\"");
    }
    (project, events)
}

/// Lives through the kills and checks what they have left; returns how many there were.
fn live(
    project: &Project,
    lister: Lister,
    mut nemesis: Nemesis<'_>,
    events: &Events,
    most: usize,
    told: &mut BTreeMap<String, u64>,
) -> usize {
    let mut kills = 0;
    while kills < most {
        if let Some(fate) = nemesis.strike() {
            *told.entry(format!("{fate:?}")).or_default() += 1;
            kills += usize::from(fate.kills());
        }
    }
    let (daemon, share, _disk) = nemesis.rest();
    let at_end = End { project, share: share.as_ref(), events };
    at_end.wait();
    daemon.stop();
    let seen = lister.finish();
    at_end.check(&seen);
    kills
}

/// What must be when peace has come.
pub struct End<'a> {
    pub project: &'a Project,
    pub share: Option<&'a Share<'a>>,
    pub events: &'a Events,
}

impl End<'_> {
    /// Waits until all that was produced is where it belongs.
    pub fn wait(&self) {
        let Self { project, events, .. } = self;
        wait_so_long(PEACE_MAX, "every message is counted", || {
            assert_eq!(project.waiting(), None);
            let records = tables::records(&project.lake(), RAW);
            let sum = |of: fn(&tidemill::model::commit::Counts) -> u64| -> u64 {
                records.iter().map(|record| of(&record.counts)).sum()
            };
            let found = Events {
                landed: sum(|counts| counts.landed),
                quarantined: sum(|counts| counts.quarantined),
                dropped: sum(|counts| counts.dropped),
            };
            let more = found.landed > events.landed
                || found.quarantined > events.quarantined
                || found.dropped > events.dropped;
            assert!(!more, "more than was produced: {found:?}, not {events:?}");
            crate::project::is(&found, events)
        });
        wait_so_long(PEACE_MAX, "every run has ended well", || self.runs_have_ended());
        if let Some(python) = servers::python() {
            let local = project.warehouse().to_str().unwrap().to_owned();
            let warehouse = self.share.map_or(local, Share::warehouse);
            let events = project.path("events.jsonl");
            wait_so_long(PEACE_MAX, "the warehouse is what SQL makes of the events", || {
                compare(&python, &events, &project.lake(), &warehouse)
            });
        }
    }

    fn runs_have_ended(&self) -> Result<(), String> {
        for dag in ["wikimedia", "wikimedia_daily"] {
            let runs = self.project.runs(dag);
            let failed = runs.iter().find(|(_, _, state, _)| *state == RunState::Failed);
            assert_eq!(failed, None, "a run has failed");
            let open = |state| matches!(state, RunState::Queued | RunState::Running);
            if let Some(run) = runs.iter().find(|(_, _, state, _)| open(*state)) {
                return Err(format!("{run:?}"));
            }
        }
        Ok(())
    }

    /// After a last start nothing is left to do, and nothing is left over.
    pub fn check(&self, seen: &Seen) {
        let project = self.project;
        assert!(seen.wrong.is_empty(), "a plain lister saw: {:#?}", seen.wrong);
        on_close::check_successes(&project.lake(), seen);
        let daemon = project.up();
        for table in TABLES {
            wait_so_long(PEACE_MAX, "a verified table is as it should be", || {
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
        if let Some(share) = self.share {
            wait_so_long(PEACE_MAX, "each job has ended", || share.check_jobs());
        }
        daemon.stop();
    }
}

#[expect(clippy::disallowed_methods, reason = "not configuration: which chaos a person wants")]
pub fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}
