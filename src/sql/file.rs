//! A file of a table, and what is known of its rows before it is opened.

use crate::model::time::EventTime;
use object_store::path::Path;

/// A Parquet file of a [`Table`](super::table::Table)'s store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    pub path: Path,
    pub bytes: u64,
    /// The half-open stretch in which `routed_by` is in every row, where that is known.
    pub times: Option<(EventTime, EventTime)>,
}
