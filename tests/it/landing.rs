//! Streams in this process, from a topic into a lake of their own, for what is asked of a topic's life.

use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidemill::clock::Clock;
use tidemill::error::Error;
use tidemill::kafka::Cluster;
use tidemill::lake::Lake;
use tidemill::model::column::{Column, Origin};
use tidemill::model::commit::{Publish, Record};
use tidemill::model::hive::{Grain, PartitionBy};
use tidemill::model::job::{OnGap, Roll, Start, StreamJob};
use tidemill::model::name::{ProjectName, TableName, TopicName};
use tidemill::model::settings::LakeUrl;
use tidemill::model::topic::{EventTimeRule, Idle, Topic};
use tidemill::stream::{self, Progress, StreamContext};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
pub const TABLE: &str = "raw.events";

/// A lake and what lands in it.
pub struct Landing {
    runtime: Runtime,
    folder: TempDir,
    pub lake: Lake,
    cluster: Cluster,
    topic: Topic,
    pub job: StreamJob,
}

/// A stream at work.
pub struct Running<'a> {
    landing: &'a Landing,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    end: Option<JoinHandle<Result<(), Error>>>,
}

/// `name = origin: type`, `!` behind the type where it is required.
fn column(text: &str) -> Column {
    let (name, rest) = text.split_once(" = ").unwrap();
    let (from, kind) = rest.split_once(": ").unwrap();
    let origin = match from.parse() {
        Ok(part) => Origin::Message(part),
        Err(_) => Origin::Path(vec![from.to_owned()]),
    };
    let required = kind.ends_with('!');
    Column {
        name: name.into(),
        origin,
        kind: kind.trim_end_matches('!').parse().unwrap(),
        required,
    }
}

impl Landing {
    /// Columns `id` and `came`, the event time: when the message arrived; and `more`.
    pub fn of(cluster: &Cluster, name: &TopicName, more: &[&str]) -> Self {
        let columns = ["id = id: int64!", "came = $timestamp: timestamp!"];
        let topic = Topic {
            name: name.clone(),
            partitions: 1,
            retention: Duration::from_hours(1),
            columns: columns.iter().chain(more).map(|text| column(text)).collect(),
            event_time: EventTimeRule {
                column: "came".into(),
                out_of_order: Duration::ZERO,
                max_ahead: Duration::from_mins(10),
                max_age: None,
                idle: Idle::Others,
                marks: true,
            },
            expects: Vec::new(),
        };
        let job = StreamJob {
            topic: name.clone(),
            start: Start::Earliest,
            on_gap: OnGap::Stop,
            table: TABLE.parse().unwrap(),
            partition_by: PartitionBy::utc(Grain::Hour),
            close_after: Duration::ZERO,
            late_quiet: Duration::ZERO,
            // Whatever comes is committed at once.
            roll: Roll { every: Duration::ZERO, size_bytes: 1 << 20 },
            instances: 1,
            publish: Publish::OnCommit,
        };
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = LakeUrl::Folder(folder.path().to_owned());
        let lake = runtime.block_on(Lake::open(&url, &project(), Clock::system())).unwrap();
        Self { runtime, folder, lake, cluster: cluster.clone(), topic, job }
    }

    pub fn group(&self) -> String {
        stream::group(&project(), &self.lake, &table())
    }

    pub fn start(&self) -> Running<'_> {
        let clock = Clock::system();
        let source = self.cluster.source(&self.topic.name, &self.group(), &clock).unwrap();
        let (sender, progress) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        let context = StreamContext {
            job: self.job.clone(),
            job_hash: "job".into(),
            topic: self.topic.clone(),
            lake: self.lake.clone(),
            source,
            clock,
            memory_bytes: 16 << 20,
            ping: Arc::new(|| ()),
            progress: sender,
            stop: stop.clone(),
        };
        let end = Some(self.runtime.spawn(stream::run(context)));
        Running { landing: self, progress, stop, end }
    }

    /// The log of each topic partition, of the topic as it is now.
    pub fn records(&self) -> BTreeMap<u32, Vec<Record>> {
        self.runtime.block_on(async {
            let Some(members) = self.lake.members(&table()).await.unwrap() else {
                return BTreeMap::new();
            };
            let mut all = BTreeMap::new();
            for at in 0..members.topic_partitions {
                let log = self.lake.log(&table(), &members.topic_id, at);
                all.insert(at, log.after(0, usize::MAX).await.unwrap());
            }
            all
        })
    }

    /// All rows, some columns of them.
    pub fn rows(&self, columns: &[&str]) -> Vec<RecordBatch> {
        let files = crate::tables::files(&self.folder.path().join("raw/events"));
        files.iter().flat_map(|file| crate::tables::read(file, columns).unwrap()).collect()
    }

    /// Topic partition and offset of every row, in order.
    pub fn origins(&self) -> Vec<(i32, i64)> {
        let files = crate::tables::files(&self.folder.path().join("raw/events"));
        let mut all: Vec<_> =
            files.iter().flat_map(|file| crate::tables::origins(file).unwrap()).collect();
        all.sort_unstable();
        all
    }
}

impl Running<'_> {
    /// Waits until `done`.
    #[track_caller]
    pub fn until(&mut self, what: &str, done: impl Fn(&Progress) -> bool) -> Progress {
        let Self { landing, progress, end, .. } = self;
        let waited = landing.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, progress.wait_for(&done))
                .await
                .map(|seen| seen.map(|seen| seen.clone()))
        });
        match waited {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) => {
                let ended = landing.runtime.block_on(end.take().unwrap()).unwrap();
                panic!("ended before {what}: {ended:?}")
            }
            Err(elapsed) => {
                panic!("waited in vain until {what}, {elapsed}: {:?}", *progress.borrow())
            }
        }
    }

    /// Waits until every topic partition is read to `ends`, and nothing is left to commit.
    #[track_caller]
    pub fn until_landed(&mut self, ends: &[i64]) -> Progress {
        self.until(&format!("all is landed up to {ends:?}"), |seen| {
            let parts = &seen.topic_partitions;
            parts.len() == ends.len()
                && parts
                    .values()
                    .zip(ends)
                    .all(|(its, end)| (its.committed, its.end) == (*end, *end))
        })
    }

    /// Drains it.
    pub fn stop(mut self) {
        self.stop.cancel();
        self.landing.runtime.block_on(self.end.take().unwrap()).unwrap().unwrap();
    }

    /// Waits until it gives up.
    #[track_caller]
    pub fn failed(mut self) -> Error {
        let end = self.end.take().unwrap();
        let ended = async { tokio::time::timeout(PATIENCE, end).await };
        self.landing.runtime.block_on(ended).expect("it goes on").unwrap().unwrap_err()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(end) = &self.end {
            end.abort();
        }
    }
}

fn project() -> ProjectName {
    "test".parse().unwrap()
}

fn table() -> TableName {
    TABLE.parse().unwrap()
}
