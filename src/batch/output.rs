//! The result of a batch as one Parquet file, its start column first.

use super::Range;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::hive::Grain;
use crate::model::hive::PartitionKey;
use crate::warehouse::CLOSING_KEY;
use crate::warehouse::RUN_KEY;
use arrow::array::ArrayRef;
use arrow::array::Date32Array;
use arrow::array::RecordBatch;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use jiff::civil::date;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::basic::ZstdLevel;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

pub(super) struct Output {
    /// A Parquet file, without rows too.
    pub content: Bytes,
    pub rows: u64,
    pub files_read: u64,
}

pub(super) struct Writer {
    parquet: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    start: Start,
    rows: u64,
}

/// The value of the start column, the same in every row.
#[derive(Clone, Copy)]
enum Start {
    Micros(i64),
    Days(i32),
}

impl Writer {
    /// `schema` begins with the start column.
    pub(super) fn new(schema: SchemaRef, range: &Range, run: &str) -> Result<Self, Error> {
        let pairs = vec![
            KeyValue::new(CLOSING_KEY.to_owned(), range.n.to_string()),
            KeyValue::new(RUN_KEY.to_owned(), run.to_owned()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(pairs))
            .build();
        let parquet = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties));
        let parquet = parquet.map_err(|err| Error::new(ErrorKind::Bug, err))?;
        Ok(Self { parquet, schema, start: Start::of(&range.key)?, rows: 0 })
    }

    /// Adds rows of the query; gives them back with their start column.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut columns = vec![self.start.column(batch.num_rows())];
        columns.extend(batch.columns().iter().cloned());
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|err| Error::new(ErrorKind::Bug, err))?;
        self.parquet.write(&batch).map_err(|err| Error::new(ErrorKind::Bug, err))?;
        self.rows += batch.num_rows() as u64;
        Ok(batch)
    }

    pub(super) fn finish(self, files_read: u64) -> Result<Output, Error> {
        let bytes = self.parquet.into_inner().map_err(|err| Error::new(ErrorKind::Bug, err))?;
        Ok(Output { content: bytes.into(), rows: self.rows, files_read })
    }
}

impl Start {
    fn of(key: &PartitionKey) -> Result<Self, Error> {
        Ok(match key.grain {
            Grain::Hour => {
                // The civil time as it stands, whatever zone it is meant in.
                let at = key.start.to_zoned(TimeZone::UTC);
                let at = at.map_err(|err| Error::new(ErrorKind::Input, err))?;
                Self::Micros(at.timestamp().as_microsecond())
            }
            Grain::Day | Grain::Month => {
                Self::Days((key.start.date() - date(1970, 1, 1)).get_days())
            }
        })
    }

    fn column(self, rows: usize) -> ArrayRef {
        match self {
            Self::Micros(at) => Arc::new(TimestampMicrosecondArray::from_value(at, rows)),
            Self::Days(day) => Arc::new(Date32Array::from_value(day, rows)),
        }
    }
}
