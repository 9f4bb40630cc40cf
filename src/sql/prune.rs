//! Which files of a table a query can leave out unread: those whose hive partition its filter excludes.
//!
//! Row groups are left out by their own statistics anyway, but those are in the footer of each file,
//! and files of other hours would be shared out among the threads.

use super::file::TableFile;
use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue, ToDFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use std::collections::HashSet;
use std::sync::Arc;

/// The files that may hold rows which pass `filters`; `routed_by` is the column that
/// [`TableFile::times`] bounds.
pub(super) fn kept<'a>(
    files: &'a [TableFile],
    schema: &SchemaRef,
    routed_by: Option<&str>,
    state: &dyn Session,
    filters: &[Expr],
) -> Result<Vec<&'a TableFile>> {
    let all = files.iter().collect();
    let (Some(column), Some(filter)) = (routed_by, conjunction(filters.iter().cloned())) else {
        return Ok(all);
    };
    let filter = state.create_physical_expr(filter, &schema.as_ref().clone().to_dfschema()?)?;
    let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
    let Some(predicate) = builder.build(filter) else { return Ok(all) };
    let kept = predicate.prune(&Times { files, column, schema })?;
    Ok(all.into_iter().zip(kept).filter_map(|(file, kept)| kept.then_some(file)).collect())
}

/// What the hive partitions of files say of their rows.
struct Times<'a> {
    files: &'a [TableFile],
    column: &'a str,
    schema: &'a SchemaRef,
}

impl Times<'_> {
    fn bounds(
        &self,
        column: &Column,
        bound: impl Fn(&TableFile) -> Option<i64>,
    ) -> Option<ArrayRef> {
        let field = self.schema.field_with_name(self.column).ok()?;
        if column.name() != self.column {
            return None;
        }
        let bounds: TimestampMicrosecondArray = self.files.iter().map(bound).collect();
        cast(&bounds, field.data_type()).ok()
    }
}

impl PruningStatistics for Times<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |file| file.times.map(|(from, _)| from.0))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |file| file.times.map(|(_, until)| until.0 - 1))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
