//! The mirror of the lake's logs: for each table how far it has been read, and its files.

use super::db::{Query, Row, query};
use super::{Store, Tx};
use crate::error::Error;
use crate::model::commit::{ClosedFile, Members, Publish, Record};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::table::{Cursor, Cut, LakeTable, MembersSeen, OpenPartition};
use crate::model::time::Micros;
use std::time::Duration;

impl Store {
    /// Those that can be read, by name; [`Store::unreadable_tables`] has the others.
    pub async fn tables(&self) -> Result<Vec<LakeTable>, Error> {
        Ok(self.all_tables().await?.into_iter().filter_map(|(_, table)| table.ok()).collect())
    }

    /// Tables whose row cannot be read, each with what is wrong.
    pub async fn unreadable_tables(&self) -> Result<Vec<(TableName, Error)>, Error> {
        let all = self.all_tables().await?.into_iter();
        Ok(all.filter_map(|(name, table)| Some((name, table.err()?))).collect())
    }

    async fn all_tables(&self) -> Result<Vec<(TableName, Result<LakeTable, Error>)>, Error> {
        let rows = query("SELECT * FROM tables ORDER BY name").fetch_all(&self.db).await?;
        rows.iter().map(|row| Ok((row.parse("name")?, lake_table(row)))).collect()
    }

    pub async fn table(&self, name: &TableName) -> Result<Option<LakeTable>, Error> {
        let query = query("SELECT * FROM tables WHERE name = $1").bind(name.as_str());
        query.fetch_optional(&self.db).await?.as_ref().map(lake_table).transpose()
    }

    /// One for each topic partition with a record, those of topics that are no more included.
    pub async fn cursors(&self, table: &TableName) -> Result<Vec<Cursor>, Error> {
        let rows =
            query("SELECT * FROM cursors WHERE table_name = $1 ORDER BY topic_id, topic_partition")
                .bind(table.as_str())
                .fetch_all(&self.db)
                .await?;
        rows.iter().map(cursor).collect()
    }

    /// The hive partitions with files that no closing lists, in the order of their keys.
    pub async fn open_partitions(&self, table: &TableName) -> Result<Vec<OpenPartition>, Error> {
        let rows = open("").bind(table.as_str()).fetch_all(&self.db).await?;
        rows.iter().map(open_partition).collect()
    }

