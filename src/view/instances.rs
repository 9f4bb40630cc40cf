//! The processes of a stream that has several: each by itself, and how far they have come together.

use super::Stamp;
use crate::error::Error;
use crate::model::instance;
use crate::model::stream::{Stream, StreamProgress, StreamState, TopicPartitionProgress};
use crate::store::Store;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub struct Instance {
    pub id: String,
    pub state: StreamState,
    pub pid: Option<i32>,
    pub restarts: u32,
    /// Those that it has read last, and nobody else since.
    pub topic_partitions: Vec<u32>,
    pub rate: f64,
    pub lag: u64,
    pub heartbeat: Option<Stamp>,
}

/// The stream itself first, then its further processes; one process alone if that was named.
pub async fn of(store: &Store, stream: &Stream) -> Result<Vec<Stream>, Error> {
    let further = |other: &Stream| {
        other.present && other.id != stream.id && instance::stream(&other.id) == stream.id
    };
    let further = store.streams().await?.into_iter().filter(further);
    Ok([stream.clone()].into_iter().chain(further).collect())
}

/// What they have come to together. A topic partition that has changed hands is told by two: it
/// stands where the log has come furthest.
pub fn together(streams: &[Stream]) -> StreamProgress {
    let parts: Vec<_> = streams.iter().filter_map(|stream| stream.progress.as_ref()).collect();
    let mut all = StreamProgress::default();
    for part in &parts {
        all.rate += part.rate;
        all.memory_bytes += part.memory_bytes;
        all.memory_max_bytes += part.memory_max_bytes;
        all.hive_partitions_open = all.hive_partitions_open.max(part.hive_partitions_open);
        all.produced += part.produced;
        all.counts.read += part.counts.read;
        all.counts.landed += part.counts.landed;
        all.counts.quarantined += part.counts.quarantined;
        all.counts.dropped += part.counts.dropped;
        all.counts.tombstones += part.counts.tombstones;
        all.counts.marks += part.counts.marks;
        all.last_mark = all.last_mark.max(part.last_mark);
        all.note = all.note.or_else(|| part.note.clone());
    }
    all.topic_partitions = furthest(streams).into_values().map(|(place, _)| place).collect();
    all.watermark = match streams {
        [one] => one.progress.as_ref().and_then(|progress| progress.watermark),
        _ => all.topic_partitions.iter().map(|place| place.watermark).min().flatten(),
    };
    all
}

/// Each topic partition as whoever has read it last tells it, with that process's id.
fn furthest(streams: &[Stream]) -> BTreeMap<u32, (TopicPartitionProgress, &str)> {
    let mut found: BTreeMap<u32, (TopicPartitionProgress, &str)> = BTreeMap::new();
    for stream in streams {
        for place in stream.progress.iter().flat_map(|progress| &progress.topic_partitions) {
            let reached = |place: &TopicPartitionProgress| (place.seq, place.committed, place.end);
            let known = found.get(&place.topic_partition);
            if known.is_none_or(|(known, _)| reached(known) < reached(place)) {
                found.insert(place.topic_partition, (place.clone(), &stream.id));
            }
        }
    }
    found
}

/// Each by itself; nothing where there is one only.
pub async fn each(store: &Store, streams: &[Stream]) -> Result<Vec<Instance>, Error> {
    let mut each = Vec::new();
    if streams.len() == 1 {
        return Ok(each);
    }
    let places = furthest(streams);
    for stream in streams {
        let attempt = store.attempts_of_stream(&stream.id, 1).await?.pop();
        let process = attempt.filter(|attempt| !attempt.state.ended());
        let own = places.values().filter(|(_, id)| *id == stream.id).map(|(place, _)| place);
        each.push(Instance {
            id: stream.id.clone(),
            state: stream.state,
            pid: process.and_then(|attempt| attempt.process).map(|process| process.pid),
            restarts: stream.restarts,
            topic_partitions: own.clone().map(|place| place.topic_partition).collect(),
            rate: stream.progress.as_ref().map_or(0.0, |progress| progress.rate),
            lag: own.map(|place| u64::try_from(place.end - place.committed).unwrap_or(0)).sum(),
            heartbeat: stream.heartbeat.map(Stamp),
        });
    }
    Ok(each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stream::{Desired, StreamKind};
    use crate::model::time::Micros;

    fn stream(id: &str, places: &[(u32, u64)]) -> Stream {
        let place = |&(topic_partition, seq): &(u32, u64)| TopicPartitionProgress {
            topic_partition,
            seq,
            committed: i64::try_from(seq).unwrap() * 10,
            watermark: Some(Micros(i64::try_from(seq).unwrap())),
            ..TopicPartitionProgress::default()
        };
        Stream {
            id: id.into(),
            dag: "d".parse().unwrap(),
            name: "land".parse().unwrap(),
            job: "land".parse().unwrap(),
            kind: StreamKind::Stream,
            version: String::new(),
            content: String::new(),
            present: true,
            desired: Desired::Running,
            state: StreamState::Running,
            epoch: 1,
            restarts: 0,
            next_start: None,
            waiting_for: None,
            progress: Some(StreamProgress {
                topic_partitions: places.iter().map(place).collect(),
                ..StreamProgress::default()
            }),
            heartbeat: None,
        }
    }

    #[test]
    fn a_topic_partition_that_changed_hands_stands_where_the_log_has_come_furthest() {
        let streams = [stream("d.land", &[(0, 7), (1, 3)]), stream("d.land.2", &[(1, 9), (2, 4)])];
        let all = together(&streams);
        let told: Vec<_> =
            all.topic_partitions.iter().map(|its| (its.topic_partition, its.seq)).collect();
        assert_eq!(told, [(0, 7), (1, 9), (2, 4)]);
        assert_eq!(all.watermark, Some(Micros(4)));
        assert_eq!(furthest(&streams)[&1].1, "d.land.2");
    }
}
