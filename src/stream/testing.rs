//! A topic in memory, and what a lake holds of it, for the tests of this layer.

use super::{Progress, StreamContext, run};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::kafka::{Change, Mark, Message, Source, TopicFacts};
use crate::lake::Lake;
use crate::model::column::{Column, Origin};
use crate::model::commit::{Publish, Record};
use crate::model::hive::{Grain, PartitionBy};
use crate::model::job::{OnGap, Roll, Start, StreamJob};
use crate::model::time::Micros;
use crate::model::topic::{EventTimeRule, Expect, Idle, Otherwise, Topic};
use arrow::array::RecordBatch;
use arrow::array::cast::AsArray;
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub const TOPIC_ID: &str = "fedcba9876543210fedcba9876543210";

/// When all messages have come, and what the streams' clock begins with, whatever the machine's says.
const ARRIVED: &str = "2026-11-21T00:00:00Z";

#[derive(Clone, Debug)]
pub enum Sent {
    Event(String),
    Tombstone,
    Mark(Micros),
    /// A mark that tells of so many topic partitions.
    Spread(u32),
    /// The end of a transaction, or what compaction took: an offset that nobody is handed.
    Marker,
    /// Of a transaction that is open: nothing is handed from here on.
    Open,
}

/// A topic that all its sources share.
#[derive(Clone)]
pub struct FakeTopic(Arc<Mutex<FakeState>>);

pub struct FakeState {
    pub id: String,
    pub messages: Vec<Vec<Sent>>,
    pub arrived: Micros,
    /// What the group was told.
    pub advisory: BTreeMap<u32, i64>,
    /// Retention took what is before, in all topic partitions.
    pub first: i64,
    /// Given to the next poll.
    pub changes: Vec<Change>,
    /// Fails the poll after so many.
    pub polls_left: Option<usize>,
    /// Sent as soon as a source begins to read.
    pub at_start: Vec<(usize, Sent)>,
    pub sources: usize,
    /// So many the broker tells of, except at first.
    pub grows_to: u32,
    asked: usize,
}

impl FakeTopic {
    pub fn new(topic_partitions: usize) -> Self {
        Self(Arc::new(Mutex::new(FakeState {
            id: TOPIC_ID.into(),
            messages: vec![Vec::new(); topic_partitions],
            arrived: ARRIVED.parse::<jiff::Timestamp>().unwrap().into(),
            advisory: BTreeMap::new(),
            first: 0,
            changes: Vec::new(),
            polls_left: None,
            at_start: Vec::new(),
            sources: 0,
            grows_to: 0,
            asked: 0,
        })))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut FakeState) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub fn send(&self, topic_partition: usize, sent: Sent) {
        self.with(|state| state.messages[topic_partition].push(sent));
    }

    /// A good event.
    pub fn event(&self, topic_partition: usize, id: usize, at: &str) {
        let event = format!(r#"{{"id":"{id}","dt":"2026-11-20T{at}Z","n":{id}}}"#);
        self.send(topic_partition, Sent::Event(event));
    }

    pub fn ends(&self) -> Vec<i64> {
        self.with(|state| {
            state.messages.iter().map(|sent| sent.len().cast_signed() as i64).collect()
        })
    }

    /// A member that owns all topic partitions.
    pub fn source(&self) -> Box<dyn Source> {
        let all = (0..u32::try_from(self.ends().len()).unwrap()).collect();
        self.with(|state| state.sources += 1);
        Box::new(FakeSource { topic: self.clone(), assign: Some(all), at: BTreeMap::new() })
    }
}

struct FakeSource {
    topic: FakeTopic,
    assign: Option<Vec<u32>>,
    at: BTreeMap<u32, i64>,
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.topic.with(|state| state.sources -= 1);
    }
}

