//! Signs of life: progress goes to the store, and the answer says whether we are still meant.

use super::{Work, doing};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::stream::StreamProgress;
use std::future::Future;
use std::time::Duration;
use tracing::warn;

/// A screen that shows progress is this old at most, and a fenced attempt lives so long.
const EVERY: Duration = Duration::from_secs(1);

/// A smaller step of the wall clock does no more harm than a slow network.
const JUMP_MAX: Duration = Duration::from_secs(10);

/// Runs `stream` to its end, with a heartbeat about each second and a last one after it.
///
/// A newer epoch ends it as `Fenced`; a store that can't be reached is waited for. A jump of the wall
/// clock ends it as `Unavailable`: librdkafka waits by that clock, so that a pause of a second lasts
/// for hours when it is set back by hours; and credentials expire while the machine sleeps, which
/// their owners, who count steady time, do not notice. A new process begins with neither.
pub(super) async fn while_running<T>(
    work: &Work,
    stream: &str,
    running: impl Future<Output = Result<T, Error>>,
    progress: impl Fn() -> StreamProgress,
) -> Result<T, Error> {
    let beats = async {
        loop {
            work.clock.sleep(EVERY).await;
            if !beat(work, stream, &progress()).await {
                return Error::new(ErrorKind::Fenced, "a newer attempt has taken over");
            }
        }
    };
    let outcome = tokio::select! {
        outcome = running => outcome,
        fenced = beats => Err(fenced).doing(|| doing(&work.attempt.id)),
        jumped = jumped(&work.clock) => Err(jumped).doing(|| doing(&work.attempt.id)),
    };
    beat(work, stream, &progress()).await;
    outcome
}

async fn jumped(clock: &Clock) -> Error {
    loop {
        let span = Duration::from_micros(clock.jumped().await.unsigned_abs());
        if span > JUMP_MAX {
            let by = span.as_secs();
            let what = format!("the wall clock has jumped by {by} s: it starts again");
            return Error::new(ErrorKind::Unavailable, what);
        }
    }
}

async fn beat(work: &Work, stream: &str, progress: &StreamProgress) -> bool {
    let now = work.clock.now().into();
    match work.store.heartbeat(stream, work.attempt.epoch, progress, now).await {
        Ok(meant) => meant,
        Err(error) => {
            warn!(%error, "could not write a heartbeat; going on");
            true // Losing contact is not death: only a newer epoch ends us.
        }
    }
}

/// Runs a task to its end unless its attempt is given up meanwhile.
pub(super) async fn while_meant<T>(
    work: &Work,
    running: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let given_up = async {
        loop {
            work.clock.sleep(EVERY).await;
            match work.store.attempt(&work.attempt.id).await {
                Ok(Some(attempt)) if !attempt.state.ended() => {}
                Ok(_) => return Error::new(ErrorKind::Fenced, "it has been given up"),
                Err(error) => warn!(%error, "could not read the state store; going on"),
            }
        }
    };
    tokio::select! {
        outcome = running => outcome,
        fenced = given_up => Err(fenced).doing(|| doing(&work.attempt.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_clock_ends_nothing_and_a_jump_does_either_way() {
        for by_secs in [-3600, 3600] {
            let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_hours(10));
            let set = async {
                for by_secs in [5, -5, by_secs] {
                    clock.sleep(Duration::from_mins(1)).await;
                    clock.set(by_secs * 1_000_000);
                }
            };
            let (error, ()) = tokio::join!(jumped(&clock), set);
            assert_eq!(error.kind, ErrorKind::Unavailable);
            assert!(error.to_string().contains("3600 s"), "{error}");
        }
    }
}
