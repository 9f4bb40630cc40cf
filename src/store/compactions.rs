//! Attempts that make a closing out of many staged files: the scheduler asks for them, a worker does it.

use super::Store;
use super::Tx;
use super::attempts::Attempt;
use super::attempts::attempt;
use super::columns::Columns;
use super::random_end;
use crate::error::Error;
use crate::model::commit::Compact;
use crate::model::commit::RecordId;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::run::AttemptKind;
use crate::model::time::Micros;
use sqlx::sqlite::SqliteRow;

impl Store {
    /// The newest attempt to make this closing.
    pub async fn newest_compaction(
        &self,
        table: &TableName,
        key: &PartitionKey,
        n: u32,
    ) -> Result<Option<Attempt>, Error> {
        let row = sqlx::query(
            "SELECT * FROM attempts WHERE table_name = ? AND key = ? AND n = ?
             ORDER BY epoch DESC LIMIT 1",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .bind(n)
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(attempt).transpose()
    }

    /// The records with files in the hive partition, as far as they are mirrored, and whether these
    /// are published on close.
    pub async fn records_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<(RecordId, bool)>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT topic_id, topic_partition, seq, on_close FROM files
             WHERE table_name = ? AND key = ? ORDER BY topic_id, topic_partition, seq",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_all(&self.reader)
        .await?;
        let record = |row: &SqliteRow| {
            let topic_id = row.text("topic_id")?;
            let (topic_partition, seq) = (row.number("topic_partition")?, row.number("seq")?);
            Ok((RecordId { topic_id, topic_partition, seq }, row.flag("on_close")?))
        };
        rows.iter().map(record).collect()
    }
}

impl Tx {
    /// Queues an attempt to make a closing, unless one is open, or `most` for any closings.
    pub async fn launch_compaction(
        &mut self,
        compact: &Compact,
        most: u32,
        now: Micros,
    ) -> Result<Option<String>, Error> {
        let Compact { table, key, n, partial, complete, frontier } = compact;
        let id: Option<String> = sqlx::query_scalar(
            "INSERT INTO attempts (id, kind, version, try, epoch, state, created_us,
               table_name, key, n, partial, complete, frontier_us)
             SELECT ?1, ?2, dags.version, before.tries + 1, before.tries + 1, 'queued', ?3,
               ?4, ?5, ?6, ?7, ?8, ?9
             FROM tables JOIN dags ON dags.name = tables.dag, (SELECT
                 coalesce(max(epoch), 0) AS tries, coalesce(max(state IN ('queued', 'running')), 0) AS open
               FROM attempts WHERE table_name = ?4 AND key = ?5 AND n = ?6) AS before
             WHERE tables.name = ?4 AND NOT before.open AND ?10 > (SELECT count(*) FROM attempts
               WHERE state IN ('queued', 'running') AND table_name IS NOT NULL) RETURNING id",
        )
        .bind(format!("compact-{table}-{key}-r{n}-{}", random_end()))
        .bind(AttemptKind::Compact.as_str())
        .bind(now.0)
        .bind(table.as_str())
        .bind(key.to_string())
        .bind(n)
        .bind(partial)
        .bind(complete)
        .bind(frontier.0)
        .bind(most)
        .fetch_optional(self.conn())
        .await?;
        Ok(id)
    }
}

/// What the attempt makes; `None` if it belongs to a stream or a task.
pub(super) fn compact(row: &SqliteRow) -> Result<Option<Compact>, Error> {
    let Some(table) = row.parse_opt("table_name")? else { return Ok(None) };
    Ok(Some(Compact {
        table,
        key: row.parse("key")?,
        n: row.number("n")?,
        partial: row.flag("partial")?,
        complete: row.flag("complete")?,
        frontier: row.time("frontier_us")?,
    }))
}
