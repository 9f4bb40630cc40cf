//! Knows processes by more than their number, and ends those that an attempt left behind.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::OnceLock;

/// The variable by which every process of an attempt is found again, whatever session or group it
/// has moved to. Its value is the attempt's folder, which no other project shares.
pub const ATTEMPT_VARIABLE: &str = "TIDEMILL_ATTEMPT_DIR";

/// A process that no later one with the same number is taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks from the machine's start to the process's.
    pub started: u64,
    /// Which start of the machine.
    pub boot: String,
}

impl ProcessId {
    /// `None` if no such process is there.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: Stat::read(pid)?.started, boot: boot_id() })
    }

    pub fn own() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it still runs; a zombie does not.
    pub fn alive(&self) -> bool {
        let stat = Stat::read(self.pid);
        stat.is_some_and(|stat| stat.started == self.started && !stat.zombie)
            && boot_id() == self.boot
    }

    /// Whether the process, if it is alive, works on the attempt whose folder this is. A project that was
    /// copied while it ran tells of processes that are the original's.
    pub fn works_in(&self, attempt: &Path) -> bool {
        let named = named_attempts(self.pid);
        let same = |one: &Path, other: &Path| {
            one == other
                || one
                    .canonicalize()
                    .ok()
                    .zip(other.canonicalize().ok())
                    .is_some_and(|(a, b)| a == b)
        };
        named.is_empty() || named.iter().any(|named| same(Path::new(named), attempt))
    }

    /// Signals its process group, which it leads, if it is still the process that was meant.
    pub fn signal_group(&self, signal: Signal) {
        if self.alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process_group(pid, signal); // Gone in between is what we wanted.
        }
    }
}

/// Kills what is left of an attempt: every process that carries its folder or lives in the session of
/// its shim. Returns how many there were.
pub fn sweep(attempt: &Path, session: Option<&ProcessId>) -> usize {
    let boot = boot_id();
    let session = session.filter(|shim| shim.boot == boot && shim.works_in(attempt));
    let belongs = |pid: i32| {
        // A zombie writes nothing any more, and one whose parent never reaps stays for good, as below
        // a daemon that is a container's first process.
        let Some(stat) = Stat::read(pid).filter(|stat| !stat.zombie) else { return false };
        let carries = named_attempts(pid).iter().any(|named| named == attempt.as_os_str());
        carries
            || session.is_some_and(|shim| stat.session == shim.pid && stat.started >= shim.started)
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let left: Vec<Pid> = every_process()
        .into_iter()
        .filter(|pid| *pid != own && belongs(*pid))
        .filter_map(Pid::from_raw)
        .collect();
    for pid in &left {
        let _ = kill_process(*pid, Signal::KILL); // Gone in between is what we wanted.
    }
    left.len()
}

/// The folders of attempts that a process carries, one at most unless it was tampered with; none too where
/// that can't be seen.
fn named_attempts(pid: i32) -> Vec<OsString> {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let prefix = format!("{ATTEMPT_VARIABLE}=");
    let entries = environ.split(|byte| *byte == 0);
    let named = entries.filter_map(|entry| entry.strip_prefix(prefix.as_bytes()));
    named.map(|folder| OsString::from_vec(folder.to_vec())).collect()
}

fn every_process() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// What `/proc/<pid>/stat` says of interest.
struct Stat {
    zombie: bool,
    session: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name of the program stands in brackets and may itself hold brackets and blanks.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(Self {
            // One whose first thread has ended, but not its others, is at work.
            zombie: matches!(*fields.first()?, "Z" | "X") && matches!(*fields.get(17)?, "0" | "1"),
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Changes with every start of the machine, so it is read once.
pub fn boot_id() -> String {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id");
    BOOT_ID.get_or_init(|| read().unwrap_or_default().trim().to_owned()).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper(attempt: &str) -> Child {
        let sleep =
            Command::new("sleep").arg("1000").env(ATTEMPT_VARIABLE, attempt).spawn().unwrap();
        // The kernel ends `spawn` a moment before it shows the new program's variables.
        while fs::read(format!("/proc/{}/environ", sleep.id())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        sleep
    }

    #[test]
    fn a_process_works_in_the_folder_that_it_names_and_in_no_copy() {
        let home = tempfile::tempdir().unwrap();
        let (own, copy) = (home.path().join("own"), home.path().join("copy"));
        let link = home.path().join("link");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(&copy).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let mut child = sleeper(own.to_str().unwrap());
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(id.works_in(&own) && id.works_in(&link) && !id.works_in(&copy));
        fs::remove_dir(&own).unwrap();
        assert!(id.works_in(&own), "its folder was removed");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As below a daemon that is a container's first process, where nobody reaps.
    #[test]
    fn a_zombie_in_the_session_is_not_left() {
        let mut zombie = Command::new("setsid").arg("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(zombie.id()).unwrap();
        while Stat::read(pid).is_none_or(|stat| stat.session != pid) {
            std::thread::yield_now();
        }
        let shim = ProcessId::of(pid).unwrap();
        let nowhere = Path::new("/nowhere/a-zombie");
        assert_eq!(sweep(nowhere, Some(&shim)), 1);
        while shim.alive() {
            std::thread::yield_now();
        }
        assert_eq!(sweep(nowhere, Some(&shim)), 0);
        zombie.wait().unwrap();
    }

    #[test]
    fn a_program_name_with_brackets_does_not_confuse() {
        let text = "7 (a) b (c)) S 1 7 6 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 4711 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.zombie, stat.session, stat.started), (false, 6, 4711));
    }

    #[test]
    fn a_process_is_alive_until_it_has_ended() {
        let mut child = sleeper("alive");
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(id.alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!id.alive());
    }

    #[test]
    fn another_process_with_the_same_number_is_not_taken_for_it() {
        let own = ProcessId::own().unwrap();
        assert!(own.alive());
        assert!(!ProcessId { started: own.started + 1, ..own.clone() }.alive());
        assert!(!ProcessId { boot: "another".into(), ..own }.alive());
    }

    #[test]
    fn a_sweep_ends_the_attempt_and_no_other() {
        let (mut ours, mut other) = (sleeper("/nowhere/1"), sleeper("/nowhere/10"));
        assert_eq!(sweep(Path::new("/nowhere/1"), None), 1);
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
