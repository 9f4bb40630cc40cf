//! Streams: what is wanted of each, where it stands and how far it has come.

use super::db::{Row, query};
use super::ids::random_end;
use super::{Store, Tx};
use crate::error::Error;
use crate::model::attempt::Attempt;
use crate::model::dag::{DagVersion, content_hash};
use crate::model::instance;
use crate::model::job::JobKind;
use crate::model::stored::encode;
use crate::model::stream::{Desired, Standing, Stream, StreamKind, StreamProgress};
use crate::model::time::Micros;

impl Store {
    pub async fn streams(&self) -> Result<Vec<Stream>, Error> {
        let rows = query("SELECT * FROM streams ORDER BY id").fetch_all(&self.db).await?;
        rows.iter().map(stream).collect()
    }

    pub async fn stream(&self, id: &str) -> Result<Option<Stream>, Error> {
        let query = query("SELECT * FROM streams WHERE id = $1").bind(id);
        query.fetch_optional(&self.db).await?.as_ref().map(stream).transpose()
    }

    /// Queues a new attempt of the stream under the next epoch, which fences all older ones.
    ///
    /// `None` if it is not wanted, gone from the files, or an attempt is still open.
    pub async fn launch_stream(&self, id: &str, now: Micros) -> Result<Option<Attempt>, Error> {
        let mut tx = self.begin().await?;
        let claimed = query(
            "UPDATE streams SET epoch = epoch + 1, state = 'running', next_start_us = NULL,
               waiting_for = NULL
             WHERE id = $1 AND present AND desired = 'running' AND NOT EXISTS (
               SELECT 1 FROM attempts WHERE stream = $1 AND state IN ('queued', 'running'))",
        )
        .bind(id)
        .execute(tx.conn())
        .await?;
        if claimed == 0 {
            return Ok(None);
        }
        query(
            "INSERT INTO attempts
               (id, stream, kind, version, content, try, epoch, state, created_us)
             SELECT id || '-' || epoch || '-' || $1, id, kind, version, content, restarts + 1, epoch, 'queued', $2
             FROM streams WHERE id = $3",
        )
        .bind(random_end())
        .bind(now.0)
        .bind(id)
        .execute(tx.conn())
        .await?;
        let row = query("SELECT * FROM attempts WHERE stream = $1 ORDER BY epoch DESC LIMIT 1")
            .bind(id)
            .fetch_one(tx.conn())
            .await?;
        let attempt = super::attempts::attempt(&row)?;
        tx.commit().await?;
        Ok(Some(attempt))
    }

    /// Writes down where the stream of attempt `epoch` stands; false if a newer epoch has it.
    pub async fn set_standing(
        &self,
        id: &str,
        epoch: u64,
        standing: &Standing,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = query(
            "UPDATE streams SET state = $1, restarts = $2, next_start_us = $3, waiting_for = $4
             WHERE id = $5 AND epoch = $6",
        )
        .bind(standing.state.as_str())
        .bind(standing.restarts)
        .bind(standing.next_start.map(|at| at.0))
        .bind(standing.waiting_for.as_ref())
        .bind(id)
        .bind(epoch)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done > 0)
    }

    /// A sign of life with progress; false tells the process that a newer epoch has taken over.
    pub async fn heartbeat(
        &self,
        id: &str,
        epoch: u64,
        progress: &StreamProgress,
        now: Micros,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = query(
            "UPDATE streams SET progress = $1, heartbeat_us = $2 WHERE id = $3 AND epoch = $4",
        )
        .bind(encode(progress))
        .bind(now.0)
        .bind(id)
        .bind(epoch)
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done > 0)
    }
}

impl Tx {
    /// Writes down what a person wants of a stream, or of one of its processes; a start also ends
    /// waiting, retrying and an earlier end.
    pub async fn set_desired(&mut self, id: &str, desired: Desired) -> Result<bool, Error> {
        let change = match desired {
            Desired::Stopped => "desired = 'stopped'",
            Desired::Running => {
                "desired = 'running', restarts = 0, next_start_us = NULL, waiting_for = NULL,
                 state = CASE WHEN state IN ('waiting', 'retrying', 'ended') THEN 'stopped' ELSE state END"
            }
        };
        // A further process of a stream has the stream's id, a point and a number.
        let sql = format!(
            "UPDATE streams SET {change} WHERE id = $1
               OR (substr(id, 1, length($1) + 1) = $1 || '.'
                 AND substr(id, length($1) + 2, 1) BETWEEN '0' AND '9')"
        );
        let done = query(sql).bind(id).execute(self.conn()).await?;
        Ok(done > 0)
    }

    pub(super) async fn accept_streams(
        &mut self,
        version: &DagVersion,
        hash: &str,
    ) -> Result<(), Error> {
        for (name, job) in &version.dag.streams {
            let Some(mut content) = version.jobs.get(job).cloned() else { continue };
            let (kind, topic, instances) = match &mut content.kind {
                JobKind::Feed(feed) => (StreamKind::Feed, feed.topic.clone(), 1),
                JobKind::Stream(stream) => {
                    // Those that run need no restart when their number changes.
                    let instances = std::mem::replace(&mut stream.instances, 1);
                    (StreamKind::Stream, stream.topic.clone(), instances)
                }
                JobKind::Batch(_) => continue, // `check` refuses a batch job as a stream.
            };
            let content = content_hash(&(content, version.topics.get(&topic)));
            for instance in 1..=instances {
                // A further process of a stream that a person has stopped is not wanted either.
                query(
                    "INSERT INTO streams (id, dag, name, job, kind, version, content, desired, state)
                     VALUES ($1, $2, $3, $4, $5, $6, $7,
                       coalesce((SELECT desired FROM streams WHERE id = $8), 'running'), 'stopped')
                     ON CONFLICT (id) DO UPDATE SET job = $4, kind = $5, version = $6, content = $7, present = TRUE",
                )
                .bind(instance::id(&version.dag.name, name, instance))
                .bind(version.dag.name.as_str())
                .bind(name.as_str())
                .bind(job.as_str())
                .bind(kind.as_str())
                .bind(hash)
                .bind(&content)
                .bind(instance::id(&version.dag.name, name, 1))
                .execute(self.conn())
                .await?;
            }
        }
        Ok(())
    }
}

fn stream(row: &Row) -> Result<Stream, Error> {
    Ok(Stream {
        id: row.text("id")?,
        dag: row.parse("dag")?,
        name: row.parse("name")?,
        job: row.parse("job")?,
        kind: row.parse("kind")?,
        version: row.text("version")?,
        content: row.text("content")?,
        present: row.flag("present")?,
        desired: row.parse("desired")?,
        state: row.parse("state")?,
        epoch: row.number("epoch")?,
        restarts: row.number("restarts")?,
        next_start: row.time_opt("next_start_us")?,
        waiting_for: row.text_opt("waiting_for")?,
        progress: row.told("progress")?,
        heartbeat: row.time_opt("heartbeat_us")?,
    })
}
