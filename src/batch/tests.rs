// Over 400 lines: one claim a test, all on one bed.

use super::*;
use crate::clock::Clock;
use crate::crash::Crash;
use crate::lake::testing::{CrashingStore, TOPIC_ID, through};
use crate::model::column::{Column, ColumnType, Origin};
use crate::model::commit::{ClosedFile, Closing, FORMAT};
use crate::model::dag::{Dag, Schedule, Table, TableContent};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::job::{Job, WarehouseTable};
use crate::model::load::{BegunLoad, LoadEnd, LoadIntent};
use crate::model::run::Input;
use crate::model::settings::LakeUrl;
use crate::model::time::Micros;
use crate::model::topic::{EventTimeRule, Expect, Idle, Otherwise, Topic};
use crate::sql::schema::with_field_ids;
use crate::warehouse::Local;
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const HOUR: &str = "2026-11-20T05";
const BY_HOUR: &str = "select wiki, sum(change) as n from raw.changes group by wiki";

/// A lake and a warehouse of one stream and two batches.
pub struct World {
    version: DagVersion,
    lake: Lake,
    warehouse: Warehouse,
    budget: Budget,
    _folder: Option<TempDir>,
}

/// The local warehouse has no jobs.
struct Nobody;

#[async_trait]
impl Journal for Nobody {
    async fn begin(&self, _: &LoadIntent) -> Result<BegunLoad, Error> {
        panic!("nothing is written down")
    }

    async fn end(&self, _: &str, _: LoadEnd) -> Result<(), Error> {
        panic!("nothing is written down")
    }
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let world = world_at(folder.path()).await;
    World { _folder: Some(folder), ..world }
}

pub async fn world_at(folder: &Path) -> World {
    let url = LakeUrl::Folder(folder.join("lake"));
    let lake = Lake::open(&url, &"wiki".parse().unwrap(), Clock::system()).await.unwrap();
    let warehouse = Warehouse::Local(Local::new(&folder.join("warehouse"), Clock::system()));
    let spill = folder.join("spill");
    let budget = Budget { memory_bytes: 64 << 20, spill, threads: 2 };
    World { version: version(), lake, warehouse, budget, _folder: None }
}

fn version() -> DagVersion {
    let topic = Topic {
        name: "changes".parse().unwrap(),
        partitions: 1,
        retention: Duration::ZERO,
        columns: vec![column("wiki", ColumnType::String), column("change", ColumnType::Int64)],
        event_time: EventTimeRule {
            column: "at".into(),
            out_of_order: Duration::ZERO,
            max_ahead: Duration::ZERO,
            max_age: None,
            idle: Idle::Others,
            marks: true,
        },
        expects: Vec::new(),
    };
    let dag = Dag {
        name: "d".parse().unwrap(),
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::new(),
        schedule: Schedule::Manual,
        tasks: Vec::new(),
    };
    let by_day = "select sum(n) as n, $partition_key as day from agg.by_hour";
    let jobs = [
        job("by_hour", "raw.changes", BY_HOUR, Grain::Hour),
        job("by_day", "agg.by_hour", by_day, Grain::Day),
    ];
    let raw = table("raw.changes", "land", Grain::Hour, TableContent::Topic(topic.name.clone()));
    let made = table("agg.by_hour", "by_hour", Grain::Hour, TableContent::Query);
    DagVersion {
        dag,
        jobs: jobs.into_iter().map(|job| (job.name.clone(), job)).collect(),
        topics: BTreeMap::from([(topic.name.clone(), topic)]),
        tables: [raw, made].into_iter().map(|table| (table.name.clone(), table)).collect(),
    }
}

fn column(name: &str, kind: ColumnType) -> Column {
    Column { name: name.into(), origin: Origin::Path(vec![name.into()]), kind, required: false }
}

fn table(name: &str, writer: &str, grain: Grain, content: TableContent) -> Table {
    let (name, writer) = (name.parse().unwrap(), writer.parse().unwrap());
    Table { name, writer, partition_by: PartitionBy::utc(grain), content }
}

