//! A false clock that all processes of a project share: libfaketime, preloaded into each of them, and
//! a file that says how far ahead of the true one it is.
//!
//! Only the wall clock is false. The monotonic one neither jumps with it nor continues while a machine
//! sleeps, and so it is here. Servers have clocks of their own.

use crate::project::{Project, is, kill, machine, wait_until};
use crate::servers::{self, tool};
use crate::wikimedia::{await_day, check_day, made_up_day, watch};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// A process looks at the file again after so long; libfaketime counts in seconds.
const STALE_MAX: Duration = Duration::from_secs(1);

/// Several topics' retention would be less: what a machine sleeps through must not outlast it.
const RETENTION: &str = "365d";

pub struct FalseClock {
    file: PathBuf,
    ahead_secs: i64,
}

impl FalseClock {
    /// Gives all processes that the project will start a false clock; `None` where there is none.
    pub fn of(project: &mut Project) -> Option<Self> {
        let library = tool("faketime", || {
            let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
            let library = |folder| Path::new(folder).join("faketime/libfaketimeMT.so.1");
            folders.into_iter().map(library).find(|library| library.exists())
        })?;
        let clock = Self { file: project.path("clock"), ahead_secs: 0 };
        clock.tell();
        let waits = project.path("wall_waits.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/wall_waits.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&waits).arg(source);
        assert!(compiler.status().unwrap().success(), "{compiler:?}");
        project.environment.extend([
            ("LD_PRELOAD", format!("{}:{}", library.display(), waits.display()).into()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.clone().into_os_string()),
            ("FAKETIME_CACHE_DURATION", STALE_MAX.as_secs().to_string().into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]);
        let topic = format!("topics/{}.toml", project.topic());
        project.edit(&topic, "retention  = \"7d\"", &format!("retention  = \"{RETENTION}\""));
        Some(clock)
    }

    /// Somebody sets it, while everything runs.
    pub fn set(&mut self, by_secs: i64) {
        self.ahead_secs += by_secs;
        self.tell();
    }

    /// Nothing of the project does anything, and when it continues, so much time has passed. Whoever is
    /// stopped anyway stays so.
    pub fn sleep(&mut self, project: &Project, long: Duration, stopped: &[i32]) {
        let mut asleep = BTreeSet::new();
        loop {
            // One that is not stopped yet may start another.
            let all = project.processes().into_iter().map(|process| process.pid);
            let awake: Vec<i32> = all.filter(|pid| !asleep.contains(pid)).collect();
            if awake.is_empty() {
                break;
            }
            for pid in awake {
                kill(pid, Signal::STOP);
                asleep.insert(pid);
            }
        }
        self.set(i64::try_from(long.as_secs()).unwrap());
        sleep(STALE_MAX + Duration::from_millis(100)); // Or some would wake in the past.
        for pid in asleep.iter().filter(|pid| !stopped.contains(pid)) {
            kill(*pid, Signal::CONT);
        }
    }

    /// It is right again.
    pub fn mend(&mut self) {
        self.set(-self.ahead_secs);
    }

    /// In one step: a process that found half a file would give up.
    fn tell(&self) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{:+}\n", self.ahead_secs)).unwrap();
        fs::rename(new, &self.file).unwrap();
    }
}

#[test]
fn a_day_lands_while_the_clock_is_set_and_the_machine_sleeps_for_two_days() {
    live_through_jumps(Project::shipped());
}

#[test]
fn so_it_does_from_a_real_broker() {
    let Some(brokers) = servers::kafka() else { return };
    let mut project = Project::shipped();
    project.on_brokers(brokers);
    live_through_jumps(project);
}

fn live_through_jumps(mut project: Project) {
    let _machine = machine();
    let Some(mut clock) = FalseClock::of(&mut project) else { return };
    let day = made_up_day();
    project.feed_from(&format!("replay = {{ file = \"{}\", speed = 7200 }}", day.file.display()));
    project.edit("jobs/recentchange_land/job.toml", "every = \"5m\"", "every = \"1s\"");
    let lister = watch(&project);
    let daemon = project.up();
    let jumps: [fn(&mut FalseClock, &Project); 3] = [
        |clock, _| clock.set(6 * 3600),
        |clock, project| clock.sleep(project, Duration::from_hours(48), &[]),
        // At the end: who waits by the wall clock waits until the end of the test.
        |clock, _| clock.set(-9 * 3600),
    ];
    for (before, jump) in jumps.into_iter().enumerate() {
        jump(&mut clock, &project);
        wait_until("the jump is told", || is(&told(&project), &(before + 1)));
    }
    await_day(&project, &day);
    daemon.stop();
    check_day(&project, &day, lister);
}

/// How often the daemon has noticed a jump.
fn told(project: &Project) -> usize {
    let log = fs::read_to_string(project.path("up.log")).unwrap();
    log.matches("the clock was set, or this machine was asleep").count()
}
