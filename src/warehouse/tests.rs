//! What any warehouse must do, asked of this one.

use super::*;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::Date32Array;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::Int64Type;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::fs;
use std::fs::File;
use std::sync::Arc;
use tempfile::TempDir;

pub const HOUR: &str = "2026-11-20T05";

struct Place {
    warehouse: Local,
    folder: TempDir,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { warehouse: place_at(folder.path()), folder }
}

pub fn place_at(folder: &Path) -> Local {
    Local::new(&Settings::Local(folder.join("warehouse")), Clock::system())
}

pub fn table() -> TableName {
    "agg.by_hour".parse().unwrap()
}

fn int(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
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
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    );
    let batch = batch.unwrap();
    let pairs = vec![KeyValue::new(CLOSING_KEY.into(), closing.to_string())];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

/// A load of rows with one column `n`.
pub fn load(key: &str, closing: u32, values: &[i64]) -> Load {
    let key: PartitionKey = key.parse().unwrap();
    let start = key.grain.start_column();
    let columns = vec![(start, starts(&key, values.len())), ("n", int(values))];
    Load { table: table(), key, closing, content: parquet(columns, closing) }
}

fn load_columns(closing: u32, mut columns: Vec<(&str, ArrayRef)>) -> Load {
    let key: PartitionKey = HOUR.parse().unwrap();
    columns.insert(0, ("hour_start", starts(&key, columns[0].1.len())));
    Load { table: table(), key, closing, content: parquet(columns, closing) }
}

/// The closing that a file names, and the values in it, as a plain reader finds them.
pub fn values(file: &Path) -> (u32, Vec<i64>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let closing = pairs.iter().find(|pair| pair.key == CLOSING_KEY).unwrap();
    let closing = closing.value.as_ref().unwrap().parse().unwrap();
    let mut values = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = batch.column_by_name("n").unwrap();
        values.extend(column.as_primitive::<Int64Type>().iter().flatten());
    }
    (closing, values)
}

/// `2026-11-20T05 closing 2: 1 2, …`
#[track_caller]
fn check(place: &Place, expected: &str) {
    let mut told = Vec::new();
    for Partition { key, closing, file, .. } in place.warehouse.partitions(&table()).unwrap() {
        let (named, values) = values(&file);
        assert_eq!(named, closing);
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        told.push(format!("{key} closing {closing}: {}", values.join(" ")).trim_end().to_owned());
    }
    assert_eq!(told.join(", "), expected);
}

async fn refused(place: &Place, load: &Load) -> (ErrorKind, String) {
    let err = place.warehouse.replace(load).await.unwrap_err();
    (err.kind, err.to_string())
}

#[tokio::test]
async fn a_load_replaces_its_partition_and_no_other() {
    let place = place();
    for load in [load(HOUR, 1, &[1, 2]), load("2026-11-20T06", 1, &[9]), load(HOUR, 2, &[3])] {
        place.warehouse.replace(&load).await.unwrap();
    }
    check(&place, "2026-11-20T05 closing 2: 3, 2026-11-20T06 closing 1: 9");
    let file = "warehouse/agg/by_hour/dt=2026-11-20/hour=05/part.parquet";
    assert!(place.folder.path().join(file).is_file());
}

#[tokio::test]
async fn a_repeat_of_a_load_changes_nothing() {
    let place = place();
    for _ in 0..2 {
        let loaded = place.warehouse.replace(&load(HOUR, 1, &[1, 2])).await.unwrap();
        assert_eq!(loaded.rows, 2);
    }
    check(&place, "2026-11-20T05 closing 1: 1 2");
}

#[tokio::test]
async fn an_older_closing_is_fenced() {
    let place = place();
    place.warehouse.replace(&load(HOUR, 2, &[2])).await.unwrap();
    let (kind, told) = refused(&place, &load(HOUR, 1, &[1])).await;
    assert_eq!(kind, ErrorKind::Fenced, "{told}");
    check(&place, "2026-11-20T05 closing 2: 2");
}

