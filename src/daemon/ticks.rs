//! The ticks of periodic work. A tick is never the truth about what has been done: it wakes a
//! service, which looks.
//!
//! They follow the wall clock. When that has jumped they begin again: set back by three hours, there
//! would be none for as long.

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Whom to wake, and how often.
pub type Tick = (Duration, Arc<Notify>);

/// Ticks until `stop`.
pub async fn run(ticks: Vec<Tick>, clock: Clock, stop: CancellationToken) -> Result<(), Error> {
    loop {
        let mut cron = start(&ticks).await.doing(|| "start the ticks".into())?;
        let jumped = tokio::select! {
            () = stop.cancelled() => None,
            by_micros = clock.jumped() => Some(by_micros),
        };
        cron.shutdown().await.map_err(|error| Error::new(ErrorKind::Bug, error))?;
        let Some(by_micros) = jumped else { return Ok(()) };
        info!(by_s = by_micros / 1_000_000, "the clock was set, or this machine was asleep");
        for (_, wake) in &ticks {
            wake.notify_one();
        }
    }
}

async fn start(ticks: &[Tick]) -> Result<JobScheduler, Error> {
    let bug = |error| Error::new(ErrorKind::Bug, error);
    let cron = JobScheduler::new().await.map_err(bug)?;
    for (every, wake) in ticks {
        let wake = Arc::clone(wake);
        let job = Job::new_repeated(*every, move |_, _| wake.notify_one()).map_err(bug)?;
        cron.add(job).await.map_err(bug)?;
    }
    cron.start().await.map_err(bug)?;
    Ok(cron)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[tokio::test]
    async fn a_tick_wakes_and_the_stop_ends_it() {
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let ticks = vec![(Duration::from_secs(1), wake.clone())];
        let end = async {
            wake.notified().await;
            wake.notified().await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(run(ticks, Clock::system(), stop.clone()), end);
        ended.unwrap();
    }

    #[tokio::test]
    async fn a_clock_that_is_set_wakes_at_once_and_ticks_go_on() {
        let (clock, stop) = (Clock::starting_at(SystemTime::UNIX_EPOCH), CancellationToken::new());
        let (wake, rare) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let ticks =
            vec![(Duration::from_secs(1), wake.clone()), (Duration::from_hours(1), rare.clone())];
        let end = async {
            wake.notified().await;
            clock.set(-1_000_000);
            rare.notified().await;
            wake.notified().await;
            wake.notified().await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(run(ticks, clock.clone(), stop.clone()), end);
        ended.unwrap();
    }
}
