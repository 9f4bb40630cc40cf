//! What may happen to a project and its servers, in which share, and how it is done.

use crate::chaos_clock::FalseClock;
use crate::chaos_disk::Disk;
use crate::chaos_servers::{SESSION, Share};
use crate::project::{Daemon, Project, Role, kill};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime};
use tidemill::clock::Clock;

/// A role that nobody plays for so long is not waited for.
const MEET_MAX: Duration = Duration::from_millis(1500);
const MEET_EVERY: Duration = Duration::from_millis(10);
const PAUSE_MAX_MS: u64 = 900;
const FULL_MAX_MS: u64 = 3000;
const SET_MAX_SECS: i64 = 6 * 3600;
const SLEEP: Duration = Duration::from_hours(48);
/// A topic is never made to have more.
const TOPIC_PARTITIONS_MAX: u32 = 9;
const INSTANCES_MAX: u32 = 3;

/// What may happen, and how often beside the others.
const FATES: [(Fate, u32); 13] = [
    (Fate::Kill(Role::Stream), 10),
    (Fate::Kill(Role::Batch), 10),
    (Fate::Kill(Role::Shim), 8),
    (Fate::Kill(Role::Daemon), 6),
    (Fate::Kill(Role::Feed), 6),
    (Fate::Sleep(Role::Stream), 2),
    (Fate::Sleep(Role::Batch), 2),
    (Fate::Sleep(Role::Daemon), 1),
    (Fate::Sleep(Role::Feed), 1),
    (Fate::Edit, 2),
    (Fate::Grow, 2),
    (Fate::LoseStore, 2),
    (Fate::FillDisk, 2),
];

/// What may happen besides where hours are published on close.
pub const ON_CLOSE: [(Fate, u32); 1] = [(Fate::Kill(Role::Compaction), 6)];

/// What may happen besides where a clock can be false.
const OF_THE_CLOCK: [(Fate, u32); 2] = [(Fate::SetClock, 3), (Fate::SleepForDays, 2)];

/// What may happen besides where there are servers.
const AT_SERVERS: [(Fate, u32); 5] = [
    (Fate::KillBroker, 3),
    (Fate::Storm, 2),
    (Fate::Scale, 2),
    (Fate::StorageFaults, 6),
    (Fate::BigQueryFaults, 5),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kill(Role),
    /// Stopped in the middle of anything, and woken when others have gone on.
    Sleep(Role),
    /// A killed stream comes back with another job.
    Edit,
    /// The topic's file wants one more topic partition: the feed adds it.
    Grow,
    /// The daemon is killed, and its successor finds no state store.
    LoseStore,
    /// The disk of state and logs, and of what else is local, has no byte left for a while.
    FillDisk,
    /// The wall clock is set ahead or back under all processes.
    SetClock,
    /// The machine sleeps, and wakes two days later.
    SleepForDays,
    /// Others lead what it led.
    KillBroker,
    /// Members come into the consumer group, and leave it.
    Storm,
    /// The stream has another number of processes.
    Scale,
    StorageFaults,
    BigQueryFaults,
}

impl Fate {
    /// Whether it is a `kill -9`.
    pub fn kills(self) -> bool {
        match self {
            Self::Kill(_) | Self::Edit | Self::LoseStore | Self::KillBroker => true,
            Self::Sleep(_)
            | Self::Grow
            | Self::FillDisk
            | Self::SetClock
            | Self::SleepForDays
            | Self::Storm
            | Self::Scale
            | Self::StorageFaults
            | Self::BigQueryFaults => false,
        }
    }
}

pub struct Nemesis<'a> {
    project: &'a Project,
    share: Option<Share<'a>>,
    random: StdRng,
    clock: Clock,
    fates: Vec<(Fate, u32)>,
    /// Where one can be mounted.
    disk: Option<Disk>,
    false_clock: Option<FalseClock>,
    daemon: Option<Daemon<'a>>,
    /// Who is stopped, and when it is woken.
    asleep: Vec<(i32, SystemTime)>,
}

impl<'a> Nemesis<'a> {
    /// Starts the daemon.
    pub fn of(
        project: &'a Project,
        false_clock: Option<FalseClock>,
        share: Option<Share<'a>>,
        random: StdRng,
    ) -> Self {
        let mut fates = FATES.to_vec();
        if share.is_some() {
            fates.extend(AT_SERVERS);
        }
        if false_clock.is_some() {
            fates.extend(OF_THE_CLOCK);
        }
        let disk = Disk::mount(&project.path(".tidemill"));
        let (daemon, asleep) = (Some(project.up()), Vec::new());
        let clock = Clock::system();
        Self { project, share, random, clock, fates, disk, false_clock, daemon, asleep }
    }

    /// More may happen.
    pub fn and(mut self, fates: &[(Fate, u32)]) -> Self {
        self.fates.extend(fates);
        self
    }

