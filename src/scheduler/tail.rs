//! Mirrors what is new in the logs of a table, and who its members are.
//!
//! A look at an idle log costs one call for each topic partition. Members are read anew whenever a
//! record came, and mirrored together with it: who adds a topic partition declares it before the first
//! record that others could close an hour by, and a crash must not leave that record alone.

use crate::error::Error;
use crate::lake::Lake;
use crate::model::commit::{Members, Record};
use crate::model::name::TableName;
use crate::model::table::{LakeTable, MembersSeen};
use crate::model::time::Micros;
use crate::store::Store;
use futures::{StreamExt, TryStreamExt};

/// Records of one topic partition that are mirrored in one transaction: bounds its memory.
const RECORDS_MAX: usize = 64;

/// Logs that are looked at side by side.
const LOGS_MAX: usize = 8;

/// Mirrors all there is; says whether there was anything.
pub async fn tail(
    store: &Store,
    lake: &Lake,
    table: &LakeTable,
    now: Micros,
) -> Result<bool, Error> {
    let name = &table.table.name;
    let mut members = table.members.clone();
    let mut any = false;
    loop {
        let records = match &members {
            Some(members) => new_records(store, lake, name, members).await?,
            None => Vec::new(),
        };
        if records.is_empty() && members.is_some() {
            return Ok(any);
        }
        // After the records: whoever wrote them has declared what they must wait for.
        let Some(newest) = lake.members(name).await? else { return Ok(any) };
        let seen = seen(&newest);
        let mut tx = store.begin().await?;
        for record in &records {
            tx.mirror_record(record, now).await?;
        }
        if members.as_ref() != Some(&seen) {
            tx.set_members(name, &newest).await?;
        }
        tx.commit().await?;
        any = true;
        members = Some(seen);
    }
}

fn seen(members: &Members) -> MembersSeen {
    let Members { topic, topic_id, topic_partitions, .. } = members;
    MembersSeen {
        topic: topic.to_string(),
        topic_id: topic_id.clone(),
        topic_partitions: *topic_partitions,
    }
}

async fn new_records(
    store: &Store,
    lake: &Lake,
    table: &TableName,
    members: &MembersSeen,
) -> Result<Vec<Record>, Error> {
    let cursors = store.cursors(table).await?;
    let seq = |topic_partition| {
        let its = cursors.iter().find(|cursor| {
            cursor.topic_id == members.topic_id && cursor.topic_partition == topic_partition
        });
        its.map_or(0, |cursor| cursor.seq)
    };
    let logs: Vec<Vec<Record>> = futures::stream::iter(0..members.topic_partitions)
        .map(|topic_partition| {
            let log = lake.log(table, &members.topic_id, topic_partition);
            async move { log.after(seq(topic_partition), RECORDS_MAX).await }
        })
        .buffered(LOGS_MAX)
        .try_collect()
        .await?;
    Ok(logs.into_iter().flatten().collect())
}
