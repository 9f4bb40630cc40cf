//! The mirror of the lake's logs: for each table how far it has been read, and its files.

use super::Store;
use super::Tx;
use super::columns::Columns;
use super::columns::sql;
use crate::error::Error;
use crate::model::commit::ClosedFile;
use crate::model::commit::Members;
use crate::model::commit::Publish;
use crate::model::commit::Record;
use crate::model::dag::Table;
use crate::model::dag::TableContent;
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::name::TableName;
use crate::model::time::Micros;
use sqlx::sqlite::SqliteRow;
use std::time::Duration;

/// A table of the lake and how far it has closed.
#[derive(Clone, Debug, PartialEq)]
pub struct LakeTable {
    pub table: Table,
    /// The DAG whose stream or task writes it.
    pub dag: Name,
    pub present: bool,
    pub close_after: Duration,
    pub late_quiet: Duration,
    /// Whether the closings that the lake had before this store are mirrored.
    pub adopted: bool,
    pub members: Option<MembersSeen>,
    /// Every hive partition that ends before it has closed; only of tables that a stream writes.
    pub frontier: Option<Micros>,
}

/// The newest members that have been seen, and what their topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersSeen {
    pub topic: String,
    pub topic_id: String,
    pub topic_partitions: u32,
}

/// How far the log of one topic partition has been mirrored.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    pub topic_id: String,
    pub topic_partition: u32,
    pub seq: u64,
    pub end: i64,
    pub watermark: Option<Micros>,
    /// Marks move its watermark, never the clock.
    pub marked: bool,
    /// Nothing has landed of it yet, and there was more to read.
    pub behind: bool,
    /// Sums over all records.
    pub read: u64,
    pub landed: u64,
    pub quarantined: u64,
    pub dropped: u64,
    /// When its newest record was mirrored.
    pub seen: Micros,
}

/// A hive partition with files that its newest closing lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenPartition {
    pub key: PartitionKey,
    /// The number of its newest closing; 0 if it has none.
    pub closings: u32,
    /// The frontier had passed it when that closing was made, so what came since is late.
    pub passed: bool,
    /// When the first of those files was seen, and the last.
    pub first_seen: Micros,
    pub last_seen: Micros,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// A stretch of event time, both ends included, of which a table lacks rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub from: Option<Micros>,
    pub to: Option<Micros>,
}

impl LakeTable {
    pub fn is_streamed(&self) -> bool {
        matches!(self.table.content, TableContent::Topic(_))
    }
}

impl Store {
    pub async fn tables(&self) -> Result<Vec<LakeTable>, Error> {
        let rows =
            sqlx::query("SELECT * FROM tables ORDER BY name").fetch_all(&self.reader).await?;
        rows.iter().map(lake_table).collect()
    }

    pub async fn table(&self, name: &TableName) -> Result<Option<LakeTable>, Error> {
        let query = sqlx::query("SELECT * FROM tables WHERE name = ?").bind(name.as_str());
        query.fetch_optional(&self.reader).await?.as_ref().map(lake_table).transpose()
    }

