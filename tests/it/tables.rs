//! Reads what has been made as any stranger would: folders and Parquet files.

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tidemill::model::commit::{Closing, LakeIdentity, Record, consumer_group};

const SUCCESS: &str = "_SUCCESS";

/// Every file below `folder`, in order, except signs of completeness.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let all = all_files(folder).into_iter();
    all.filter(|file| !file.ends_with(SUCCESS)).collect()
}

/// Every sign of completeness below `folder`.
pub fn successes(folder: &Path) -> Vec<PathBuf> {
    all_files(folder).into_iter().filter(|file| file.ends_with(SUCCESS)).collect()
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { all_files(&path) } else { vec![path] };
    paths.into_iter().flat_map(below).collect()
}

/// Some columns of a Parquet file.
pub fn read(file: &Path, columns: &[&str]) -> Result<Vec<RecordBatch>, String> {
    let told = |err: &dyn std::fmt::Display| format!("{}: {err}", file.display());
    let open = File::open(file).map_err(|err| told(&err))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open).map_err(|err| told(&err))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(|err| told(&err))?;
    reader.collect::<Result<_, _>>().map_err(|err| told(&err))
}

/// Where a row of a streamed table came from.
pub type Origin = (i32, i64);

/// The topic partition and offset of each row.
pub fn origins(file: &Path) -> Result<Vec<Origin>, String> {
    let mut found = Vec::new();
    for batch in read(file, &["_partition", "_offset"])? {
        let partitions = batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>();
        let offsets = batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
        found.extend(partitions.values().iter().copied().zip(offsets.values().iter().copied()));
    }
    Ok(found)
}

/// The texts of a column.
pub fn texts(file: &Path, column: &str) -> Vec<String> {
    let batches = read(file, &[column]).unwrap();
    let texts = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter());
    texts.map(|text| text.unwrap_or_default().to_owned()).collect()
}

/// Those that occur more than once.
pub fn repeated<T: Ord + Clone>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|one| !seen.insert(one.clone())).collect()
}

/// The folders of a table's hive partitions, from the table's own: `dt=2015-09-12/hour=00`.
pub fn hive_partitions(table: &Path) -> BTreeSet<String> {
    let folder = |file: PathBuf| {
        let folder = file.parent().unwrap().strip_prefix(table).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    files(table).into_iter().map(folder).collect()
}

/// All closings of a table by key, in the order of their numbers.
pub fn closings(lake: &Path, table: &str) -> BTreeMap<String, Vec<Closing>> {
    let mut closings: BTreeMap<String, Vec<Closing>> = BTreeMap::new();
    for file in files(&lake.join("_tidemill").join(table).join("closed")) {
        let closing: Closing = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        closings.entry(closing.key.to_string()).or_default().push(closing);
    }
    for its in closings.values_mut() {
        its.sort_by_key(|closing| closing.n);
    }
    closings
}

/// The consumer group of a streamed table, once the lake has an identity.
pub fn group(lake: &Path, table: &str) -> Option<String> {
    let identity = fs::read(lake.join("_tidemill/lake.json")).ok()?;
    let identity: LakeIdentity = serde_json::from_slice(&identity).unwrap();
    Some(consumer_group(
        &identity.project.parse().unwrap(),
        &identity.lake_id,
        &table.parse().unwrap(),
    ))
}

/// Every record of a streamed table.
pub fn records(lake: &Path, table: &str) -> Vec<Record> {
    let records = files(&lake.join("_tidemill").join(table).join("log"));
    records.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
}
