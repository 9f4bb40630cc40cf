//! The parent of an attempt's process: it outlives the daemon and sees the true end.
//!
//! It starts before any runtime, does little, and needs nobody: it owns a session, adopts whatever
//! its child leaves behind, waits, and writes down how it ended. Nobody signals it; to stop an
//! attempt the child's process group is signalled, and the shim reports the end as any other.

use super::folder::{Claim, End, Folder, Spec, Status};
use super::launch::OWN_PROGRAM;
use super::log::{KEPT, Log};
use super::process::ProcessId;
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::ping;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, setsid, wait,
};
use std::fs;
use std::io::PipeWriter;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What a pipe holds is written down in much less.
const LOGGED_MAX: Duration = Duration::from_secs(2);

/// Runs the attempt whose folder is `path` to its end, with the environment that we were given.
pub fn run(path: &Path) -> Result<(), Error> {
    // For `ps`: by the way that we were started our name would be `exe`.
    drop(fs::write("/proc/self/comm", "tidemill shim"));
    // Both fail only where we lead a group already, as under a shell: then we are apart as well.
    let _ = setsid();
    let _ = set_child_subreaper(Some(getpid()));
    let folder = Folder::at(path);
    let own = ProcessId::own().ok_or_else(|| Error::new(ErrorKind::Bug, "/proc is not there"))?;
    if folder.claim(Claim::Shim(own.clone()))? != Claim::Shim(own) {
        return Ok(()); // Too late: the attempt was given up, or is another shim's.
    }
    let end = match start(&folder) {
        Ok((child, logged)) => {
            let end = wait_for(child)?;
            end_what_is_left();
            // With the last process the pipe has ended. One that handed it to another program, as to a
            // daemon of its own, is not waited for.
            logged.recv_timeout(LOGGED_MAX).ok();
            end
        }
        Err(error) => End::NotStarted(error.to_string()),
    };
    folder.put_status(&Status { ended: Clock::system().now().into(), end })?;
    if let Some(home) = path.parent().and_then(Path::parent) {
        ping::send(home, ping::ENDED);
    }
    Ok(())
}

/// The child, and the thread that ends when all it has written is in the log.
fn start(folder: &Folder) -> Result<(Pid, Receiver<()>), Error> {
    let spec = folder.spec()?;
    let mut log = Log::open(&folder.log(), KEPT)?;
    let unavailable = |error| Error::new(ErrorKind::Unavailable, error);
    let pipe = std::io::pipe().map_err(unavailable);
    let (output, input) = pipe.doing(|| "open a pipe for the log".into())?;
    let child = match spawn(&spec, input, folder) {
        Ok(child) => child,
        Err(error) => {
            drop(log.write(format!("error: {error}\n").as_bytes()));
            return Err(error);
        }
    };
    let (done, logged) = channel();
    let take = move || {
        log.take(output);
        done.send(()).ok(); // Whoever does not wait any more is about to exit.
    };
    let thread = std::thread::Builder::new().name("log".into()).spawn(take);
    thread.map_err(unavailable).doing(|| "begin to write the log".into())?;
    Ok((child, logged))
}

/// `log` is held by the child alone then, so that it ends with the last process that has it.
fn spawn(spec: &Spec, log: PipeWriter, folder: &Folder) -> Result<Pid, Error> {
    let input = |error| Error::new(ErrorKind::Input, error);
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| Error::new(ErrorKind::Input, "`exec` names no program"))?;
    let mut command = Command::new(program);
    if program == OWN_PROGRAM {
        command.arg0("tidemill"); // For `ps`.
    }
    let child = command
        .args(arguments)
        .current_dir(&spec.cwd)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(input)?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(input)
        .doing(|| format!("start {program} in {}", spec.cwd.display()))?;
    let pid = i32::try_from(child.id()).expect("a process id fits");
    if let Some(id) = ProcessId::of(pid) {
        // Without it a stop sweeps by the attempt's folder instead.
        drop(folder.put_child(&id));
    }
    Ok(Pid::from_child(&child))
}

/// Waits for the child, and reaps what it leaves to us meanwhile.
fn wait_for(child: Pid) -> Result<End, Error> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(end_of(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return Err(Error::new(ErrorKind::Bug, error))
                    .doing(|| format!("wait for {child:?}"));
            }
        }
    }
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or(0)),
    }
}

/// Kills what outlived the child: an attempt that is reported as ended has no process any more
/// that could still write. The orphans of our descendants are our children, one level at a time.
fn end_what_is_left() {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Err(_) => return, // No child is left.
            Ok(None) => {
                let left = children();
                if left.is_empty() {
                    return; // The kernel does not say; a sweep by the daemon would find them.
                }
                for pid in left {
                    let _ = kill_process(pid, Signal::KILL); // Gone is what we want.
                }
                let _ = wait(WaitOptions::empty());
            }
        }
    }
}

fn children() -> Vec<Pid> {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
