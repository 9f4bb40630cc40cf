//! Closings whose rows are to be sorted first: an attempt makes them, and we find them.
//!
//! The object in the lake says whether it has been made, never how the attempt ended: one that was
//! killed after the closing has done its part, and what it left undone is done here.

use super::closing::{Closer, Taken};
use super::frontier::Close;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};
use crate::model::attempt::{Attempt, AttemptState, Failure};
use crate::model::commit::{Closing, Compact};
use crate::model::hive::PartitionKey;
use crate::model::table::LakeTable;
use crate::model::time::Micros;
use std::time::Duration;
use tracing::warn;

/// Pause after the first failure; each later one is twice as long.
const PAUSE: Duration = Duration::from_secs(5);

/// A person who has mended the cause waits no longer.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Whether an attempt is making the closing.
pub async fn is_at_work(
    closer: &Closer<'_>,
    table: &LakeTable,
    close: &Close,
) -> Result<bool, Error> {
    let newest = closer.store.newest_compaction(&table.table.name, &close.key, close.n).await?;
    Ok(newest.is_some_and(|attempt| !attempt.state.ended()))
}

/// Whether there are staged files that the closing `before` has not taken.
pub async fn is_needed(
    closer: &Closer<'_>,
    table: &LakeTable,
    key: &PartitionKey,
    before: Option<&Closing>,
) -> Result<bool, Error> {
    let records = closer.store.records_of(&table.table.name, key).await?;
    let is_new = |record| before.is_none_or(|before| !before.has_compacted(record));
    Ok(records.iter().any(|(record, on_close)| *on_close && is_new(record)))
}

/// Takes the closing that an attempt has made, or wants an attempt that makes it.
pub async fn found_or_wanted(
    closer: &Closer<'_>,
    table: &LakeTable,
    close: &Close,
    (complete, frontier): (bool, Micros),
) -> Result<Taken, Error> {
    let (name, Close { key, n, partial, .. }) = (&table.table.name, close);
    if let Some(closing) = closer.lake.closing(name, key, *n).await? {
        closer.lake.publish_closing(&closing).await?;
        return Ok(Taken::Theirs(closing));
    }
    let before = closer.store.newest_compaction(name, key, *n).await?;
    if let Some(again) =
        before.as_ref().and_then(try_again).filter(|again| !again.is_due(PAUSE_MAX, closer.now))
    {
        let failure = before.and_then(|before| before.failure);
        if let Some(Failure { error, .. }) = &failure {
            warn!(table = %name, hive_partition = %key, n, %error,
                "could not sort {key} of {name}; trying again");
        }
        return Ok(Taken::Failed { again, failure });
    }
    let (table, key, n, partial) = (name.clone(), *key, *n, *partial);
    Ok(Taken::Wanted(Compact { table, key, n, partial, complete, frontier }))
}

/// When an attempt that has ended without its closing is followed by another.
fn try_again(attempt: &Attempt) -> Option<Micros> {
    match attempt.state {
        AttemptState::Failed => {
            Some(attempt.ended?.plus(Backoff::new(PAUSE, PAUSE_MAX).after(attempt.tries)))
        }
        // Nothing was wrong with the work itself.
        AttemptState::Stopped
        | AttemptState::Unknown
        | AttemptState::Succeeded
        | AttemptState::Queued
        | AttemptState::Running => None,
    }
}

/// What a person is told who waits for the closing.
pub fn failed(failure: Failure) -> Error {
    let Failure { error, remedy, .. } = failure;
    Error::new(ErrorKind::Data, format!("its rows could not be sorted: {error}"))
        .remedy(remedy.unwrap_or_else(|| "it is tried again; see the log of `tidemill up`".into()))
}