    /// One for each topic partition with a record, those of topics that are no more included.
    pub async fn cursors(&self, table: &TableName) -> Result<Vec<Cursor>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM cursors WHERE table_name = ? ORDER BY topic_id, topic_partition",
        )
        .bind(table.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(cursor).collect()
    }

    /// The hive partitions with files that no closing lists, in the order of their keys.
    pub async fn open_partitions(&self, table: &TableName) -> Result<Vec<OpenPartition>, Error> {
        let rows = sqlx::query(
            "SELECT key, min(seen_us) AS first_us, max(seen_us) AS last_us, count(*) AS files,
               sum(rows) AS rows, sum(bytes) AS bytes,
               (SELECT coalesce(max(n), 0) FROM closings
                WHERE closings.table_name = files.table_name AND closings.key = files.key) AS n,
               coalesce((SELECT frontier_us >= end_us FROM closings
                WHERE closings.table_name = files.table_name AND closings.key = files.key
                ORDER BY closings.n DESC LIMIT 1), 0) AS passed
             FROM files INDEXED BY files_open WHERE table_name = ? AND closed IS NULL
             GROUP BY key ORDER BY key",
        )
        .bind(table.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(open_partition).collect()
    }

    pub async fn cuts(&self, table: &TableName) -> Result<Vec<Cut>, Error> {
        let query = sqlx::query("SELECT from_us, to_us FROM cuts WHERE table_name = ?");
        let rows = query.bind(table.as_str()).fetch_all(&self.reader).await?;
        let cut = |row: &SqliteRow| {
            Ok(Cut { from: row.time_opt("from_us")?, to: row.time_opt("to_us")? })
        };
        rows.iter().map(cut).collect()
    }

    /// The mirrored files of a hive partition that are visible since they were committed, in the order
    /// of their names.
    pub async fn shown_files_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<ClosedFile>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM files WHERE table_name = ? AND key = ? AND NOT on_close ORDER BY published",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(closed_file).collect()
    }

    /// All mirrored files of a hive partition, in the order of their published names; those of records
    /// that are published on close may never have been visible.
    pub async fn files_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<ClosedFile>, Error> {
        let rows =
            sqlx::query("SELECT * FROM files WHERE table_name = ? AND key = ? ORDER BY published")
                .bind(table.as_str())
                .bind(key.to_string())
                .fetch_all(&self.reader)
                .await?;
        rows.iter().map(closed_file).collect()
    }
}

