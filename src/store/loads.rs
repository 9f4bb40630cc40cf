//! Load jobs of the warehouse: which ids were given out, and how each job has ended.
//!
//! A job is begun in the transaction that also looks whether it still may be: its attempt must be
//! the task's newest, and no newer closing may have begun. So when a newer one has begun, every
//! older job is among those that it is told of, and no further one can come.

use super::db::query;
use super::{Store, Tx};
use crate::error::{Error, ErrorKind};
use crate::model::load::{BegunLoad, LoadEnd, LoadIntent, OpenLoad, RunLoad};
use crate::model::name::TableName;
use crate::model::time::Micros;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// A load that is about to be submitted.
#[derive(Clone, Copy, Debug)]
pub struct NewLoad<'a> {
    /// The attempt that submits it.
    pub attempt: &'a str,
    pub run: &'a str,
    /// What its id begins with; the number of a try follows.
    pub base: &'a str,
    /// Which try it is, counted from 1.
    pub tries: u32,
    pub intent: &'a LoadIntent,
}

/// An earlier job of the same task.
struct Earlier {
    number: u32,
    content: String,
    /// Neither failed nor burnt: it may be, or become, what is loaded.
    usable: bool,
}

impl Store {
    /// Writes a load down and gives it its id; a repeat of the same try gives the same one.
    ///
    /// `Fenced` where the attempt has been given up, or a newer closing has begun.
    pub async fn begin_load(&self, load: &NewLoad<'_>, now: Micros) -> Result<BegunLoad, Error> {
        let mut tx = self.begin().await?;
        tx.fence_attempt(load.attempt).await?;
        tx.fence_closing(load).await?;
        let known = tx.has_ended_loads(load).await?;
        let number = number(load.tries, &load.intent.content, &tx.earlier_loads(load.base).await?);
        let job = format!("{}-t{number}", load.base);
        query(
            "INSERT INTO loads (job, base, number, run, table_name, key, closing, content, state,
               begun_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9)
             ON CONFLICT (job) DO NOTHING",
        )
        .bind(&job)
        .bind(load.base)
        .bind(number)
        .bind(load.run)
        .bind(load.intent.table.as_str())
        .bind(load.intent.key.to_string())
        .bind(load.intent.closing)
        .bind(&load.intent.content)
        .bind(now.0)
        .execute(tx.conn())
        .await?;
        let open = tx.open_loads(load, &job).await?;
        let (jobs_today, partitions) = tx.count_loads(&load.intent.table, now).await?;
        tx.commit().await?;
        Ok(BegunLoad { job, open, known, jobs_today, partitions })
    }

    /// How a job has ended; what was known already stays.
    pub async fn load_ended(&self, job: &str, end: LoadEnd, now: Micros) -> Result<(), Error> {
        let (state, rows, bytes) = match end {
            LoadEnd::Loaded { rows, bytes } => ("loaded", Some(rows), Some(bytes)),
            LoadEnd::Failed => ("failed", None, None),
            LoadEnd::Burnt => ("burnt", None, None),
        };
        let mut tx = self.begin().await?;
        query(
            "UPDATE loads SET state = $1, rows = $2, bytes = $3, ended_us = $4
             WHERE job = $5 AND state = 'open'",
        )
        .bind(state)
        .bind(rows)
        .bind(bytes)
        .bind(now.0)
        .bind(job)
        .execute(tx.conn())
        .await?;
        tx.commit().await
    }

    /// The load jobs of a run's tasks, oldest first, without those that loaded nothing.
    pub async fn loads_of(&self, run: &str) -> Result<Vec<RunLoad>, Error> {
        let rows = query(
            "SELECT job, table_name, key, state FROM loads
             WHERE run = $1 AND state IN ('open', 'loaded') ORDER BY begun_us, job",
        )
        .bind(run)
        .fetch_all(&self.db)
        .await?;
        let loads = rows.iter().map(|row| {
            let (job, table, key) = (row.text("job")?, row.parse("table_name")?, row.parse("key")?);
            Ok(RunLoad { job, table, key, ended: row.text("state")? == "loaded" })
        });
        loads.collect()
    }
}

/// The number of a job's id: that of the task's newest job, where it was this try's and has its rows,
/// or else a new one. What came before the newest has been replaced, so none of it is taken over.
fn number(tries: u32, content: &str, earlier: &[Earlier]) -> u32 {
    match earlier.iter().max_by_key(|earlier| earlier.number) {
        Some(newest) if newest.number < tries => tries,
        Some(newest) if newest.usable && newest.content == content => newest.number,
        Some(newest) => newest.number + 1,
        None => tries,
    }
}

