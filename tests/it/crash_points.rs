//! `kill -9` of the real process at each named point of `tidemill::crash`, after each reason to roll,
//! and at pairs of points. One day of events lives through many of them, one after the other; then
//! everything is checked as after chaos.
//!
//! A seed chooses some of them; `TIDEMILL_CRASH_POINTS_ALL=1` takes all, which takes half an hour;
//! `TIDEMILL_CRASH_POINTS_SKIP=n` leaves out the first of its lives.

use crate::chaos::{Asked, End, asked, asked_servers, furnish};
use crate::chaos_servers::Share;
use crate::on_close;
use crate::project::{Daemon, Project, is_alive, machine, wait_until};
use crate::wikimedia::watch;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use std::path::PathBuf;
use std::{fs, thread};
use tempfile::TempDir;
use tidemill::crash;

/// What a roll comes by: told apart by its reason.
const OF_A_ROLL: [&str; 3] = ["stage", "record", "publish"];
const OF_EACH_PLACE: [&str; 9] = [
    "fetch",
    "closing",
    "run-created",
    "attempt-launched",
    "output-made",
    "output-staged",
    "output-written",
    "output-closing",
    "outcome",
];
/// Instead of `closing`, where hours are published on close: the daemon makes no such closing then.
const OF_ON_CLOSE: [&str; 4] = ["compact", "compact-closing", "compact-publish", "compact-success"];
const OF_BIGQUERY: [&str; 3] = ["load-stored", "load-submitted", "load-done"];

/// A restart and what has to be done again take about so long, on a machine that does little else. If
/// the feed were through before, the last points would not be come by.
const PACE_SECS: usize = 4;
/// On a machine on which so many processes wait for each core it takes longer.
const BUSY_MAX: usize = 6;
/// Looks between two edits of a job, each of which stops its stream: some seconds.
const EDIT_EVERY: u32 = 60;
const SAMPLE: usize = 4;
/// Of the sample that is tried where nobody asks for another.
const SEED: u64 = 5;

/// Why a stream commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    First,
    Time,
    Size,
    Watermark,
    Memory,
    Stop,
    /// Only real brokers know of groups with other members.
    Rebalance,
}

const REASONS: [Reason; 7] = [
    Reason::First,
    Reason::Time,
    Reason::Size,
    Reason::Watermark,
    Reason::Memory,
    Reason::Stop,
    Reason::Rebalance,
];

#[test]
fn a_kill_at_any_named_point_changes_no_row() {
    let _machine = machine();
    let seed = asked("TIDEMILL_SEED").unwrap_or(SEED);
    let all = asked("TIDEMILL_CRASH_POINTS_ALL") == Some(1);
    println!("repeat with: TIDEMILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let servers = match asked_servers() {
        Asked::Local => None,
        Asked::Servers(servers) => Some(servers),
        Asked::Missing => return,
    };
    let possible = |reason: &&Reason| servers.is_some() || **reason != Reason::Rebalance;
    let reasons = REASONS.iter().filter(possible);
    let both = |reason: &Reason| [(*reason, false), (*reason, true)];
    let mut lives: Vec<(Reason, bool)> = reasons.flat_map(both).collect();
    if !all {
        lives = vec![*lives.choose(&mut random).unwrap()];
    }
    let skipped = asked("TIDEMILL_CRASH_POINTS_SKIP").unwrap_or(0);
    for (round, (reason, on_close)) in (0..).zip(lives) {
        // Their share of the seed's random numbers is theirs all the same.
        let mut random = StdRng::seed_from_u64(random.random());
        if round < skipped {
            continue;
        }
        let mut points = points(reason, on_close, servers.is_some());
        points.shuffle(&mut random);
        if !all {
            points.truncate(SAMPLE);
        }
        let mut crashes: Vec<Vec<&str>> = points.iter().map(|point| vec![*point]).collect();
        let pairs = points.chunks_exact(2);
        crashes.extend(pairs.map(<[&str]>::to_vec));
        // The first records are made once, at the very beginning.
        crashes.sort_by_key(|points| reason == Reason::First && !points.contains(&"record"));
        let (mut project, events) = furnish(&mut random);
        if on_close {
            on_close::publish(&project);
        }
        let share = servers.as_ref().map(|servers| servers.share(&mut project, round));
        println!("{reason:?}, on close: {on_close}: {crashes:?}");
        let end = End { project: &project, share: share.as_ref(), events: &events };
        Life::of(end, reason).live(&crashes, &mut random);
    }
}

fn points(reason: Reason, on_close: bool, at_servers: bool) -> Vec<&'static str> {
    let mut points = OF_A_ROLL.to_vec();
    // With the first record of a topic partition come no rows yet.
    if reason == Reason::First {
        points = vec!["record"];
    }
    points.extend(OF_EACH_PLACE.iter().filter(|point| !on_close || **point != "closing"));
    points.extend(OF_ON_CLOSE.iter().filter(|_| on_close));
    points.extend(OF_BIGQUERY.iter().filter(|_| at_servers));
    points
}

