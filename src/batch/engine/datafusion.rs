//! `DataFusion`, within this process.

use super::{Engine, Made, Query, Stage};
use crate::error::Error;
use crate::sql::query::Query as Planned;
use crate::sql::schema::output_schema;
use crate::sql::session::{Budget, Session};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt;
use std::sync::Arc;

pub(in super::super) struct DataFusion<'a> {
    pub budget: &'a Budget,
}

impl DataFusion<'_> {
    fn plan(&self, query: &Query<'_>) -> Result<(Planned, SchemaRef), Error> {
        let session = Session::new(self.budget, query.tables)?;
        let planned = session.query(query.sql, Some(query.parameters))?.in_fixed_order()?;
        let schema = output_schema(query.range.key.grain, &planned.schema())?;
        Ok((planned, schema))
    }
}

#[async_trait]
impl Engine for DataFusion<'_> {
    async fn columns(&self, query: &Query<'_>) -> Result<SchemaRef, Error> {
        Ok(self.plan(query)?.1)
    }

    async fn run(&self, query: &Query<'_>, stage: &Stage) -> Result<Made, Error> {
        let (planned, schema) = self.plan(query)?;
        let mut file = stage.file(Arc::clone(&schema), query.range, query.run)?;
        let mut rows = planned.rows()?;
        while let Some(batch) = rows.try_next().await? {
            file.write(&batch)?;
        }
        file.finish()
    }
}
