//! What every engine promises, asked of each.

use super::datafusion::DataFusion;
use super::{Engine, Made, Query, Stage};
use crate::batch::Budget;
use crate::checksum::Checksum;
use crate::error::ErrorKind;
use crate::model::hive::{Grain, PartitionBy};
use crate::model::run::Subject;
use crate::sql::file::TableFile;
use crate::sql::parameters::Parameters;
use crate::sql::schema::with_field_ids;
use crate::sql::table::{Catalog, Table};
use crate::warehouse::{CLOSING_KEY, RUN_KEY};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::fs::File;
use std::sync::Arc;
use tempfile::TempDir;

const RUN: &str = "close-2026-11-20T05-r3-test";
const WRONG: &str = "select no_such_column from raw.changes";

/// A table of two files, and a folder for stages.
struct Place {
    tables: Vec<Table>,
    range: Subject,
    parameters: Parameters,
    folder: TempDir,
}

async fn place() -> Place {
    let store = Arc::new(InMemory::new());
    let mut files = Vec::new();
    let mut schema = None;
    for (name, wiki, change) in
        [("a", ["dewiki", "enwiki"], [1, 2]), ("b", ["dewiki", "frwiki"], [10, 3])]
    {
        let rows = RecordBatch::try_from_iter([
            ("wiki", Arc::new(StringArray::from(wiki.to_vec())) as Arc<dyn Array>),
            ("change", Arc::new(Int64Array::from(change.to_vec())) as Arc<dyn Array>),
        ]);
        let rows = rows.unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        let content = writer.into_inner().unwrap();
        let bytes = content.len() as u64;
        store.put(&name.into(), content.into()).await.unwrap();
        files.push(TableFile { path: name.into(), bytes, times: None });
        schema = Some(rows.schema());
    }
    let key = "2026-11-20T05".parse().unwrap();
    let (start, end) = PartitionBy::utc(Grain::Hour).range(&key);
    let table = Table {
        catalog: Catalog::Lake,
        name: "raw.changes".parse().unwrap(),
        schema: schema.unwrap(),
        store: store as Arc<dyn ObjectStore>,
        files,
        routed_by: None,
    };
    Place {
        tables: vec![table],
        range: Subject {
            table: "raw.changes".parse().unwrap(),
            grain: Grain::Hour,
            key,
            n: 3,
            start,
            end,
            partial: false,
        },
        parameters: Parameters {
            data_interval_start: start,
            data_interval_end: end,
            partition_key: key.to_string(),
            run_id: RUN.into(),
        },
        folder: tempfile::tempdir().unwrap(),
    }
}

impl Place {
    fn query<'a>(&'a self, sql: &'a str) -> Query<'a> {
        let Self { tables, range, parameters, .. } = self;
        Query { sql, tables, parameters, range, run: RUN }
    }

    fn stage(&self) -> Stage {
        Stage::clear(&self.folder.path().join("stage")).unwrap()
    }

    async fn run(&self, engine: &dyn Engine, sql: &str) -> (Stage, Made) {
        let stage = self.stage();
        let made = engine.run(&self.query(sql), &stage).await.unwrap();
        (stage, made)
    }
}

/// The rows of a result of one text and one number, without their start column.
fn rows_of(made: &Made) -> Vec<(String, i64)> {
    let file = File::open(&made.file.path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
        let numbers = batch.column(2).as_primitive::<Int64Type>();
        let texts = text.as_string::<i32>().iter().map(|text| text.unwrap().to_owned());
        rows.extend(texts.zip(numbers.iter().map(Option::unwrap)));
    }
    rows
}

async fn it_reads_exactly_the_files_it_is_given(engine: &dyn Engine) {
    let place = place().await;
    let sql = "select wiki, sum(change) as n from raw.changes group by wiki";
    let (_stage, made) = place.run(engine, sql).await;
    let expected = [("dewiki", 11), ("enwiki", 2), ("frwiki", 3)];
    assert_eq!(rows_of(&made), expected.map(|(wiki, n)| (wiki.to_owned(), n)));
    assert_eq!(made.rows, 3);
}

