//! A store on disk, a lake in memory, three DAGs in a chain, and a clock that only the test moves.

// Over 400 lines: one bed for all tests of the scheduler.

use crate::crash::Crash;
use crate::error::ErrorKind;
use crate::lake::commit::{Append, NewFile};
use crate::lake::members::OtherTopic;
use crate::lake::outputs::NewOutput;
use crate::lake::testing::{CrashingStore, local_file};
use crate::lake::{Lake, testing};
use crate::model::accepted::{Accepted, AcceptedTable};
use crate::model::attempt::{Attempt, AttemptState, Ended, Failure, Owner};
use crate::model::commit::{Counts, FORMAT, Members, OutputInput, Publish, Record};
use crate::model::dag::{
    Dag, DagVersion, Empty, OnClose, OnLate, Schedule, Table, TableContent, Task, Work,
};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::job::{BatchJob, Job, JobKind, WarehouseTable};
use crate::model::name::{Name, TableName};
use crate::model::request::{Answer, NewRequest, Outcome, Refusal, Request, Verb};
use crate::model::time::Micros;
use crate::model::zone::Zone;
use crate::scheduler::{Scheduler, StepOutcome, make};
use crate::store::Store;
use crate::store::runs::Wanted;
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const TOPIC_ID: &str = "0123456789abcdef0123456789abcdef";

/// What the scheduler stands on.
#[derive(Clone, Copy, Debug)]
pub enum Layer {
    Lake,
    Store,
}

pub struct Bed {
    folder: tempfile::TempDir,
    pub store: Store,
    pub lake: Lake,
    pub scheduler: Scheduler,
    pub now: Micros,
    pub dags: Vec<DagVersion>,
    /// The tables that streams write.
    pub streamed: Vec<&'static str>,
    stores: u32,
}

async fn declare(lake: &Lake, of: &str, topic_partitions: u32) {
    let (topic, topic_id) = ("changes".parse().unwrap(), TOPIC_ID.into());
    let seen = Members { format: FORMAT, topic, topic_id, topic_partitions };
    lake.declare_members(&table(of), &seen, OtherTopic::Refuse).await.unwrap();
}