    /// Does something, or nothing where nobody is there for it.
    pub fn strike(&mut self) -> Option<Fate> {
        sleep(Duration::from_millis(self.random.random_range(0..PAUSE_MAX_MS)));
        let now = self.clock.now();
        self.wake(|at| at <= now);
        let (fate, _) =
            *self.fates.choose_weighted(&mut self.random, |(_, weight)| *weight).unwrap();
        let (project, random) = (self.project, &mut self.random);
        let done = match (fate, &mut self.share) {
            (Fate::Kill(Role::Daemon), _) => self.restart(|| {}),
            (Fate::LoseStore, _) => self.restart(|| lose_store(project)),
            (Fate::Kill(role), _) => meet(project, role, random, Signal::KILL).is_some(),
            (Fate::Sleep(role), _) => self.lull(role),
            (Fate::Edit, _) => edit(project, random),
            (Fate::Grow, _) => grow(project),
            (Fate::FillDisk, _) => self.fill_disk(),
            (Fate::SetClock, _) => self.set_clock(),
            (Fate::SleepForDays, _) => self.sleep_for_days(),
            (Fate::KillBroker, Some(share)) => share.kill_broker(random),
            (Fate::Storm, Some(share)) => share.storm(project, random),
            (Fate::Scale, Some(_)) => scale(project, random),
            (Fate::StorageFaults, Some(share)) => share.storage_faults(random),
            (Fate::BigQueryFaults, Some(share)) => share.bigquery_faults(random),
            (
                Fate::KillBroker
                | Fate::Storm
                | Fate::Scale
                | Fate::StorageFaults
                | Fate::BigQueryFaults,
                None,
            ) => false,
        };
        done.then_some(fate)
    }

    /// Peace: all are awake and know what time it is, and all servers work.
    pub fn rest(mut self) -> (Daemon<'a>, Option<Share<'a>>, Option<Disk>) {
        self.wake(|_| true);
        if let Some(clock) = &mut self.false_clock {
            clock.mend();
        }
        if let Some(share) = &mut self.share {
            share.calm();
        }
        (self.daemon.take().unwrap(), self.share, self.disk)
    }

    fn restart(&mut self, meanwhile: impl FnOnce()) -> bool {
        self.daemon.take().unwrap().kill();
        sleep(Duration::from_millis(self.random.random_range(0..PAUSE_MAX_MS / 2)));
        meanwhile();
        self.daemon = Some(self.project.up());
        true
    }

    fn lull(&mut self, role: Role) -> bool {
        let met = meet(self.project, role, &mut self.random, Signal::STOP);
        let long = self.random.random_range(Duration::ZERO..SESSION * 4);
        self.asleep.extend(met.map(|pid| (pid, self.clock.now() + long)));
        met.is_some()
    }

    fn fill_disk(&mut self) -> bool {
        let Some(disk) = &self.disk else { return false };
        disk.fill();
        sleep(Duration::from_millis(self.random.random_range(0..FULL_MAX_MS)));
        disk.free();
        true
    }

    fn set_clock(&mut self) -> bool {
        let Some(clock) = &mut self.false_clock else { return false };
        clock.set(self.random.random_range(-SET_MAX_SECS..SET_MAX_SECS));
        true
    }

    fn sleep_for_days(&mut self) -> bool {
        let Some(clock) = &mut self.false_clock else { return false };
        let stopped: Vec<i32> = self.asleep.iter().map(|(pid, _)| *pid).collect();
        clock.sleep(self.project, SLEEP, &stopped);
        true
    }

    fn wake(&mut self, due: impl Fn(SystemTime) -> bool) {
        self.asleep.retain(|(pid, at)| {
            if due(*at) {
                kill(*pid, Signal::CONT); // It may have been given up meanwhile.
            }
            !due(*at)
        });
    }
}

/// Signals one that is met at work; returns its process.
fn meet(project: &Project, role: Role, random: &mut StdRng, signal: Signal) -> Option<i32> {
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

fn edit(project: &Project, random: &mut StdRng) -> bool {
    let killed = meet(project, Role::Stream, random, Signal::KILL).is_some();
    let land = "jobs/recentchange_land/job.toml";
    let text = fs::read_to_string(project.path(land)).unwrap();
    let (slow, fast) = ("every = \"1s\"", "every = \"600ms\"");
    let (from, to) = if text.contains(slow) { (slow, fast) } else { (fast, slow) };
    project.edit(land, from, to);
    killed
}

/// Processes come into the stream's consumer group, or leave it in order; any of them may be killed.
fn scale(project: &Project, random: &mut StdRng) -> bool {
    let land = "jobs/recentchange_land/job.toml";
    let text = fs::read_to_string(project.path(land)).unwrap();
    let line = |count: u32| format!("instances = {count}\n");
    let now = (1..=INSTANCES_MAX).find(|count| text.contains(&line(*count)));
    let count = random.random_range(1..=INSTANCES_MAX);
    match now {
        Some(now) if now == count => return false,
        Some(now) => project.edit(land, &line(now), &line(count)),
        None => {
            let kind = "kind = \"stream\"\n";
            project.edit(land, kind, &format!("{kind}{}", line(count)));
        }
    }
    true
}

/// Whoever fills or reads the topic is drained for the edit, and may be killed meanwhile.
fn grow(project: &Project) -> bool {
    let file = format!("topics/{}.toml", project.topic());
    let text = fs::read_to_string(project.path(&file)).unwrap();
    let has = |count: &u32| text.contains(&format!("partitions = {count} "));
    let Some(count) = (1..TOPIC_PARTITIONS_MAX).find(has) else { return false };
    project.edit(&file, &format!("partitions = {count} "), &format!("partitions = {} ", count + 1));
    true
}

/// What works continues, and nobody knows it any more.
fn lose_store(project: &Project) {
    for end in ["", "-wal", "-shm"] {
        let file = project.path(&format!(".tidemill/state.db{end}"));
        if file.exists() {
            fs::remove_file(file).unwrap();
        }
    }
}
