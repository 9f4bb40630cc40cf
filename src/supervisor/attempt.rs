//! Decides what to do about one attempt, from its row and from what its folder shows.

// Over 400 lines: one decision table with its tests beside it.

use super::Mode;
use super::folder::{Claim, End, Status};
use super::process::ProcessId;
use crate::error::ErrorKind;
use crate::model::attempt::{Attempt, AttemptKind, AttemptState, Ended, Failure, StopReason};
use crate::model::time::Micros;
use std::time::Duration;

/// A stream that drains uploads and commits what it holds; the budget of 256 MiB goes to a slow
/// object store in less.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// From the request to end at once to the kill.
const TERMINATE_MAX: Duration = Duration::from_secs(10);
/// From the kill to the sweep; the shim reaps and tells in much less.
const KILL_MAX: Duration = Duration::from_secs(5);
/// The exit code of a process of ours that ends because something did not answer.
const TRY_LATER: i32 = 3;

/// What is there of an attempt, beside its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No shim has claimed the folder.
    Nothing,
    /// Its shim is at work.
    Alive(ProcessId),
    /// Its shim has told the end.
    Over(Status),
    /// Its shim is gone without a word, or none can come any more.
    Lost,
}

impl Seen {
    /// Puts together what the folder holds; a status counts before a shim that is about to exit.
    pub fn of(claim: Option<Claim>, status: Option<Status>) -> Self {
        match (status, claim) {
            (Some(status), _) => Self::Over(status),
            (None, None) => Self::Nothing,
            (None, Some(Claim::Shim(shim))) if shim.alive() => Self::Alive(shim),
            (None, Some(Claim::Shim(_) | Claim::GivenUp)) => Self::Lost,
        }
    }
}

/// How hard an attempt has been asked to stop, by this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Finish what is begun and commit it.
    Drain,
    /// End at once.
    Terminate,
    Kill,
    /// Kill whatever belongs to it, its shim too.
    Sweep,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Wait,
    Launch,
    /// The shim runs: write down which process it is.
    Record(ProcessId),
    /// It is over: write down how.
    Finish(Ended),
    /// Kill whatever is left of it; when nothing is, finish it as unknown.
    Clear(Ended),
    AskToStop(StopReason),
    Press(Pressure),
}

/// What this daemon knows of an attempt beyond the row and the folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// We have started a shim for it, which is still there.
    pub launched: bool,
    /// The project is not going down.
    pub may_start: bool,
    pub pressure: Option<Pressure>,
}

/// Every step is safe to repeat; the next look decides again.
pub fn decide(attempt: &Attempt, seen: &Seen, known: Known, now: Micros) -> Step {
    match (attempt.state, seen) {
        (
            AttemptState::Succeeded
            | AttemptState::Failed
            | AttemptState::Stopped
            | AttemptState::Unknown,
            _,
        ) => Step::Wait,
        (_, Seen::Over(status)) => Step::Finish(ended(attempt, &status.end)),
        (_, Seen::Lost) => Step::Clear(lost(attempt)),
        (_, Seen::Nothing) => begin(attempt, known),
        (AttemptState::Queued, Seen::Alive(shim)) => Step::Record(shim.clone()),
        (AttemptState::Running, Seen::Alive(_)) => watch(attempt, known, now),
    }
}

/// What becomes of the step while the project goes down.
pub fn going_down(step: Step, mode: Mode, attempt: &Attempt) -> Step {
    match (step, mode) {
        // In mode kill, too: the end of one attempt may have queued the next, and nothing else ends that.
        (Step::Wait, Mode::Drain | Mode::Kill) if attempt.stop.is_none() => {
            Step::AskToStop(StopReason::Shutdown)
        }
        (Step::Wait | Step::AskToStop(_), Mode::Kill) => Step::Press(Pressure::Sweep),
        (step, _) => step,
    }
}

/// For an attempt whose folder nobody has claimed.
fn begin(attempt: &Attempt, known: Known) -> Step {
    if known.launched {
        Step::Wait // A shim claims the folder some milliseconds after its start.
    } else if attempt.state == AttemptState::Running || attempt.stop.is_some() {
        // Someone has removed the folder of a running one; or it is stopped before it began.
        Step::Clear(lost(attempt))
    } else if known.may_start {
        Step::Launch
    } else {
        Step::Wait
    }
}

