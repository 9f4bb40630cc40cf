//! What the local warehouse must do; what any must do is asked in `tests/it/warehouse.rs` too.

use super::disk::testing;
use super::*;
use crate::clock::Clock;
use crate::crash::Crash;
use crate::error::ErrorKind;
use crate::model::file::testing::local_file;
use crate::model::name::TableName;
use arrow::array::{
    ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::fs;
use std::fs::File;
use std::path::Path;
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
    Local::new(&folder.join("warehouse"), Clock::system())
}

pub fn table() -> TableName {
    "agg.by_hour".parse().unwrap()
}

fn to() -> WarehouseTable {
    WarehouseTable::of(table())
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
    load_of(local_file, key, closing, values)
}

/// The same, whose file `keep` writes.
pub fn load_of(
    keep: impl FnOnce(Bytes) -> LocalFile,
    key: &str,
    closing: u32,
    values: &[i64],
) -> Load {
    let key: PartitionKey = key.parse().unwrap();
    let start = key.grain.start_column();
    let columns = vec![(start, starts(&key, values.len())), ("n", int(values))];
    Load { to: to(), key, closing, file: keep(parquet(columns, closing)), source: None }
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
fn told(place: &Place) -> String {
    let mut told = Vec::new();
    for Partition { key, closing, file, .. } in place.warehouse.partitions(&table()).unwrap() {
        let (named, values) = values(&file);
        assert_eq!(named, closing);
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        told.push(format!("{key} closing {closing}: {}", values.join(" ")).trim_end().to_owned());
    }
    told.join(", ")
}

#[track_caller]
fn check(place: &Place, expected: &str) {
    assert_eq!(told(place), expected);
}

#[tokio::test]
async fn a_hive_partition_is_one_file_in_its_own_folder() {
    let place = place();
    place.warehouse.replace(&load(HOUR, 1, &[1, 2])).await.unwrap();
    check(&place, "2026-11-20T05 closing 1: 1 2");
    let file = "warehouse/agg/by_hour/dt=2026-11-20/hour=05/part.parquet";
    assert!(place.folder.path().join(file).is_file());
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

/// Loads closing 2 over `before` while a call to the file system goes wrong; says whether one did.
async fn load_through(place: &Place, before: &str, crash: Crash) -> bool {
    testing::plan(Some(crash));
    let outcome = place.warehouse.replace(&load(HOUR, 2, &[2])).await;
    let hit = testing::plan(None);
    match outcome {
        Ok(_) => assert!(!hit, "{crash:?} is swallowed"),
        Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{crash:?}: {error}"),
    }
    let after = format!("{HOUR} closing 2: 2");
    let now = told(place);
    assert!(now == before || now == after, "{crash:?}: {now}");
    place.warehouse.replace(&load(HOUR, 2, &[2])).await.unwrap();
    check(place, &after);
    let late = place.warehouse.replace(&load(HOUR, 1, &[1])).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced);
    hit
}

#[tokio::test]
async fn a_call_to_the_disk_that_goes_wrong_leaves_the_old_partition_or_the_new_one() {
    for is_first in [true, false] {
        for crash in Crash::KILLS.into_iter().chain(Crash::TROUBLES) {
            for call in 0.. {
                let place = place();
                if !is_first {
                    place.warehouse.replace(&load(HOUR, 1, &[1])).await.unwrap();
                }
                let before = told(&place);
                if !load_through(&place, &before, crash(call)).await {
                    assert!(call > 8, "{call} calls");
                    break;
                }
            }
        }
    }
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