impl Tx {
    async fn fence_attempt(&mut self, attempt: &str) -> Result<(), Error> {
        let row = query(
            "SELECT attempts.epoch = tasks.epoch AS newest FROM attempts
             JOIN tasks ON tasks.run = attempts.run AND tasks.task = attempts.task
             WHERE attempts.id = $1 AND attempts.state IN ('queued', 'running')",
        )
        .bind(attempt)
        .fetch_optional(self.conn())
        .await?;
        if row.map(|row| row.flag("newest")).transpose()? == Some(true) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Fenced, "the attempt has been given up"))
    }

    async fn fence_closing(&mut self, load: &NewLoad<'_>) -> Result<(), Error> {
        let newer = query(
            "SELECT closing, job FROM loads WHERE table_name = $1 AND key = $2 AND closing > $3
             ORDER BY closing DESC LIMIT 1",
        )
        .bind(load.intent.table.as_str())
        .bind(load.intent.key.to_string())
        .bind(load.intent.closing)
        .fetch_optional(self.conn())
        .await?;
        let Some(newer) = newer else { return Ok(()) };
        let (closing, job) = (newer.int("closing")?, newer.text("job")?);
        let problem = format!("closing {closing} is loaded by job {job}");
        Err(Error::new(ErrorKind::Fenced, problem))
    }

    async fn has_ended_loads(&mut self, load: &NewLoad<'_>) -> Result<bool, Error> {
        let query = query(
            "SELECT job FROM loads
             WHERE table_name = $1 AND key = $2 AND state IN ('loaded', 'failed') LIMIT 1",
        )
        .bind(load.intent.table.as_str())
        .bind(load.intent.key.to_string());
        Ok(query.fetch_optional(self.conn()).await?.is_some())
    }

    async fn earlier_loads(&mut self, base: &str) -> Result<Vec<Earlier>, Error> {
        let query = query("SELECT number, content, state FROM loads WHERE base = $1");
        let rows = query.bind(base).fetch_all(self.conn()).await?;
        let earlier = rows.iter().map(|row| {
            let usable = matches!(row.text("state")?.as_str(), "open" | "loaded");
            Ok(Earlier { number: row.number("number")?, content: row.text("content")?, usable })
        });
        earlier.collect()
    }

    async fn open_loads(&mut self, load: &NewLoad<'_>, ours: &str) -> Result<Vec<OpenLoad>, Error> {
        let rows = query(
            "SELECT job, closing FROM loads
             WHERE table_name = $1 AND key = $2 AND state = 'open' AND job <> $3 ORDER BY begun_us",
        )
        .bind(load.intent.table.as_str())
        .bind(load.intent.key.to_string())
        .bind(ours)
        .fetch_all(self.conn())
        .await?;
        rows.iter()
            .map(|row| Ok(OpenLoad { job: row.text("job")?, closing: row.number("closing")? }))
            .collect()
    }

    async fn count_loads(&mut self, table: &TableName, now: Micros) -> Result<(u32, u32), Error> {
        let row = query(
            "SELECT (SELECT count(*) FROM loads WHERE table_name = $1 AND begun_us > $2) AS jobs,
               (SELECT count(DISTINCT key) FROM loads WHERE table_name = $1 AND state = 'loaded')
                 AS partitions",
        )
        .bind(table.as_str())
        .bind(now.minus(DAY).0)
        .fetch_one(self.conn())
        .await?;
        Ok((row.number("jobs")?, row.number("partitions")?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::repeat_tests::check;
    use super::*;
    use crate::store::Store;
    use tempfile::TempDir;

    const NOW: Micros = Micros(1_000);

    fn earlier(number: u32, content: &str, usable: bool) -> Earlier {
        Earlier { number, content: content.into(), usable }
    }

    #[test]
    fn a_try_that_begins_again_keeps_its_number() {
        assert_eq!(number(1, "a", &[]), 1);
        assert_eq!(number(1, "a", &[earlier(1, "a", true)]), 1);
        assert_eq!(number(2, "a", &[earlier(1, "a", false)]), 2);
    }

    #[test]
    fn a_number_whose_job_failed_or_had_other_rows_is_not_used_again() {
        assert_eq!(number(1, "a", &[earlier(1, "a", false)]), 2);
        assert_eq!(number(1, "b", &[earlier(1, "a", true), earlier(2, "a", false)]), 3);
    }

    #[test]
    fn a_job_whose_rows_were_replaced_is_not_taken_over() {
        assert_eq!(number(1, "a", &[earlier(1, "a", true), earlier(2, "b", true)]), 3);
    }

    /// A store with an attempt of a task in each of the runs `r1` and `r2`: `a1` and `a2`.
    async fn with_attempts() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let rows = "INSERT INTO versions (hash, dag, body, first_seen_us) VALUES ('v', 'd', '', 0);
            INSERT INTO runs (id, dag, version, kind, class, state, created_us)
              VALUES ('r1', 'd', 'v', 'manual', 0, 'running', 0), ('r2', 'd', 'v', 'manual', 0, 'running', 0);
            INSERT INTO tasks (run, task, position, state, epoch)
              VALUES ('r1', 't', 0, 'running', 1), ('r2', 't', 0, 'running', 1);
            INSERT INTO attempts (id, run, task, kind, version, try, epoch, state, created_us)
              VALUES ('a1', 'r1', 't', 'batch', 'v', 1, 1, 'running', 0),
                     ('a2', 'r2', 't', 'batch', 'v', 1, 1, 'running', 0);";
        tx.conn().run(rows).await.unwrap();
        tx.commit().await.unwrap();
        (folder, store)
    }

    async fn begin(store: &Store, attempt: &str, closing: u32) -> Result<BegunLoad, Error> {
        let (table, key) = ("agg.x".parse().unwrap(), "2026-11-20T05".parse().unwrap());
        let run = attempt.replace('a', "r");
        let base = format!("tidemill-wiki-d-{run}-t");
        let load = NewLoad {
            attempt,
            run: &run,
            base: &base,
            tries: 1,
            intent: &LoadIntent { table, key, closing, content: "c0ffee".into() },
        };
        store.begin_load(&load, NOW).await
    }

    async fn set_task(store: &Store, sql: &'static str) {
        let mut tx = store.begin().await.unwrap();
        tx.conn().run(sql).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_restart_is_given_the_id_that_it_had() {
        let (_folder, store) = with_attempts().await;
        let first = begin(&store, "a1", 1).await.unwrap();
        assert_eq!((first.job.as_str(), first.known), ("tidemill-wiki-d-r1-t-t1", false));
        let again = begin(&store, "a1", 1).await.unwrap();
        assert_eq!((again.job, again.known, again.open), (first.job, false, vec![]));
    }

    #[tokio::test]
    async fn a_load_is_begun_and_ended_once() {
        let (_folder, store) = with_attempts().await;
        check(&store, async |store| begin(store, "a1", 1).await.map(drop)).await;
        let job = begin(&store, "a1", 1).await.unwrap().job;
        let loaded = LoadEnd::Loaded { rows: 1, bytes: 2 };
        check(&store, async |store| store.load_ended(&job, loaded, NOW).await).await;
    }

    #[tokio::test]
    async fn a_run_knows_what_it_has_loaded_and_not_what_came_to_nothing() {
        let (_folder, store) = with_attempts().await;
        let job = begin(&store, "a1", 1).await.unwrap().job;
        let load = |ended| {
            let (table, key) = ("agg.x".parse().unwrap(), "2026-11-20T05".parse().unwrap());
            RunLoad { job: job.clone(), table, key, ended }
        };
        assert_eq!(store.loads_of("r1").await.unwrap(), [load(false)]);
        store.load_ended(&job, LoadEnd::Loaded { rows: 1, bytes: 2 }, NOW).await.unwrap();
        assert_eq!(store.loads_of("r1").await.unwrap(), [load(true)]);
        let burnt = begin(&store, "a2", 2).await.unwrap().job;
        store.load_ended(&burnt, LoadEnd::Burnt, NOW).await.unwrap();
        assert_eq!(store.loads_of("r2").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_newer_closing_hears_of_the_older_job_and_fences_it() {
        let (_folder, store) = with_attempts().await;
        let old = begin(&store, "a1", 1).await.unwrap().job;
        let newer = begin(&store, "a2", 2).await.unwrap();
        assert_eq!(newer.open, [OpenLoad { job: old.clone(), closing: 1 }]);
        assert_eq!((newer.jobs_today, newer.partitions), (2, 0));
        assert_eq!(begin(&store, "a1", 1).await.unwrap_err().kind, ErrorKind::Fenced);
        store.load_ended(&old, LoadEnd::Burnt, NOW).await.unwrap();
        assert_eq!(begin(&store, "a2", 2).await.unwrap().open, []);
        let loaded = LoadEnd::Loaded { rows: 1, bytes: 2 };
        store.load_ended(&newer.job, loaded, NOW).await.unwrap();
        assert_eq!(begin(&store, "a2", 2).await.unwrap().partitions, 1);
    }

    #[tokio::test]
    async fn an_attempt_that_was_given_up_begins_no_load() {
        for given_up in [
            "UPDATE attempts SET state = 'unknown' WHERE id = 'a1'",
            "UPDATE tasks SET epoch = 2 WHERE run = 'r1'",
        ] {
            let (_folder, store) = with_attempts().await;
            set_task(&store, given_up).await;
            assert_eq!(begin(&store, "a1", 1).await.unwrap_err().kind, ErrorKind::Fenced);
        }
    }

    /// A person clears a run because the warehouse lacks its rows, whatever was loaded once.
    #[tokio::test]
    async fn a_cleared_run_loads_the_same_rows_again() {
        let (_folder, store) = with_attempts().await;
        let first = begin(&store, "a1", 1).await.unwrap().job;
        store.load_ended(&first, LoadEnd::Loaded { rows: 1, bytes: 2 }, NOW).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.clear_run("r1", "v", false).await.unwrap();
        tx.commit().await.unwrap();
        for when in ["cleared", "restarted"] {
            let job = begin(&store, "a1", 1).await.unwrap().job;
            assert_eq!(job, "tidemill-wiki-d-r1-t-t2", "{when}");
        }
    }

    #[tokio::test]
    async fn a_failed_job_gives_its_number_up() {
        let (_folder, store) = with_attempts().await;
        let failed = begin(&store, "a1", 1).await.unwrap().job;
        store.load_ended(&failed, LoadEnd::Failed, NOW).await.unwrap();
        assert_eq!(begin(&store, "a1", 1).await.unwrap().job, "tidemill-wiki-d-r1-t-t2");
    }
}
