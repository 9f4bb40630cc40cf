//! A stream attempt: a topic to a table, with heartbeats.

use super::{Work, heartbeat};
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::Cluster;
use crate::model::dag::content_hash;
use crate::model::job::{JobKind, StreamJob};
use crate::model::stream::{StreamProgress, TopicPartitionProgress};
use crate::model::topic::Topic;
use crate::ping;
use crate::stream;
use crate::stream::StreamContext;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) async fn run(work: &Work) -> Result<(), Error> {
    let (id, job) = work.stream_job()?;
    let JobKind::Stream(stream_job) = &job.kind else {
        return Err(Error::new(ErrorKind::Bug, format!("job {} is no stream", job.name)));
    };
    let topic = work.topic(&stream_job.topic)?;
    let lake = work.lake().await?;
    let group = stream::group(&work.project.settings.project, &lake, &stream_job.table);
    let cluster = work.cluster()?;
    let source = join(cluster, stream_job, topic, group, work).await?;
    let (progress, heard) = watch::channel(stream::Progress::default());
    let home = work.project.settings.home.clone();
    let context = StreamContext {
        job: stream_job.clone(),
        job_hash: content_hash(job),
        topic: topic.clone(),
        lake,
        source,
        clock: work.clock.clone(),
        memory_bytes: work.project.settings.limits.stream_memory_bytes,
        ping: Arc::new(move || ping::send(&home, ping::COMMITTED)),
        progress,
        stop: work.drain.clone(),
    };
    heartbeat::while_running(work, &id, stream::run(context), || told(&heard.borrow())).await
}

/// Topics are made by whoever comes first, feed or stream. Blocks, so it has a thread.
async fn join(
    cluster: Cluster,
    job: &StreamJob,
    topic: &Topic,
    group: String,
    work: &Work,
) -> Result<Box<dyn crate::kafka::Source>, Error> {
    let (topic, clock, name) = (topic.clone(), work.clock.clone(), job.topic.clone());
    let join = tokio::task::spawn_blocking(move || {
        cluster.ensure_topic(&topic.name, topic.partitions, topic.retention)?;
        cluster.source(&topic.name, &group, &clock)
    });
    let joined = join.await.map_err(|panic| Error::new(ErrorKind::Bug, panic))?;
    joined.doing(|| format!("read topic {name}"))
}

/// What the heartbeat writes down.
fn told(progress: &stream::Progress) -> StreamProgress {
    let of = |(number, at): (&u32, &stream::TopicPartitionProgress)| TopicPartitionProgress {
        topic_partition: *number,
        committed: at.committed,
        end: at.end,
        watermark: at.watermark,
        seq: at.seq,
    };
    let parts = &progress.topic_partitions;
    StreamProgress {
        rate: progress.rate,
        lag: Some(progress.lag()),
        watermark: parts.values().map(|at| at.watermark).min().flatten(),
        last_commit: parts.values().filter_map(|at| at.committed_at).max(),
        last_mark: None,
        memory_bytes: progress.memory_bytes,
        memory_max_bytes: progress.memory_limit_bytes,
        hive_partitions_open: progress.open,
        counts: progress.counts,
        produced: 0,
        left_out: 0,
        passed_over: 0,
        topic_partitions: parts.iter().map(of).collect(),
        note: None,
    }
}
