//! The Arrow types of lake tables, and which types a query may hand on.

use super::problem::SqlProblem;
use super::types::{arrow_type, schema};
use crate::error::{Error, ErrorKind};
use crate::model::column::{Column, OFFSET_COLUMN, PARTITION_COLUMN};
use crate::model::hive::Grain;
use crate::model::schema::{Schema as Stored, SchemaColumn};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What a stream's lake table holds: the topic's columns, then where each row came from.
pub fn lake_schema(columns: &[Column]) -> SchemaRef {
    with_origin(schema(columns).fields().to_vec())
}

/// The same of files that were written under a schema of the lake, whatever the topic says now.
pub fn stored_schema(stored: &Stored) -> Result<SchemaRef, Error> {
    let field = |column: &SchemaColumn| {
        let SchemaColumn { name, kind } = column;
        let unknown = || format!("column `{name}` has unknown type `{kind}`");
        let kind = kind.parse().map_err(|_| Error::new(ErrorKind::Data, unknown()))?;
        Ok(Arc::new(Field::new(name, arrow_type(kind), true)))
    };
    Ok(with_origin(stored.columns.iter().map(field).collect::<Result<_, Error>>()?))
}

fn with_origin(mut fields: Vec<Arc<Field>>) -> SchemaRef {
    fields.push(Arc::new(Field::new(PARTITION_COLUMN, DataType::Int32, true)));
    fields.push(Arc::new(Field::new(OFFSET_COLUMN, DataType::Int64, true)));
    Arc::new(Schema::new(fields))
}

/// The ids of the columns behind the user's, which move on when the user adds one. No table has so many.
const PARTITION_ID: usize = 1_000_001;
const OFFSET_ID: usize = 1_000_002;

/// The schema as it is written into Parquet files: each column has an id that it keeps for ever, as table
/// formats need it. Columns are only ever added behind the others, so it is the place, counted from 1.
pub fn with_field_ids(schema: &Schema) -> SchemaRef {
    let numbered = |(place, field): (usize, &Arc<Field>)| {
        let id = match field.name().as_str() {
            PARTITION_COLUMN => PARTITION_ID,
            OFFSET_COLUMN => OFFSET_ID,
            _ => place + 1,
        };
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        field.as_ref().clone().with_metadata(id)
    };
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(numbered).collect();
    Arc::new(Schema::new(fields))
}

/// The type of the column that Tidemill adds: the hive partition's civil start, never an instant,
/// so that no timezone can move a row into another partition.
pub fn start_type(grain: Grain) -> DataType {
    match grain {
        Grain::Hour => DataType::Timestamp(TimeUnit::Microsecond, None),
        Grain::Day | Grain::Month => DataType::Date32,
    }
}

/// What a batch job's table holds: its start column, then what the query returns, in types that
/// Parquet and the warehouse know.
pub fn output_schema(grain: Grain, returned: &Schema) -> Result<SchemaRef, SqlProblem> {
    let start = grain.start_column();
    let mut fields = vec![Field::new(start, start_type(grain), true)];
    let mut names = BTreeSet::from([start.to_owned()]);
    for field in returned.fields() {
        let name = field.name();
        if name.eq_ignore_ascii_case(start) {
            return Err(SqlProblem::new(format!("Tidemill adds `{start}` itself"))
                .help("leave it out of the query, or name it otherwise"));
        }
        if !is_column_name(name) {
            return Err(SqlProblem::new(format!("`{name}` can't be a column's name"))
                .help("name it with `as`; letters, digits and _ are allowed"));
        }
        // Warehouses compare names without case.
        if !names.insert(name.to_lowercase()) {
            return Err(SqlProblem::new(format!("two columns are named `{name}`"))
                .help("rename one with `as`"));
        }
        let kind = storable(field.data_type()).ok_or_else(|| no_type(name, field.data_type()))?;
        fields.push(Field::new(name, kind, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn no_type(name: &str, kind: &DataType) -> SqlProblem {
    SqlProblem::new(format!("column `{name}` is of type {kind}, which no table can hold"))
        .help("cast it to varchar, bigint, double, decimal, boolean, timestamp, date or bytea")
}

fn is_column_name(name: &str) -> bool {
    (1..=300).contains(&name.len())
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The type that a column of this type is stored as; `None` for what a table can't hold.
pub(super) fn storable(kind: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match kind {
        T::Boolean => T::Boolean,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            T::Int64
        }
        T::Float16 | T::Float32 | T::Float64 => T::Float64,
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale) => T::Decimal128(*precision, *scale),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date32 | T::Date64 => T::Date32,
        T::Timestamp(_, zone) => {
            T::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        T::Dictionary(_, values) => return storable(values),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<String> {
        let fields: Vec<_> =
            names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
        let numbered = with_field_ids(&Schema::new(fields));
        let id = |field: &Arc<Field>| field.metadata()[PARQUET_FIELD_ID_META_KEY].clone();
        numbered.fields().iter().map(id).collect()
    }

    #[test]
    fn a_column_keeps_its_id_when_others_are_added() {
        assert_eq!(ids(&["a", "_partition", "_offset"]), ["1", "1000001", "1000002"]);
        assert_eq!(ids(&["a", "b", "_partition", "_offset"]), ["1", "2", "1000001", "1000002"]);
    }
}
