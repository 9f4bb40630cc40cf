//! Signs of life: progress goes to the store, and the answer says whether we are still meant.

use super::Work;
use super::doing;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::store::streams::Progress;
use std::future::Future;
use std::time::Duration;
use tracing::warn;

/// A screen that shows progress is this old at most, and a fenced attempt lives so long.
const EVERY: Duration = Duration::from_secs(1);

/// Runs `stream` to its end, with a heartbeat about each second and a last one after it.
///
/// A newer epoch ends it as `Fenced`; a store that can't be reached is waited for.
pub(super) async fn while_running<T>(
    work: &Work,
    stream: &str,
    running: impl Future<Output = Result<T, Error>>,
    progress: impl Fn() -> Progress,
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
    };
    beat(work, stream, &progress()).await;
    outcome
}

async fn beat(work: &Work, stream: &str, progress: &Progress) -> bool {
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
