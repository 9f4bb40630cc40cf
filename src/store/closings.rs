//! The mirror of the lake's closings, and the ranges of coarser schedules that they make due.

use super::db::{Row, query, to_json};
use super::{Store, Tx};
use crate::error::Error;
use crate::model::closing::{Circumstances, Closed};
use crate::model::commit::{Closing, Compacted};
use crate::model::due::{DueRange, Unfinished};
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::run::Input;
use crate::model::time::Micros;
use std::time::Duration;

/// No hive partition is longer; it bounds the search for those that reach into a range.
const PARTITION_MAX: Duration = Duration::from_hours(32 * 24);

impl Store {
    pub async fn closed(
        &self,
        table: &TableName,
        key: &PartitionKey,
        n: u32,
    ) -> Result<Option<Closed>, Error> {
        let row = query("SELECT * FROM closings WHERE table_name = $1 AND key = $2 AND n = $3")
            .bind(table.as_str())
            .bind(key.to_string())
            .bind(n)
            .fetch_optional(&self.db)
            .await?;
        row.as_ref().map(closed).transpose()
    }

    /// The newest closing of each hive partition that touches the half-open range, by key.
    pub async fn newest_closed(
        &self,
        table: &TableName,
        range: (Micros, Micros),
    ) -> Result<Vec<Closed>, Error> {
        self.snapshot().await?.newest_closed(table, range).await
    }

    /// The newest closing of one hive partition.
    pub async fn newest_closed_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Closed>, Error> {
        let row = query(
            "SELECT * FROM closings WHERE table_name = $1 AND key = $2 ORDER BY n DESC LIMIT 1",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_optional(&self.db)
        .await?;
        row.as_ref().map(closed).transpose()
    }

    /// Where the earliest hive partition that has closed begins.
    pub async fn first_closed(&self, table: &TableName) -> Result<Option<Micros>, Error> {
        let query = query("SELECT min(start_us) AS first_us FROM closings WHERE table_name = $1");
        query.bind(table.as_str()).fetch_one(&self.db).await?.time_opt("first_us")
    }

    pub async fn due_ranges(&self) -> Result<Vec<DueRange>, Error> {
        let rows = query(
            "SELECT due_ranges.* FROM due_ranges JOIN dags ON dags.name = dag AND dags.present
             ORDER BY start_us, dag",
        )
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(due_range).collect()
    }

    /// Hive partitions of `dag` within the range whose newest run is not done: it has not
    /// succeeded, or its output has not closed yet. Held and superseded runs do not count.
    pub async fn unfinished(
        &self,
        dag: &Name,
        range: (Micros, Micros),
    ) -> Result<Vec<Unfinished>, Error> {
        let rows = query(
            "SELECT * FROM (
               SELECT dag, key, id, state, closed, row_number() OVER
                 (PARTITION BY key ORDER BY n DESC, created_us DESC) AS place
               FROM runs WHERE dag = $1 AND start_us >= $2 AND start_us < $3 AND end_us <= $3
                 AND state NOT IN ('held', 'superseded')) AS placed
             WHERE place = 1 AND (state <> 'succeeded' OR NOT closed) ORDER BY key",
        )
        .bind(dag.as_str())
        .bind(range.0.0)
        .bind(range.1.0)
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(unfinished).collect()
    }

    /// Whether a coarser schedule has yet to run for something within the range.
    pub async fn any_due(&self, dag: &Name, range: (Micros, Micros)) -> Result<bool, Error> {
        let found = query(
            "SELECT dag FROM due_ranges WHERE dag = $1 AND start_us >= $2 AND end_us <= $3 LIMIT 1",
        )
        .bind(dag.as_str())
        .bind(range.0.0)
        .bind(range.1.0)
        .fetch_optional(&self.db)
        .await?;
        Ok(found.is_some())
    }
}

impl Tx {
    /// See [`Store::newest_closed`].
    pub async fn newest_closed(
        &mut self,
        table: &TableName,
        range: (Micros, Micros),
    ) -> Result<Vec<Closed>, Error> {
        let rows = query(
            "SELECT * FROM closings AS own
             WHERE table_name = $1 AND start_us < $2 AND end_us > $3 AND start_us > $4
               AND NOT EXISTS (SELECT 1 FROM closings AS newer WHERE newer.table_name = $1
                 AND newer.key = own.key AND newer.n > own.n)
             ORDER BY key",
        )
        .bind(table.as_str())
        .bind(range.1.0)
        .bind(range.0.0)
        .bind(range.0.minus(PARTITION_MAX).0)
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(closed).collect()
    }

    /// Where the first hive partition that has closed begins, of those that do at `from` or later.
    pub async fn first_closed_from(
        &mut self,
        table: &TableName,
        from: Micros,
    ) -> Result<Option<Micros>, Error> {
        let query = query(
            "SELECT min(start_us) AS first_us FROM closings WHERE table_name = $1 AND start_us >= $2",
        );
        let query = query.bind(table.as_str()).bind(from.0);
        query.fetch_one(self.conn()).await?.time_opt("first_us")
    }

