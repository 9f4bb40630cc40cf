//! Forgets what is over for longer than `limits.keep_runs`, and requests after `limits.keep_requests`, so
//! that the file stops growing.
//!
//! What a decision may still need stays, however old: the newest run of each hive partition, which
//! says whether the partition is done; the newest attempt of each stream, which says how it ended;
//! why a run has failed; closings; files that no closing lists; versions that anything kept names.

use super::db::{query, to_json};
use super::{Store, Tx};
use crate::error::Error;
use crate::model::time::Micros;

/// What one pass has forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Ids of attempts, whose folders may go too.
    pub attempts: Vec<String>,
    /// There may be more to forget.
    pub more: bool,
}

/// Runs that ended before `?1`, but for the newest of a hive partition.
const RUNS: &str = "SELECT id FROM (SELECT id, ended_us, key, row_number() OVER
      (PARTITION BY dag, coalesce(key, id) ORDER BY n DESC, created_us DESC) AS place
    FROM runs WHERE state IN ('succeeded', 'failed', 'superseded')) AS placed
  WHERE ended_us < $1 AND (place > 1 OR key IS NULL) LIMIT $2";

/// Attempts that ended before `?1` and that nobody asks for any more: of streams all but the last, of
/// compactions those whose closing is made, of kept runs those that led to no failure.
const ATTEMPTS: &str = "SELECT id FROM attempts AS own WHERE ended_us < $1 AND CASE
    WHEN stream IS NOT NULL THEN
      EXISTS (SELECT 1 FROM attempts WHERE stream = own.stream AND epoch > own.epoch)
    WHEN table_name IS NOT NULL THEN EXISTS (SELECT 1 FROM closings
      WHERE table_name = own.table_name AND key = own.key AND n = own.n)
    ELSE EXISTS (SELECT 1 FROM runs WHERE id = own.run AND ended_us < $1
      AND state IN ('succeeded', 'superseded')) END
  LIMIT $2";

/// Files that a closing lists, whose object in the lake names them as long as the lake is there.
const FILES: &str = "DELETE FROM files WHERE (table_name, topic_id, topic_partition, seq, i) IN
  (SELECT table_name, topic_id, topic_partition, seq, i FROM files {index files_seen}
   WHERE closed IS NOT NULL AND seen_us < $1 LIMIT $2)";

const REQUESTS: &str = "DELETE FROM requests WHERE id IN
  (SELECT id FROM requests WHERE applied_us < $1 LIMIT $2)";

/// Load jobs of which it is known how they ended and that a newer one came after them.
const LOADS: &str = "DELETE FROM loads WHERE job IN
  (SELECT job FROM loads AS own WHERE ended_us < $1 AND EXISTS (SELECT 1 FROM loads
     WHERE table_name = own.table_name AND key = own.key AND closing > own.closing) LIMIT $2)";

const VERSIONS: &str = "DELETE FROM versions WHERE hash IN
  (SELECT hash FROM versions WHERE first_seen_us < $1
     AND NOT EXISTS (SELECT 1 FROM dags WHERE version = hash)
     AND NOT EXISTS (SELECT 1 FROM streams WHERE version = hash)
     AND NOT EXISTS (SELECT 1 FROM runs WHERE version = hash)
     AND NOT EXISTS (SELECT 1 FROM attempts WHERE version = hash) LIMIT $2)";

/// What is to be forgotten: what ended before these moments.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    pub runs: Micros,
    /// The audit log is kept for longer, or not as long.
    pub requests: Micros,
}

impl Store {
    /// Deletes what ended before and is not needed any more, at most `most` of each kind.
    pub async fn forget_before(&self, before: Before, most: u32) -> Result<Forgotten, Error> {
        let Before { runs: before, requests } = before;
        let mut tx = self.begin().await?;
        let runs = tx.old(RUNS, before, most).await?;
        let mut attempts = tx.attempts_of(&runs).await?;
        tx.delete("DELETE FROM runs WHERE id IN {list $1}", &runs).await?;
        let single = tx.old(ATTEMPTS, before, most).await?;
        let delete = "DELETE FROM attempts WHERE id IN {list $1}";
        tx.delete(delete, &single).await?;
        let most_of_any = u64::from(most);
        let mut more = runs.len().max(single.len()) as u64 >= most_of_any;
        attempts.extend(single);
        for (delete, before) in
            [(FILES, before), (REQUESTS, requests), (LOADS, before), (VERSIONS, before)]
        {
            let query = query(delete).bind(before.0).bind(most);
            more |= query.execute(tx.conn()).await? >= most_of_any;
        }
        tx.commit().await?;
        Ok(Forgotten { attempts, more })
    }
}

impl Tx {
    async fn old(
        &mut self,
        select: &'static str,
        before: Micros,
        most: u32,
    ) -> Result<Vec<String>, Error> {
        let rows = query(select).bind(before.0).bind(most).fetch_all(self.conn()).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    async fn attempts_of(&mut self, runs: &[String]) -> Result<Vec<String>, Error> {
        let select = "SELECT id FROM attempts WHERE run IN {list $1} ORDER BY id";
        let rows = query(select).bind(to_json(&runs)).fetch_all(self.conn()).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    async fn delete(&mut self, delete: &'static str, ids: &[String]) -> Result<(), Error> {
        query(delete).bind(to_json(&ids)).execute(self.conn()).await?;
        Ok(())
    }
}