impl Tx {
    /// Keeps the newest members of a table.
    pub async fn set_members(&mut self, table: &TableName, members: &Members) -> Result<(), Error> {
        sqlx::query(
            "UPDATE tables SET topic = ?, topic_id = ?, topic_partitions = ? WHERE name = ?",
        )
        .bind(members.topic.as_str())
        .bind(&members.topic_id)
        .bind(members.topic_partitions)
        .bind(table.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Mirrors a record: its files and the cursor together. One mirrored before changes nothing.
    pub async fn mirror_record(&mut self, record: &Record, now: Micros) -> Result<(), Error> {
        let table = record.output.as_str();
        let before: Option<Option<i64>> = sqlx::query_scalar(
            "SELECT watermark_us FROM cursors
             WHERE table_name = ? AND topic_id = ? AND topic_partition = ?",
        )
        .bind(table)
        .bind(&record.topic_id)
        .bind(record.topic_partition)
        .fetch_optional(self.conn())
        .await?;
        let moved = sqlx::query(
            "INSERT INTO cursors (table_name, topic_id, topic_partition, seq, end_offset,
               watermark_us, marked, behind, read, landed, quarantined, dropped, seen_us)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET seq = excluded.seq, end_offset = excluded.end_offset,
               watermark_us = max(coalesce(excluded.watermark_us, watermark_us),
                                  coalesce(watermark_us, excluded.watermark_us)),
               marked = excluded.marked, behind = excluded.behind, read = read + excluded.read,
               landed = landed + excluded.landed, dropped = dropped + excluded.dropped,
               quarantined = quarantined + excluded.quarantined, seen_us = excluded.seen_us
             WHERE excluded.seq = seq + 1",
        )
        .bind(table)
        .bind(&record.topic_id)
        .bind(record.topic_partition)
        .bind(sql(record.seq))
        .bind(record.end)
        .bind(record.watermark.map(|at| at.0))
        .bind(record.marked)
        .bind(record.behind)
        .bind(sql(record.counts.read))
        .bind(sql(record.counts.landed))
        .bind(sql(record.counts.quarantined))
        .bind(sql(record.counts.dropped))
        .bind(now.0)
        .execute(self.conn())
        .await?;
        if moved.rows_affected() == 0 {
            return Ok(());
        }
        self.mirror_cut(record, before.flatten()).await?;
        self.mirror_files(record, now).await
    }

    /// What is missing lies between the watermark before the gap and the first row after it.
    async fn mirror_cut(&mut self, record: &Record, before: Option<i64>) -> Result<(), Error> {
        let first = record.files.iter().filter_map(|file| file.event_time_min).min();
        // A mark says likewise that what follows is later; a silent topic partition has no row.
        let first = first.or(record.watermark);
        if let Some(first) = first {
            sqlx::query(
                "UPDATE cuts SET to_us = ? WHERE table_name = ? AND topic_id = ?
                   AND topic_partition = ? AND to_us IS NULL",
            )
            .bind(first.0)
            .bind(record.output.as_str())
            .bind(&record.topic_id)
            .bind(record.topic_partition)
            .execute(self.conn())
            .await?;
        }
        if record.cut {
            sqlx::query("INSERT INTO cuts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(record.output.as_str())
                .bind(&record.topic_id)
                .bind(record.topic_partition)
                .bind(sql(record.seq))
                .bind(before)
                .bind(first.map(|at| at.0))
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }

    async fn mirror_files(&mut self, record: &Record, now: Micros) -> Result<(), Error> {
        for (i, file) in record.files.iter().enumerate() {
            let Some(key) = file.key else { continue };
            sqlx::query(
                "INSERT INTO files (table_name, topic_id, topic_partition, seq, i, key, published,
                   rows, bytes, checksum, event_time_min_us, event_time_max_us, seen_us, on_close)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(record.output.as_str())
            .bind(&record.topic_id)
            .bind(record.topic_partition)
            .bind(sql(record.seq))
            .bind(sql(i as u64))
            .bind(key.to_string())
            .bind(&file.published)
            .bind(sql(file.rows))
            .bind(sql(file.bytes))
            .bind(&file.checksum)
            .bind(file.event_time_min.map(|at| at.0))
            .bind(file.event_time_max.map(|at| at.0))
            .bind(now.0)
            .bind(record.publish == Publish::OnClose)
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    /// Moves the frontier of a table on; it never goes back.
    pub async fn advance(&mut self, table: &TableName, frontier: Micros) -> Result<(), Error> {
        sqlx::query(
            "UPDATE tables SET frontier_us = max(coalesce(frontier_us, ?1), ?1) WHERE name = ?2",
        )
        .bind(frontier.0)
        .bind(table.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The lake's earlier closings of this table are mirrored now.
    pub async fn set_adopted(&mut self, table: &TableName) -> Result<(), Error> {
        sqlx::query("UPDATE tables SET adopted = 1 WHERE name = ?")
            .bind(table.as_str())
            .execute(self.conn())
            .await?;
        Ok(())
    }
}

fn lake_table(row: &SqliteRow) -> Result<LakeTable, Error> {
    let members = match (row.text_opt("topic")?, row.text_opt("topic_id")?) {
        (Some(topic), Some(topic_id)) => {
            let topic_partitions = row.number("topic_partitions")?;
            Some(MembersSeen { topic, topic_id, topic_partitions })
        }
        _ => None,
    };
    let micros = |column| row.number(column).map(Duration::from_micros);
    Ok(LakeTable {
        table: row.json("body")?,
        dag: row.parse("dag")?,
        present: row.flag("present")?,
        close_after: micros("close_after_us")?,
        late_quiet: micros("late_quiet_us")?,
        adopted: row.flag("adopted")?,
        members,
        frontier: row.time_opt("frontier_us")?,
    })
}

fn cursor(row: &SqliteRow) -> Result<Cursor, Error> {
    Ok(Cursor {
        topic_id: row.text("topic_id")?,
        topic_partition: row.number("topic_partition")?,
        seq: row.number("seq")?,
        end: row.int("end_offset")?,
        watermark: row.time_opt("watermark_us")?,
        marked: row.flag("marked")?,
        behind: row.flag("behind")?,
        read: row.number("read")?,
        landed: row.number("landed")?,
        quarantined: row.number("quarantined")?,
        dropped: row.number("dropped")?,
        seen: row.time("seen_us")?,
    })
}

fn open_partition(row: &SqliteRow) -> Result<OpenPartition, Error> {
    Ok(OpenPartition {
        key: row.parse("key")?,
        closings: row.number("n")?,
        passed: row.flag("passed")?,
        first_seen: row.time("first_us")?,
        last_seen: row.time("last_us")?,
        files: row.number("files")?,
        rows: row.number("rows")?,
        bytes: row.number("bytes")?,
    })
}

fn closed_file(row: &SqliteRow) -> Result<ClosedFile, Error> {
    Ok(ClosedFile {
        published: row.text("published")?,
        topic_id: row.text("topic_id")?,
        topic_partition: row.number("topic_partition")?,
        seq: row.number("seq")?,
        rows: row.number("rows")?,
        bytes: row.number("bytes")?,
        checksum: row.text("checksum")?,
    })
}