#[tokio::test]
async fn a_load_without_rows_empties_exactly_its_partition_and_still_fences() {
    let place = place();
    for load in [load(HOUR, 1, &[1]), load("2026-11-20T06", 1, &[9]), load(HOUR, 2, &[])] {
        place.warehouse.replace(&load).await.unwrap();
    }
    check(&place, "2026-11-20T05 closing 2:, 2026-11-20T06 closing 1: 9");
    assert_eq!(refused(&place, &load(HOUR, 1, &[1])).await.0, ErrorKind::Fenced);
}

#[tokio::test]
async fn rows_outside_the_partition_are_refused() {
    let place = place();
    let other = load("2026-11-20T06", 1, &[1, 2]);
    let load = Load { key: HOUR.parse().unwrap(), ..other };
    let (kind, told) = refused(&place, &load).await;
    assert_eq!(kind, ErrorKind::Data);
    assert!(told.ends_with("2 of 2 rows lie outside the partition"), "{told}");
    check(&place, "");
}

#[tokio::test]
async fn a_table_grows_columns_at_its_end_only() {
    let place = place();
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    place.warehouse.replace(&load_columns(1, vec![("n", int(&[1]))])).await.unwrap();
    let grown = load_columns(2, vec![("n", int(&[2])), ("wiki", text("dewiki"))]);
    place.warehouse.replace(&grown).await.unwrap();
    for (columns, problem) in [
        (vec![("n", int(&[3]))], "column `wiki`, at place 3, is gone"),
        (vec![("n", text("3")), ("wiki", text("x"))], "column `n` was int64 and is string now"),
        (
            vec![("wiki", text("x")), ("n", int(&[3]))],
            "column `n` has moved from place 2 to place 3",
        ),
    ] {
        let (kind, told) = refused(&place, &load_columns(3, columns)).await;
        assert_eq!(kind, ErrorKind::Input);
        assert!(told.ends_with(problem), "{told}");
    }
    check(&place, "2026-11-20T05 closing 2: 2");
    let columns = place.warehouse.columns(&table()).unwrap().unwrap();
    assert_eq!(columns.fields().len(), 3);
}

#[tokio::test]
async fn a_table_keeps_the_grain_that_it_began_with() {
    let place = place();
    place.warehouse.replace(&load(HOUR, 1, &[1])).await.unwrap();
    let (kind, told) = refused(&place, &load("2026-11-20", 1, &[1])).await;
    assert_eq!(kind, ErrorKind::Input);
    assert!(told.contains("the table is partitioned by hour"), "{told}");
}

#[tokio::test]
async fn days_and_months_are_tables_too() {
    for key in ["2026-11-20", "2026-11"] {
        let place = place();
        place.warehouse.replace(&load(key, 1, &[1])).await.unwrap();
        check(&place, &format!("{key} closing 1: 1"));
    }
}

#[tokio::test]
async fn what_a_killed_load_left_staged_is_never_seen_and_goes_away() {
    let place = place();
    place.warehouse.replace(&load(HOUR, 1, &[1])).await.unwrap();
    let stage = place.folder.path().join("warehouse/_tidemill/agg.by_hour/stage");
    fs::write(stage.join("next"), "half a file").unwrap();
    check(&place, "2026-11-20T05 closing 1: 1");
    place.warehouse.replace(&load(HOUR, 2, &[2])).await.unwrap();
    check(&place, "2026-11-20T05 closing 2: 2");
    assert_eq!(fs::read_dir(stage).unwrap().count(), 0);
}

#[tokio::test]
async fn loads_of_one_table_wait_for_each_other() {
    let place = place();
    let loads: Vec<Load> =
        (0..24).map(|hour| load(&format!("2026-11-20T{hour:02}"), 1, &[hour])).collect();
    let all = loads.iter().map(|load| place.warehouse.replace(load));
    futures::future::try_join_all(all).await.unwrap();
    assert_eq!(place.warehouse.partitions(&table()).unwrap().len(), 24);
    assert_eq!(place.warehouse.tables().unwrap(), [table()]);
}
