//! Streams: what is wanted of each, where it stands and how far it has come.

use super::Store;
use super::Tx;
use super::attempts::Attempt;
use super::columns::Columns;
use super::columns::to_json;
use super::random_end;
use crate::error::Error;
use crate::model::commit::Counts;
use crate::model::dag::DagVersion;
use crate::model::dag::content_hash;
use crate::model::instance;
use crate::model::job::JobKind;
use crate::model::name::Name;
use crate::model::run::Desired;
use crate::model::run::StreamState;
use crate::model::time::Micros;
use serde::Deserialize;
use serde::Serialize;
use sqlx::sqlite::SqliteRow;

/// A task without end; one process of it, where it has several.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// `dag.stream`; `dag.stream.2` is its second process.
    pub id: String,
    pub dag: Name,
    pub name: Name,
    pub job: Name,
    /// `feed` or `stream`.
    pub kind: String,
    /// Hash of the dag version that its next attempt runs.
    pub version: String,
    /// Content hash of its job and topic. An attempt with another one has been edited since.
    pub content: String,
    pub present: bool,
    pub desired: Desired,
    pub state: StreamState,
    /// Of the newest attempt; older ones are fenced.
    pub epoch: u64,
    /// Attempts that failed since it last went well.
    pub restarts: u32,
    /// When it may start again, while it is retrying.
    pub next_start: Option<Micros>,
    /// Why it waits for a person.
    pub waiting_for: Option<String>,
    pub progress: Option<Progress>,
    pub heartbeat: Option<Micros>,
}

/// How far a stream or feed has come, as its process tells it with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Messages a second, of late.
    pub rate: f64,
    /// Messages in Kafka that are not committed to the lake.
    pub lag: Option<u64>,
    pub watermark: Option<Micros>,
    pub last_commit: Option<Micros>,
    /// Newest mark that a feed sent.
    pub last_mark: Option<Micros>,
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    pub hive_partitions_open: u32,
    /// Since the process started.
    pub counts: Counts,
    /// Events of a feed in its topic, those of earlier processes too.
    pub produced: u64,
    pub topic_partitions: Vec<TopicPartition>,
    /// What is the matter outside: `disconnected (HTTP 429), tries again in 38 s`.
    pub note: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic_partition: u32,
    /// End of the last lake commit.
    pub committed: i64,
    /// Kafka's end offset.
    pub end: i64,
    pub watermark: Option<Micros>,
    /// Number of the last lake commit.
    pub seq: u64,
}

/// What becomes of a stream when its attempt has ended, or before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub state: StreamState,
    pub restarts: u32,
    pub next_start: Option<Micros>,
    pub waiting_for: Option<String>,
}

impl Store {
    pub async fn streams(&self) -> Result<Vec<Stream>, Error> {
        let rows = sqlx::query("SELECT * FROM streams ORDER BY id").fetch_all(&self.reader).await?;
        rows.iter().map(stream).collect()
    }

    pub async fn stream(&self, id: &str) -> Result<Option<Stream>, Error> {
        let query = sqlx::query("SELECT * FROM streams WHERE id = ?").bind(id);
        query.fetch_optional(&self.reader).await?.as_ref().map(stream).transpose()
    }

