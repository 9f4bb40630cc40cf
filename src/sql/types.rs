//! Column types as Arrow knows them.

use crate::model::column::{Column, ColumnType};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// The Arrow type of a column's values. JSON is text.
pub fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::String | ColumnType::Json => DataType::Utf8,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Decimal(precision, scale) => {
            DataType::Decimal128(precision, scale.cast_signed())
        }
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Date => DataType::Date32,
        ColumnType::Bytes => DataType::Binary,
    }
}

/// One field for each column, in their order; all nullable, since a table outlives its rules.
pub fn schema<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Schema {
    let field = |column: &Column| Field::new(&column.name, arrow_type(column.kind), true);
    Schema::new(columns.into_iter().map(field).collect::<Vec<_>>())
}
