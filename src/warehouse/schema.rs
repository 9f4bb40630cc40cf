//! The columns of a warehouse table: their order is fixed for ever, new ones come at the end.

use crate::error::{Error, ErrorKind};
use crate::model::hive::Grain;
use crate::model::schema::{SchemaColumn, refused};
use crate::model::stored::{Stored, decode};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `schema.json` of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    format: u32,
    pub(super) grain: Grain,
    columns: Vec<SchemaColumn>,
}

impl Stored for Schema {
    const NAME: &'static str = "schema";
}

impl Schema {
    pub(super) fn new(grain: Grain, columns: &ArrowSchema) -> Result<Self, Error> {
        let column = |field: &Arc<Field>| {
            let name = field.name().clone();
            let kind = type_name(field.data_type()).ok_or_else(|| {
                let kind = field.data_type();
                Error::new(ErrorKind::Input, format!("no table takes column `{name}`: {kind}"))
                    .remedy("cast it in the query")
            })?;
            Ok(SchemaColumn { name, kind })
        };
        let columns = columns.fields().iter().map(column).collect::<Result<_, Error>>()?;
        Ok(Self { format: Self::FORMAT, grain, columns })
    }

    /// Of columns as another system names and types them.
    pub(super) fn of_columns(grain: Grain, columns: Vec<(String, String)>) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| SchemaColumn { name, kind }).collect();
        Self { format: Self::FORMAT, grain, columns }
    }

    /// Names and types, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.kind.as_str()))
    }

    /// This schema as the next one of a table that has `before`, if it can be that.
    pub(super) fn follow(self, before: Option<&Self>) -> Result<Self, Error> {
        let Some(before) = before else { return Ok(self) };
        if before.grain != self.grain {
            let (was, is) = (before.grain, self.grain);
            let problem = format!("the table is partitioned by {was}, and the rows are by {is}");
            return Err(Error::new(ErrorKind::Input, problem).remedy(REMEDY));
        }
        match refused(&before.columns, &self.columns) {
            Some(refusal) => Err(Error::new(ErrorKind::Input, refusal.why).remedy(REMEDY)),
            None => Ok(self),
        }
    }

    pub(super) fn columns(&self) -> Result<SchemaRef, Error> {
        let field = |column: &SchemaColumn| {
            let unknown = || {
                let SchemaColumn { name, kind } = column;
                Error::new(ErrorKind::Data, format!("column `{name}` has unknown type `{kind}`"))
            };
            Ok(Field::new(&column.name, type_of(&column.kind).ok_or_else(unknown)?, true))
        };
        let fields = self.columns.iter().map(field).collect::<Result<Vec<_>, Error>>()?;
        Ok(Arc::new(ArrowSchema::new(fields)))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("text and numbers are JSON")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes)
    }
}

const REMEDY: &str = "put it back, new columns go at the end; or load into a table of another name";

/// What a type is called in the table's schema; `None` for what no table takes.
pub fn type_name(kind: &DataType) -> Option<String> {
    Some(match kind {
        DataType::Utf8 => "string".into(),
        DataType::Int64 => "int64".into(),
        DataType::Float64 => "float64".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Boolean => "bool".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "datetime".into(),
        DataType::Date32 => "date".into(),
        DataType::Binary => "bytes".into(),
        _ => return None,
    })
}

fn type_of(name: &str) -> Option<DataType> {
    let decimal = |text: &str| {
        let (precision, scale) =
            text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
        Some(DataType::Decimal128(precision.parse().ok()?, scale.parse().ok()?))
    };
    Some(match name {
        "string" => DataType::Utf8,
        "int64" => DataType::Int64,
        "float64" => DataType::Float64,
        "bool" => DataType::Boolean,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "datetime" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "date" => DataType::Date32,
        "bytes" => DataType::Binary,
        other => return decimal(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stored::testing::{check_written, written_by};

    #[test]
    fn schemas_of_every_release_keep_their_meaning() {
        let columns =
            [("hour_start", "datetime"), ("orders", "int64"), ("amount", "decimal(22,2)")];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        let schema = Schema::of_columns(Grain::Hour, columns.into());
        let lines = written_by("97188dc", "warehouse_schema");
        assert_eq!(lines.len(), 1);
        assert_eq!(Schema::decode(lines[0].as_bytes()).unwrap(), schema);
        check_written("warehouse_schema", &[serde_json::to_string(&schema).unwrap()]);
    }
}