    /// Queues a new attempt of the stream under the next epoch, which fences all older ones.
    ///
    /// `None` if it is not wanted, gone from the files, or an attempt is still open.
    pub async fn launch_stream(&self, id: &str, now: Micros) -> Result<Option<Attempt>, Error> {
        let mut tx = self.begin().await?;
        let claimed = sqlx::query(
            "UPDATE streams SET epoch = epoch + 1, state = 'running', next_start_us = NULL,
               waiting_for = NULL
             WHERE id = ?1 AND present AND desired = 'running' AND NOT EXISTS (
               SELECT 1 FROM attempts WHERE stream = ?1 AND state IN ('queued', 'running'))",
        )
        .bind(id)
        .execute(tx.conn())
        .await?;
        if claimed.rows_affected() == 0 {
            return Ok(None);
        }
        sqlx::query(
            "INSERT INTO attempts
               (id, stream, kind, version, content, try, epoch, state, created_us)
             SELECT id || '-' || epoch || '-' || ?1, id, kind, version, content, restarts + 1, epoch, 'queued', ?2
             FROM streams WHERE id = ?3",
        )
        .bind(random_end())
        .bind(now.0)
        .bind(id)
        .execute(tx.conn())
        .await?;
        let row =
            sqlx::query("SELECT * FROM attempts WHERE stream = ? ORDER BY epoch DESC LIMIT 1")
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
        let done = sqlx::query(
            "UPDATE streams SET state = ?, restarts = ?, next_start_us = ?, waiting_for = ?
             WHERE id = ? AND epoch = ?",
        )
        .bind(standing.state.as_str())
        .bind(standing.restarts)
        .bind(standing.next_start.map(|at| at.0))
        .bind(&standing.waiting_for)
        .bind(id)
        .bind(super::columns::sql(epoch))
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// A sign of life with progress; false tells the process that a newer epoch has taken over.
    pub async fn heartbeat(
        &self,
        id: &str,
        epoch: u64,
        progress: &Progress,
        now: Micros,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE streams SET progress = ?, heartbeat_us = ? WHERE id = ? AND epoch = ?",
        )
        .bind(to_json(progress))
        .bind(now.0)
        .bind(id)
        .bind(super::columns::sql(epoch))
        .execute(tx.conn())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

impl Tx {
    /// Writes down what a person wants of a stream, or of one of its processes; a start also ends
    /// waiting, retrying and an earlier end.
    pub async fn set_desired(&mut self, id: &str, desired: Desired) -> Result<bool, Error> {
        let sql = match desired {
            Desired::Stopped => "UPDATE streams SET desired = 'stopped' WHERE id = ?1 OR id GLOB ?1 || '.[0-9]*'",
            Desired::Running => {
                "UPDATE streams SET desired = 'running', restarts = 0, next_start_us = NULL,
                   waiting_for = NULL,
                   state = CASE WHEN state IN ('waiting', 'retrying', 'ended') THEN 'stopped' ELSE state END
                 WHERE id = ?1 OR id GLOB ?1 || '.[0-9]*'"
            }
        };
        let done = sqlx::query(sql).bind(id).execute(self.conn()).await?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn accept_streams(
        &mut self,
        version: &DagVersion,
        hash: &str,
    ) -> Result<(), Error> {
        for (name, job) in &version.dag.streams {
            let Some(mut content) = version.jobs.get(job).cloned() else { continue };
            let (kind, topic, instances) = match &mut content.kind {
                JobKind::Feed(feed) => ("feed", feed.topic.clone(), 1),
                JobKind::Stream(stream) => {
                    // Those that run need no restart when their number changes.
                    let instances = std::mem::replace(&mut stream.instances, 1);
                    ("stream", stream.topic.clone(), instances)
                }
                JobKind::Batch(_) => continue, // `check` refuses a batch job as a stream.
            };
            let content = content_hash(&(content, version.topics.get(&topic)));
            for instance in 1..=instances {
                // A further process of a stream that a person has stopped is not wanted either.
                sqlx::query(
                    "INSERT INTO streams (id, dag, name, job, kind, version, content, desired, state)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,
                       coalesce((SELECT desired FROM streams WHERE id = ?8), 'running'), 'stopped')
                     ON CONFLICT DO UPDATE SET job = ?4, kind = ?5, version = ?6, content = ?7, present = 1",
                )
                .bind(instance::id(&version.dag.name, name, instance))
                .bind(version.dag.name.as_str())
                .bind(name.as_str())
                .bind(job.as_str())
                .bind(kind)
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

fn stream(row: &SqliteRow) -> Result<Stream, Error> {
    Ok(Stream {
        id: row.text("id")?,
        dag: row.parse("dag")?,
        name: row.parse("name")?,
        job: row.parse("job")?,
        kind: row.text("kind")?,
        version: row.text("version")?,
        content: row.text("content")?,
        present: row.flag("present")?,
        desired: row.parse("desired")?,
        state: row.parse("state")?,
        epoch: row.number("epoch")?,
        restarts: row.number("restarts")?,
        next_start: row.time_opt("next_start_us")?,
        waiting_for: row.text_opt("waiting_for")?,
        progress: row.json_opt("progress")?,
        heartbeat: row.time_opt("heartbeat_us")?,
    })
}
