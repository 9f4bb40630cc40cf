//! What screens ask for. Each is one statement, bounded by what is shown and not by what is kept.

use super::Store;
use super::closings::due_range;
use super::dags::version;
use super::db::{Row, query};
use super::runs::run;
use crate::error::Error;
use crate::model::dag::DagVersion;
use crate::model::due::DueRange;
use crate::model::hive::PartitionKey;
use crate::model::name::{Name, TableName};
use crate::model::run::{Run, RunState};
use crate::model::time::Micros;
use std::collections::BTreeMap;

/// The newest closing of a hive partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPartition {
    pub key: PartitionKey,
    pub n: u32,
    pub partial: bool,
    pub rows: u64,
    pub runs: ItsRuns,
}

/// How the runs stand that a closing has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItsRuns {
    pub any_failed: bool,
    pub any_held: bool,
    /// Some run is queued or at work.
    pub any_open: bool,
}

/// Runs of a DAG in one state, of which no later closing has made another run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standstill {
    pub dag: Name,
    pub state: RunState,
    /// Among the newest ones that were looked at.
    pub runs: u32,
    /// One of them.
    pub run: String,
}

/// What has come of the messages of a table, over all its topic partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Landed {
    pub landed: u64,
    pub quarantined: u64,
    /// When the newest record was mirrored.
    pub last_commit: Option<Micros>,
}