impl Bed {
    /// `raw.changes` with two topic partitions; `hourly` makes `agg.by_hour` of it, and `daily`
    /// makes `agg.by_day` of that.
    pub async fn new(on_late: OnLate, empty: Empty) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = testing::over(Arc::new(InMemory::new()), folder.path()).await;
        let dags = vec![
            dag("hourly", "raw.changes", Grain::Hour, (on_late, empty), "agg.by_hour"),
            dag("daily", "agg.by_hour", Grain::Day, (OnLate::Refresh, Empty::Skip), "agg.by_day"),
            ingest(),
        ];
        let store = Store::open(&folder.path().join("state-0.db")).await.unwrap();
        let scheduler = Scheduler::new(store.clone(), lake.clone(), 4);
        let streamed = vec!["raw.changes"];
        let now = Micros(HOUR);
        let bed = Self { folder, store, lake, scheduler, now, dags, streamed, stores: 0 };
        bed.declare(2).await;
        bed.accept().await;
        bed
    }

    /// The topic has so many topic partitions now.
    pub async fn declare(&self, topic_partitions: u32) {
        for of in &self.streamed {
            declare(&self.lake, of, topic_partitions).await;
        }
    }

    pub async fn accept(&self) {
        let laid = |name: &str, dag: &str, grain, content, close_after: u64| AcceptedTable {
            table: Table {
                name: table(name),
                writer: self::name(dag),
                partition_by: PartitionBy::utc(grain),
                content,
            },
            dag: self::name(dag),
            close_after: Duration::from_mins(close_after),
            late_quiet: Duration::from_mins(u64::from(close_after > 0)),
        };
        let topic = || TableContent::Topic("changes".parse().unwrap());
        let mut tables = vec![
            laid("agg.by_hour", "hourly", Grain::Hour, TableContent::Query, 0),
            laid("agg.by_day", "daily", Grain::Day, TableContent::Query, 0),
        ];
        let streamed = self.streamed.iter();
        tables.extend(streamed.map(|of| laid(of, "ingest", Grain::Hour, topic(), 10)));
        let accepted = Accepted { versions: self.dags.clone(), tables };
        self.store.accept(&accepted, self.now).await.unwrap();
    }

    /// An edit lets the batch of `dag` read one more table.
    pub async fn also_reads(&mut self, dag: &str, read: &str) {
        for version in self.dags.iter_mut().filter(|version| version.dag.name == name(dag)) {
            for job in version.jobs.values_mut() {
                let JobKind::Batch(batch) = &mut job.kind else { continue };
                batch.reads.push(table(read));
            }
        }
        self.accept().await;
    }

    /// An edit lets the batch of `dag` load its result into the warehouse.
    pub async fn also_loads(&mut self, dag: &str) {
        for version in self.dags.iter_mut().filter(|version| version.dag.name == name(dag)) {
            for job in version.jobs.values_mut() {
                let JobKind::Batch(batch) = &mut job.kind else { continue };
                batch.to_warehouse = batch.to_lake.clone().map(WarehouseTable::of);
            }
        }
        self.accept().await;
    }

    /// An edit changes what `dag` does with late rows.
    pub async fn on_late(&mut self, dag: &str, on_late: OnLate) {
        for version in self.dags.iter_mut().filter(|version| version.dag.name == name(dag)) {
            let Schedule::OnClose(schedule) = &mut version.dag.schedule else { continue };
            schedule.on_late = on_late;
        }
        self.accept().await;
    }

    /// An edit lets `dag` wait for another table, or by another grain.
    pub async fn waits_for(&mut self, dag: &str, of: &str, grain: Grain) {
        for version in self.dags.iter_mut().filter(|version| version.dag.name == name(dag)) {
            let Schedule::OnClose(schedule) = &mut version.dag.schedule else { continue };
            (schedule.table, schedule.grain) = (table(of), grain);
        }
        self.accept().await;
    }

    /// Throws the state store away, as a lost disk does.
    pub async fn lose_store(&mut self) {
        self.store.close().await;
        self.stores += 1;
        let path = self.folder.path().join(format!("state-{}.db", self.stores));
        self.store = Store::open(&path).await.unwrap();
        self.restart();
        self.accept().await;
    }

    /// Another daemon takes over: what was only in memory is gone.
    pub fn restart(&mut self) {
        self.scheduler = Scheduler::new(self.store.clone(), self.lake.clone(), 4);
    }

    /// Commits ten rows in each of `hours` to a topic partition, with its watermark in minutes.
    pub async fn commit(&self, topic_partition: u32, hours: &[i64], watermark: i64) {
        self.append(topic_partition, hours, Some(watermark), |_| {}).await;
    }

    /// Commits that a topic partition is there and has nothing.
    pub async fn commit_empty(&self, topic_partition: u32) {
        self.append(topic_partition, &[], None, |_| {}).await;
    }

    /// Commits a mark, in minutes.
    pub async fn commit_marked(&self, topic_partition: u32, mark: i64) {
        self.append(topic_partition, &[], Some(mark), |record| record.marked = true).await;
    }

    /// Commits that reading has begun behind older messages.
    pub async fn commit_cut(&self, topic_partition: u32) {
        self.append(topic_partition, &[], None, |record| record.cut = true).await;
    }

    pub async fn append(
        &self,
        topic_partition: u32,
        hours: &[i64],
        watermark: Option<i64>,
        change: impl FnOnce(&mut Record),
    ) {
        self.append_to("raw.changes", topic_partition, hours, watermark, change).await;
    }

    pub async fn append_to(
        &self,
        of: &str,
        topic_partition: u32,
        hours: &[i64],
        watermark: Option<i64>,
        change: impl FnOnce(&mut Record),
    ) {
        let output = table(of);
        let log = self.lake.log(&output, TOPIC_ID, topic_partition);
        let tip = log.recover().await.unwrap();
        let (seq, start) = (tip.next_seq(), tip.end().unwrap_or(0));
        let mut files = Vec::new();
        for (index, hour) in (0..).zip(hours) {
            let at = Some(Micros(hour * HOUR));
            let file = NewFile {
                key: Some(key(*hour)),
                index,
                payload: format!("{topic_partition} {seq} {hour}").into_bytes().into(),
                rows: 10,
                event_time_min: at,
                event_time_max: at,
            };
            files.push(log.stage(seq, file).await.unwrap());
        }
        let landed = 10 * hours.len() as u64;
        let mut record = Record {
            format: FORMAT,
            seq,
            output,
            topic: "changes".parse().unwrap(),
            topic_id: TOPIC_ID.into(),
            topic_partition,
            start,
            end: start + i64::try_from(landed).unwrap(),
            schema: 1,
            partition_by: PartitionBy::utc(Grain::Hour),
            publish: Publish::OnCommit,
            files,
            quarantine: None,
            watermark: watermark.map(|minutes| Micros(minutes * MINUTE)),
            marked: false,
            behind: false,
            cut: false,
            counts: Counts { read: landed, landed, ..Counts::default() },
            reasons: BTreeMap::new(),
            job: "job".into(),
            writer: "writer".into(),
        };
        change(&mut record);
        let Append::Ours(committed) = log.append(&tip, &record).await.unwrap() else {
            panic!("the log has another writer");
        };
        log.publish(&committed).await.unwrap();
    }

    /// Commits to both topic partitions.
    pub async fn commit_both(&self, hours: &[i64], watermark: i64) {
        self.commit(0, hours, watermark).await;
        self.commit(1, hours, watermark).await;
    }

    /// Steps until there is nothing more to do now.
    pub async fn step(&mut self) -> StepOutcome {
        loop {
            let outcome = self.scheduler.step(self.now).await.unwrap();
            if outcome.next_wake > self.now {
                return outcome;
            }
        }
    }

    /// One step, whatever comes of it.
    pub async fn try_step(&mut self) {
        let _ = self.scheduler.step(self.now).await;
    }

    /// Settles while one call to the lake, or one transaction of the store, goes wrong; says whether
    /// it was reached.
    ///
    /// After a kill another daemon takes over; what only fails, the same one gets over.
    pub async fn settle_through(&mut self, what: Layer, crash: Crash) -> bool {
        let objects = CrashingStore::over(self.lake.objects().clone(), crash);
        let (mut lake, mut store) = (self.lake.clone(), self.store.clone());
        match what {
            Layer::Lake => lake = testing::through(&lake, objects.clone()),
            Layer::Store => store = store.crashing(crash),
        }
        self.scheduler = Scheduler::new(store.clone(), lake, 4);
        for _ in 0..6 {
            if let Err(error) = self.scheduler.step(self.now).await {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{what:?} {crash:?}: {error}");
            }
            self.end_attempts(AttemptState::Succeeded).await;
        }
        if matches!(crash, Crash::Before(_) | Crash::After(_)) {
            self.restart();
        }
        // Late rows close after a minute, and what could not be closed is tried again after another.
        for _ in 0..2 {
            self.now = Micros(self.now.0 + MINUTE);
            self.settle().await;
        }
        match what {
            Layer::Lake => objects.crashed(),
            Layer::Store => store.crashed(),
        }
    }

    /// Steps `minutes` later.
    pub async fn step_after(&mut self, minutes: i64) -> StepOutcome {
        self.now = Micros(self.now.0 + minutes * MINUTE);
        self.step().await
    }

    /// Steps and lets every attempt succeed, until there is none left.
    pub async fn settle(&mut self) {
        self.step().await;
        while self.end_attempts(AttemptState::Succeeded).await > 0 {
            self.step().await;
        }
    }

    /// Ends every open attempt; those that succeed replace their output first.
    pub async fn end_attempts(&self, state: AttemptState) -> usize {
        let open = self.store.open_attempts().await.unwrap();
        for attempt in &open {
            let run = match &attempt.owner {
                Owner::Task { run, .. } => run,
                Owner::Closing(compact) if state == AttemptState::Succeeded => {
                    // It is killed before it publishes: the scheduler finishes that.
                    self.compact(compact).await;
                    self.end(attempt, state).await;
                    continue;
                }
                Owner::Closing(_) | Owner::Stream(_) => {
                    self.end(attempt, state).await;
                    continue;
                }
            };
            let run = self.store.run(run).await.unwrap().unwrap();
            if let (AttemptState::Succeeded, Some(of)) = (state, &run.subject) {
                let Ok(version) = self.store.version(&run.version).await else {
                    self.end(attempt, AttemptState::Stopped).await;
                    continue;
                };
                let inputs = self.store.inputs(&run.id).await.unwrap();
                let own = inputs.iter().find(|own| own.key == of.key && own.table == of.table);
                let input = own.map(|own| OutputInput { table: own.table.clone(), n: own.n });
                for table in make::outputs(&version) {
                    let content = Some((local_file("rows"), 1));
                    let (key, n, run, input) = (of.key, of.n, run.id.clone(), input.clone());
                    let new = NewOutput { table, key, n, run, input, content };
                    self.lake.replace_output(new).await.unwrap();
                }
            }
            self.end(attempt, state).await;
        }
        open.len()
    }

    pub async fn end(&self, attempt: &Attempt, state: AttemptState) {
        let exit_code = Some(i32::from(state != AttemptState::Succeeded));
        let failure = (state == AttemptState::Failed).then(|| Failure {
            kind: ErrorKind::Unavailable,
            error: "no room".into(),
            remedy: None,
        });
        let ended = Ended { state, exit_code, signal: None, failure, result: None };
        self.store.attempt_ended(&attempt.id, &ended, self.now).await.unwrap();
    }

    pub async fn ask(&mut self, verb: Verb) -> Request {
        let id = self.store.ask(&NewRequest::at_command_line(verb, "ada"), self.now).await.unwrap();
        self.step().await;
        self.store.request(id).await.unwrap().unwrap()
    }

    /// What was done for a person who asked, at once.
    pub async fn done(&mut self, verb: Verb) -> Outcome {
        match self.ask(verb).await.answer {
            Some(Answer::Done(outcome)) => outcome,
            answer => panic!("{answer:?}"),
        }
    }

    /// Why it was not done.
    pub async fn refused(&mut self, verb: Verb) -> Refusal {
        match self.ask(verb).await.answer {
            Some(Answer::Refused(refusal)) => refusal,
            answer => panic!("{answer:?}"),
        }
    }

    /// Each run of the DAG, oldest first: `00 r1 succeeded`.
    pub async fn runs(&self, dag: &str) -> Vec<String> {
        let wanted = Wanted { dag: Some(name(dag)), ..Wanted::default() };
        let mut runs = self.store.runs(&wanted).await.unwrap();
        runs.sort_by_key(|run| {
            (run.created, run.subject.as_ref().map(|of| (of.start, of.n)), run.id.clone())
        });
        let line = |run: &crate::model::run::Run| {
            let of = run.subject.as_ref().unwrap();
            let key = of.key.to_string();
            format!("{} r{} {}", &key[8..], of.n, run.state)
        };
        runs.iter().map(line).collect()
    }

    #[track_caller]
    pub fn same(runs: &[String], expected: &[&str]) {
        assert_eq!(runs, expected);
    }
}

