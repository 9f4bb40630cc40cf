//! Queries over files: the one place that sees `DataFusion`.
//!
//! A [`session::Session`] knows exactly the tables, and of each exactly the files, that it was made
//! with. A query reads and can do nothing else; its parameters are values, not text. [`expr`]
//! compiles the one-row expressions of topics: computed columns and expectations. What a person
//! wrote wrong comes back as a [`problem::SqlProblem`], which knows the place in the text.

pub mod expr;
mod failure;
pub mod file;
pub mod parameters;
mod percentile;
pub mod problem;
mod prune;
pub mod query;
pub mod schema;
pub mod session;
pub mod statement;
mod sum;
pub mod table;
mod truncate;
pub mod types;

#[cfg(test)]
mod tests;

use crate::model::name::TableName;
use arrow::datatypes::SchemaRef;
use futures::FutureExt;
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
    let session = Session::for_planning(&tables);
    let planned = plan(&session, text).now_or_never();
    planned.ok_or_else(|| SqlProblem::new("planning waits for a table"))?
}

/// Plans as far as a run would, so that nothing but the data is left to go wrong.
async fn plan(session: &Session, text: &str) -> Result<SchemaRef, SqlProblem> {
    let query = session.query(text, Some(&Parameters::default())).await?;
    let schema = query.schema();
    query.plan_fully(text).await?;
    Ok(schema)
}
