//! Which tables there are, and their columns, as answers like any other.

use super::show::Shown;
use super::tables::Declared;
use crate::error::{Error, ErrorKind};
use crate::model::job::JobKind;
use crate::model::name::TableName;
use crate::sql::problem::SqlProblem;
use crate::sql::table::Catalog;
use crate::warehouse::{Warehouse, type_name};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// `show tables`: each as a query writes it.
pub(super) fn tables(declared: &Declared<'_>, warehouse: &Warehouse) -> Result<Shown, Error> {
    let mut loaded: BTreeSet<TableName> = loads(declared).map(|(table, _)| table).collect();
    if let Warehouse::Local(local) = warehouse {
        loaded.extend(local.tables()?);
    }
    let lake = declared.tables.keys().map(ToString::to_string);
    let names = lake.chain(loaded.iter().map(|name| format!("warehouse.{name}")));
    lines("table", names)
}

/// `describe t`: a row for each column.
pub(super) fn columns(
    declared: &Declared<'_>,
    warehouse: &Warehouse,
    catalog: Catalog,
    name: &TableName,
) -> Result<Shown, Error> {
    let schema = match (catalog, warehouse) {
        (Catalog::Lake, _) => {
            self::declared(declared, name)?;
            declared.schema(name)?
        }
        (Catalog::Warehouse, Warehouse::Local(local)) => {
            local.columns(name)?.ok_or_else(|| unloaded(name))?
        }
        (Catalog::Warehouse, Warehouse::BigQuery(_)) => of_job(declared, name)?,
    };
    let names = schema.fields().iter().map(|field| Some(field.name().clone()));
    let types = schema.fields().iter().map(|field| {
        Some(type_name(field.data_type()).unwrap_or_else(|| field.data_type().to_string()))
    });
    shown([("column", names.collect()), ("type", types.collect())])
}

/// A lake table that the project's files know.
pub(super) fn declared(declared: &Declared<'_>, name: &TableName) -> Result<(), Error> {
    if declared.tables.contains_key(name) {
        return Ok(());
    }
    let names: Vec<&str> = declared.tables.keys().map(TableName::as_str).collect();
    let problem = SqlProblem::new(format!("no table is named `{name}`"));
    Err(problem.meant(name.as_str(), "tables", &names).into())
}

/// A single column of text, never cut.
pub(super) fn lines(
    column: &str,
    lines: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Shown, Error> {
    shown([(column, lines.into_iter().map(|line| Some::<String>(line.into())).collect())])
}

/// The jobs of a project that load, and what.
fn loads<'a>(
    declared: &Declared<'a>,
) -> impl Iterator<Item = (TableName, Option<&'a TableName>)> + use<'a> {
    declared.jobs.values().filter_map(|job| match &job.kind {
        JobKind::Batch(batch) => {
            Some((batch.to_warehouse.as_ref()?.table.clone(), batch.to_lake.as_ref()))
        }
        JobKind::Feed(_) | JobKind::Stream(_) => None,
    })
}

/// What a job loads into a service is what it writes into the lake.
fn of_job(declared: &Declared<'_>, name: &TableName) -> Result<SchemaRef, Error> {
    let job = loads(declared).find(|(table, _)| table == name);
    let (_, lake) = job.ok_or_else(|| unloaded(name))?;
    declared.schema(lake.ok_or_else(|| unloaded(name))?)
}

fn unloaded(name: &TableName) -> Error {
    Error::new(ErrorKind::Input, format!("no job has loaded anything into {name}"))
        .remedy("`show tables` lists all tables")
}

fn shown<const N: usize>(columns: [(&str, StringArray); N]) -> Result<Shown, Error> {
    let columns = columns.into_iter().map(|(name, values)| (name, Arc::new(values) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns);
    let batch = batch.map_err(|err| Error::new(ErrorKind::Bug, err))?;
    let mut shown = Shown::new(batch.schema(), batch.num_rows()).uncut();
    shown.add(&batch);
    Ok(shown)
}
