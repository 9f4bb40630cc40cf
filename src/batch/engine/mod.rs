//! What runs the query of a batch: one seam, so that the same job can be run by another engine.
//!
//! An engine only makes a file. Its result is judged, put in the place of the former one and loaded by
//! the batch itself, in the same way whatever engine made it.

pub(super) mod datafusion;
mod stage;

#[cfg(test)]
mod conformance;

pub(super) use stage::{Stage, read_back};

use crate::error::Error;
use crate::model::file::LocalFile;
use crate::model::run::Subject;
use crate::sql::parameters::Parameters;
use crate::sql::table::Table;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

/// A query over exactly these tables, for one hive partition.
pub(super) struct Query<'a> {
    pub sql: &'a str,
    pub tables: &'a [Table],
    pub parameters: &'a Parameters,
    pub range: &'a Subject,
    /// The run that asks, by id.
    pub run: &'a str,
}

/// A result that lies in a [`Stage`], whole.
#[derive(Debug)]
pub(super) struct Made {
    pub rows: u64,
    /// The start column first, then what the query returns.
    pub schema: SchemaRef,
    /// One Parquet file, without rows too: an output is one object.
    pub file: LocalFile,
}

/// Runs queries. Every implementation passes `conformance`.
///
/// Fails with kind `Input` where the query is wrong or asks for more memory than there is, and
/// `Unavailable` where another try may succeed.
#[async_trait]
pub(super) trait Engine: Send + Sync {
    /// The columns of the result, the start column first. Reads no rows.
    async fn columns(&self, query: &Query<'_>) -> Result<SchemaRef, Error>;

    /// Runs the query and writes its result into the stage; the same input gives the same bytes.
    ///
    /// It is never held whole in memory. The file's metadata name closing and run, under
    /// [`CLOSING_KEY`](crate::warehouse::CLOSING_KEY) and [`RUN_KEY`](crate::warehouse::RUN_KEY).
    async fn run(&self, query: &Query<'_>, stage: &Stage) -> Result<Made, Error>;
}