impl Store {
    /// The newest closing of each hive partition of a table, by key.
    pub async fn closed_partitions(
        &self,
        table: &TableName,
    ) -> Result<Vec<ClosedPartition>, Error> {
        let any = |states: &str| {
            format!(
                "EXISTS (SELECT 1 FROM runs WHERE runs.table_name = own.table_name
                   AND runs.key = own.key AND runs.n = own.n AND runs.state IN ({states}))"
            )
        };
        let (failed, held, open) = (any("'failed'"), any("'held'"), any("'queued', 'running'"));
        let rows = query(format!(
            "SELECT own.key, own.n, own.partial, own.rows,
               {failed} AS any_failed, {held} AS any_held, {open} AS any_open
             FROM closings AS own WHERE own.table_name = $1
               AND NOT EXISTS (SELECT 1 FROM closings AS newer WHERE newer.table_name = $1
                 AND newer.key = own.key AND newer.n > own.n)
             ORDER BY own.key"
        ))
        .bind(table.as_str())
        .fetch_all(&self.db)
        .await?;
        rows.iter().map(closed_partition).collect()
    }

    /// The newest `most` runs that closings of a hive partition have made, and how many there are.
    pub async fn runs_of_partition(
        &self,
        table: &TableName,
        key: &PartitionKey,
        most: u32,
    ) -> Result<(Vec<Run>, u64), Error> {
        let mut snapshot = self.snapshot().await?;
        let rows = query(
            "SELECT * FROM runs {index runs_by_partition} WHERE table_name = $1 AND key = $2
             ORDER BY n DESC, created_us DESC, id LIMIT $3",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .bind(most)
        .fetch_all(snapshot.conn())
        .await?;
        let count = query(
            "SELECT count(*) AS runs FROM runs {index runs_by_partition}
             WHERE table_name = $1 AND key = $2",
        )
        .bind(table.as_str())
        .bind(key.to_string())
        .fetch_one(snapshot.conn())
        .await?;
        let runs = rows.iter().map(run).collect::<Result<_, _>>()?;
        Ok((runs, count.number("runs")?))
    }

    /// The newest run of each DAG.
    pub async fn newest_runs(&self) -> Result<BTreeMap<Name, Run>, Error> {
        let rows = query(
            "SELECT runs.* FROM dags JOIN runs ON runs.id =
               (SELECT own.id FROM runs AS own WHERE own.dag = dags.name
                ORDER BY own.created_us DESC, own.start_us DESC, own.id LIMIT 1)",
        )
        .fetch_all(&self.db)
        .await?;
        let by_dag = |row| run(row).map(|run| (run.dag.clone(), run));
        rows.iter().map(by_dag).collect()
    }

    /// The DAGs with failed or held runs that wait for a person. Of each DAG and state only the newest
    /// `most` runs are looked at.
    pub async fn standstills(&self, most: u32) -> Result<Vec<Standstill>, Error> {
        let rows = query(
            "SELECT dag, state, count(*) AS runs, min(id) AS run FROM (
               SELECT runs.dag, runs.state, runs.id
               FROM dags CROSS JOIN (SELECT 'failed' AS state UNION ALL SELECT 'held') AS wanted
               JOIN runs ON runs.id IN (SELECT own.id FROM runs AS own
                 WHERE own.dag = dags.name AND own.state = wanted.state
                 ORDER BY own.created_us DESC, own.start_us DESC, own.id LIMIT $1)
               WHERE NOT EXISTS (SELECT 1 FROM runs AS newer WHERE newer.dag = runs.dag
                 AND newer.key = runs.key AND newer.n > runs.n)) AS found
             GROUP BY dag, state ORDER BY dag, state",
        )
        .bind(most)
        .fetch_all(&self.db)
        .await?;
        let standstill = |row: &Row| {
            Ok(Standstill {
                dag: row.parse("dag")?,
                state: row.parse("state")?,
                runs: row.number("runs")?,
                run: row.text("run")?,
            })
        };
        rows.iter().map(standstill).collect()
    }

    /// The versions that DAGs and streams have now. One that cannot be read is left out: it is a problem
    /// of its own.
    pub async fn versions_in_use(&self) -> Result<BTreeMap<String, DagVersion>, Error> {
        let rows = query(
            "SELECT hash, body FROM versions
             WHERE hash IN (SELECT version FROM dags UNION SELECT version FROM streams)",
        )
        .fetch_all(&self.db)
        .await?;
        let read = |row: &Row| Some((row.text("hash").ok()?, version(row).ok()?));
        Ok(rows.iter().filter_map(read).collect())
    }

    /// The earliest range of each present DAG that is due.
    pub async fn first_due(&self) -> Result<BTreeMap<Name, DueRange>, Error> {
        let rows = query(
            "SELECT due_ranges.* FROM dags JOIN due_ranges ON due_ranges.dag = dags.name
               AND due_ranges.key = (SELECT own.key FROM due_ranges AS own
                 WHERE own.dag = dags.name ORDER BY own.start_us, own.key LIMIT 1)
             WHERE dags.present",
        )
        .fetch_all(&self.db)
        .await?;
        let by_dag = |row| due_range(row).map(|due| (due.dag.clone(), due));
        rows.iter().map(by_dag).collect()
    }

    /// What has come of the messages of each table.
    pub async fn landed(&self) -> Result<BTreeMap<TableName, Landed>, Error> {
        let rows = query(
            "SELECT table_name, CAST(sum(landed) AS BIGINT) AS landed,
               CAST(sum(quarantined) AS BIGINT) AS quarantined, max(seen_us) AS seen_us
             FROM cursors GROUP BY table_name",
        )
        .fetch_all(&self.db)
        .await?;
        let landed = |row: &Row| {
            let landed = Landed {
                landed: row.number("landed")?,
                quarantined: row.number("quarantined")?,
                last_commit: row.time_opt("seen_us")?,
            };
            Ok((row.parse("table_name")?, landed))
        };
        rows.iter().map(landed).collect()
    }
}

fn closed_partition(row: &Row) -> Result<ClosedPartition, Error> {
    Ok(ClosedPartition {
        key: row.parse("key")?,
        n: row.number("n")?,
        partial: row.flag("partial")?,
        rows: row.number("rows")?,
        runs: ItsRuns {
            any_failed: row.flag("any_failed")?,
            any_held: row.flag("any_held")?,
            any_open: row.flag("any_open")?,
        },
    })
}
