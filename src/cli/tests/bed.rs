//! A project of fixed files with a store of fixed facts, looked at on 2026-11-21 at 09:14:07Z.

// Over 400 lines: one bed for all screens.

use crate::clock::Clock;
use crate::config;
use crate::config::Environment;
use crate::error::ErrorKind;
use crate::model::accepted::Accepted;
use crate::model::attempt::{AttemptState, Ended, Failure, Process};
use crate::model::closing::Circumstances;
use crate::model::commit::{Closing, Counts, FORMAT, File, Members, Publish, Record};
use crate::model::due::DueRange;
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::name::{Name, TableName};
use crate::model::project::Project;
use crate::model::run::{Class, Input, Run, RunKind, RunState, Subject};
use crate::model::stream::{StreamProgress, TopicPartitionProgress};
use crate::model::task::TaskState;
use crate::model::time::Micros;
use crate::store::Store;
use crate::store::progress::TaskChange;
use crate::store::runs::Launch;
use crate::terminal::context::Context;
use crate::terminal::print::Output;
use crate::terminal::screen::Times;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const FILES: [(&str, &str); 9] = [
    ("tidemill.toml", "project = \"wiki\"\n[limits]\nparallelism = 4\n"),
    (
        "topics/changes.toml",
        "columns = [\n  { name = \"id\", type = \"string\", required = true },\n  \
         { name = \"at\", type = \"timestamp\", required = true },\n]\n[event_time]\ncolumn = \"at\"\n",
    ),
    (
        "jobs/collect/job.toml",
        "kind = \"feed\"\n[from.simulate]\nmodel = \"recentchange\"\nseed = 7\nrate = 37\n\
         from = \"2026-11-20\"\n[to.kafka]\ntopic = \"changes\"\n",
    ),
    (
        "jobs/land/job.toml",
        "kind = \"stream\"\n[from.kafka]\ntopic = \"changes\"\n[to.lake]\ntable = \"raw.changes\"\n\
         partition_by = \"hour\"\nclose_after = \"10m\"\n",
    ),
    (
        "jobs/by_hour/job.toml",
        "kind = \"batch\"\nreads = [\"raw.changes\"]\n[to.lake]\ntable = \"agg.by_hour\"\n",
    ),
    ("jobs/by_hour/query.sql", "select count(*) as changes from raw.changes\n"),
    (
        "jobs/by_day/job.toml",
        "kind = \"batch\"\nreads = [\"agg.by_hour\"]\n[to.lake]\ntable = \"agg.by_day\"\n",
    ),
    ("jobs/by_day/query.sql", "select sum(changes) as changes from agg.by_hour\n"),
    (
        "dags/wikimedia.toml",
        "doc = \"Changes, counted when an hour is complete\"\nowner = \"data-platform\"\n\
         [streams]\ncollect = \"collect\"\nland = \"land\"\n[schedule]\non_close = \"raw.changes\"\n\
         [tasks.by_hour]\njob = \"by_hour\"\nretries = 3\n\
         [tasks.sane]\nafter = [\"by_hour\"]\ntest = \"select * from agg.by_hour where changes <= 0\"\n",
    ),
];
const DAILY: &str =
    "[schedule]\non_close = \"agg.by_hour\"\ngrain = \"day\"\n[tasks.by_day]\njob = \"by_day\"\n";
const TOPIC_ID: &str = "9c41e07b0123456789abcdef01234567";
const LAKE_ID: &str = "7f3a0123456789abcdef0123456789ab";

pub struct Bed {
    _folder: tempfile::TempDir,
    pub context: Context,
    pub project: Project,
    pub store: Store,
    /// Number of the last record of topic partition 0.
    seq: u64,
}

