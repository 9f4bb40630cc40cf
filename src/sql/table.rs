//! A table made of exactly the files that it is given, under a declared schema.
//!
//! Nothing is listed: a closing says which files are the input, and a file that appears meanwhile
//! belongs to the next closing. Columns that a file lacks, because it is older, are null.

use super::file::TableFile;
use super::prune::kept;
use crate::model::name::TableName;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::TableType;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectStore;
use std::fmt;
use std::sync::Arc;

/// A table that a query may read.
#[derive(Clone)]
pub struct Table {
    pub catalog: Catalog,
    pub name: TableName,
    pub schema: SchemaRef,
    pub store: Arc<dyn ObjectStore>,
    pub files: Vec<TableFile>,
    /// The column by which rows were routed to hive partitions, where the table has it.
    pub routed_by: Option<String>,
}

/// What stands before the data set in a query: nothing for the lake, `warehouse.` for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Catalog {
    Lake,
    Warehouse,
}

impl Catalog {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lake => "lake",
            Self::Warehouse => "warehouse",
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.len();
        write!(f, "{}.{} ({files} files)", self.catalog.as_str(), self.name)
    }
}

/// The provider behind a [`Table`]; `url` is the place where its store is registered.
pub(super) fn provider(table: &Table, url: ObjectStoreUrl) -> Arc<dyn TableProvider> {
    let schema = as_views(&table.schema);
    if table.files.is_empty() {
        return Arc::new(EmptyTable::new(schema));
    }
    let (files, routed_by) = (table.files.clone(), table.routed_by.clone());
    Arc::new(FileTable { schema, url, files, routed_by })
}

/// Strings are read as views: they point into the decoded page and are copied once less.
pub(super) fn as_views(schema: &Schema) -> SchemaRef {
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        }
        DataType::Binary | DataType::LargeBinary => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::BinaryView))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(view).collect::<Vec<_>>()))
}

#[derive(Debug)]
struct FileTable {
    schema: SchemaRef,
    url: ObjectStoreUrl,
    files: Vec<TableFile>,
    routed_by: Option<String>,
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = kept(&self.files, &self.schema, self.routed_by.as_deref(), state, filters)?;
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let files = files.into_iter();
        let files =
            files.map(|file| PartitionedFile::new(file.path.as_ref(), file.bytes)).collect();
        let format = ParquetFormat::default().with_options(state.default_table_options().parquet);
        let source = format.file_source(Arc::clone(&self.schema).into());
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.total_byte_size =
            Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
        let scan = FileScanConfigBuilder::new(self.url.clone(), source)
            .with_file_groups(FileGroup::new(files).split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        format.create_physical_plan(state, scan).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Row groups that can't match are skipped; the rows of the others are filtered above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