fn watch(attempt: &Attempt, known: Known, now: Micros) -> Step {
    let Some(asked) = attempt.stop.as_ref().map(|stop| stop.at) else { return Step::Wait };
    // The clock was set back, and nothing tells how long ago that was: a step at each look.
    let due =
        if asked > now { harder(known.pressure) } else { pressure(attempt.kind, now.since(asked)) };
    if known.pressure < Some(due) { Step::Press(due) } else { Step::Wait }
}

fn harder(than: Option<Pressure>) -> Pressure {
    match than {
        None => Pressure::Drain,
        Some(Pressure::Drain) => Pressure::Terminate,
        Some(Pressure::Terminate) => Pressure::Kill,
        Some(Pressure::Kill | Pressure::Sweep) => Pressure::Sweep,
    }
}

/// How hard to press an attempt that was asked to stop so long ago.
fn pressure(kind: AttemptKind, asked: Duration) -> Pressure {
    let drain = drain_max(kind);
    if asked < drain {
        Pressure::Drain
    } else if asked < drain + TERMINATE_MAX {
        Pressure::Terminate
    } else if asked < drain + TERMINATE_MAX + KILL_MAX {
        Pressure::Kill
    } else {
        Pressure::Sweep
    }
}

/// Only what holds uncommitted rows is given time to drain.
fn drain_max(kind: AttemptKind) -> Duration {
    match kind {
        AttemptKind::Stream | AttemptKind::Feed => DRAIN_MAX,
        AttemptKind::Batch | AttemptKind::Exec | AttemptKind::Test | AttemptKind::Compact => {
            Duration::ZERO
        }
    }
}

/// When [`decide`] would say something else though nothing else has happened.
pub fn next_look(attempt: &Attempt, now: Micros) -> Option<Micros> {
    let asked = attempt.stop.as_ref().filter(|_| attempt.state == AttemptState::Running)?.at;
    let drained = asked.plus(drain_max(attempt.kind));
    let terminated = drained.plus(TERMINATE_MAX);
    [drained, terminated, terminated.plus(KILL_MAX)].into_iter().find(|at| *at > now)
}

/// What is written down of an attempt that ended so.
fn ended(attempt: &Attempt, end: &End) -> Ended {
    let (exit_code, signal) = match end {
        End::Exited(code) => (Some(*code), None),
        End::Signalled(signal) => (None, Some(*signal)),
        End::NotStarted(_) => (None, None),
    };
    let out_of_time = attempt.stop.as_ref().filter(|stop| stop.reason == StopReason::TimedOut);
    let (state, failure) = match (end, out_of_time, &attempt.stop) {
        (End::Exited(0), _, None) => (AttemptState::Succeeded, None),
        // A task of ours that was through before the request reached it is done. A stream never is, and
        // of a user's program nobody knows: many take a SIGTERM and exit with 0, half way through.
        (End::Exited(0), _, Some(_))
            if matches!(
                attempt.kind,
                AttemptKind::Batch | AttemptKind::Test | AttemptKind::Compact
            ) =>
        {
            (AttemptState::Succeeded, None)
        }
        (_, Some(stop), _) => {
            let remedy = "see its log, or allow it more by `timeout`";
            (AttemptState::Failed, Some(failed(ErrorKind::Unavailable, &stop.why, Some(remedy))))
        }
        (_, None, Some(_)) => (AttemptState::Stopped, None),
        (End::Exited(code), None, None) => (AttemptState::Failed, Some(exited(attempt, *code))),
        (End::Signalled(signal), None, None) => (AttemptState::Failed, Some(signalled(*signal))),
        (End::NotStarted(why), None, None) => {
            let remedy = "mend the program's path, its rights or its folder";
            (AttemptState::Failed, Some(failed(ErrorKind::Input, why, Some(remedy))))
        }
    };
    Ended { state, exit_code, signal, failure, result: None }
}

fn lost(attempt: &Attempt) -> Ended {
    let never_began = attempt.state == AttemptState::Queued && attempt.stop.is_some();
    let why = "its shim is gone and left no status";
    Ended {
        state: if never_began { AttemptState::Stopped } else { AttemptState::Unknown },
        exit_code: None,
        signal: None,
        failure: (!never_began).then(|| failed(ErrorKind::Unavailable, why, None)),
        result: None,
    }
}