impl Source for FakeSource {
    fn poll(
        &mut self,
        _: Duration,
        max: usize,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<Vec<Change>, Error> {
        if let Some(all) = self.assign.take() {
            return Ok(vec![Change::Assigned(all)]);
        }
        let topic = self.topic.clone();
        let (changes, handed) = topic.with(|state| {
            if let Some(left) = &mut state.polls_left {
                *left = left
                    .checked_sub(1)
                    .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the broker is gone"))?;
            }
            let mut handed = 0;
            for (&topic_partition, at) in &mut self.at {
                if *at < state.first {
                    return Err(Error::new(ErrorKind::Data, "offset out of range"));
                }
                // Few at a time, so that there are many batches.
                for _ in 0..max.min(7) {
                    let sent = &state.messages[topic_partition as usize];
                    let Some(sent) = sent.get(usize::try_from(*at).unwrap()) else { break };
                    if matches!(sent, Sent::Open) {
                        break;
                    }
                    if matches!(sent, Sent::Marker) {
                        *at += 1;
                        continue;
                    }
                    each(Message {
                        topic_partition,
                        offset: *at,
                        arrived: Some(state.arrived),
                        headers: &(),
                        key: None,
                        payload: match sent {
                            Sent::Event(event) => Some(event.as_bytes()),
                            Sent::Tombstone
                            | Sent::Mark(_)
                            | Sent::Spread(_)
                            | Sent::Marker
                            | Sent::Open => None,
                        },
                        mark: match sent {
                            Sent::Mark(at) => Some(Mark::from(*at)),
                            Sent::Spread(count) => {
                                Some(Mark { at: None, topic_partitions: Some(*count) })
                            }
                            Sent::Event(_) | Sent::Tombstone | Sent::Marker | Sent::Open => None,
                        },
                    });
                    *at += 1;
                    handed += 1;
                }
            }
            Ok::<_, Error>((std::mem::take(&mut state.changes), handed))
        })?;
        if handed == 0 && changes.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(changes)
    }

    fn start(&mut self, topic_partition: u32, offset: i64) -> Result<(), Error> {
        for (at, sent) in self.topic.with(|state| std::mem::take(&mut state.at_start)) {
            self.topic.send(at, sent);
        }
        self.at.insert(topic_partition, offset);
        Ok(())
    }

    fn release(&mut self, topic_partitions: &[u32]) -> Result<(), Error> {
        self.at.retain(|at, _| !topic_partitions.contains(at));
        Ok(())
    }

    fn position(&mut self, topic_partition: u32) -> Result<i64, Error> {
        Ok(self.at[&topic_partition])
    }

    fn offsets(&mut self, topic_partition: u32) -> Result<(i64, i64), Error> {
        let first = self.topic.with(|state| state.first);
        let ends = self.topic.ends();
        Ok((first, ends.get(topic_partition as usize).copied().unwrap_or(0)))
    }

    fn offset_at(&mut self, topic_partition: u32, _: Micros) -> Result<i64, Error> {
        Ok(self.topic.ends()[topic_partition as usize])
    }

    fn commit_advisory(&mut self, offsets: &[(u32, i64)]) -> Result<(), Error> {
        self.topic.with(|state| state.advisory.extend(offsets.iter().copied()));
        Ok(())
    }

    fn facts(&mut self) -> Result<TopicFacts, Error> {
        Ok(self.topic.with(|state| {
            state.asked += 1;
            let grown = if state.asked > 1 { state.grows_to } else { 0 };
            let partitions = u32::try_from(state.messages.len()).unwrap().max(grown);
            TopicFacts { id: state.id.clone(), partitions }
        }))
    }
}

/// `id`, `dt`, `n` and twice `n`; canaries are dropped, negative numbers quarantined.
pub fn topic() -> Topic {
    let column = |name: &str, kind: &str, required: bool| Column {
        name: name.into(),
        origin: Origin::Path(vec![name.into()]),
        kind: kind.parse().unwrap(),
        required,
    };
    let twice = Origin::Sql("100 / n".into());
    let expect = |name: &str, that: &str, otherwise: Otherwise| Expect {
        name: name.into(),
        that: that.into(),
        otherwise,
    };
    Topic {
        name: "events".parse().unwrap(),
        partitions: 2,
        retention: Duration::from_hours(1),
        columns: vec![
            column("id", "string", true),
            column("dt", "timestamp", true),
            Column {
                name: "share".into(),
                origin: twice,
                kind: "int64".parse().unwrap(),
                required: false,
            },
            column("n", "int64", false),
        ],
        event_time: EventTimeRule {
            column: "dt".into(),
            out_of_order: Duration::from_secs(5),
            max_ahead: Duration::from_mins(10),
            max_age: None,
            idle: Idle::Others,
            marks: true,
        },
        expects: vec![
            expect("no canary", "id <> 'canary'", Otherwise::Drop),
            expect("n counts", "n >= 0", Otherwise::Quarantine),
        ],
    }
}

pub fn job() -> StreamJob {
    StreamJob {
        topic: "events".parse().unwrap(),
        start: Start::Earliest,
        on_gap: OnGap::Stop,
        table: "raw.events".parse().unwrap(),
        partition_by: PartitionBy::utc(Grain::Hour),
        close_after: Duration::ZERO,
        late_quiet: Duration::ZERO,
        // Whatever comes is committed at once.
        roll: Roll { every: Duration::ZERO, size_bytes: 1 << 20 },
        instances: 1,
        publish: Publish::OnCommit,
    }
}

/// A stream, and the strings to pull.
pub struct Running {
    pub progress: watch::Receiver<Progress>,
    pub stop: CancellationToken,
    pub end: tokio::task::JoinHandle<Result<(), Error>>,
}

pub fn start(topic: Topic, job: StreamJob, fake: &FakeTopic, lake: &Lake) -> Running {
    start_with(topic, job, fake, lake, 16 << 20)
}

pub fn start_with(
    topic: Topic,
    job: StreamJob,
    fake: &FakeTopic,
    lake: &Lake,
    memory_bytes: u64,
) -> Running {
    let (sender, progress) = watch::channel(Progress::default());
    let stop = CancellationToken::new();
    let context = StreamContext {
        job,
        job_hash: "job".into(),
        topic,
        lake: lake.clone(),
        source: fake.source(),
        clock: Clock::starting_at(ARRIVED.parse::<jiff::Timestamp>().unwrap().into()),
        memory_bytes,
        ping: Arc::new(|| {}),
        progress: sender,
        stop: stop.clone(),
    };
    #[expect(clippy::disallowed_methods, reason = "a test owns its stream")]
    let end = tokio::spawn(run(context));
    Running { progress, stop, end }
}

impl Running {
    /// Waits until everything that was sent is committed, then drains.
    pub async fn land_all(mut self, fake: &FakeTopic) {
        let ends = fake.ends();
        let all = |progress: &Progress| {
            progress.topic_partitions.len() == ends.len()
                && progress
                    .topic_partitions
                    .iter()
                    .all(|(&at, own)| own.committed == ends[at as usize] && own.seq > 0)
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), self.progress.wait_for(all));
        let landed = matches!(waited.await, Ok(Ok(_)));
        assert!(landed, "not landed: {:?}", self.end.await);
        self.stop.cancel();
        self.end.await.unwrap().unwrap();
    }
}

