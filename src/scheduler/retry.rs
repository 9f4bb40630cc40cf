//! Decides what the end of an attempt means for its task.
//!
//! `retries` is what the user allows for whatever goes wrong, a wrong permission included: who set
//! it wants to mend that meanwhile. A try that was lost through no fault of the task (its process
//! killed from outside, its shim gone, a newer epoch) is made again without counting, a few times.

use crate::backoff::Backoff;
use crate::error::ErrorKind;
use crate::model::attempt::{Attempt, AttemptState, Stop, StopReason};
use crate::model::dag::Task as Spec;
use crate::model::task::TaskInstance;
use crate::model::time::Micros;
use std::time::Duration;

/// No try waits longer than this for its turn.
const BACKOFF_MAX: Duration = Duration::from_hours(1);

/// Enough for a restarted machine; a query that the kernel kills for its memory must fail some day.
const LOST_MAX: u32 = 3;

/// What a task's counters become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    pub tries: u32,
    pub lost: u32,
    pub next_try: Option<Micros>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// At work.
    Open,
    /// At work, and out of time then.
    WakeAt(Micros),
    /// To be stopped.
    Stop(Stop),
    Succeeded,
    Again(Retry),
    /// For good.
    Failed(Retry),
}

pub fn judge(task: &TaskInstance, spec: &Spec, attempt: &Attempt, now: Micros) -> Verdict {
    let timed_out = attempt.stops_for(StopReason::TimedOut);
    match attempt.state {
        AttemptState::Queued | AttemptState::Running => at_work(spec, attempt, now),
        AttemptState::Succeeded => Verdict::Succeeded,
        // We asked for it, so it says nothing about the task.
        AttemptState::Stopped if !timed_out => {
            Verdict::Again(Retry { tries: task.tries, lost: task.lost, next_try: None })
        }
        AttemptState::Failed | AttemptState::Stopped | AttemptState::Unknown => {
            after_failure(task, spec, attempt, timed_out, now)
        }
    }
}

/// The only place that watches how long a task may run.
fn at_work(spec: &Spec, attempt: &Attempt, now: Micros) -> Verdict {
    let Some(timeout) = spec.timeout.filter(|_| attempt.stop.is_none()) else {
        return Verdict::Open;
    };
    // One that has not started is looked at again when it could be out of time at the earliest.
    let over = attempt.started.unwrap_or(attempt.created).plus(timeout);
    match attempt.started {
        _ if over > now => Verdict::WakeAt(over),
        Some(_) => Verdict::Stop(Stop::timed_out(timeout, now)),
        None => Verdict::Open,
    }
}

fn after_failure(
    task: &TaskInstance,
    spec: &Spec,
    attempt: &Attempt,
    timed_out: bool,
    now: Micros,
) -> Verdict {
    let killed = matches!(attempt.signal, Some(9 | 15));
    let fenced = attempt.failure.as_ref().is_some_and(|failure| failure.kind == ErrorKind::Fenced);
    let lost = !timed_out && (attempt.state == AttemptState::Unknown || killed || fenced);
    if lost && task.lost < LOST_MAX {
        return Verdict::Again(Retry { tries: task.tries, lost: task.lost + 1, next_try: None });
    }
    let tries = task.tries + 1;
    if tries > spec.retries {
        return Verdict::Failed(Retry { tries, lost: task.lost, next_try: None });
    }
    let ended = attempt.ended.unwrap_or(now);
    let next_try = Some(ended.plus(backoff(spec.retry_delay, tries)));
    Verdict::Again(Retry { tries, lost: task.lost, next_try })
}

/// How long a task waits after so many tries.
pub fn backoff(first: Duration, tries: u32) -> Duration {
    Backoff::new(first, BACKOFF_MAX).after(tries)
}