fn dag(
    dag: &str,
    reads: &str,
    grain: Grain,
    (on_late, empty): (OnLate, Empty),
    writes: &str,
) -> DagVersion {
    let batch = BatchJob {
        reads: vec![table(reads)],
        sql: "select 1".into(),
        expects: vec![],
        to_lake: Some(table(writes)),
        to_warehouse: None,
        partition_by: PartitionBy::utc(grain),
    };
    let job = Job { name: name(dag), kind: JobKind::Batch(batch) };
    let on_close = OnClose {
        table: table(reads),
        grain,
        timezone: Zone::utc(),
        on_late,
        empty,
        start: None,
        max_active_runs: 4,
    };
    let task = Task {
        name: name("batch"),
        after: vec![],
        work: Work::Batch(job.name.clone()),
        retries: 0,
        retry_delay: Duration::ZERO,
        timeout: None,
    };
    let dag = Dag {
        name: name(dag),
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::new(),
        schedule: Schedule::OnClose(on_close),
        tasks: vec![task],
    };
    let jobs = BTreeMap::from([(job.name.clone(), job)]);
    DagVersion { dag, jobs, topics: BTreeMap::new(), tables: BTreeMap::new() }
}

/// Whose stream writes the table.
fn ingest() -> DagVersion {
    let dag = Dag {
        name: name("ingest"),
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::new(),
        schedule: Schedule::Manual,
        tasks: vec![],
    };
    let (jobs, topics, tables) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    DagVersion { dag, jobs, topics, tables }
}

pub fn key(hour: i64) -> PartitionKey {
    PartitionBy::utc(Grain::Hour).key_of(Micros(hour * HOUR))
}

pub fn table(text: &str) -> TableName {
    text.parse().unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}
