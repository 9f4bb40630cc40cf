//! Sorts the rows of staged files into few Parquet files, and stages those.

use super::Budget;
use crate::error::{Error, ErrorKind};
use crate::lake::Lake;
use crate::lake::compaction::NewSorted;
use crate::model::column::{OFFSET_COLUMN, PARTITION_COLUMN};
use crate::model::commit::File;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::schema::Schema;
use crate::model::time::Micros;
use crate::sql::file::TableFile;
use crate::sql::schema::{stored_schema, with_field_ids};
use crate::sql::session::{BATCH_ROWS, Session};
use crate::sql::table::{Catalog, Table};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::sync::Arc;
use tracing::info;

/// As large as the files of a stream by default: few enough to list, small enough to be put in one
/// piece, and read side by side.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// What waits to be compressed, of the whole file.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// So many rows of the largest size that Kafka takes by default, 1 MB, fit into a gibibyte.
const BATCH_ROWS_MIN: usize = 16;

/// Whose rows are sorted.
#[derive(Clone, Copy)]
pub(super) struct Sorted<'a> {
    pub lake: &'a Lake,
    pub table: &'a TableName,
    pub key: &'a PartitionKey,
    pub n: u32,
    pub event_time: Option<&'a str>,
}

/// Sorts the rows of these files by event time, topic partition and offset, in bounded memory, and
/// stages them for the closing. All of them are there, or it is an error.
pub(super) async fn sort(
    sorted: &Sorted<'_>,
    schema: u32,
    sources: &[File],
    budget: &Budget,
) -> Result<Vec<File>, Error> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let Sorted { lake, table, key, n, .. } = *sorted;
    let columns = lake.schema(table, schema).await?.ok_or_else(|| {
        Error::new(ErrorKind::Data, format!("schema {schema} of {table} is gone"))
            .remedy("put it back from a copy; nothing may delete in `_tidemill/`")
    })?;
    let (mut rows, unsorted) = (BATCH_ROWS, (schema, &columns, sources));
    let added = loop {
        match in_batches(rows, sorted, unsorted, budget).await {
            // How wide rows are nobody knows before: fewer of them are tried. What was staged is named
            // by no closing, and swept.
            Err(error) if error.kind == ErrorKind::Input && rows > BATCH_ROWS_MIN => {
                rows /= 8;
                info!(table = %table, hive_partition = %key, %error, "sorting {rows} rows at once");
            }
            added => break added?,
        }
    };
    let (wanted, written) = (total(sources), total(&added));
    if wanted != written {
        let problem = format!(
            "the staged files of {key} of {table} hold {written} rows, and their records say {wanted}"
        );
        return Err(Error::new(ErrorKind::Data, problem).remedy(format!(
            "`tidemill lake verify {table}` tells which; nothing was closed as number {n}"
        )));
    }
    Ok(added)
}

/// The same, so many rows at once.
async fn in_batches(
    rows: usize,
    sorted: &Sorted<'_>,
    (schema, columns, sources): (u32, &Schema, &[File]),
    budget: &Budget,
) -> Result<Vec<File>, Error> {
    let Sorted { lake, table, event_time, .. } = *sorted;
    // A quarter for the file that is being written, so that both fit.
    let file_bytes = FILE_BYTES_MAX.min(budget.memory_bytes / 4);
    let memory_bytes = budget.memory_bytes - file_bytes;
    let stored = stored_schema(columns)?;
    let source = Table {
        catalog: Catalog::Lake,
        name: table.clone(),
        schema: Arc::clone(&stored),
        store: Arc::clone(lake.objects()),
        files: sources.iter().map(table_file).collect(),
        routed_by: None,
    };
    let budget = Budget { memory_bytes, ..budget.clone() };
    let session = Session::in_batches(rows, &budget, &[source])?;
    let query = session.query(&query(table, columns, event_time), None)?.typed(stored);
    let mut rows = query.rows()?;
    let (mut added, mut open) = (Vec::new(), None::<Open>);
    while let Some(batch) = rows.try_next().await? {
        let file = match &mut open {
            Some(file) => file,
            None => open.insert(Open::new(&batch, sorted, schema)?),
        };
        file.write(&batch, event_time)?;
        if let Some(full) = open.take_if(|file| file.bytes() >= file_bytes) {
            added.push(lake.stage_sorted(table, full.finish(sorted, added.len())?).await?);
        }
    }
    if let Some(last) = open {
        added.push(lake.stage_sorted(table, last.finish(sorted, added.len())?).await?);
    }
    Ok(added)
}

