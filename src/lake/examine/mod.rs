//! Asks a store whether it keeps what the commit protocol rests on, before anyone relies on it.
//!
//! A store is condemned for what it does, not for an answer that was lost: as in a commit, who is
//! refused reads back, and what gives no answer is tried again, under names of its own. All of it
//! happens in a folder under `_tidemill/`, which is emptied again; what a killed one has left there,
//! the next one removes.

mod trials;

use super::place::Turns;
use super::{Lake, paths};
use crate::clock::Clock;
use crate::error::Error;
use crate::model::finding::Finding;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore};
use std::time::Duration;
use tokio::time::error::Elapsed;
use tracing::debug;

/// A store that is slower with one call is no store to commit to.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// A trial that got no answer is begun again, so often in all.
const ROUNDS: u32 = 3;
const ROUND_PAUSE: Duration = Duration::from_secs(1);

const NO_LAKE: &str = "this store can't hold a lake: two writers would both take their commit for \
     done; use a local folder or Cloud Storage itself (of its emulators, the one that comes with Tidemill)";

const UNANSWERED: &str =
    "run doctor again; if it stays so, look at the way to the store, and at its load";

/// What became of a trial: nothing to say, or what was seen instead.
type Seen = Result<Option<String>, StoreError>;

impl Lake {
    /// Tries all that we ask of the store.
    pub async fn examine(&self, clock: &Clock) -> Vec<Finding> {
        let folder = paths::probe();
        let probe = Probe { objects: &**self.objects(), folder, clock, round: 1 };
        let news = "a new object is seen at once, by readers and by lists";
        let mut found = vec![
            probe.told("a create refuses a name that is taken", Probe::creates).await,
            probe.told(news, Probe::shows).await,
            probe.told("a copy refuses a name that is taken", Probe::copies).await,
            probe.told("an object is replaced only as it was last read", Probe::replaces).await,
        ];
        if let Turns::Swap(swap) = &self.turns {
            let what = "an object is copied over and deleted only as it was last read";
            found.push(probe.told(what, async |probe| probe.swaps(&**swap).await).await);
        }
        let parts = "an object that comes in parts is there when it is whole";
        found.push(probe.told(parts, Probe::joins).await);
        found.push(probe.skew().await);
        found.push(probe.told("what is deleted is gone at once", Probe::clears).await);
        found
    }
}

impl Lake {
    /// Where a bucket lies, `EU` or `EUROPE-WEST1`; `None` for a folder.
    pub async fn location(&self) -> Result<Option<String>, Error> {
        match &self.turns {
            Turns::Lock(_) => Ok(None),
            Turns::Swap(swap) => Ok(Some(swap.location().await?)),
        }
    }
}

struct Probe<'a> {
    objects: &'a dyn ObjectStore,
    folder: Path,
    clock: &'a Clock,
    /// How often the trial is begun: each has names of its own.
    round: u32,
}

impl Probe<'_> {
    async fn told(&self, what: &str, trial: impl AsyncFn(&Self) -> Seen) -> Finding {
        self.tried(what, NO_LAKE, trial).await
    }

    async fn tried(&self, what: &str, remedy: &str, trial: impl AsyncFn(&Self) -> Seen) -> Finding {
        let mut round = 1;
        loop {
            let probe = Self { folder: self.folder.clone(), round, ..*self };
            match tokio::time::timeout(ANSWER_WAIT, trial(&probe)).await {
                Ok(Err(error)) if round < ROUNDS && may_pass(&error) => {
                    debug!(%error, round, "{what}: trying again");
                }
                answer => return judge(what, remedy, answer),
            }
            self.clock.sleep(ROUND_PAUSE).await;
            round += 1;
        }
    }
}

fn judge(what: &str, remedy: &str, answer: Result<Seen, Elapsed>) -> Finding {
    match answer {
        Ok(Ok(None)) => Finding::good(what),
        Ok(Ok(Some(seen))) => Finding::bad(what, remedy).seen(seen),
        Ok(Err(error)) => {
            let mut error = Error::from(error);
            error.remedy.get_or_insert_with(|| UNANSWERED.into());
            Finding::failed(what, &error)
        }
        Err(_) => Finding::bad(what, UNANSWERED)
            .seen(format!("no answer within {} s", ANSWER_WAIT.as_secs())),
    }
}

/// Whether it is worth asking again.
fn may_pass(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
            | StoreError::NotFound { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::NotSupported { .. }
    )
}

#[cfg(test)]
mod tests;