    /// One hive partition, if it has files that no closing lists.
    pub async fn open_partition(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<OpenPartition>, Error> {
        let query = open("AND key = $2").bind(table.as_str()).bind(key.to_string());
        query.fetch_optional(&self.db).await?.as_ref().map(open_partition).transpose()
    }

    pub async fn cuts(&self, table: &TableName) -> Result<Vec<Cut>, Error> {
        let query = query("SELECT from_us, to_us FROM cuts WHERE table_name = $1");
        let rows = query.bind(table.as_str()).fetch_all(&self.db).await?;
        let cut =
            |row: &Row| Ok(Cut { from: row.time_opt("from_us")?, to: row.time_opt("to_us")? });
        rows.iter().map(cut).collect()
    }

    /// The mirrored files of a hive partition that are visible since they were committed, in the order
    /// of their names.
    pub async fn shown_files_of(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Vec<ClosedFile>, Error> {
        let rows = query(
            "SELECT * FROM files WHERE table_name = $1 AND key = $2 AND NOT on_close ORDER BY published",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_all(&self.db)
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
            query("SELECT * FROM files WHERE table_name = $1 AND key = $2 ORDER BY published")
                .bind(table.as_str())
                .bind(key.to_string())
                .fetch_all(&self.db)
                .await?;
        rows.iter().map(closed_file).collect()
    }
}

impl Tx {
    /// Keeps the newest members of a table.
    pub async fn set_members(&mut self, table: &TableName, members: &Members) -> Result<(), Error> {
        query("UPDATE tables SET topic = $1, topic_id = $2, topic_partitions = $3 WHERE name = $4")
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
        let before = query(
            "SELECT watermark_us FROM cursors
             WHERE table_name = $1 AND topic_id = $2 AND topic_partition = $3",
        )
        .bind(table)
        .bind(&record.topic_id)
        .bind(record.topic_partition)
        .fetch_optional(self.conn())
        .await?;
        let moved = query(
            "INSERT INTO cursors (table_name, topic_id, topic_partition, seq, end_offset,
               watermark_us, marked, behind, read, landed, quarantined, dropped, seen_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             ON CONFLICT (table_name, topic_id, topic_partition) DO UPDATE SET
               seq = excluded.seq, end_offset = excluded.end_offset,
               watermark_us = CASE
                 WHEN cursors.watermark_us IS NULL OR excluded.watermark_us > cursors.watermark_us
                 THEN excluded.watermark_us ELSE cursors.watermark_us END,
               marked = excluded.marked, behind = excluded.behind,
               read = cursors.read + excluded.read, landed = cursors.landed + excluded.landed,
               dropped = cursors.dropped + excluded.dropped,
               quarantined = cursors.quarantined + excluded.quarantined,
               seen_us = excluded.seen_us
             WHERE excluded.seq = cursors.seq + 1",
        )
        .bind(table)
        .bind(&record.topic_id)
        .bind(record.topic_partition)
        .bind(record.seq)
        .bind(record.end)
        .bind(record.watermark.map(|at| at.0))
        .bind(record.marked)
        .bind(record.behind)
        .bind(record.counts.read)
        .bind(record.counts.landed)
        .bind(record.counts.quarantined)
        .bind(record.counts.dropped)
        .bind(now.0)
        .execute(self.conn())
        .await?;
        if moved == 0 {
            return Ok(());
        }
        let before = before.map(|row| row.int_opt("watermark_us")).transpose()?.flatten();
        self.mirror_cut(record, before).await?;
        self.mirror_files(record, now).await
    }

    /// What is missing lies between the watermark before the gap and where event time goes on after it.
    async fn mirror_cut(&mut self, record: &Record, before: Option<i64>) -> Result<(), Error> {
        let open = query(
            "SELECT seq, from_us FROM cuts WHERE table_name = $1 AND topic_id = $2
               AND topic_partition = $3 AND to_us IS NULL",
        )
        .bind(record.output.as_str())
        .bind(&record.topic_id)
        .bind(record.topic_partition)
        .fetch_all(self.conn())
        .await?;
        for cut in &open {
            let seq: u64 = cut.number("seq")?;
            let from = cut.time_opt("from_us")?;
            let Some(goes_on) = record.goes_on(from) else { continue };
            query(
                "UPDATE cuts SET to_us = $1 WHERE table_name = $2 AND topic_id = $3
                   AND topic_partition = $4 AND seq = $5",
            )
            .bind(goes_on.0)
            .bind(record.output.as_str())
            .bind(&record.topic_id)
            .bind(record.topic_partition)
            .bind(seq)
            .execute(self.conn())
            .await?;
        }
        if record.cut {
            query(
                "INSERT INTO cuts (table_name, topic_id, topic_partition, seq, from_us, to_us)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (table_name, topic_id, topic_partition, seq) DO NOTHING",
            )
            .bind(record.output.as_str())
            .bind(&record.topic_id)
            .bind(record.topic_partition)
            .bind(record.seq)
            .bind(before)
            .bind(record.goes_on(before.map(Micros)).map(|at| at.0))
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    async fn mirror_files(&mut self, record: &Record, now: Micros) -> Result<(), Error> {
        for (i, file) in record.files.iter().enumerate() {
            let Some(key) = file.key else { continue };
            query(
                "INSERT INTO files (table_name, topic_id, topic_partition, seq, i, key, published,
                   rows, bytes, checksum, event_time_min_us, event_time_max_us, seen_us, on_close)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                 ON CONFLICT (table_name, topic_id, topic_partition, seq, i) DO NOTHING",
            )
            .bind(record.output.as_str())
            .bind(&record.topic_id)
            .bind(record.topic_partition)
            .bind(record.seq)
            .bind(i as u64)
            .bind(key.to_string())
            .bind(&file.published)
            .bind(file.rows)
            .bind(file.bytes)
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
        query(
            "UPDATE tables SET frontier_us = $1
             WHERE name = $2 AND (frontier_us IS NULL OR frontier_us < $1)",
        )
        .bind(frontier.0)
        .bind(table.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// The lake's earlier closings of this table are mirrored now.
    pub async fn set_adopted(&mut self, table: &TableName) -> Result<(), Error> {
        query("UPDATE tables SET adopted = TRUE WHERE name = $1")
            .bind(table.as_str())
            .execute(self.conn())
            .await?;
        Ok(())
    }
}

/// Hive partitions of table `$1` with files that no closing lists.
fn open(and: &str) -> Query {
    query(format!(
        "SELECT key, min(seen_us) AS first_us, max(seen_us) AS last_us, count(*) AS files,
           CAST(sum(rows) AS BIGINT) AS rows, CAST(sum(bytes) AS BIGINT) AS bytes,
           (SELECT coalesce(max(n), 0) FROM closings
            WHERE closings.table_name = $1 AND closings.key = files.key) AS n,
           coalesce((SELECT frontier_us >= end_us FROM closings
            WHERE closings.table_name = $1 AND closings.key = files.key
            ORDER BY closings.n DESC LIMIT 1), FALSE) AS passed
         FROM files {{index files_open}} WHERE table_name = $1 AND closed IS NULL {and}
         GROUP BY key ORDER BY key"
    ))
}

fn lake_table(row: &Row) -> Result<LakeTable, Error> {
    let members = match (row.text_opt("topic")?, row.text_opt("topic_id")?) {
        (Some(topic), Some(topic_id)) => {
            let topic_partitions = row.number("topic_partitions")?;
            Some(MembersSeen { topic, topic_id, topic_partitions })
        }
        _ => None,
    };
    let micros = |column| row.number(column).map(Duration::from_micros);
    Ok(LakeTable {
        table: row.stored("body")?,
        dag: row.parse("dag")?,
        present: row.flag("present")?,
        close_after: micros("close_after_us")?,
        late_quiet: micros("late_quiet_us")?,
        adopted: row.flag("adopted")?,
        members,
        frontier: row.time_opt("frontier_us")?,
    })
}

fn cursor(row: &Row) -> Result<Cursor, Error> {
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

fn open_partition(row: &Row) -> Result<OpenPartition, Error> {
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

fn closed_file(row: &Row) -> Result<ClosedFile, Error> {
    Ok(ClosedFile {
        published: row.text("published")?,
        topic_id: row.text("topic_id")?,
        topic_partition: row.number("topic_partition")?,
        seq: row.number("seq")?,
        rows: row.number("rows")?,
        bytes: row.number("bytes")?,
        checksum: row.text("checksum")?,
        event_time_min: row.time_opt("event_time_min_us")?,
        event_time_max: row.time_opt("event_time_max_us")?,
    })
}