fn total(files: &[File]) -> u64 {
    files.iter().map(|file| file.rows).sum()
}

fn table_file(file: &File) -> TableFile {
    TableFile { path: file.staged.as_str().into(), bytes: file.bytes, times: None }
}

/// A column may have been made event time after the first files were written.
fn query(table: &TableName, columns: &Schema, event_time: Option<&str>) -> String {
    let is_there = |name: &&str| columns.columns.iter().any(|column| column.name == *name);
    let first = event_time.filter(is_there);
    let first = first.map_or_else(String::new, |name| format!("\"{name}\", "));
    format!("SELECT * FROM {table} ORDER BY {first}{PARTITION_COLUMN}, {OFFSET_COLUMN}")
}

/// A file that is being written.
struct Open {
    parquet: ArrowWriter<Vec<u8>>,
    rows: u64,
    event_time: Option<(i64, i64)>,
}

impl Open {
    fn new(rows: &RecordBatch, sorted: &Sorted<'_>, schema: u32) -> Result<Self, Error> {
        let pair = |key: &str, value: String| KeyValue::new(format!("tidemill.{key}"), value);
        let pairs = vec![
            pair("version", env!("CARGO_PKG_VERSION").to_owned()),
            pair("table", sorted.table.to_string()),
            pair("schema", schema.to_string()),
            pair("closing", sorted.n.to_string()),
        ];
        let offsets = ColumnPath::from(OFFSET_COLUMN);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("tidemill ", env!("CARGO_PKG_VERSION")).into())
            // No two are alike, and neighbours differ little.
            .set_column_dictionary_enabled(offsets.clone(), false)
            .set_column_encoding(offsets, Encoding::DELTA_BINARY_PACKED)
            .set_key_value_metadata(Some(pairs))
            .build();
        let parquet =
            ArrowWriter::try_new(Vec::new(), with_field_ids(&rows.schema()), Some(properties));
        Ok(Self { parquet: parquet.map_err(bug)?, rows: 0, event_time: None })
    }

    fn write(&mut self, rows: &RecordBatch, event_time: Option<&str>) -> Result<(), Error> {
        self.parquet.write(rows).map_err(bug)?;
        if self.parquet.in_progress_size() >= ROW_GROUP_BYTES {
            self.parquet.flush().map_err(bug)?;
        }
        self.rows += rows.num_rows() as u64;
        let times = event_time.and_then(|name| rows.column_by_name(name));
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        if let Some((low, high)) = times.and_then(|its| compute::min(its).zip(compute::max(its))) {
            let (lowest, highest) = self.event_time.unwrap_or((low, high));
            self.event_time = Some((lowest.min(low), highest.max(high)));
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        (self.parquet.bytes_written() + self.parquet.in_progress_size()) as u64
    }

    fn finish(self, sorted: &Sorted<'_>, index: usize) -> Result<NewSorted, Error> {
        let Self { parquet, rows, event_time } = self;
        let bytes = parquet.into_inner().map_err(bug)?;
        Ok(NewSorted {
            key: *sorted.key,
            n: sorted.n,
            index: u32::try_from(index).map_err(|err| Error::new(ErrorKind::Bug, err))?,
            payload: bytes.into(),
            rows,
            event_time_min: event_time.map(|(low, _)| Micros(low)),
            event_time_max: event_time.map(|(_, high)| Micros(high)),
        })
    }
}

fn bug(err: parquet::errors::ParquetError) -> Error {
    Error::new(ErrorKind::Bug, err)
}
