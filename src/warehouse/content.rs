//! The Parquet file of one hive partition: what it says of itself, and whether that is true.

use crate::error::{Doing, Error, ErrorKind};
use crate::model::file::LocalFile;
use crate::model::hive::{Grain, PartitionKey};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Date32Type, SchemaRef, TimestampMicrosecondType};
use jiff::civil::date;
use jiff::tz::TimeZone;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use std::fs::File;

/// Under this key a file's metadata names the closing that it was made from.
pub const CLOSING_KEY: &str = "tidemill.closing";
/// Under this key it names the run that made it.
pub const RUN_KEY: &str = "tidemill.run";

/// What is at the end of a file.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    pub columns: SchemaRef,
    pub closing: u32,
    pub run: String,
    pub rows: u64,
}

/// A file that is to be loaded.
pub(super) struct Content {
    pub footer: Footer,
    file: File,
}

fn damaged(err: &ParquetError) -> Error {
    Error::new(ErrorKind::Data, err.to_string())
}

impl Footer {
    pub(super) fn read(file: impl ChunkReader + 'static) -> Result<Self, Error> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file);
        let reader = reader.map_err(|err| damaged(&err))?;
        let file = reader.metadata().file_metadata();
        let value = |key: &str| {
            let mut pairs = file.key_value_metadata().into_iter().flatten();
            pairs.find(|pair| pair.key == key).and_then(|pair| pair.value.clone())
        };
        let unnamed = || Error::new(ErrorKind::Data, format!("it has no `{CLOSING_KEY}`"));
        let closing = value(CLOSING_KEY).and_then(|n| n.parse().ok()).ok_or_else(unnamed)?;
        Ok(Self {
            columns: reader.schema().clone(),
            closing,
            run: value(RUN_KEY).unwrap_or_default(),
            rows: u64::try_from(file.num_rows()).unwrap_or(0),
        })
    }
}

impl Content {
    pub(super) fn read(file: &LocalFile) -> Result<Self, Error> {
        let opened = File::open(&file.path).and_then(|file| Ok((file.try_clone()?, file)));
        let opened = opened.map_err(|err| Error::new(ErrorKind::Unavailable, err));
        let (again, file) = opened.doing(|| format!("open {}", file.path.display()))?;
        Ok(Self { footer: Footer::read(again)?, file })
    }

    /// Refuses a file of another closing, and rows that are outside the hive partition.
    pub(super) fn check(&self, key: &PartitionKey, closing: u32) -> Result<(), Error> {
        let Footer { columns, closing: made_from, rows: all, .. } = &self.footer;
        if *made_from != closing {
            let problem = format!("the file was made from closing {made_from}");
            return Err(Error::new(ErrorKind::Bug, problem));
        }
        let start = key.grain.start_column();
        if columns.fields().first().is_none_or(|field| field.name() != start) {
            let problem = format!("the file's first column is not `{start}`");
            return Err(Error::new(ErrorKind::Bug, problem));
        }
        match self.outside(key)? {
            0 => Ok(()),
            rows => {
                let problem = format!("{rows} of {all} rows are outside the partition");
                Err(Error::new(ErrorKind::Data, problem))
            }
        }
    }

    fn outside(&self, key: &PartitionKey) -> Result<usize, Error> {
        let file = self.file.try_clone().map_err(|err| Error::new(ErrorKind::Unavailable, err))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file);
        let reader = reader.map_err(|err| damaged(&err))?;
        let first = ProjectionMask::leaves(reader.parquet_schema(), [0]);
        let reader = reader.with_projection(first).build().map_err(|err| damaged(&err))?;
        let mut outside = 0;
        for batch in reader {
            let batch = batch.map_err(|err| Error::new(ErrorKind::Data, err))?;
            outside += count_outside(batch.column(0), key)?;
        }
        Ok(outside)
    }
}

fn count_outside(starts: &dyn Array, key: &PartitionKey) -> Result<usize, Error> {
    let micros = key.start.to_zoned(TimeZone::UTC).map(|at| at.timestamp().as_microsecond());
    let micros = micros.map_err(|err| Error::new(ErrorKind::Input, err))?;
    let days = (key.start.date() - date(1970, 1, 1)).get_days();
    Ok(match (key.grain, starts.data_type()) {
        (Grain::Hour, DataType::Timestamp(_, None)) => {
            let starts = starts.as_primitive::<TimestampMicrosecondType>();
            starts.iter().filter(|start| *start != Some(micros)).count()
        }
        (Grain::Day | Grain::Month, DataType::Date32) => {
            let starts = starts.as_primitive::<Date32Type>();
            starts.iter().filter(|start| *start != Some(days)).count()
        }
        (grain, kind) => {
            let problem = format!("`{}` is of type {kind}", grain.start_column());
            return Err(Error::new(ErrorKind::Bug, problem));
        }
    })
}
