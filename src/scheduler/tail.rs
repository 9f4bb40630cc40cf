//! Mirrors what is new in the logs of a table, and who its members are.
//!
//! A look at an idle log costs one call for each topic partition. Members are read anew whenever a
//! record came: who adds a topic partition declares it before writing the first record.

use crate::error::Error;
use crate::lake::Lake;
use crate::model::commit::Members;
use crate::model::commit::Record;
use crate::model::name::TableName;
use crate::model::time::Micros;
use crate::store::Store;
use crate::store::tables::LakeTable;
use crate::store::tables::MembersSeen;
use futures::StreamExt;
use futures::TryStreamExt;

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
    let mut members = match &table.members {
        Some(seen) => Some(seen.clone()),
        None => read_members(store, lake, name, None).await?,
    };
    let mut any = members.is_some() && table.members.is_none();
    while let Some(seen) = &members {
        let records = new_records(store, lake, name, seen).await?;
        if records.is_empty() {
            break;
        }
        any = true;
        let mut tx = store.begin().await?;
        for record in &records {
            tx.mirror_record(record, now).await?;
        }
        tx.commit().await?;
        members = read_members(store, lake, name, Some(seen)).await?;
    }
    Ok(any)
}

async fn read_members(
    store: &Store,
    lake: &Lake,
    table: &TableName,
    before: Option<&MembersSeen>,
) -> Result<Option<MembersSeen>, Error> {
    let Some(members) = lake.members(table).await? else { return Ok(None) };
    let Members { topic, topic_id, topic_partitions, .. } = &members;
    let seen = MembersSeen {
        topic: topic.to_string(),
        topic_id: topic_id.clone(),
        topic_partitions: *topic_partitions,
    };
    if before != Some(&seen) {
        let mut tx = store.begin().await?;
        tx.set_members(table, &members).await?;
        tx.commit().await?;
    }
    Ok(Some(seen))
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
