//! Where rejected messages go: the bytes as they came, the reason, and the way back to Kafka.

use super::super::chunk::Rejected;
use super::file::OpenFile;
use crate::error::{Error, ErrorKind};
use crate::model::column::{OFFSET_COLUMN, PARTITION_COLUMN};
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// The columns of every quarantine file.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let arrived = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("reason", DataType::Utf8, false),
        Field::new("arrived", arrived, true),
        Field::new("payload", DataType::Binary, false),
        Field::new(PARTITION_COLUMN, DataType::Int32, false),
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
    ]))
});

pub fn open() -> OpenFile {
    OpenFile::new(&SCHEMA)
}

/// Adds messages to a quarantine file.
pub fn push(file: &mut OpenFile, topic_partition: u32, rejected: &[Rejected]) -> Result<(), Error> {
    let reasons = rejected.iter().map(|one| Some(one.reject.to_string()));
    let arrived = rejected.iter().map(|one| one.arrived.map(|at| at.0));
    let arrived: TimestampMicrosecondArray = arrived.collect();
    let offsets = rejected.iter().map(|one| one.offset);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(reasons.collect::<StringArray>()),
        Arc::new(arrived.with_timezone("UTC")),
        Arc::new(BinaryArray::from_iter_values(rejected.iter().map(|one| &one.payload))),
        Arc::new(Int32Array::from_value(topic_partition.cast_signed(), rejected.len())),
        Arc::new(Int64Array::from_iter_values(offsets)),
    ];
    let rows = RecordBatch::try_new(SchemaRef::clone(&SCHEMA), columns);
    file.push_rows(rows.map_err(|err| Error::new(ErrorKind::Bug, err))?)
}
