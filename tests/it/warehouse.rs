//! What any warehouse promises, asked of the local one and of BigQuery's emulator.

use crate::servers;
use arrow::array::{
    ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use async_trait::async_trait;
use bytes::Bytes;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tidemill::clock::Clock;
use tidemill::error::{Error, ErrorKind};
use tidemill::model::file::LocalFile;
use tidemill::model::hive::{Grain, PartitionKey};
use tidemill::model::job::WarehouseTable;
use tidemill::model::load::{BegunLoad, LoadEnd, LoadIntent, OpenLoad};
use tidemill::model::settings;
use tidemill::warehouse::bigquery::Patience;
use tidemill::warehouse::{CLOSING_KEY, Journal, Load, Loaded, Warehouse};

pub const FIVE: &str = "2026-11-20T05";
pub const SIX: &str = "2026-11-20T06";
const PROJECT: &str = "tidemill";

/// A warehouse with one table, and a bucket beside it.
pub struct Place {
    pub warehouse: Warehouse,
    pub journal: Memory,
    /// The data set, which no other test has.
    pub set: String,
    /// The emulator's address, where it is one.
    pub address: Option<&'static str>,
    project: String,
    bucket: TempDir,
}

impl Place {
    async fn local() -> Option<Self> {
        let bucket = tempfile::tempdir().unwrap();
        let local = settings::Warehouse::Local(bucket.path().join("warehouse"));
        Some(Self::open(local, bucket, None).await)
    }

    pub async fn bigquery() -> Option<Self> {
        Self::of_project(PROJECT.to_owned()).await
    }

    /// One whose project no other test has, so that faults can hit every call.
    pub async fn bigquery_alone(patience: Patience) -> Option<Self> {
        let project = format!("alone-{}", uuid::Uuid::new_v4().simple());
        let mut place = Self::of_project(project).await?;
        let Warehouse::BigQuery(bigquery) = place.warehouse else { panic!("it is a folder") };
        place.warehouse = Warehouse::BigQuery(Box::new(bigquery.patient(patience)));
        Some(place)
    }

    async fn of_project(project: String) -> Option<Self> {
        let address = servers::bigquery()?;
        let bucket = TempDir::with_prefix_in("lake-", servers::BUCKETS).unwrap();
        let bigquery = settings::Warehouse::BigQuery(settings::BigQuery {
            project: project.clone(),
            location: "EU".into(),
            endpoint: Some(address.into()),
            credentials: None,
        });
        let place = Self::open(bigquery, bucket, Some(address)).await;
        Some(Self { project, ..place })
    }

    async fn open(
        settings: settings::Warehouse,
        bucket: TempDir,
        address: Option<&'static str>,
    ) -> Self {
        let project = "wiki".parse().unwrap();
        let warehouse = Warehouse::open(&settings, &project, Clock::system()).await.unwrap();
        let set = format!("agg_{}", uuid::Uuid::new_v4().simple());
        let journal = Memory::new(&set);
        Self { warehouse, journal, set, address, project: PROJECT.to_owned(), bucket }
    }

    /// What every call has in it that is about a project of this test's own.
    pub fn mark(&self) -> String {
        self.project.clone()
    }

    pub fn to(&self) -> WarehouseTable {
        WarehouseTable::of(format!("{}.by_hour", self.set).parse().unwrap())
    }

    /// A load of rows with one column `n`, put into the bucket.
    pub fn load(&self, key: &str, closing: u32, values: &[i64]) -> Load {
        self.load_columns(key, closing, vec![("n", int(values))])
    }

    fn load_columns(&self, key: &str, closing: u32, mut columns: Vec<(&str, ArrayRef)>) -> Load {
        let key: PartitionKey = key.parse().unwrap();
        let rows = columns[0].1.len();
        columns.insert(0, (key.grain.start_column(), starts(&key, rows)));
        let content = parquet(columns, closing);
        let folder = self.bucket.path().join(key.path());
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("part-{closing}-{rows}.parquet"));
        fs::write(&path, &content).unwrap();
        let checksum = format!("{:x}", Sha256::digest(&content));
        let name = path.file_name().unwrap().to_str().unwrap();
        let bucket = self.bucket.path().file_name().unwrap().to_str().unwrap();
        let source = format!("gs://{bucket}/{}/{name}", key.path());
        let file = LocalFile { bytes: content.len() as u64, checksum, path };
        Load { to: self.to(), key, closing, file, source: (rows > 0).then_some(source) }
    }

    pub async fn replace(&self, load: &Load) -> Result<Loaded, Error> {
        self.warehouse.replace(load, &self.journal).await
    }

    async fn refused(&self, load: &Load) -> (ErrorKind, String) {
        let error = self.replace(load).await.unwrap_err();
        (error.kind, error.to_string())
    }

    /// `05: 1 2, 06: 9`: the values of each hour, as a plain reader finds them.
    pub fn rows(&self) -> String {
        let mut rows = match self.address {
            None => self.local_rows(),
            Some(_) => self.query(&format!("SELECT * FROM {}.by_hour", self.set)),
        };
        rows.sort();
        let mut told: Vec<String> = Vec::new();
        for (hour, n) in rows {
            match told.last_mut().filter(|last| last.starts_with(&hour)) {
                Some(last) => last.push_str(&format!(" {n}")),
                None => told.push(format!("{hour}: {n}")),
            }
        }
        told.join(", ")
    }

    fn local_rows(&self) -> Vec<(String, i64)> {
        let mut rows = Vec::new();
        let Warehouse::Local(local) = &self.warehouse else { panic!("it is no folder") };
        for partition in local.partitions(&self.to().table).unwrap() {
            let file = fs::File::open(&partition.file).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
            for batch in reader {
                let batch = batch.unwrap();
                let values = batch.column_by_name("n").unwrap();
                let values = values.as_any().downcast_ref::<Int64Array>().unwrap();
                let key = partition.key.to_string();
                rows.extend(values.iter().map(|n| (key[key.len() - 2..].to_owned(), n.unwrap())));
            }
        }
        rows
    }

    fn query(&self, text: &str) -> Vec<(String, i64)> {
        let told = self.post(
            &format!("/bigquery/v2/projects/{}/queries", self.project),
            &json!({ "query": text, "useLegacySql": false }).to_string(),
        );
        let told: Value = serde_json::from_str(&told).unwrap();
        let cell = |row: &Value, place: usize| row["f"][place]["v"].as_str().unwrap().to_owned();
        let rows = told["rows"].as_array().unwrap_or_else(|| panic!("{told}")).iter();
        let hour =
            |start: String| start.get(11..13).unwrap_or(&start[start.len() - 2..]).to_owned();
        rows.map(|row| (hour(cell(row, 0)), cell(row, 1).parse().unwrap())).collect()
    }

    /// A resource of the emulator's project.
    pub fn get(&self, path: &str) -> Value {
        let path = format!("/bigquery/v2/projects/{}/{path}", self.project);
        let told = self.ask("GET", &path, "");
        serde_json::from_str(&told).unwrap()
    }

    /// The answer of the emulator.
    pub fn post(&self, path: &str, body: &str) -> String {
        self.ask("POST", path, body)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        servers::ask(self.address.unwrap(), method, path, body)
    }
}

