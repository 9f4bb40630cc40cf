//! Sees how far the demo is: from the state store alone, like any other onlooker.

use crate::daemon;
use crate::error::{Error, ErrorKind};
use crate::kafka::Cluster;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::run::RunState;
use crate::model::stream::StreamState;
use crate::model::time::Micros;
use crate::store::Store;
use crate::store::runs::Wanted;
use std::collections::BTreeMap;
use std::time::Duration;

/// Heartbeats come each second.
const OF_LATE: Duration = Duration::from_secs(10);

pub const COLLECT: &str = "wikimedia.collect";
pub const LAND: &str = "wikimedia.land";

/// How far everything has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub produced: u64,
    /// Events that the feed sends in a second.
    pub rate: f64,
    pub landed: u64,
    pub quarantined: u64,
    pub dropped: u64,
    /// The lowest of all topic partitions, once each has one.
    pub watermark: Option<Micros>,
    /// Revision of each closed hour.
    pub closed: BTreeMap<PartitionKey, u32>,
    /// Revision of each hour that a batch has counted.
    pub counted: BTreeMap<PartitionKey, u32>,
    pub frontier: Option<Micros>,
    pub batches_done: usize,
    pub batches_open: usize,
    pub batches_failed: Vec<String>,
    pub days_done: usize,
    /// Rows of closed hours that no closing lists yet.
    pub late_rows: u64,
    /// Hours with rows that no closing lists yet.
    pub hours_open: usize,
    /// What has ended and will make more runs: outputs that have not closed, ranges that are due.
    pub to_follow: usize,
    pub feed_ended: bool,
    pub landing: Option<Landing>,
    /// End of the last lake commit, by topic partition.
    pub committed: BTreeMap<u32, i64>,
    /// Why a stream waits for a person.
    pub waiting: Option<String>,
    /// What is the matter with the feed's source.
    pub note: Option<String>,
}

/// The process that lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landing {
    pub pid: i32,
    pub epoch: u64,
    /// A topic partition and the offset that it had reached at the last heartbeat.
    pub place: (u32, i64),
}

/// The end of a topic partition as it is now, from what arrived of late; `None` if nothing did.
pub fn end(project: &Project, topic_partition: u32, now: Micros) -> Result<Option<i64>, Error> {
    let cluster = cluster(project)?;
    let Some(topic) = project.topics.keys().next() else { return Ok(None) };
    let mut end = None;
    cluster.tail(topic, now.minus(OF_LATE), &mut |message| {
        if message.topic_partition == topic_partition {
            end = end.max(Some(message.offset + 1));
        }
    })?;
    Ok(end)
}

pub fn cluster(project: &Project) -> Result<Cluster, Error> {
    let no_secrets = |_: &_| Err(Error::new(ErrorKind::Bug, "the demo's topics need no secret"));
    Cluster::of(&project.settings.kafka, &no_secrets)
}

pub async fn look(project: &Project, store: &Store) -> Result<Facts, Error> {
    let raw: TableName = "raw.recentchange".parse().expect("a table's name");
    let mut facts = Facts::default();
    for stream in store.streams().await? {
        let progress = stream.progress.clone().unwrap_or_default();
        if stream.state == StreamState::Waiting {
            facts.waiting = stream.waiting_for.clone();
        }
        match stream.id.as_str() {
            COLLECT => {
                facts.produced = progress.produced;
                facts.rate = progress.rate;
                facts.note = progress.note.clone();
                facts.feed_ended = stream.state == StreamState::Ended;
            }
            LAND => {
                // That which holds most rows that are not committed.
                let places = progress.topic_partitions.iter();
                let place = places.max_by_key(|place| place.end - place.committed);
                let place = place.map(|place| (place.topic_partition, place.end));
                facts.landing = landing(project, store, stream.epoch, place).await?;
            }
            _ => {}
        }
    }
    let cursors = store.cursors(&raw).await?;
    let table = store.table(&raw).await?;
    facts.frontier = table.as_ref().and_then(|table| table.frontier);
    let members = table.and_then(|table| table.members);
    let members = members.map_or(0, |members| members.topic_partitions as usize);
    if cursors.len() == members {
        facts.watermark = cursors.iter().map(|cursor| cursor.watermark).min().flatten();
    }
    for cursor in &cursors {
        facts.landed += cursor.landed;
        facts.quarantined += cursor.quarantined;
        facts.dropped += cursor.dropped;
        facts.committed.insert(cursor.topic_partition, cursor.end);
    }
    // Heartbeats tell of the feed each second only; what has arrived was sent.
    facts.produced = facts.produced.max(facts.landed + facts.quarantined + facts.dropped);
    for closed in store.newest_closed(&raw, (Micros::MIN, Micros::MAX)).await? {
        facts.closed.insert(closed.key, closed.n);
    }
    let open = store.open_partitions(&raw).await?;
    facts.hours_open = open.len();
    facts.to_follow = store.unclosed().await?.len() + store.due_ranges().await?.len();
    facts.late_rows = open.iter().filter(|open| open.closings > 0).map(|open| open.rows).sum();
    runs(store, &raw, &mut facts).await?;
    Ok(facts)
}

async fn runs(store: &Store, raw: &TableName, facts: &mut Facts) -> Result<(), Error> {
    for run in store.runs(&Wanted::default()).await? {
        match run.state {
            RunState::Succeeded => match run.subject.filter(|of| of.table == *raw) {
                Some(of) => {
                    facts.batches_done += 1;
                    let counted = facts.counted.entry(of.key).or_default();
                    *counted = of.n.max(*counted);
                }
                None => facts.days_done += 1,
            },
            RunState::Failed => facts.batches_failed.push(format!("{} {}", run.dag, run.id)),
            RunState::Queued | RunState::Running | RunState::Held => facts.batches_open += 1,
            RunState::Superseded => {}
        }
    }
    Ok(())
}

async fn landing(
    project: &Project,
    store: &Store,
    epoch: u64,
    place: Option<(u32, i64)>,
) -> Result<Option<Landing>, Error> {
    let attempts = store.attempts_of_stream(LAND, 1).await?;
    let Some(attempt) = attempts.first().filter(|attempt| !attempt.state.ended()) else {
        return Ok(None);
    };
    let pid = daemon::worker_pid(&project.settings.home, &attempt.id);
    Ok(pid.filter(|_| attempt.epoch == epoch).map(|pid| Landing {
        pid,
        epoch,
        place: place.unwrap_or_default(),
    }))
}