pub fn at(text: &str) -> Micros {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

pub fn key(text: &str) -> PartitionKey {
    text.parse().unwrap()
}

pub fn raw() -> TableName {
    "raw.changes".parse().unwrap()
}

pub fn hours(day: &str, range: std::ops::Range<u32>) -> Vec<PartitionKey> {
    range.map(|hour| key(&format!("{day}T{hour:02}"))).collect()
}

pub fn times() -> Times {
    Times { now: at("2026-11-21T09:14:07Z"), zone: TimeZone::UTC }
}

/// The half-open stretch of event time.
fn range(key: &PartitionKey) -> (Micros, Micros) {
    PartitionBy::utc(key.grain).range(key)
}

impl Bed {
    /// Two days of hours: two of them closed twice, one whose run failed, one that is open.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with these files too.
    pub async fn with(more: &[(&str, &str)]) -> Self {
        let mut bed = Self::empty(more).await;
        let members = Members {
            format: FORMAT,
            topic: "changes".parse().unwrap(),
            topic_id: TOPIC_ID.into(),
            topic_partitions: 2,
        };
        let mut tx = bed.store.begin().await.unwrap();
        tx.set_members(&raw(), &members).await.unwrap();
        tx.commit().await.unwrap();
        for hour in hours("2026-11-20", 0..24).into_iter().chain(hours("2026-11-21", 0..8)) {
            bed.close(hour, 1).await;
            match hour.start.hour() {
                18 => bed.fail(hour).await,
                14 | 15 => {
                    bed.run(hour, 1).await;
                    bed.close(hour, 2).await;
                    bed.run(hour, 2).await;
                }
                _ => bed.run(hour, 1).await,
            }
        }
        bed.record(key("2026-11-21T08"), 31_044, at("2026-11-21T09:12:31Z")).await;
        bed.day_is_due().await;
        bed.streams().await;
        bed
    }

    async fn empty(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daily = ("dags/wikimedia_daily.toml", DAILY);
        for (path, text) in FILES.into_iter().chain([daily]).chain(more.iter().copied()) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let loaded = config::load(folder.path(), None, &Environment::default());
        let project = loaded.map_err(|problems| problems.to_string()).unwrap().project;
        let store = Store::open(&project.settings.state).await.unwrap();
        store.accept(&Accepted::of(&project), at("2026-11-19T00:00:00Z")).await.unwrap();
        store.bind_lake(LAKE_ID).await.unwrap();
        let context = Context {
            dir: PathBuf::from("."),
            env: None,
            output: Output::Table,
            zone: TimeZone::UTC,
            program: "tidemill".into(),
            clock: Clock::system(),
            environment: Environment::default(),
        };
        Self { _folder: folder, context, project, store, seq: 0 }
    }

    /// Versions are hashes of what the model says of them: no test wants to hear of each new field.
    pub async fn without_hashes(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (dag, shown) in self.store.dags().await.unwrap().iter().zip(["7c1f0e9", "a0e0d65"]) {
            text = text.replace(&dag.version, shown).replace(&dag.version[..7], shown);
        }
        text
    }

    async fn record(&mut self, key: PartitionKey, rows: u64, now: Micros) {
        self.seq += 1;
        let (seq, published) =
            (self.seq, format!("raw/changes/{}/{}.parquet", key.path(), self.seq));
        let file = File {
            key: Some(key),
            staged: String::new(),
            published,
            bytes: rows * 316,
            checksum: "c".into(),
            rows,
            event_time_min: None,
            event_time_max: None,
        };
        let record = Record {
            format: FORMAT,
            seq,
            output: raw(),
            topic: "changes".parse().unwrap(),
            topic_id: TOPIC_ID.into(),
            topic_partition: 0,
            start: 0,
            end: 1_204_331,
            schema: 1,
            partition_by: PartitionBy::utc(Grain::Hour),
            publish: Publish::OnCommit,
            files: vec![file],
            quarantine: None,
            watermark: None,
            marked: true,
            behind: false,
            cut: false,
            counts: Counts { read: rows, landed: rows, ..Counts::default() },
            reasons: BTreeMap::new(),
            job: String::new(),
            writer: String::new(),
        };
        let mut tx = self.store.begin().await.unwrap();
        tx.mirror_record(&record, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Lands 9,000 rows and closes the hour with them.
    pub async fn close(&mut self, key: PartitionKey, n: u32) {
        let (start, end) = range(&key);
        let now = end.plus(Duration::from_mins(10 * u64::from(n)));
        self.record(key, 9_000, now).await;
        let files = self.store.files_of(&raw(), &key).await.unwrap();
        let closing = Closing {
            format: FORMAT,
            table: raw(),
            key,
            n,
            partial: false,
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            frontier: end,
            made_from: None,
            compaction: None,
        };
        let about = Circumstances { late: n > 1, start, end };
        let mut tx = self.store.begin().await.unwrap();
        tx.mirror_closing(&closing, about, now).await.unwrap().unwrap();
        tx.advance(&raw(), end).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Adds a run of the hour's closing `n`.
    pub async fn add(&self, key: PartitionKey, n: u32, state: RunState) -> Run {
        let (start, end) = range(&key);
        let dag = self.store.dag(&"wikimedia".parse().unwrap()).await.unwrap().unwrap();
        let now = end.plus(Duration::from_mins(10 * u64::from(n)));
        let grain = Grain::Hour;
        let run = Run {
            id: format!("close-{key}-r{n}-k3f9"),
            dag: dag.name,
            version: dag.version,
            kind: RunKind::Close,
            class: Class::Live,
            subject: Some(Subject { table: raw(), grain, key, n, start, end, partial: false }),
            state,
            created: now,
            started: None,
            ended: None,
            superseded_by: None,
            marked_by: None,
            failure: None,
        };
        let mut tx = self.store.begin().await.unwrap();
        assert!(tx.add_run(&run, &[Input { table: raw(), key, n }]).await.unwrap());
        tx.commit().await.unwrap();
        run
    }

    async fn start(&self, key: PartitionKey, n: u32) -> (Run, Vec<Name>, Micros) {
        let run = self.add(key, n, RunState::Queued).await;
        let tasks = vec!["by_hour".parse().unwrap(), "sane".parse().unwrap()];
        let (now, mut tx) = (run.created, self.store.begin().await.unwrap());
        tx.start_run(&run.id, &tasks, now).await.unwrap();
        tx.commit().await.unwrap();
        (run, tasks, now)
    }

    async fn run(&self, key: PartitionKey, n: u32) {
        let (run, tasks, now) = self.start(key, n).await;
        let later = now.plus(Duration::from_millis(1_900));
        for task in &tasks {
            self.attempt(&run, task, 1, None, now, later).await;
            self.change(&run.id, task, TaskState::Running, TaskState::Succeeded, 1, later).await;
        }
        self.end(&run, RunState::Succeeded, later).await;
    }

    /// Four tries of its first task, so that the second never runs.
    async fn fail(&self, key: PartitionKey) {
        let (run, tasks, now) = self.start(key, 1).await;
        let failure = Failure {
            kind: ErrorKind::Input,
            error: "run job `by_hour`: load 1 file into agg.by_hour$2026112018: no permission"
                .into(),
            remedy: Some("grant roles/bigquery.dataEditor on dataset agg".into()),
        };
        let mut later = now;
        for tries in 1..=4 {
            later = now.plus(Duration::from_secs(61 * u64::from(tries)));
            self.attempt(&run, &tasks[0], tries, Some(&failure), later, later).await;
            let to = if tries == 4 { TaskState::Failed } else { TaskState::Waiting };
            self.change(&run.id, &tasks[0], TaskState::Running, to, tries, later).await;
        }
        let (from, to) = (TaskState::Waiting, TaskState::UpstreamFailed);
        self.change(&run.id, &tasks[1], from, to, 0, later).await;
        self.end(&run, RunState::Failed, later).await;
    }

    async fn attempt(
        &self,
        run: &Run,
        task: &Name,
        tries: u32,
        failure: Option<&Failure>,
        start: Micros,
        end: Micros,
    ) {
        let mut tx = self.store.begin().await.unwrap();
        let (run, version) = (run.id.as_str(), run.version.as_str());
        let launch = Launch { run, task, kind: "batch", version, tries };
        let id = tx.launch_task(&launch, start).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        self.started(&id, start).await;
        let ended = Ended {
            state: if failure.is_some() { AttemptState::Failed } else { AttemptState::Succeeded },
            exit_code: Some(i32::from(failure.is_some())),
            signal: None,
            failure: failure.cloned(),
            result: None,
        };
        assert!(self.store.attempt_ended(&id, &ended, end).await.unwrap());
    }

    async fn started(&self, attempt: &str, now: Micros) {
        let process = Process { host: "h".into(), pid: 40_131, pid_start: 1, boot_id: "b".into() };
        assert!(self.store.attempt_started(attempt, &process, now).await.unwrap());
    }

    async fn change(
        &self,
        run: &str,
        task: &Name,
        from: TaskState,
        to: TaskState,
        tries: u32,
        now: Micros,
    ) {
        let change = TaskChange { run, task, from, to, tries, lost: 0, next_try: None };
        let mut tx = self.store.begin().await.unwrap();
        tx.change_task(&change, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn end(&self, run: &Run, state: RunState, now: Micros) {
        let mut tx = self.store.begin().await.unwrap();
        tx.end_run(&run.id, state, now).await.unwrap();
        tx.set_closed(&run.id).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The day over the hours has something to do and waits for the hour that failed.
    async fn day_is_due(&self) {
        let key = key("2026-11-20");
        let (start, end) = range(&key);
        let dag = "wikimedia_daily".parse().unwrap();
        let due = DueRange { dag, key, start, end, asked: false, since: start };
        let mut tx = self.store.begin().await.unwrap();
        tx.make_due(&due).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn streams(&self) {
        let began = at("2026-11-21T06:02:11Z");
        let place = |topic_partition, committed, end, watermark, seq| TopicPartitionProgress {
            topic_partition,
            committed,
            end,
            watermark: Some(at(watermark)),
            seq,
        };
        let landing = StreamProgress {
            rate: 37.2,
            lag: Some(212),
            watermark: Some(at("2026-11-21T09:13:57Z")),
            memory_bytes: 193 << 20,
            memory_max_bytes: 256 << 20,
            hive_partitions_open: 2,
            counts: Counts {
                read: 4_813_210,
                landed: 4_811_702,
                quarantined: 12,
                dropped: 292,
                tombstones: 0,
                marks: 1_204,
            },
            topic_partitions: vec![
                place(0, 1_204_331, 1_204_380, "2026-11-21T09:14:01Z", 412),
                place(1, 1_201_877, 1_202_040, "2026-11-21T09:13:57Z", 411),
            ],
            ..StreamProgress::default()
        };
        let collecting = StreamProgress {
            rate: 36.8,
            last_mark: Some(at("2026-11-21T09:14:03Z")),
            produced: 4_813_210,
            ..StreamProgress::default()
        };
        for (stream, progress) in [("wikimedia.land", landing), ("wikimedia.collect", collecting)] {
            let attempt = self.store.launch_stream(stream, began).await.unwrap().unwrap();
            self.started(&attempt.id, began).await;
            let epoch = attempt.epoch;
            assert!(self.store.heartbeat(stream, epoch, &progress, began).await.unwrap());
        }
    }
}
