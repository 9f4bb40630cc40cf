//! Reads a table back, for questions that are asked here.

use super::table::type_word;
use super::{BigQuery, decide};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::hive::{Grain, PartitionKey};
use crate::model::name::TableName;
use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use arrow::record_batch::RecordBatch;
use gcp_bigquery_client::model::table::Table;
use std::sync::Arc;

/// Rows come as JSON, cell by cell, and are held in memory: more is a question for BigQuery itself.
const ROWS_MAX: usize = 200_000;

/// How a column is asked for, and what it is here.
struct Column {
    name: String,
    word: String,
    kind: DataType,
}

impl BigQuery {
    /// The rows of a table, or of the part of it that is within `key`.
    pub async fn read(
        &self,
        name: &TableName,
        key: Option<&PartitionKey>,
    ) -> Result<RecordBatch, Error> {
        self.read_rows(name, key).await.doing(|| format!("read {name} from BigQuery"))
    }

    async fn read_rows(
        &self,
        name: &TableName,
        key: Option<&PartitionKey>,
    ) -> Result<RecordBatch, Error> {
        let (set, table) = (name.data_set(), name.table());
        let project = &self.rest.project;
        let found = self.rest.table(set, table).await?.ok_or_else(|| {
            let problem = format!("project {project} has no such table");
            Error::new(ErrorKind::Input, problem).remedy("the first load creates the table")
        })?;
        // Asked before, for a query is billed for all that it reads, whatever it returns.
        let rows: Option<usize> = found.num_rows.as_ref().and_then(|rows| rows.parse().ok());
        if key.is_none() && rows > Some(ROWS_MAX) {
            return Err(too_many(project, name));
        }
        let filter = key.map(|key| Ok::<_, Error>(decide::within(grain_of(&found)?, key)));
        let filter = filter.transpose()?;
        let columns = columns(&found)?;
        let text = query(project, name, &columns, filter.as_deref());
        let rows = self.rest.query(set, &text, ROWS_MAX + 1).await?;
        if rows.len() > ROWS_MAX {
            return Err(too_many(project, name));
        }
        batch(&columns, rows)
    }
}

fn too_many(project: &str, name: &TableName) -> Error {
    let (set, table) = (name.data_set(), name.table());
    let problem = format!("more than {ROWS_MAX} rows are not read from here");
    Error::new(ErrorKind::Input, problem).remedy(format!(
        "ask BigQuery for `{project}.{set}.{table}`, or ask the lake's table, which its job writes too: {name}"
    ))
}

fn grain_of(table: &Table) -> Result<Grain, Error> {
    let field = table.time_partitioning.as_ref().and_then(|by| by.field.as_deref());
    let grain = [Grain::Hour, Grain::Day, Grain::Month]
        .into_iter()
        .find(|grain| field == Some(grain.start_column()));
    grain.ok_or_else(|| {
        Error::new(ErrorKind::Input, "it has no hive partitions: Tidemill did not make it")
    })
}