/// The records of each topic partition, checked to follow each other without a gap.
pub async fn records(lake: &Lake, topic_partition: u32) -> Vec<Record> {
    let log = lake.log(&"raw.events".parse().unwrap(), TOPIC_ID, topic_partition);
    let records = log.after(0, usize::MAX).await.unwrap();
    for pair in records.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
    }
    records
}

/// Every offset in the files of a topic partition's records, with what became of it, sorted.
pub async fn landed(lake: &Lake, topic_partition: u32) -> Vec<(i64, String)> {
    let mut rows = Vec::new();
    for record in records(lake, topic_partition).await {
        for file in record.files.iter().chain(&record.quarantine) {
            let batches = read(lake, &file.published).await;
            for batch in batches {
                let offsets = batch.column_by_name("_offset").unwrap();
                let offsets = offsets.as_primitive::<Int64Type>().values().to_vec();
                let told = batch.column_by_name("reason");
                rows.extend(offsets.into_iter().enumerate().map(|(row, offset)| {
                    let reason = told.map(|told| told.as_string::<i32>().value(row).to_owned());
                    let key = file.key.map(|key| key.to_string());
                    (offset, key.or(reason).unwrap())
                }));
            }
        }
    }
    rows.sort();
    rows
}

pub async fn read(lake: &Lake, published: &str) -> Vec<RecordBatch> {
    let object = lake.objects().get(&published.into()).await.unwrap();
    let bytes = object.bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}
