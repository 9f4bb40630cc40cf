//! Where the result of a batch is written before it replaces anything: a folder of the attempt's own.

use super::Made;
use crate::checksum::Checksum;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::file::LocalFile;
use crate::model::hive::{Grain, PartitionKey};
use crate::model::run::Subject;
use crate::sql::schema::with_field_ids;
use crate::warehouse::{CLOSING_KEY, RUN_KEY};
use arrow::array::{ArrayRef, Date32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use jiff::civil::date;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// What waits to be compressed, of all columns together.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// A folder for one result; what is in it goes with this value.
pub(in super::super) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Makes the folder, or clears what a killed process of the same attempt left in it.
    pub(in super::super) fn clear(folder: &Path) -> Result<Self, Error> {
        let made = match fs::remove_dir_all(folder) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            Ok(()) | Err(_) => fs::create_dir_all(folder),
        };
        made.map_err(unavailable).doing(|| format!("clear the folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Begins the one file of a result; `schema` begins with the start column.
    pub(super) fn file(
        &self,
        schema: SchemaRef,
        range: &Subject,
        run: &str,
    ) -> Result<ResultFile, Error> {
        let path = self.folder.join("result.parquet");
        let file = File::create(&path).map_err(unavailable);
        let file = file.doing(|| format!("create {}", path.display()))?;
        let hashed = Hashed { file: BufWriter::new(file), checksum: Checksum::default(), bytes: 0 };
        let pairs = vec![
            KeyValue::new(CLOSING_KEY.to_owned(), range.n.to_string()),
            KeyValue::new(RUN_KEY.to_owned(), run.to_owned()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(pairs))
            .build();
        let parquet = ArrowWriter::try_new(hashed, with_field_ids(&schema), Some(properties));
        let parquet = parquet.map_err(failed)?;
        Ok(ResultFile { path, parquet, schema, start: Start::of(&range.key)?, rows: 0 })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays behind goes with the attempt's folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A result, read back: its columns, the start column first, and its rows.
pub(in super::super) fn read_back(
    path: &Path,
) -> Result<(SchemaRef, impl Iterator<Item = Result<RecordBatch, Error>>), Error> {
    let doing = move || format!("read {}", path.display());
    let file = File::open(path).map_err(unavailable).doing(doing)?;
    let damaged = |err: ParquetError| Error::new(ErrorKind::Data, err);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged).doing(doing)?;
    let schema = Arc::clone(reader.schema());
    let rows = reader.build().map_err(damaged).doing(doing)?;
    let rows =
        rows.map(move |batch| batch.map_err(|err| Error::new(ErrorKind::Data, err)).doing(doing));
    Ok((schema, rows))
}

/// A result that is being written.
pub(super) struct ResultFile {
    path: PathBuf,
    parquet: ArrowWriter<Hashed>,
    schema: SchemaRef,
    start: Start,
    rows: u64,
}

impl ResultFile {
    /// Adds rows of the query, behind their start column.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let mut columns = vec![self.start.column(batch.num_rows())];
        columns.extend(batch.columns().iter().cloned());
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|err| Error::new(ErrorKind::Bug, err))?;
        let written = self.parquet.write(&batch).and_then(|()| {
            let is_full = self.parquet.in_progress_size() >= ROW_GROUP_BYTES;
            if is_full { self.parquet.flush() } else { Ok(()) }
        });
        written.map_err(failed).doing(|| format!("write {}", self.path.display()))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Made, Error> {
        let Self { path, parquet, schema, rows, .. } = self;
        let ended = parquet.into_inner().map_err(failed).and_then(|mut hashed| {
            hashed.file.flush().map_err(unavailable)?;
            Ok(hashed)
        });
        let Hashed { checksum, bytes, .. } = ended.doing(|| format!("write {}", path.display()))?;
        let checksum = checksum.finish();
        Ok(Made { rows, schema, file: LocalFile { path, bytes, checksum } })
    }
}

/// A file whose bytes are counted and hashed as they are written.
struct Hashed {
    file: BufWriter<File>,
    checksum: Checksum,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.checksum.add(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn unavailable(err: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, err)
}

/// A full disk may be emptied; that the rows do not fit their schema is a mistake of ours.
fn failed(err: ParquetError) -> Error {
    match err {
        ParquetError::External(source) if source.is::<io::Error>() => {
            Error::new(ErrorKind::Unavailable, source)
        }
        other => Error::new(ErrorKind::Bug, other),
    }
}

/// The value of the start column, the same in every row.
#[derive(Clone, Copy)]
enum Start {
    Micros(i64),
    Days(i32),
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