    /// The same as inputs of a run.
    pub async fn newest_inputs(
        &mut self,
        table: &TableName,
        range: (Micros, Micros),
    ) -> Result<Vec<Input>, Error> {
        let newest = self.newest_closed(table, range).await?;
        let input = |closed: Closed| Input { table: closed.table, key: closed.key, n: closed.n };
        Ok(newest.into_iter().map(input).collect())
    }

    /// Mirrors a closing and marks its files; `None` if it was mirrored before.
    pub async fn mirror_closing(
        &mut self,
        closing: &Closing,
        about: Circumstances,
        now: Micros,
    ) -> Result<Option<Closed>, Error> {
        let bytes: u64 = closing.files.iter().map(|file| file.bytes).sum();
        let row = query(
            "INSERT INTO closings (table_name, key, n, partial, late, rows, bytes, files,
               frontier_us, start_us, end_us, run, made_from_n, created_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT (table_name, key, n) DO NOTHING RETURNING *",
        )
        .bind(closing.table.as_str())
        .bind(closing.key.to_string())
        .bind(closing.n)
        .bind(closing.partial)
        .bind(about.late)
        .bind(closing.rows)
        .bind(bytes)
        .bind(closing.files.len() as u64)
        .bind(closing.frontier.0)
        .bind(about.start.0)
        .bind(about.end.0)
        .bind(closing.made_from.as_ref().map(|from| &from.run))
        .bind(closing.made_from.as_ref().map(|from| from.n))
        .bind(now.0)
        .fetch_optional(self.conn())
        .await?;
        let Some(row) = row else { return Ok(None) };
        self.mark_closed(closing).await?;
        closed(&row).map(Some)
    }

    /// Marks the files that the closing lists, or whose rows its sorted files hold.
    async fn mark_closed(&mut self, closing: &Closing) -> Result<(), Error> {
        let names: Vec<_> = closing.files.iter().map(|file| &file.published).collect();
        let records = closing.compaction.iter().flat_map(|compaction| &compaction.records);
        let taken: Vec<String> = records.flat_map(taken).collect();
        query(
            "UPDATE files {index files_by_key} SET closed = $1 WHERE table_name = $2 AND key = $3 AND closed IS NULL
               AND (published IN {list $4} OR (on_close
                 AND topic_id || '/' || topic_partition || '/' || seq IN {list $5}))",
        )
        .bind(closing.n)
        .bind(closing.table.as_str())
        .bind(closing.key.to_string())
        .bind(to_json(&names))
        .bind(to_json(&taken))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Notes that something closed in a range of a coarser schedule.
    pub async fn make_due(&mut self, due: &DueRange) -> Result<(), Error> {
        query(
            "INSERT INTO due_ranges (dag, key, start_us, end_us, asked, since_us)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (dag, key) DO UPDATE SET asked = due_ranges.asked OR excluded.asked",
        )
        .bind(due.dag.as_str())
        .bind(due.key.to_string())
        .bind(due.start.0)
        .bind(due.end.0)
        .bind(due.asked)
        .bind(due.since.0)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The range has its run, or needs none.
    pub async fn settle_range(&mut self, dag: &Name, key: &PartitionKey) -> Result<(), Error> {
        query("DELETE FROM due_ranges WHERE dag = $1 AND key = $2")
            .bind(dag.as_str())
            .bind(key.to_string())
            .execute(self.conn())
            .await?;
        Ok(())
    }
}

/// Each record as the statement above puts its parts together.
fn taken(records: &Compacted) -> impl Iterator<Item = String> {
    let Compacted { topic_id, topic_partition, seqs, .. } = records;
    seqs.iter().map(move |seq| format!("{topic_id}/{topic_partition}/{seq}"))
}

fn closed(row: &Row) -> Result<Closed, Error> {
    let made_from = row.text_opt("run")?.zip(row.number_opt("made_from_n")?);
    Ok(Closed {
        id: row.int("id")?,
        table: row.parse("table_name")?,
        key: row.parse("key")?,
        n: row.number("n")?,
        partial: row.flag("partial")?,
        late: row.flag("late")?,
        rows: row.number("rows")?,
        bytes: row.number("bytes")?,
        files: row.number("files")?,
        frontier: row.time("frontier_us")?,
        start: row.time("start_us")?,
        end: row.time("end_us")?,
        made_from,
        created: row.time("created_us")?,
    })
}

pub(super) fn due_range(row: &Row) -> Result<DueRange, Error> {
    Ok(DueRange {
        dag: row.parse("dag")?,
        key: row.parse("key")?,
        start: row.time("start_us")?,
        end: row.time("end_us")?,
        asked: row.flag("asked")?,
        since: row.time("since_us")?,
    })
}

fn unfinished(row: &Row) -> Result<Unfinished, Error> {
    Ok(Unfinished {
        dag: row.parse("dag")?,
        key: row.parse("key")?,
        run: row.text("id")?,
        state: row.parse("state")?,
    })
}
