//! The DAGs of the project as last accepted, and every version that a run was ever pinned to.

use super::Store;
use super::Tx;
use super::columns::Columns;
use super::columns::sql;
use super::columns::to_json;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::dag::DagVersion;
use crate::model::dag::Schedule;
use crate::model::dag::Table;
use crate::model::dag::Task;
use crate::model::dag::Work;
use crate::model::hive::Grain;
use crate::model::job::JobKind;
use crate::model::job::StreamJob;
use crate::model::name::Name;
use crate::model::name::TableName;
use crate::model::settings::Project;
use crate::model::time::Micros;
use sqlx::sqlite::SqliteRow;
use std::time::Duration;

/// A DAG as the store knows it; what it does is in its version.
#[derive(Clone, Debug, PartialEq)]
pub struct DagEntry {
    pub name: Name,
    /// Hash of the newest version.
    pub version: String,
    pub paused: bool,
    /// Whether the project's files still have it.
    pub present: bool,
    pub on_close: Option<TableName>,
    pub grain: Option<Grain>,
}

/// What a project's files are to the store: a version of each DAG, and who writes which table.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub versions: Vec<DagVersion>,
    pub tables: Vec<AcceptedTable>,
}

/// A lake table with the times of the job that writes it; zero for one that a batch writes.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedTable {
    pub table: Table,
    /// The DAG whose stream or task writes it.
    pub dag: Name,
    pub close_after: Duration,
    pub late_quiet: Duration,
}

impl Accepted {
    /// Takes from a checked project what runs and closings need.
    pub fn of(project: &Project) -> Self {
        let versions: Vec<_> = project.dags.values().map(|dag| project.version(dag)).collect();
        let tables = project.tables.values().filter_map(|table| {
            let version = versions.iter().find(|version| writes(version, &table.writer))?;
            let stream = version.jobs.get(&table.writer).and_then(|job| match &job.kind {
                JobKind::Stream(stream) => Some(stream),
                JobKind::Feed(_) | JobKind::Batch(_) => None,
            });
            let time = |of: fn(&StreamJob) -> Duration| stream.map_or(Duration::ZERO, of);
            Some(AcceptedTable {
                table: table.clone(),
                dag: version.dag.name.clone(),
                close_after: time(|stream| stream.close_after),
                late_quiet: time(|stream| stream.late_quiet),
            })
        });
        Self { tables: tables.collect(), versions }
    }
}

/// Whether a stream or task of the DAG runs `job`; versions also pin jobs of other DAGs.
fn writes(version: &DagVersion, job: &Name) -> bool {
    let runs = |task: &Task| matches!(&task.work, Work::Batch(batch) if batch == job);
    version.dag.streams.values().any(|stream| stream == job) || version.dag.tasks.iter().any(runs)
}

impl Store {
    /// Takes over what the project's files say, in one transaction.
    ///
    /// DAGs and streams that the files no longer have stay, marked as not present; their queued
    /// runs wait. Only closings made from now on make runs: a schedule takes nothing from before it.
    pub async fn accept(&self, accepted: &Accepted, now: Micros) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        sqlx::raw_sql("UPDATE dags SET present = 0; UPDATE streams SET present = 0; UPDATE tables SET present = 0")
            .execute(tx.conn())
            .await?;
        for version in &accepted.versions {
            let hash = tx.add_version(version, now).await?;
            tx.accept_dag(version, &hash).await?;
            tx.accept_streams(version, &hash).await?;
        }
        for table in &accepted.tables {
            tx.accept_table(table).await?;
        }
        tx.commit().await
    }

    pub async fn dags(&self) -> Result<Vec<DagEntry>, Error> {
        let rows = sqlx::query("SELECT * FROM dags ORDER BY name").fetch_all(&self.reader).await?;
        rows.iter().map(dag_entry).collect()
    }

    pub async fn dag(&self, name: &Name) -> Result<Option<DagEntry>, Error> {
        let query = sqlx::query("SELECT * FROM dags WHERE name = ?").bind(name.as_str());
        query.fetch_optional(&self.reader).await?.as_ref().map(dag_entry).transpose()
    }

    /// The version with this content hash.
    pub async fn version(&self, hash: &str) -> Result<DagVersion, Error> {
        let query = sqlx::query("SELECT body FROM versions WHERE hash = ?").bind(hash);
        let row = query.fetch_optional(&self.reader).await?.ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("the state store has no dag version {hash}"))
        })?;
        row.json("body").doing(|| format!("read dag version {hash}"))
    }
}

impl Tx {
    /// Holds the runs of a DAG back, or lets them go on; says whether there is such a DAG.
    pub async fn set_paused(&mut self, dag: &Name, paused: bool) -> Result<bool, Error> {
        let query = sqlx::query("UPDATE dags SET paused = ? WHERE name = ?");
        let done = query.bind(paused).bind(dag.as_str()).execute(self.conn()).await?;
        Ok(done.rows_affected() > 0)
    }

    async fn add_version(&mut self, version: &DagVersion, now: Micros) -> Result<String, Error> {
        let hash = version.hash();
        sqlx::query("INSERT INTO versions (hash, dag, body, first_seen_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(&hash)
            .bind(version.dag.name.as_str())
            .bind(to_json(version))
            .bind(now.0)
            .execute(self.conn())
            .await?;
        Ok(hash)
    }

    async fn accept_dag(&mut self, version: &DagVersion, hash: &str) -> Result<(), Error> {
        let on_close = match &version.dag.schedule {
            Schedule::OnClose(on_close) => Some((on_close.table.as_str(), on_close.grain.as_str())),
            Schedule::Manual => None,
        };
        sqlx::query(
            "INSERT INTO dags (name, version, on_close, grain) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET version = ?2, present = 1, on_close = ?3, grain = ?4",
        )
        .bind(version.dag.name.as_str())
        .bind(hash)
        .bind(on_close.map(|(table, _)| table))
        .bind(on_close.map(|(_, grain)| grain))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    async fn accept_table(&mut self, accepted: &AcceptedTable) -> Result<(), Error> {
        let micros = |span: Duration| sql(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        sqlx::query(
            "INSERT INTO tables (name, body, dag, close_after_us, late_quiet_us)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET body = ?2, dag = ?3, close_after_us = ?4,
               late_quiet_us = ?5, present = 1",
        )
        .bind(accepted.table.name.as_str())
        .bind(to_json(&accepted.table))
        .bind(accepted.dag.as_str())
        .bind(micros(accepted.close_after))
        .bind(micros(accepted.late_quiet))
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

pub(super) fn dag_entry(row: &SqliteRow) -> Result<DagEntry, Error> {
    Ok(DagEntry {
        name: row.parse("name")?,
        version: row.text("version")?,
        paused: row.flag("paused")?,
        present: row.flag("present")?,
        on_close: row.parse_opt("on_close")?,
        grain: grain_of(row, "grain")?,
    })
}

pub(super) fn grain_of(row: &SqliteRow, column: &str) -> Result<Option<Grain>, Error> {
    let named = row.text_opt(column)?;
    Ok(named.and_then(|text| {
        [Grain::Hour, Grain::Day, Grain::Month].into_iter().find(|grain| grain.as_str() == text)
    }))
}