/// A journal that a test can look into, and give to the next life of a process.
pub struct Memory {
    base: String,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    job: String,
    intent: LoadIntent,
    end: Option<LoadEnd>,
}

impl Memory {
    pub fn new(set: &str) -> Self {
        Self { base: format!("tidemill-{set}"), entries: Mutex::default() }
    }

    /// Ids, each with how it ended: `…-2026-11-20T05-r1-t1 loaded`.
    pub fn told(&self) -> Vec<String> {
        let end = |entry: &Entry| match entry.end {
            None => "open",
            Some(LoadEnd::Loaded { .. }) => "loaded",
            Some(LoadEnd::Failed) => "failed",
            Some(LoadEnd::Burnt) => "burnt",
        };
        let short = |entry: &Entry| entry.job.strip_prefix(&self.base).unwrap()[1..].to_owned();
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|entry| format!("{} {}", short(entry), end(entry))).collect()
    }
}

#[async_trait]
impl Journal for Memory {
    async fn begin(&self, intent: &LoadIntent) -> Result<BegunLoad, Error> {
        let mut entries = self.entries.lock().unwrap();
        let same =
            |entry: &&Entry| (&entry.intent.table, entry.intent.key) == (&intent.table, intent.key);
        if entries.iter().filter(same).any(|entry| entry.intent.closing > intent.closing) {
            return Err(Error::new(ErrorKind::Fenced, "a newer closing has begun"));
        }
        let ran =
            |entry: &&Entry| matches!(entry.end, Some(LoadEnd::Loaded { .. } | LoadEnd::Failed));
        let known = entries.iter().any(|entry| same(&entry) && ran(&entry));
        let base = format!("{}-{}-r{}", self.base, intent.key, intent.closing);
        let usable = |entry: &&Entry| {
            entry.intent == *intent && !matches!(entry.end, Some(LoadEnd::Failed | LoadEnd::Burnt))
        };
        let found = entries.iter().find(usable).map(|entry| entry.job.clone());
        let job = found.unwrap_or_else(|| {
            let tries = entries.iter().filter(|entry| entry.job.starts_with(&base)).count();
            let job = format!("{base}-t{}", tries + 1);
            entries.push(Entry { job: job.clone(), intent: intent.clone(), end: None });
            job
        });
        let open = entries.iter().filter(same);
        let open = open.filter(|entry| entry.end.is_none() && entry.job != job);
        let open =
            open.map(|entry| OpenLoad { job: entry.job.clone(), closing: entry.intent.closing });
        Ok(BegunLoad { open: open.collect(), job, known, jobs_today: 1, partitions: 1 })
    }