async fn a_result_has_its_start_column_and_names_closing_and_run(engine: &dyn Engine) {
    let place = place().await;
    let (_stage, made) = place.run(engine, "select wiki, change as n from raw.changes").await;
    let file = File::open(&made.file.path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let value = |key: &str| pairs.iter().find(|pair| pair.key == key)?.value.clone();
    assert_eq!(value(CLOSING_KEY).as_deref(), Some("3"));
    assert_eq!(value(RUN_KEY).as_deref(), Some(RUN));
    assert_eq!(reader.schema().fields(), with_field_ids(&made.schema).fields());
    let columns = engine.columns(&place.query("select wiki, change as n from raw.changes")).await;
    assert_eq!(columns.unwrap().fields(), made.schema.fields());
    assert_eq!(made.schema.field(0).name(), "hour_start");
    let at = place.range.start.0;
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        assert!(starts.iter().all(|start| start == Some(at)));
    }
}

async fn parameters_are_bound_as_values(engine: &dyn Engine) {
    let place = place().await;
    let (_stage, made) = place.run(engine, "select $partition_key as k, 1::bigint as n").await;
    assert_eq!(rows_of(&made), [("2026-11-20T05".to_owned(), 1)]);
}

async fn a_repeat_makes_the_same_bytes(engine: &dyn Engine) {
    let place = place().await;
    let sql = "select wiki, change as n from raw.changes";
    let (stage, made) = place.run(engine, sql).await;
    let before = made.file.checksum;
    drop(stage);
    let (_stage, made) = place.run(engine, sql).await;
    assert_eq!(made.file.checksum, before);
}

async fn a_file_is_told_as_it_is(engine: &dyn Engine) {
    let place = place().await;
    for sql in
        ["select wiki, change as n from raw.changes", "select wiki from raw.changes where false"]
    {
        let (_stage, made) = place.run(engine, sql).await;
        let bytes = fs::read(&made.file.path).unwrap();
        assert_eq!(made.file.bytes, bytes.len() as u64, "{sql}");
        assert_eq!(made.file.checksum, Checksum::of(&bytes), "{sql}");
    }
}

async fn a_result_without_rows_is_a_file_with_its_columns(engine: &dyn Engine) {
    let place = place().await;
    let sql = "select wiki, change as n from raw.changes where false";
    let (_stage, made) = place.run(engine, sql).await;
    assert_eq!((made.rows, rows_of(&made).len(), made.schema.fields().len()), (0, 0, 3));
}

async fn a_wrong_query_is_the_users_and_makes_no_file(engine: &dyn Engine) {
    let place = place().await;
    let stage = place.stage();
    let columns = engine.columns(&place.query(WRONG)).await;
    assert_eq!(columns.unwrap_err().kind, ErrorKind::Input);
    let made = engine.run(&place.query(WRONG), &stage).await;
    assert_eq!(made.unwrap_err().kind, ErrorKind::Input);
    assert_eq!(fs::read_dir(place.folder.path().join("stage")).unwrap().count(), 0);
}

async fn a_stage_goes_with_what_is_in_it(engine: &dyn Engine) {
    let place = place().await;
    let (stage, made) = place.run(engine, "select wiki, change as n from raw.changes").await;
    drop(stage);
    assert!(!made.file.path.exists());
}

fn budget(folder: &TempDir) -> Budget {
    Budget { memory_bytes: 64 << 20, spill: folder.path().join("spill"), threads: 2 }
}

/// Asks each promise of each engine; a new engine is a line here.
macro_rules! conformance {
    ($($promise:ident),+ $(,)?) => {
        mod datafusion {
            $(
                #[tokio::test]
                async fn $promise() {
                    let folder = tempfile::tempdir().unwrap();
                    super::$promise(&super::DataFusion { budget: &super::budget(&folder) }).await;
                }
            )+
        }
    };
}

conformance!(
    it_reads_exactly_the_files_it_is_given,
    a_result_has_its_start_column_and_names_closing_and_run,
    parameters_are_bound_as_values,
    a_repeat_makes_the_same_bytes,
    a_file_is_told_as_it_is,
    a_result_without_rows_is_a_file_with_its_columns,
    a_wrong_query_is_the_users_and_makes_no_file,
    a_stage_goes_with_what_is_in_it,
);
