//! Tries again what did not answer.

use crate::clock::Clock;
use crate::error::Error;
use crate::error::ErrorKind;
use std::time::Duration;
use tracing::debug;

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
                // Who met once should not meet again: each waits half as long to half as long again.
                let jitter = rand::random_range(0.5..1.5);
                Some(self.pause.saturating_mul(1 << (done - 1).min(16)).mul_f64(jitter))
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
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

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
