//! The ticks of periodic work. A tick is never the truth about what has been done: it wakes a
//! service, which looks.

use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_cron_scheduler::Job;
use tokio_cron_scheduler::JobScheduler;
use tokio_util::sync::CancellationToken;

/// Whom to wake, and how often.
pub type Tick = (Duration, Arc<Notify>);

/// Ticks until `stop`.
pub async fn run(ticks: Vec<Tick>, stop: CancellationToken) -> Result<(), Error> {
    let mut cron = start(ticks).await.doing(|| "start the ticks".into())?;
    stop.cancelled().await;
    cron.shutdown().await.map_err(|error| Error::new(ErrorKind::Bug, error))
}

async fn start(ticks: Vec<Tick>) -> Result<JobScheduler, Error> {
    let bug = |error| Error::new(ErrorKind::Bug, error);
    let cron = JobScheduler::new().await.map_err(bug)?;
    for (every, wake) in ticks {
        let job = Job::new_repeated(every, move |_, _| wake.notify_one()).map_err(bug)?;
        cron.add(job).await.map_err(bug)?;
    }
    cron.start().await.map_err(bug)?;
    Ok(cron)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tick_wakes_and_the_stop_ends_it() {
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let ticks = vec![(Duration::from_secs(1), wake.clone())];
        let end = async {
            wake.notified().await;
            wake.notified().await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(run(ticks, stop.clone()), end);
        ended.unwrap();
    }
}