fn columns(table: &Table) -> Result<Vec<Column>, Error> {
    let fields = table.schema.fields.as_deref().unwrap_or_default().iter();
    let columns = fields.map(|field| {
        let (name, word) = (field.name.clone(), type_word(&field.r#type));
        let simple = field.mode.as_deref() != Some("REPEATED");
        let kind = type_of(&word).filter(|_| simple).ok_or_else(|| {
            let problem = format!("column `{name}` is {word}, which is not read from here");
            Error::new(ErrorKind::Input, problem).remedy("ask BigQuery itself")
        })?;
        Ok(Column { name, word, kind })
    });
    columns.collect()
}

fn type_of(word: &str) -> Option<DataType> {
    Some(match word {
        "STRING" => DataType::Utf8,
        "INT64" => DataType::Int64,
        "FLOAT64" => DataType::Float64,
        "NUMERIC" => DataType::Decimal128(38, 9),
        "BIGNUMERIC" => DataType::Decimal256(76, 38),
        "BOOL" => DataType::Boolean,
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "DATETIME" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "DATE" => DataType::Date32,
        "BYTES" => DataType::Binary,
        _ => return None,
    })
}

fn query(project: &str, name: &TableName, columns: &[Column], filter: Option<&str>) -> String {
    let (set, table) = (name.data_set(), name.table());
    let asked = columns.iter().map(|Column { name, word, .. }| match word.as_str() {
        // Seconds as a floating-point number otherwise, which has no place for microseconds.
        "TIMESTAMP" => format!("UNIX_MICROS(`{name}`) AS `{name}`"),
        "BYTES" => format!("TO_HEX(`{name}`) AS `{name}`"),
        _ => format!("`{name}`"),
    });
    let asked = asked.collect::<Vec<_>>().join(", ");
    let filter = filter.map_or(String::new(), |filter| format!(" WHERE {filter}"));
    let most = ROWS_MAX + 1;
    format!("SELECT {asked} FROM `{project}.{set}.{table}`{filter} LIMIT {most}")
}

type Cells = Vec<Option<String>>;

fn batch(columns: &[Column], rows: Vec<Cells>) -> Result<RecordBatch, Error> {
    let mut by_column: Vec<Cells> =
        columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        let mut cells = row.into_iter();
        for column in &mut by_column {
            column.push(cells.next().flatten());
        }
    }
    let fields = columns.iter().map(|column| Field::new(&column.name, column.kind.clone(), true));
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.iter().zip(by_column).map(|(column, cells)| {
        array(&column.kind, cells).doing(|| format!("read column `{}`", column.name))
    });
    let arrays = arrays.collect::<Result<Vec<_>, Error>>()?;
    RecordBatch::try_new(schema, arrays).map_err(|err| Error::new(ErrorKind::Bug, err))
}

fn array(kind: &DataType, cells: Cells) -> Result<ArrayRef, Error> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |array: &ArrayRef, kind: &DataType| {
        cast_with_options(array, kind, &strict).map_err(|err| Error::new(ErrorKind::Bug, err))
    };
    if *kind == DataType::Binary {
        let bytes = cells.iter().map(|cell| cell.as_deref().map(of_hex).transpose());
        let bytes = bytes.collect::<Result<Vec<_>, Error>>()?;
        return Ok(Arc::new(BinaryArray::from_iter(bytes)));
    }
    let text: ArrayRef = Arc::new(StringArray::from(cells));
    match kind {
        DataType::Timestamp(_, Some(_)) => cast(&cast(&text, &DataType::Int64)?, kind),
        _ => cast(&text, kind),
    }
}

fn of_hex(digits: &str) -> Result<Vec<u8>, Error> {
    let wrong = || Error::new(ErrorKind::Bug, format!("`{digits}` is not in hexadecimal"));
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong)
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;

    fn column((name, word): (&str, &str)) -> Column {
        Column { name: name.into(), word: word.into(), kind: type_of(word).unwrap() }
    }

    #[test]
    fn every_type_that_is_loaded_is_read_back() {
        let columns = [
            ("hour_start", "DATETIME"),
            ("day", "DATE"),
            ("at", "TIMESTAMP"),
            ("n", "INT64"),
            ("share", "FLOAT64"),
            ("price", "NUMERIC"),
            ("is_bot", "BOOL"),
            ("wiki", "STRING"),
            ("key", "BYTES"),
        ];
        let columns = columns.map(column);
        let row = [
            "2026-11-20T05:00:00",
            "2026-11-20",
            "1763614800000001",
            "7",
            "0.5",
            "1.25",
            "true",
            "dewiki",
            "0aff",
        ];
        let row = row.map(|cell| Some(cell.to_owned())).to_vec();
        let read = batch(&columns, vec![row, vec![None; 9]]).unwrap();
        insta::assert_snapshot!(pretty_format_batches(&[read]).unwrap().to_string());
        let text = query("acme", &"agg.x".parse().unwrap(), &columns[2..4], Some("n > 1"));
        assert_eq!(
            text,
            "SELECT UNIX_MICROS(`at`) AS `at`, `n` FROM `acme.agg.x` WHERE n > 1 LIMIT 200001"
        );
    }

    #[test]
    fn what_is_not_of_its_type_is_an_error() {
        assert!(array(&DataType::Int64, vec![Some("seven".into())]).is_err());
        assert!(array(&DataType::Binary, vec![Some("0af".into())]).is_err());
    }
}
