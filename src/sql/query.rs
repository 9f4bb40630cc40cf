//! A planned query: what it returns, and its rows as a stream.

use super::failure::{of_arrow, of_execution};
use super::problem::SqlProblem;
use super::schema::storable;
use super::stack::{of_panic, with_room_for};
use crate::error::{Error, ErrorKind};
use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::prelude::{DataFrame, ident};
use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::BoxStream;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// The rows of a query, in batches.
pub type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// What a panic leaves behind.
type Panic = Box<dyn Any + Send>;

pub struct Query {
    frame: DataFrame,
    schema: SchemaRef,
    text: String,
}

impl Query {
    pub(super) fn new(frame: DataFrame, text: &str) -> Self {
        let fields = frame.schema().fields().iter().map(|field| {
            // What no table can hold is left as it is: a screen can show it.
            let kind = storable(field.data_type()).unwrap_or_else(|| field.data_type().clone());
            Field::new(field.name(), kind, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { frame, schema, text: text.to_owned() }
    }

    /// What the query returns, in the types that a table holds.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The same rows in exactly these types, for files that are to be like others.
    #[must_use]
    pub fn typed(self, schema: SchemaRef) -> Self {
        Self { schema, ..self }
    }

    /// Sorts by all columns from the first on, unless the query orders its rows itself: the same
    /// input gives the same file again.
    pub fn in_fixed_order(self) -> Result<Self, SqlProblem> {
        let ordered = |plan: &LogicalPlan| match plan {
            LogicalPlan::Sort(_) => true,
            LogicalPlan::Limit(limit) => matches!(limit.input.as_ref(), LogicalPlan::Sort(_)),
            _ => false,
        };
        if ordered(self.frame.logical_plan()) {
            return Ok(self);
        }
        let names = self.schema.fields().iter().map(|field| field.name());
        let alone = |name: &String| names.clone().filter(|other| *other == name).count() == 1;
        let by = self.schema.fields().iter();
        // What no table can hold, or what shares its name, can't be sorted by and is never stored.
        let by = by.filter(|field| storable(field.data_type()).is_some() && alone(field.name()));
        let by = by.map(|field| ident(field.name()).sort(true, false)).collect::<Vec<_>>();
        if by.is_empty() {
            return Ok(self);
        }
        let frame = self.frame.sort(by).map_err(|err| SqlProblem::of("", &err))?;
        Ok(Self { frame, ..self })
    }

    /// Plans as far as a run would, so that nothing but the data is left to go wrong.
    pub(super) fn plan_fully(self) -> Result<(), SqlProblem> {
        let Self { frame, text, .. } = self;
        with_room_for(&text, || {
            let planned = block_on(physical(frame));
            planned.map(drop).map_err(|err| SqlProblem::of(&text, &err))
        })
    }

    /// How it would be worked on, a line for each step.
    pub fn steps(self) -> Result<String, Error> {
        let Self { frame, text, .. } = self;
        let plan = with_room_for(&text, || Ok(block_on(physical(frame))))?;
        let plan = plan.map_err(|err| of_execution(&err))?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// Starts to work; at most a few batches wait for the reader.
    pub fn rows(self) -> Result<Rows, Error> {
        let Self { frame, schema, text } = self;
        let context = Arc::new(frame.task_ctx());
        let plan = with_room_for(&text, || Ok(block_on(physical(frame))))?;
        let rows = plan.and_then(|plan| execute_stream(plan, context));
        let rows = AssertUnwindSafe(rows.map_err(|err| of_execution(&err))?).catch_unwind();
        let cast_to = move |batch: Result<Result<RecordBatch, DataFusionError>, Panic>| {
            let batch = batch.map_err(|panic| of_panic(&*panic))?;
            cast(&batch.map_err(|err| of_execution(&err))?, &schema)
        };
        Ok(rows.map(cast_to).boxed())
    }
}

/// The plan that runs. Its types were settled when it was planned, so that is not done once more.
async fn physical(frame: DataFrame) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let (state, plan) = frame.into_parts();
    let plan = state.optimizer().optimize(plan, &state, |_, _| {})?;
    state.query_planner().create_physical_plan(&plan, &state).await
}

/// Brings a batch into the schema's types. A value that does not fit is an error, never a null.
fn cast(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields());
    let columns =
        columns.map(|(column, field)| cast_with_options(column, field.data_type(), &strict));
    let columns = columns.collect::<Result<Vec<_>, _>>();
    columns
        .and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns))
        .map_err(|err| of_arrow(ErrorKind::Input, &err))
}