/// How many processes want each core, at least 1.
fn busy() -> usize {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load: usize = load.split('.').next().unwrap().parse().unwrap();
    let cores = thread::available_parallelism().unwrap().get();
    (1..BUSY_MAX).find(|each| load < cores * 5 * each).unwrap_or(BUSY_MAX)
}

struct Life<'a> {
    end: End<'a>,
    reason: Reason,
    mines: TempDir,
}

impl<'a> Life<'a> {
    fn of(end: End<'a>, reason: Reason) -> Self {
        Self { end, reason, mines: tempfile::tempdir().unwrap() }
    }

    fn project(&self) -> &'a Project {
        self.end.project
    }

    fn live(&self, crashes: &[Vec<&str>], random: &mut StdRng) {
        let project = self.project();
        let pace = 86_400 / (PACE_SECS * busy() * (crashes.len() + 4));
        let feed = "jobs/recentchange_collect/job.toml";
        project.edit(feed, "speed = 2880", &format!("speed = {pace}"));
        self.configure();
        let lister = watch(project);
        let mut daemon = None;
        for points in crashes {
            self.lay(points);
            if self.reason == Reason::Stop && points.iter().any(|point| OF_A_ROLL.contains(point)) {
                self.edit();
            }
            daemon = Some(self.until_gone(daemon, points, random));
        }
        let daemon = self.up(daemon);
        self.end.wait();
        daemon.stop();
        let seen = lister.finish();
        self.end.check(&seen);
    }

    /// Lets the stream roll for this reason, and hardly for another.
    fn configure(&self) {
        let land = "jobs/recentchange_land/job.toml";
        let rare = |to: &str| self.project().edit(land, "every = \"1s\"", to);
        match self.reason {
            Reason::First | Reason::Time => {}
            Reason::Size => {
                rare("every = \"1h\"");
                self.project().edit(land, "size = \"128MiB\"", "size = \"20KiB\"");
            }
            Reason::Watermark | Reason::Stop | Reason::Rebalance => rare("every = \"1h\""),
            Reason::Memory => {
                rare("every = \"1h\"");
                self.project().set("[limits]\nstream_memory = \"64KiB\"\n");
            }
        }
    }

    fn reason_folder(&self) -> PathBuf {
        let name = format!("{:?}", self.reason).to_lowercase();
        let folder = self.mines.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn lay(&self, points: &[&str]) {
        for point in points {
            let of_a_roll = OF_A_ROLL.contains(point);
            let folder =
                if of_a_roll { self.reason_folder() } else { self.mines.path().to_owned() };
            fs::write(folder.join(point), "").unwrap();
        }
    }

    fn edit(&self) {
        let land = "jobs/recentchange_land/job.toml";
        let text = fs::read_to_string(self.project().path(land)).unwrap();
        let (one, other) = ("every = \"1h\"", "every = \"2h\"");
        let (from, to) = if text.contains(one) { (one, other) } else { (other, one) };
        self.project().edit(land, from, to);
    }

    /// Waits until somebody has died at each of the points.
    fn until_gone(
        &self,
        daemon: Option<Daemon<'a>>,
        points: &[&str],
        random: &mut StdRng,
    ) -> Daemon<'a> {
        let mut daemon = daemon;
        let (mut storms, mut looks) = (0, 0);
        wait_until(&format!("a kill at {points:?}"), || {
            daemon = Some(self.up(daemon.take()));
            assert_eq!(self.project().waiting(), None);
            let left = |point: &&&str| self.is_laid(point) || self.is_going_off(point);
            let Some(point) = points.iter().find(left) else { return Ok(()) };
            looks += 1;
            // It may have stopped with nothing in its hands.
            if self.reason == Reason::Stop && OF_A_ROLL.contains(point) && looks % EDIT_EVERY == 0 {
                self.edit();
            }
            if self.reason == Reason::Rebalance && OF_A_ROLL.contains(point) {
                let share: Option<&Share<'_>> = self.end.share;
                storms += usize::from(share.unwrap().storm(self.project(), random));
            }
            Err(format!("{point} has not been come by; storms: {storms}"))
        });
        daemon.unwrap()
    }

    fn is_laid(&self, point: &str) -> bool {
        self.mines.path().join(point).exists() || self.reason_folder().join(point).exists()
    }

    /// Whether somebody has come by and still lives.
    fn is_going_off(&self, point: &str) -> bool {
        let names = fs::read_dir(self.mines.path()).unwrap().map(|mine| mine.unwrap().file_name());
        names.into_iter().any(|name| {
            let name = name.to_str().unwrap();
            let pid = name.strip_prefix(point).and_then(|rest| rest.strip_prefix('.'));
            pid.is_some_and(|pid| is_alive(pid.parse().unwrap()))
        })
    }

    /// The daemon, started again if it has died.
    fn up(&self, daemon: Option<Daemon<'a>>) -> Daemon<'a> {
        let mut daemon = daemon;
        loop {
            if let Some(mut daemon) = daemon.take()
                && !daemon.was_killed()
            {
                return daemon;
            }
            daemon = self.project().try_up(&[(crash::VARIABLE, self.mines.path())]);
        }
    }
}
