//! An attempt at a closing of records that are published on close: which records, from the store's
//! mirror, handed to the engine.

use super::{Work, heartbeat};
use crate::batch::compact::{Wanted, compact};
use crate::error::{Error, ErrorKind};
use crate::model::attempt::Owner;
use crate::model::job::JobKind;
use crate::model::name::TableName;
use serde_json::{Value, json};

/// Returns what was sorted, for those who look at the attempt.
pub(super) async fn run(work: &Work) -> Result<Option<Value>, Error> {
    let Owner::Closing(asked) = &work.attempt.owner else {
        let problem = format!("{} belongs to no closing", work.attempt.id);
        return Err(Error::new(ErrorKind::Bug, problem));
    };
    // What came since it was decided is taken along: it would be late otherwise.
    let records = work.store.records_of(&asked.table, &asked.key).await?.into_iter();
    let records = records.map(|(id, _)| id).collect();
    let event_time = event_time(work, &asked.table)?;
    let wanted = Wanted { closing: asked.clone(), records, event_time };
    let (lake, budget) = (work.lake().await?, work.budget());
    let made = heartbeat::while_meant(work, compact(&lake, &wanted, &budget)).await?;
    Ok(Some(json!(made)))
}

/// The column that the rows of a table are dated by; `None` where no stream writes it any more, and a
/// person closes what it has left.
fn event_time(work: &Work, table: &TableName) -> Result<Option<String>, Error> {
    let topic = work.version.jobs.values().find_map(|job| match &job.kind {
        JobKind::Stream(stream) if stream.table == *table => Some(&stream.topic),
        JobKind::Stream(_) | JobKind::Feed(_) | JobKind::Batch(_) => None,
    });
    topic.map(|topic| Ok(work.topic(topic)?.event_time.column.clone())).transpose()
}
