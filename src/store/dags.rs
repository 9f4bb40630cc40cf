//! The DAGs of the project as last accepted, and every version that a run was ever pinned to.

use super::db::{Row, query};
use super::{Store, Tx};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::accepted::{Accepted, AcceptedTable, DagEntry};
use crate::model::dag::{DagVersion, Schedule};
use crate::model::hive::Grain;
use crate::model::name::Name;
use crate::model::stored::encode;
use crate::model::time::Micros;
use std::time::Duration;

impl Store {
    /// Takes over what the project's files say, in one transaction.
    ///
    /// DAGs and streams that the files no longer have stay, marked as not present; their queued
    /// runs wait. Only closings made from now on make runs: a schedule takes nothing from before it.
    /// Whatever was wrong with the files is over.
    pub async fn accept(&self, accepted: &Accepted, now: Micros) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        for gone in [
            "UPDATE dags SET present = FALSE",
            "UPDATE streams SET present = FALSE",
            "UPDATE tables SET present = FALSE",
        ] {
            query(gone).execute(tx.conn()).await?;
        }
        for version in &accepted.versions {
            let hash = tx.add_version(version, now).await?;
            tx.accept_dag(version, &hash).await?;
            tx.accept_streams(version, &hash).await?;
        }
        for table in &accepted.tables {
            tx.accept_table(table).await?;
        }
        tx.settle_files().await?;
        tx.commit().await
    }

    pub async fn dags(&self) -> Result<Vec<DagEntry>, Error> {
        let rows = query("SELECT * FROM dags ORDER BY name").fetch_all(&self.db).await?;
        rows.iter().map(dag_entry).collect()
    }

    pub async fn dag(&self, name: &Name) -> Result<Option<DagEntry>, Error> {
        let query = query("SELECT * FROM dags WHERE name = $1").bind(name.as_str());
        query.fetch_optional(&self.db).await?.as_ref().map(dag_entry).transpose()
    }

    /// The version with this content hash.
    pub async fn version(&self, hash: &str) -> Result<DagVersion, Error> {
        let query = query("SELECT body FROM versions WHERE hash = $1").bind(hash);
        let row = query.fetch_optional(&self.db).await?.ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("the state store has no dag version {hash}"))
        })?;
        version(&row).doing(|| format!("read version {} of a DAG", hash.get(..7).unwrap_or(hash)))
    }
}

/// The version in a row's `body`.
pub(super) fn version(row: &Row) -> Result<DagVersion, Error> {
    row.stored("body")
}

impl Tx {
    /// Holds the runs of a DAG back, or lets them go on; says whether there is such a DAG.
    pub async fn set_paused(&mut self, dag: &Name, paused: bool) -> Result<bool, Error> {
        let query = query("UPDATE dags SET paused = $1 WHERE name = $2");
        let done = query.bind(paused).bind(dag.as_str()).execute(self.conn()).await?;
        Ok(done > 0)
    }

    /// The same content again is written once more: in today's format, and whole if it was damaged.
    async fn add_version(&mut self, version: &DagVersion, now: Micros) -> Result<String, Error> {
        let hash = version.hash();
        query(
            "INSERT INTO versions (hash, dag, body, first_seen_us) VALUES ($1, $2, $3, $4)
             ON CONFLICT (hash) DO UPDATE SET body = excluded.body WHERE versions.body <> excluded.body",
        )
        .bind(&hash)
        .bind(version.dag.name.as_str())
        .bind(encode(version))
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
        query(
            "INSERT INTO dags (name, version, on_close, grain) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET version = $2, present = TRUE, on_close = $3, grain = $4",
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
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        query(
            "INSERT INTO tables (name, body, dag, close_after_us, late_quiet_us)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO UPDATE SET body = $2, dag = $3, close_after_us = $4,
               late_quiet_us = $5, present = TRUE",
        )
        .bind(accepted.table.name.as_str())
        .bind(encode(&accepted.table))
        .bind(accepted.dag.as_str())
        .bind(micros(accepted.close_after))
        .bind(micros(accepted.late_quiet))
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

pub(super) fn dag_entry(row: &Row) -> Result<DagEntry, Error> {
    Ok(DagEntry {
        name: row.parse("name")?,
        version: row.text("version")?,
        paused: row.flag("paused")?,
        present: row.flag("present")?,
        on_close: row.parse_opt("on_close")?,
        grain: grain_of(row, "grain")?,
    })
}

pub(super) fn grain_of(row: &Row, column: &str) -> Result<Option<Grain>, Error> {
    let named = row.text_opt(column)?;
    Ok(named.and_then(|text| {
        [Grain::Hour, Grain::Day, Grain::Month].into_iter().find(|grain| grain.as_str() == text)
    }))
}
