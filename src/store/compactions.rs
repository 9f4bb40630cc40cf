//! Attempts that make a closing out of many staged files: the scheduler asks for them, a worker does it.

use super::attempts::attempt;
use super::db::{Row, query};
use super::{Store, Tx};
use crate::error::Error;
use crate::model::attempt::{Attempt, AttemptKind};
use crate::model::commit::{Compact, RecordId};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::time::Micros;
use std::collections::BTreeSet;

impl Store {
    /// The newest attempt to make this closing.
    pub async fn newest_compaction(
        &self,
        table: &TableName,
        key: &PartitionKey,
        n: u32,
    ) -> Result<Option<Attempt>, Error> {
        let row = query(
            "SELECT * FROM attempts WHERE table_name = $1 AND key = $2 AND n = $3
             ORDER BY epoch DESC LIMIT 1",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .bind(n)
        .fetch_optional(&self.db)
        .await?;
        row.as_ref().map(attempt).transpose()
    }

    /// The closings of a table that attempts are making: key and number.
    pub async fn closings_at_work(
        &self,
        table: &TableName,
    ) -> Result<BTreeSet<(PartitionKey, u32)>, Error> {
        let rows = query(
            "SELECT key, n FROM attempts
             WHERE state IN ('queued', 'running') AND table_name = $1",
        )
        .bind(table.as_str())
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(|row| Ok((row.parse("key")?, row.number("n")?))).collect()
    }

    /// The records with files in the hive partition, as far as they are mirrored, and whether these
    /// are published on close.
    pub async fn records_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<(RecordId, bool)>, Error> {
        let rows = query(
            "SELECT DISTINCT topic_id, topic_partition, seq, on_close FROM files
             WHERE table_name = $1 AND key = $2 ORDER BY topic_id, topic_partition, seq",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_all(&self.db)
        .await?;
        let record = |row: &Row| {
            let topic_id = row.text("topic_id")?;
            let (topic_partition, seq) = (row.number("topic_partition")?, row.number("seq")?);
            Ok((RecordId { topic_id, topic_partition, seq }, row.flag("on_close")?))
        };
        rows.iter().map(record).collect()
    }
}

impl Tx {
    /// Queues an attempt to make a closing, unless one is open.
    pub async fn launch_compaction(
        &mut self,
        compact: &Compact,
        now: Micros,
    ) -> Result<Option<String>, Error> {
        let Compact { table, key, n, partial, complete, frontier } = compact;
        let id = self.free_attempt_id(&format!("compact-{table}-{key}-r{n}")).await?;
        let row = query(
            "INSERT INTO attempts (id, kind, version, try, epoch, state, created_us,
               table_name, key, n, partial, complete, frontier_us)
             SELECT $1, $2, dags.version, before.tries + 1, before.tries + 1, 'queued', $3,
               $4, $5, $6, $7, $8, $9
             FROM tables JOIN dags ON dags.name = tables.dag CROSS JOIN (SELECT
                 coalesce(max(epoch), 0) AS tries,
                 count(CASE WHEN state IN ('queued', 'running') THEN 1 END) AS open
               FROM attempts WHERE table_name = $4 AND key = $5 AND n = $6) AS before
             WHERE tables.name = $4 AND before.open = 0 RETURNING id",
        )
        .bind(id)
        .bind(AttemptKind::Compact.as_str())
        .bind(now.0)
        .bind(table.as_str())
        .bind(key.to_string())
        .bind(*n)
        .bind(*partial)
        .bind(*complete)
        .bind(frontier.0)
        .fetch_optional(self.conn())
        .await?;
        row.map(|row| row.text("id")).transpose()
    }
}
