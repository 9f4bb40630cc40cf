//! Forgets runs and attempts whose time is over, so that the file stops growing.

use super::Store;
use crate::error::Error;
use crate::model::time::Micros;

impl Store {
    /// Deletes ended runs with their attempts, and attempts of streams, that ended before; returns
    /// the ids of the attempts, whose folders may go too.
    ///
    /// The newest run of a hive partition stays: it says whether the partition is done.
    pub async fn forget_before(&self, before: Micros, most: u32) -> Result<Vec<String>, Error> {
        let mut tx = self.begin().await?;
        let old = "SELECT id FROM (SELECT id, ended_us, row_number() OVER (PARTITION BY dag, coalesce(key, id)
               ORDER BY n DESC, created_us DESC) AS place, key FROM runs
               WHERE state IN ('succeeded', 'failed', 'superseded'))
             WHERE ended_us < ?1 AND (place > 1 OR key IS NULL) LIMIT ?2";
        let select = format!(
            "SELECT id FROM attempts WHERE run IN ({old}) UNION ALL
             SELECT id FROM attempts WHERE stream IS NOT NULL AND ended_us < ?1"
        );
        let attempts: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(select))
            .bind(before.0)
            .bind(most)
            .fetch_all(tx.conn())
            .await?;
        let delete = format!("DELETE FROM runs WHERE id IN ({old})");
        sqlx::query(sqlx::AssertSqlSafe(delete))
            .bind(before.0)
            .bind(most)
            .execute(tx.conn())
            .await?;
        sqlx::query("DELETE FROM attempts WHERE stream IS NOT NULL AND ended_us < ?")
            .bind(before.0)
            .execute(tx.conn())
            .await?;
        tx.commit().await?;
        Ok(attempts)
    }
}