fn job(name: &str, reads: &str, sql: &str, grain: Grain) -> Job {
    let to: TableName = format!("agg.{name}").parse().unwrap();
    let batch = BatchJob {
        reads: vec![reads.parse().unwrap()],
        sql: sql.into(),
        expects: Vec::new(),
        to_lake: Some(to.clone()),
        to_warehouse: Some(WarehouseTable::of(to)),
        partition_by: PartitionBy::utc(grain),
    };
    Job { name: name.parse().unwrap(), kind: JobKind::Batch(batch) }
}

impl World {
    fn batch(&mut self, job: &str) -> &mut BatchJob {
        match &mut self.version.jobs.get_mut(&job.parse::<Name>().unwrap()).unwrap().kind {
            JobKind::Batch(batch) => batch,
            JobKind::Feed(_) | JobKind::Stream(_) => panic!("{job} is no batch"),
        }
    }

    /// Publishes a file of `raw.changes` in the hour.
    pub async fn publish(&self, name: &str, rows: &[(&str, i64)]) -> ClosedFile {
        self.publish_as(name, rows, |schema| schema).await
    }

    /// The same, written under what becomes of the schema.
    async fn publish_as(
        &self,
        name: &str,
        rows: &[(&str, i64)],
        written: impl FnOnce(SchemaRef) -> SchemaRef,
    ) -> ClosedFile {
        let batch = RecordBatch::try_from_iter([
            ("wiki", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))) as _),
            ("change", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))) as _),
        ]);
        let batch = batch.unwrap();
        let schema = written(batch.schema());
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        let content = writer.into_inner().unwrap();
        let key: PartitionKey = HOUR.parse().unwrap();
        let published = format!("raw/changes/{}/{name}.parquet", key.path());
        let bytes = content.len() as u64;
        self.lake.objects().put(&published.as_str().into(), content.into()).await.unwrap();
        ClosedFile {
            published,
            topic_id: TOPIC_ID.into(),
            topic_partition: 0,
            seq: 1,
            rows: rows.len() as u64,
            bytes,
            checksum: String::new(),
            event_time_min: None,
            event_time_max: None,
        }
    }

    pub async fn close(&self, n: u32, files: Vec<ClosedFile>) {
        let closing = Closing {
            format: FORMAT,
            table: "raw.changes".parse().unwrap(),
            key: HOUR.parse().unwrap(),
            n,
            partial: false,
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            frontier: Micros(0),
            made_from: None,
            compaction: None,
        };
        self.lake.create_closing(&closing).await.unwrap();
    }

    fn context<'a>(&'a self, run: &'a PinnedRun) -> Context<'a> {
        let World { version, lake, warehouse, budget, .. } = self;
        Context { version, run, lake, warehouse, journal: &Nobody, budget }
    }

    pub async fn run(&self, job: &str, run: &PinnedRun) -> Result<Outcome, Error> {
        super::run(&self.context(run), &job.parse().unwrap()).await
    }

    /// Runs it while one call to the lake goes wrong; says whether that was reached.
    async fn run_through(&self, job: &str, run: &PinnedRun, crash: Crash) -> (bool, Option<Error>) {
        let store = CrashingStore::over(self.lake.objects().clone(), crash);
        let lake = through(&self.lake, store.clone());
        let context = Context { lake: &lake, ..self.context(run) };
        let outcome = super::run(&context, &job.parse().unwrap()).await;
        (store.crashed(), outcome.err())
    }

    async fn ask(&self, text: &str) -> Result<String, Error> {
        let declared = Declared::from(&self.version);
        let answer = ask(declared, &self.lake, &self.warehouse, &self.budget, text, 5).await?;
        super::table(&answer)
    }

    /// What lake and warehouse hold of `agg.by_hour`; both say the same.
    pub async fn check(&self, expected: &[&str]) {
        for from in ["agg.by_hour", "warehouse.agg.by_hour"] {
            let text = format!("select * from {from} order by 1, 2");
            let told = self.ask(&text).await.unwrap();
            let rows: Vec<String> = told
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            assert_eq!(rows[1..rows.len() - 1], *expected, "{from}");
        }
    }
}

