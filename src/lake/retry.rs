//! Tries again what did not answer.

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use std::time::Duration;
use tracing::debug;

/// Far above what the tries below come to.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// How often a call is tried, and about how long the first pause is; each later one is twice that.
#[derive(Clone, Debug)]
pub struct Retry {
    pub clock: Clock,
    pub tries: u32,
    pub pause: Duration,
}

impl Retry {
    /// Six tries within 1.6 s bridge a busy disk or a dropped connection. What lasts longer is
    /// left to who started us, who waits longer and tells people.
    pub fn new(clock: Clock) -> Self {
        Self { clock, tries: 6, pause: Duration::from_millis(50) }
    }

    /// On top of `object_store`'s own: what timed out, and what asked for more patience. Half a
    /// minute in all; what lasts longer is left to who started us.
    #[must_use]
    pub fn over_a_network(self) -> Self {
        Self { tries: 6, pause: Duration::from_secs(1), ..self }
    }

    /// Calls until the answer is anything but [`ErrorKind::Unavailable`], or the tries are over.
    pub async fn run<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut done = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            done += 1;
            self.again(done, error).await?;
        }
    }

    /// Pauses after what has failed `done` times, or gives its error back where it is final.
    pub async fn again(&self, done: u32, error: Error) -> Result<(), Error> {
        let Some(pause) = self.pause_after(done, error.kind) else { return Err(error) };
        debug!(%error, tries = done, "no answer; trying again");
        self.clock.sleep(pause).await;
        Ok(())
    }

    fn pause_after(&self, done: u32, kind: ErrorKind) -> Option<Duration> {
        match kind {
            ErrorKind::Unavailable if done < self.tries => {
                // Who met once should not meet again.
                Some(Backoff::new(self.pause, PAUSE_MAX).jittered_after(done))
            }
            ErrorKind::Unavailable
            | ErrorKind::Input
            | ErrorKind::Fenced
            | ErrorKind::Data
            | ErrorKind::Bug => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn check(kind: ErrorKind, answers_at: u32, calls: u32) {
        let retry = Retry::new(Clock::system());
        let called = AtomicU32::new(0);
        let outcome = retry
            .run(|| async {
                let call = called.fetch_add(1, Ordering::Relaxed) + 1;
                if call == answers_at { Ok(()) } else { Err(Error::new(kind, "no")) }
            })
            .await;
        assert_eq!(called.load(Ordering::Relaxed), calls);
        assert_eq!(outcome.is_ok(), calls == answers_at);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_is_tried_again_until_it_does() {
        check(ErrorKind::Unavailable, 6, 6).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_in_the_end() {
        check(ErrorKind::Unavailable, 7, 6).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_says_no_is_final() {
        check(ErrorKind::Input, 2, 1).await;
    }
}