fn exited(attempt: &Attempt, code: i32) -> Failure {
    let what = format!("exit code {code}");
    match attempt.kind {
        AttemptKind::Exec => failed(ErrorKind::Unavailable, &what, Some("see its log")),
        // A process of ours reports before it exits, unless nobody takes the report or it panicked.
        AttemptKind::Feed
        | AttemptKind::Stream
        | AttemptKind::Batch
        | AttemptKind::Test
        | AttemptKind::Compact
            if code == TRY_LATER =>
        {
            let why = "it could not reach the state store";
            let remedy =
                "see that the disk of the state store has room and that no process holds it";
            failed(ErrorKind::Unavailable, why, Some(remedy))
        }
        AttemptKind::Feed
        | AttemptKind::Stream
        | AttemptKind::Batch
        | AttemptKind::Test
        | AttemptKind::Compact => {
            failed(ErrorKind::Bug, &what, Some("see its log, and report this"))
        }
    }
}

fn signalled(signal: i32) -> Failure {
    const KILL: i32 = 9;
    let remedy = (signal == KILL).then_some("if nobody did it, memory ran out: see `dmesg`");
    failed(ErrorKind::Unavailable, &format!("ended by signal {signal}"), remedy)
}

fn failed(kind: ErrorKind, error: &str, remedy: Option<&str>) -> Failure {
    Failure { kind, error: error.to_owned(), remedy: remedy.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::{AttemptKind, Owner, Stop};

    fn at(secs: i64) -> Micros {
        Micros(secs * 1_000_000)
    }

    fn attempt(kind: AttemptKind, state: AttemptState, stopped: Option<i64>) -> Attempt {
        Attempt {
            id: "wikimedia.land-1".into(),
            owner: Owner::Stream("wikimedia.land".into()),
            kind,
            version: String::new(),
            content: None,
            tries: 1,
            epoch: 1,
            state,
            stop: stopped.map(|asked| Stop::new(StopReason::Asked, at(asked))),
            process: None,
            created: at(0),
            started: (state == AttemptState::Running).then(|| at(0)),
            ended: None,
            exit_code: None,
            signal: None,
            failure: None,
            result: None,
        }
    }

    fn queued() -> Attempt {
        attempt(AttemptKind::Exec, AttemptState::Queued, None)
    }

    fn running(kind: AttemptKind, stopped: Option<i64>) -> Attempt {
        attempt(kind, AttemptState::Running, stopped)
    }

    fn alive() -> Seen {
        Seen::Alive(ProcessId { pid: 7, started: 1, boot: String::new() })
    }

    fn over(end: End) -> Seen {
        Seen::Over(Status { ended: at(1), end })
    }

    #[track_caller]
    fn check(attempt: &Attempt, seen: &Seen, known: Known, now: i64, expected: &str) {
        let told = match decide(attempt, seen, known, at(now)) {
            Step::Wait => "wait".into(),
            Step::Launch => "launch".into(),
            Step::Record(_) => "record".into(),
            Step::Finish(ended) => format!("finish as {}", tell(&ended)),
            Step::Clear(ended) => format!("clear as {}", tell(&ended)),
            Step::AskToStop(reason) => format!("ask to stop: {reason}"),
            Step::Press(pressure) => format!("{pressure:?}").to_lowercase(),
        };
        assert_eq!(told, expected);
    }

    fn tell(ended: &Ended) -> String {
        let failure = ended.failure.as_ref();
        failure.map_or(ended.state.to_string(), |failure| {
            format!("{}, {}: {}", ended.state, failure.kind.as_str(), failure.error)
        })
    }

    #[test]
    fn a_queued_attempt_is_launched_once_and_only_while_the_project_is_up() {
        let up = Known { may_start: true, ..Known::default() };
        check(&queued(), &Seen::Nothing, Known::default(), 1, "wait");
        check(&queued(), &Seen::Nothing, up, 1, "launch");
        check(&queued(), &Seen::Nothing, Known { launched: true, ..up }, 1, "wait");
    }

    #[test]
    fn what_was_queued_while_everything_is_killed_is_stopped() {
        let step = going_down(Step::Wait, Mode::Kill, &queued());
        assert_eq!(step, Step::AskToStop(StopReason::Shutdown));
        let asked = attempt(AttemptKind::Exec, AttemptState::Queued, Some(1));
        check(&asked, &Seen::Nothing, Known::default(), 1, "clear as stopped");
    }

    #[test]
    fn a_shim_that_a_killed_daemon_started_is_adopted() {
        check(&queued(), &alive(), Known::default(), 1, "record");
        check(&running(AttemptKind::Exec, None), &alive(), Known::default(), 1, "wait");
    }

    #[test]
    fn a_shim_gone_without_a_status_makes_the_end_unknown() {
        let expected = "clear as unknown, unavailable: its shim is gone and left no status";
        check(&running(AttemptKind::Exec, None), &Seen::Lost, Known::default(), 1, expected);
        check(&running(AttemptKind::Exec, None), &Seen::Nothing, Known::default(), 1, expected);
    }

    #[test]
    fn a_stop_before_the_start_needs_no_process() {
        let attempt = attempt(AttemptKind::Exec, AttemptState::Queued, Some(1));
        check(&attempt, &Seen::Nothing, Known::default(), 1, "clear as stopped");
    }

    #[test]
    fn a_stream_is_drained_then_terminated_then_killed() {
        let stream = running(AttemptKind::Stream, Some(100));
        let pressed = |pressure| Known { pressure, ..Known::default() };
        check(&stream, &alive(), pressed(None), 100, "drain");
        check(&stream, &alive(), pressed(Some(Pressure::Drain)), 129, "wait");
        check(&stream, &alive(), pressed(Some(Pressure::Drain)), 130, "terminate");
        check(&stream, &alive(), pressed(Some(Pressure::Terminate)), 140, "kill");
        check(&stream, &alive(), pressed(Some(Pressure::Kill)), 145, "sweep");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_spare_what_will_not_stop() {
        let stream = running(AttemptKind::Stream, Some(11_100));
        let pressed = |pressure| Known { pressure, ..Known::default() };
        check(&stream, &alive(), pressed(None), 300, "drain");
        check(&stream, &alive(), pressed(Some(Pressure::Drain)), 310, "terminate");
        check(&stream, &alive(), pressed(Some(Pressure::Terminate)), 320, "kill");
        check(&stream, &alive(), pressed(Some(Pressure::Kill)), 330, "sweep");
    }

    #[test]
    fn a_task_is_not_given_time_to_drain() {
        let task = running(AttemptKind::Exec, Some(100));
        check(&task, &alive(), Known::default(), 100, "terminate");
    }

    #[test]
    fn a_task_that_was_stopped_because_it_is_out_of_time_has_failed() {
        let mut task = running(AttemptKind::Exec, None);
        task.stop = Some(Stop::timed_out(Duration::from_mins(10), at(600)));
        let expected = "finish as failed, unavailable: timed out after 10 min";
        check(&task, &over(End::Signalled(15)), Known::default(), 601, expected);
    }

    #[test]
    fn the_end_is_told_as_the_shim_saw_it() {
        let exec = running(AttemptKind::Exec, None);
        let ends = [
            (End::Exited(0), "finish as succeeded"),
            (End::Exited(7), "finish as failed, unavailable: exit code 7"),
            (End::Signalled(9), "finish as failed, unavailable: ended by signal 9"),
            (End::NotStarted("no x".into()), "finish as failed, input: no x"),
        ];
        for (end, expected) in ends {
            check(&exec, &over(end), Known::default(), 1, expected);
        }
        let batch = running(AttemptKind::Batch, None);
        let panicked = "finish as failed, bug: exit code 101";
        check(&batch, &over(End::Exited(101)), Known::default(), 1, panicked);
        let mute = "finish as failed, unavailable: it could not reach the state store";
        check(&batch, &over(End::Exited(3)), Known::default(), 1, mute);
    }

    #[test]
    fn a_stopped_stream_that_drained_well_is_stopped_not_done() {
        let stream = running(AttemptKind::Stream, Some(1));
        check(&stream, &over(End::Exited(0)), Known::default(), 2, "finish as stopped");
        let task = running(AttemptKind::Batch, Some(1));
        check(&task, &over(End::Exited(0)), Known::default(), 2, "finish as succeeded");
    }

    #[test]
    fn a_program_that_exits_well_when_it_is_stopped_has_not_succeeded() {
        let mut exec = running(AttemptKind::Exec, Some(1));
        check(&exec, &over(End::Exited(0)), Known::default(), 2, "finish as stopped");
        exec.stop = Some(Stop::timed_out(Duration::from_secs(1), at(1)));
        let expected = "finish as failed, unavailable: timed out after 1.0 s";
        check(&exec, &over(End::Exited(0)), Known::default(), 2, expected);
    }

    #[test]
    fn the_next_look_is_when_the_decision_changes() {
        let stream = running(AttemptKind::Stream, Some(100));
        assert_eq!(next_look(&stream, at(100)), Some(at(130)));
        assert_eq!(next_look(&stream, at(130)), Some(at(140)));
        assert_eq!(next_look(&running(AttemptKind::Exec, None), at(1)), None);
    }
}