/// The run of closing `n` of the hour.
pub fn of_hour(n: u32) -> PinnedRun {
    let key = HOUR.parse().unwrap();
    let (start, end) = PartitionBy::utc(Grain::Hour).range(&key);
    let inputs = vec![Input { table: "raw.changes".parse().unwrap(), key, n }];
    let table = "raw.changes".parse().unwrap();
    let subject = Subject { table, grain: Grain::Hour, key, n, start, end, partial: false };
    PinnedRun { id: format!("close-{HOUR}-r{n}-test"), subject: Some(subject), inputs }
}

fn of_day(hour: u32) -> PinnedRun {
    let key: PartitionKey = "2026-11-20".parse().unwrap();
    let (start, end) = PartitionBy::utc(Grain::Day).range(&key);
    let input =
        Input { table: "agg.by_hour".parse().unwrap(), key: HOUR.parse().unwrap(), n: hour };
    let table = "agg.by_hour".parse().unwrap();
    let subject = Subject { table, grain: Grain::Day, key, n: 1, start, end, partial: false };
    PinnedRun { id: "close-2026-11-20-r1-test".into(), subject: Some(subject), inputs: vec![input] }
}

#[tokio::test]
async fn a_batch_reads_exactly_the_files_of_its_closing() {
    let world = world().await;
    let first = world.publish("a", &[("dewiki", 1), ("enwiki", 2)]).await;
    world.close(1, vec![first.clone()]).await;
    let late = world.publish("b", &[("dewiki", 10)]).await;
    let outcome = world.run("by_hour", &of_hour(1)).await.unwrap();
    assert_eq!((outcome.files_read, outcome.rows), (1, 2));
    world.check(&["2026-11-20T05:00:00 dewiki 1", "2026-11-20T05:00:00 enwiki 2"]).await;
    world.close(2, vec![first, late]).await;
    world.run("by_hour", &of_hour(2)).await.unwrap();
    world.check(&["2026-11-20T05:00:00 dewiki 11", "2026-11-20T05:00:00 enwiki 2"]).await;
}

