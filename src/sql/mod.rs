//! Queries over files: the one place that sees `DataFusion`.
//!
//! A [`session::Session`] knows exactly the tables, and of each exactly the files, that it was made
//! with. A query reads and can do nothing else; its parameters are values, not text. [`expr`]
//! compiles the one-row expressions of topics: computed columns and expectations. What a person
//! wrote wrong comes back as a [`problem::SqlProblem`], which knows the place in the text.

pub mod asked;
mod checked;
pub mod expr;
mod failure;
pub mod file;
mod moments;
pub mod parameters;
mod percentile;
pub mod problem;
mod prune;
pub mod query;
pub mod schema;
pub mod session;
mod stack;
pub mod statement;
mod sum;
pub mod table;
mod total;
mod truncate;
pub mod types;

#[cfg(test)]
mod exact_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

use crate::model::name::TableName;
use arrow::datatypes::SchemaRef;
use object_store::memory::InMemory;
use parameters::Parameters;
use problem::SqlProblem;
use session::Session;
use std::sync::Arc;
use table::{Catalog, Table};

/// What `text` returns when it reads lake tables of these schemas; nothing is read.
///
/// Run parameters are known to it. The schema is in the types that a table holds;
/// [`schema::output_schema`] makes a table's of it.
pub fn plan_schema(text: &str, tables: &[(TableName, SchemaRef)]) -> Result<SchemaRef, SqlProblem> {
    let tables: Vec<Table> = tables
        .iter()
        .map(|(name, schema)| Table {
            catalog: Catalog::Lake,
            name: name.clone(),
            schema: Arc::clone(schema),
            store: Arc::new(InMemory::new()),
            files: Vec::new(),
            routed_by: None,
        })
        .collect();
    let query = Session::for_planning(&tables).query(text, Some(&Parameters::default()))?;
    let schema = query.schema();
    query.plan_fully()?;
    Ok(schema)
}