    async fn end(&self, job: &str, end: LoadEnd) -> Result<(), Error> {
        let mut entries = self.entries.lock().unwrap();
        for entry in entries.iter_mut().filter(|entry| entry.job == job) {
            entry.end.get_or_insert(end);
        }
        Ok(())
    }
}

fn int(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

fn starts(key: &PartitionKey, rows: usize) -> ArrayRef {
    let at = key.start.to_zoned(TimeZone::UTC).unwrap().timestamp().as_microsecond();
    match key.grain {
        Grain::Hour => Arc::new(TimestampMicrosecondArray::from(vec![at; rows])),
        Grain::Day | Grain::Month => {
            let days = i32::try_from(at.div_euclid(86_400_000_000)).unwrap();
            Arc::new(Date32Array::from(vec![days; rows]))
        }
    }
}

fn parquet(columns: Vec<(&str, ArrayRef)>, closing: u32) -> Bytes {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let pairs = vec![KeyValue::new(CLOSING_KEY.into(), closing.to_string())];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

async fn a_load_replaces_its_partition_and_no_other(place: Place) {
    for (key, closing, values) in [(FIVE, 1, &[1, 2][..]), (SIX, 1, &[9]), (FIVE, 2, &[3])] {
        let loaded = place.replace(&place.load(key, closing, values)).await.unwrap();
        assert_eq!(loaded.rows, values.len() as u64);
    }
    assert_eq!(place.rows(), "05: 3, 06: 9");
}

async fn a_repeat_of_a_load_changes_nothing(place: Place) {
    for _ in 0..2 {
        let loaded = place.replace(&place.load(FIVE, 1, &[1, 2])).await.unwrap();
        assert_eq!(loaded.rows, 2);
    }
    assert_eq!(place.rows(), "05: 1 2");
}

async fn an_older_closing_is_fenced(place: Place) {
    place.replace(&place.load(FIVE, 2, &[2])).await.unwrap();
    let (kind, told) = place.refused(&place.load(FIVE, 1, &[1])).await;
    assert_eq!(kind, ErrorKind::Fenced, "{told}");
    assert_eq!(place.rows(), "05: 2");
}

async fn a_load_without_rows_empties_exactly_its_partition_and_still_fences(place: Place) {
    for (key, closing, values) in [(FIVE, 1, &[1][..]), (SIX, 1, &[9]), (FIVE, 2, &[])] {
        place.replace(&place.load(key, closing, values)).await.unwrap();
    }
    assert_eq!(place.rows(), "06: 9");
    assert_eq!(place.refused(&place.load(FIVE, 1, &[1])).await.0, ErrorKind::Fenced);
}

async fn a_table_may_begin_without_rows(place: Place) {
    place.replace(&place.load(FIVE, 1, &[])).await.unwrap();
    assert_eq!(place.rows(), "");
}

async fn rows_outside_the_partition_are_refused(place: Place) {
    let other = place.load(SIX, 1, &[1, 2]);
    let load = Load { key: FIVE.parse().unwrap(), ..other };
    let (kind, told) = place.refused(&load).await;
    assert_eq!(kind, ErrorKind::Data);
    assert!(told.ends_with("2 of 2 rows are outside the partition"), "{told}");
}

async fn a_table_grows_columns_at_its_end_only(place: Place) {
    place.replace(&place.load(FIVE, 1, &[1])).await.unwrap();
    place.replace(&place.load(SIX, 1, &[9])).await.unwrap();
    let grown = vec![("n", int(&[2])), ("wiki", text("dewiki"))];
    place.replace(&place.load_columns(FIVE, 2, grown)).await.unwrap();
    for (columns, problem) in [
        (vec![("n", int(&[3]))], "column `wiki`, at place 3, is gone"),
        (vec![("n", text("3")), ("wiki", text("x"))], "column `n` was"),
        (vec![("wiki", text("x")), ("n", int(&[3]))], "column `n` has moved from place 2 to 3"),
    ] {
        let (kind, told) = place.refused(&place.load_columns(FIVE, 3, columns)).await;
        assert_eq!(kind, ErrorKind::Input);
        assert!(told.contains(problem), "{told}");
    }
    assert_eq!(place.rows(), "05: 2, 06: 9");
}

async fn a_table_keeps_the_grain_that_it_began_with(place: Place) {
    place.replace(&place.load(FIVE, 1, &[1])).await.unwrap();
    let (kind, told) = place.refused(&place.load("2026-11-20", 1, &[1])).await;
    assert_eq!(kind, ErrorKind::Input);
    assert!(told.contains("partitioned by"), "{told}");
}

async fn days_are_tables_too(place: Place) {
    for (key, closing, value) in [("2026-11-20", 1, 1), ("2026-11-21", 1, 9), ("2026-11-20", 2, 2)]
    {
        place.replace(&place.load(key, closing, &[value])).await.unwrap();
    }
    assert_eq!(place.rows(), "20: 2, 21: 9");
    place.replace(&place.load("2026-11-20", 3, &[])).await.unwrap();
    assert_eq!(place.rows(), "21: 9");
}

async fn months_are_tables_too(place: Place) {
    for closing in [1, 2] {
        place.replace(&place.load("2026-11", closing, &[closing.into()])).await.unwrap();
    }
    assert_eq!(place.rows().rsplit(' ').next(), Some("2"));
    place.replace(&place.load("2026-11", 3, &[])).await.unwrap();
    assert_eq!(place.rows(), "");
}

macro_rules! claims {
    ($($claim:ident)+) => {
        mod local {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(super::Place::local().await.unwrap()).await;
            })+
        }

        mod bigquery {
            $(#[tokio::test]
            async fn $claim() {
                if let Some(place) = super::Place::bigquery().await {
                    super::$claim(place).await;
                }
            })+
        }
    };
}

claims! {
    a_load_replaces_its_partition_and_no_other
    a_repeat_of_a_load_changes_nothing
    an_older_closing_is_fenced
    a_load_without_rows_empties_exactly_its_partition_and_still_fences
    a_table_may_begin_without_rows
    rows_outside_the_partition_are_refused
    a_table_grows_columns_at_its_end_only
    a_table_keeps_the_grain_that_it_began_with
    days_are_tables_too
    months_are_tables_too
}