#[tokio::test]
async fn files_with_and_without_field_ids_are_read_together_and_what_is_made_of_them_has_ids() {
    let world = world().await;
    let without = world.publish("a", &[("dewiki", 1)]).await;
    let with = world.publish_as("b", &[("dewiki", 10)], |schema| with_field_ids(&schema)).await;
    world.close(1, vec![without, with]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    world.check(&["2026-11-20T05:00:00 dewiki 11"]).await;
    let output = world.lake.output(&"agg.by_hour".parse().unwrap(), &HOUR.parse().unwrap()).await;
    let path = ObjectPath::from(output.unwrap().unwrap().file.unwrap().published);
    let bytes = world.lake.objects().get(&path).await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let columns = reader.parquet_schema().root_schema().get_fields().iter();
    let ids: Vec<_> = columns.map(|column| column.get_basic_info().id()).collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[tokio::test]
async fn a_repeat_makes_the_same_bytes_and_an_older_closing_is_fenced() {
    let world = world().await;
    let file = world.publish("a", &[("dewiki", 1), ("enwiki", 2), ("frwiki", 3)]).await;
    world.close(1, vec![file.clone()]).await;
    world.close(2, vec![file]).await;
    let key = HOUR.parse().unwrap();
    let table = "agg.by_hour".parse().unwrap();
    let checksum =
        || async { world.lake.output(&table, &key).await.unwrap().unwrap().file.unwrap().checksum };
    world.run("by_hour", &of_hour(2)).await.unwrap();
    let before = checksum().await;
    world.run("by_hour", &of_hour(2)).await.unwrap();
    assert_eq!(checksum().await, before);
    assert_eq!(world.run("by_hour", &of_hour(1)).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(checksum().await, before);
}

/// One that has failed so is tried again; whoever tries, lake and warehouse end alike.
#[tokio::test]
async fn a_call_that_goes_wrong_anywhere_is_an_outage_and_the_next_try_ends_well() {
    for crash in Crash::KILLS.into_iter().chain(Crash::TROUBLES) {
        for call in 0.. {
            let world = world().await;
            let file = world.publish("a", &[("dewiki", 1), ("enwiki", 2)]).await;
            world.close(1, vec![file.clone()]).await;
            world.run("by_hour", &of_hour(1)).await.unwrap();
            let late = world.publish("b", &[("dewiki", 10)]).await;
            world.close(2, vec![file, late]).await;
            let (crashed, error) = world.run_through("by_hour", &of_hour(2), crash(call)).await;
            if let Some(error) = &error {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{:?}: {error}", crash(call));
            }
            world.run("by_hour", &of_hour(2)).await.unwrap();
            world.check(&["2026-11-20T05:00:00 dewiki 11", "2026-11-20T05:00:00 enwiki 2"]).await;
            if !crashed {
                assert!(error.is_none() && call > 8, "{call} calls: {error:?}");
                break;
            }
            let passes = matches!(crash(call), Crash::Lost(_) | Crash::Error(_));
            assert!(error.is_some() || passes, "{:?} is swallowed", crash(call));
        }
    }
}

#[tokio::test]
async fn a_result_without_rows_empties_lake_and_warehouse() {
    let mut world = world().await;
    let file = world.publish("a", &[("dewiki", 1)]).await;
    world.close(1, vec![file.clone()]).await;
    world.close(2, vec![file]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    world.batch("by_hour").sql = "select wiki, change as n from raw.changes where false".into();
    let outcome = world.run("by_hour", &of_hour(2)).await.unwrap();
    assert_eq!(outcome.rows, 0);
    world.check(&[]).await;
}

#[tokio::test]
async fn a_broken_expectation_replaces_nothing_and_shows_the_rows() {
    let mut world = world().await;
    let file = world.publish("a", &[("dewiki", 1), ("enwiki", -2)]).await;
    world.close(1, vec![file.clone()]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    world.close(2, vec![file]).await;
    world.batch("by_hour").sql = BY_HOUR.replace("sum(change)", "sum(change * 10)");
    world.batch("by_hour").expects = vec![Expect {
        name: "no losses".into(),
        that: "n >= 0".into(),
        otherwise: Otherwise::Stop,
    }];
    let err = world.run("by_hour", &of_hour(2)).await.unwrap_err();
    assert_eq!(err.kind, ErrorKind::Data);
    insta::assert_snapshot!(err.to_string(), @r#"
    run job `by_hour` for 2026-11-20T05: expectation "no losses" broken by 1 row
    hour_start           wiki      n
    2026-11-20T05:00:00  enwiki  -20
    1 row
    "#);
    world.check(&["2026-11-20T05:00:00 dewiki 1", "2026-11-20T05:00:00 enwiki -2"]).await;
}

#[tokio::test]
async fn a_day_is_made_of_its_hours_and_columns_come_from_their_query() {
    let world = world().await;
    let file = world.publish("a", &[("dewiki", 1), ("enwiki", 2)]).await;
    world.close(1, vec![file]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    world.run("by_day", &of_day(1)).await.unwrap();
    let told = world.ask("select * from warehouse.agg.by_day").await.unwrap();
    insta::assert_snapshot!(told, @r"
    day_start   n  day
    2026-11-20  3  2026-11-20
    1 row
    ");
}

#[tokio::test]
async fn an_input_outside_of_what_the_run_works_on_is_refused() {
    let world = world().await;
    let mut run = of_day(1);
    run.inputs[0].key = "2026-11-21T05".parse().unwrap();
    let err = world.run("by_day", &run).await.unwrap_err();
    assert!(err.to_string().contains("lies outside"), "{err}");
}

#[tokio::test]
async fn columns_that_the_warehouse_refuses_leave_the_lake_as_it_was() {
    let mut world = world().await;
    let file = world.publish("a", &[("dewiki", 1)]).await;
    world.close(1, vec![file]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    world.batch("by_hour").sql = "select 1 as n, wiki from raw.changes".into();
    let err = world.run("by_hour", &of_hour(1)).await.unwrap_err();
    assert!(err.to_string().contains("column `wiki` has moved from place 2 to 3"), "{err}");
    world.batch("by_hour").sql = BY_HOUR.into();
    world.check(&["2026-11-20T05:00:00 dewiki 1"]).await;
}

#[tokio::test]
async fn columns_that_can_not_follow_those_of_the_table_leave_the_lake_as_it_was() {
    let mut world = world().await;
    let file = world.publish("a", &[("dewiki", 1)]).await;
    world.close(1, vec![file]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    let batch = world.batch("by_hour");
    (batch.sql, batch.to_warehouse) = ("select 1 as n, wiki from raw.changes".into(), None);
    let err = world.run("by_hour", &of_hour(1)).await.unwrap_err();
    assert_eq!(err.kind, ErrorKind::Input);
    assert!(err.to_string().contains("column `wiki` has moved from place 1 to 2"), "{err}");
    assert!(err.to_string().contains("agg.by_hour has files"), "{err}");
    world.batch("by_hour").sql = BY_HOUR.into();
    world.check(&["2026-11-20T05:00:00 dewiki 1"]).await;
}

#[tokio::test]
async fn files_from_before_a_column_was_added_read_as_if_they_had_it_empty() {
    let mut world = world().await;
    let file = world.publish("a", &[("dewiki", 1)]).await;
    world.close(1, vec![file]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    world.batch("by_hour").sql = "select 'enwiki' as wiki, 2::bigint as n, 'x' as more".into();
    let mut run = PinnedRun { inputs: Vec::new(), ..of_hour(1) };
    run.subject.as_mut().unwrap().key = "2026-11-20T06".parse().unwrap();
    world.run("by_hour", &run).await.unwrap();
    let told = world.ask("select wiki, n, more from agg.by_hour order by 1").await.unwrap();
    insta::assert_snapshot!(told, @r"
    wiki    n  more
    dewiki  1  -
    enwiki  2  x
    2 rows
    ");
}

#[tokio::test]
async fn what_a_project_declares_of_a_table_is_what_the_lake_remembers() {
    let world = world().await;
    let file = world.publish("a", &[("dewiki", 1)]).await;
    world.close(1, vec![file]).await;
    world.run("by_hour", &of_hour(1)).await.unwrap();
    let table = "agg.by_hour".parse().unwrap();
    let declared = Declared::from(&world.version).stored(&table).unwrap();
    assert_eq!(world.lake.newest_schema(&table).await.unwrap(), Some(declared));
}

#[tokio::test]
async fn a_test_fails_by_the_rows_that_it_returns() {
    let world = world().await;
    let file = world.publish("a", &[("dewiki", 1), ("enwiki", -2)]).await;
    world.close(1, vec![file]).await;
    let run = of_hour(1);
    world.run("by_hour", &run).await.unwrap();
    let context = world.context(&run);
    test(&context, "select * from agg.by_hour where n > 100").await.unwrap();
    let err = test(&context, "select wiki, n from agg.by_hour where n < 0").await.unwrap_err();
    insta::assert_snapshot!(err.to_string(), @r"
    the test returned 1 row
    wiki     n
    enwiki  -2
    1 row
    ");
}

#[tokio::test]
async fn a_question_about_an_unknown_table_names_a_likely_one() {
    let world = world().await;
    let err = world.ask("select * from raw.change").await.unwrap_err();
    assert_eq!(err.to_string(), "no table is named `raw.change`");
    assert_eq!(err.remedy.as_deref(), Some("did you mean `raw.changes`?"));
    let err = world.ask("select * from warehouse.agg.by_hour").await.unwrap_err();
    assert_eq!(err.to_string(), "nothing has been loaded into agg.by_hour yet");
}

#[tokio::test]
async fn an_answer_keeps_the_rows_asked_for_and_counts_all() {
    let world = world().await;
    let text = "select value, value * 1.5 as x, 'a' as t from generate_series(1, 7)";
    let declared = Declared::from(&world.version);
    let answer =
        ask(declared, &world.lake, &world.warehouse, &world.budget, text, 2).await.unwrap();
    insta::assert_snapshot!(super::table(&answer).unwrap(), @r"
    value    x  t
        1  1.5  a
        2  3.0  a
    7 rows, 5 of them left out
    ");
    insta::assert_snapshot!(json(&answer).unwrap(), @r#"{"columns":[{"name":"value","type":"int64"},{"name":"x","type":"float64"},{"name":"t","type":"string"}],"row_count":7,"rows":[{"t":"a","value":1,"x":1.5},{"t":"a","value":2,"x":3.0}],"rows_left_out":5}"#);
}
