//! Tells the state store how the work has ended.
//!
//! The work is done by then, and would all be done again for a report that nobody took: so what is in
//! the way for a moment, a full disk or a process that holds the store, is waited for.

use super::doing;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::attempt::Failure;
use crate::store::Store;
use serde_json::Value;
use std::time::Duration;
use tracing::{error, warn};

/// With their pauses, and what the store itself waits for others, a minute at least.
const TRIES: u32 = 7;
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// Writes the outcome down, and returns it; `Fenced` if the attempt has been given up meanwhile.
pub(super) async fn report(
    store: &Store,
    clock: &Clock,
    id: &str,
    outcome: Result<Option<Value>, Error>,
) -> Result<(), Error> {
    crash::point("outcome");
    let failure = outcome.as_ref().err().map(Failure::from);
    if let Some(failure) = &failure {
        error!(remedy = failure.remedy, "{}", failure.error);
    }
    let result = outcome.as_ref().ok().and_then(Option::as_ref);
    let (mut tries, mut pauses) = (1, BACKOFF.pauses());
    let taken = loop {
        match store.report(id, result, failure.as_ref()).await {
            Err(error) if error.kind == ErrorKind::Unavailable && tries < TRIES => {
                warn!(%error, "could not report how {id} ended; trying again");
            }
            told => break told?,
        }
        clock.sleep(pauses.longer()).await;
        tries += 1;
    };
    if !taken {
        return Err(Error::new(ErrorKind::Fenced, "it has been given up")).doing(|| doing(id));
    }
    outcome.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::Crash;
    use crate::store::testing::with_feed;

    #[tokio::test]
    async fn a_report_that_is_not_taken_at_once_is_told_again() {
        for trouble in Crash::TROUBLES {
            let (_folder, store) = with_feed().await;
            let attempt = store.launch_stream("wiki.collect", clock().now().into()).await;
            let id = attempt.unwrap().unwrap().id;
            let crashing = store.crashing(trouble(0));
            let told = Some(Value::from("done"));
            report(&crashing, &clock(), &id, Ok(told.clone())).await.unwrap();
            assert_eq!(store.attempt(&id).await.unwrap().unwrap().result, told);
        }
    }

    fn clock() -> Clock {
        Clock::system()
    }
}
