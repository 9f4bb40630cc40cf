//! Sessions: a fixed set of tables, a memory budget, and queries that can only read.

use super::checked::CheckArithmetic;
use super::failure::of_execution;
use super::moments::{SettledMoments, WrittenMoments};
use super::parameters::Parameters;
use super::percentile::PercentileCont;
use super::problem::SqlProblem;
use super::query::Query;
use super::stack::with_room_for;
use super::statement;
use super::sum::CheckedSum;
use super::table::{Catalog, Table, provider};
use crate::error::{Doing, Error, ErrorKind};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::AggregateUDF;
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::executor::block_on;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// What a session may use.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Above it, sorts, joins and groups go to disk.
    pub memory_bytes: u64,
    /// A folder of this process alone; made when first needed.
    pub spill: PathBuf,
    pub threads: usize,
}

/// How many operators an error about memory names.
const BLAMED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// What each sort keeps free to merge what it has spilt: `DataFusion`'s own figure, but never so
/// much that a small budget is used up by it.
const MERGE_BYTES_MAX: usize = 10 << 20;

/// Rows that are handled at once: as many as `DataFusion` does by itself.
pub const BATCH_ROWS: usize = 8_192;

/// Tables that queries may read, and no others.
pub struct Session {
    context: SessionContext,
    names: Vec<String>,
}

impl Session {
    pub fn new(budget: &Budget, tables: &[Table]) -> Result<Self, Error> {
        Self::in_batches(BATCH_ROWS, budget, tables)
    }

    /// A session that handles so many rows at once: a sort has to hold some batches of them.
    pub fn in_batches(rows: usize, budget: &Budget, tables: &[Table]) -> Result<Self, Error> {
        let preparing = || format!("prepare a query that may spill to {}", budget.spill.display());
        std::fs::create_dir_all(&budget.spill)
            .map_err(|err| Error::new(ErrorKind::Unavailable, err))
            .doing(preparing)?;
        let memory = usize::try_from(budget.memory_bytes).unwrap_or(usize::MAX);
        let disk = DiskManagerMode::Directories(vec![budget.spill.clone()]);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(
                FairSpillPool::new(memory),
                BLAMED_MAX,
            )))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .map_err(|err| of_execution(&err))
            .doing(preparing)?;
        let threads = budget.threads.max(1);
        let config = SessionConfig::new()
            .with_target_partitions(threads)
            .with_batch_size(rows)
            .with_sort_spill_reservation_bytes(MERGE_BYTES_MAX.min(memory / threads / 8));
        Ok(Self::with(config, runtime, tables))
    }

    /// A session that plans and never reads: errors in it carry their place in the text.
    pub(super) fn for_planning(tables: &[Table]) -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().sql_parser.collect_spans = true;
        Self::with(config, Arc::new(RuntimeEnv::default()), tables)
    }

    fn with(config: SessionConfig, runtime: Arc<RuntimeEnv>, tables: &[Table]) -> Self {
        let mut config = config
            .with_default_catalog_and_schema("lake", "public")
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_collect_statistics(false);
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_analyzer_rules(rules())
            .build();
        let context = SessionContext::new_with_state(state);
        context.register_udaf(AggregateUDF::from(PercentileCont::new()));
        context.register_udaf(AggregateUDF::from(CheckedSum::new()));
        for (catalog, sets) in by_catalog(&context, tables) {
            context.register_catalog(catalog, sets);
        }
        let names = tables.iter().map(|table| match table.catalog {
            Catalog::Lake => table.name.to_string(),
            Catalog::Warehouse => format!("warehouse.{}", table.name),
        });
        Self { context, names: names.collect() }
    }

    /// Plans a query; nothing is read yet.
    pub fn query(&self, text: &str, parameters: Option<&Parameters>) -> Result<Query, SqlProblem> {
        with_room_for(text, || {
            let planned = block_on(self.plan(text, parameters));
            planned.unwrap_or_else(|err| Err(SqlProblem::of(text, &err)))
        })
    }

    async fn plan(
        &self,
        text: &str,
        parameters: Option<&Parameters>,
    ) -> Result<Result<Query, SqlProblem>, DataFusionError> {
        let statement = match statement::read_only(text).and_then(|statement| {
            statement.check_tables(text, &self.names)?;
            statement.check_parameters(text, parameters.is_some())?;
            Ok(statement)
        }) {
            Ok(statement) => statement,
            Err(problem) => return Ok(Err(problem)),
        };
        let state = self.context.state();
        let plan = state.statement_to_plan(statement.into_datafusion()).await?;
        let mut frame = self.context.execute_logical_plan(plan).await?;
        if let Some(parameters) = parameters {
            frame = frame.with_param_values(parameters.values())?;
        }
        // Types are made to meet here, not when it runs: what can't is a problem of the text.
        let (state, plan) = frame.into_parts();
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        Ok(Ok(Query::new(DataFrame::new(state, plan), text)))
    }
}

/// What a plan goes through before it is optimized.
fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(WrittenMoments),
        Arc::new(SettledMoments::new()),
        Arc::new(CheckArithmetic),
    ]
}

/// Puts each table under its catalog and data set, and each store under a URL of its own.
fn by_catalog(
    context: &SessionContext,
    tables: &[Table],
) -> BTreeMap<&'static str, Arc<dyn CatalogProvider>> {
    let mut sets: BTreeMap<(&str, &str), MemorySchemaProvider> = BTreeMap::new();
    for (number, table) in tables.iter().enumerate() {
        let url = ObjectStoreUrl::parse(format!("tidemill://table{number}"))
            .expect("a scheme and a host make a URL");
        context.register_object_store(url.as_ref(), Arc::clone(&table.store));
        let set = (table.catalog.as_str(), table.name.data_set());
        let added = sets
            .entry(set)
            .or_default()
            .register_table(table.name.table().to_owned(), provider(table, url));
        added.expect("two tables never share a name");
    }
    let mut catalogs: BTreeMap<&'static str, Arc<dyn CatalogProvider>> = BTreeMap::new();
    for name in [Catalog::Lake.as_str(), Catalog::Warehouse.as_str()] {
        catalogs.insert(name, Arc::new(MemoryCatalogProvider::new()));
    }
    for ((catalog, set), schema) in sets {
        let registered = catalogs[catalog].register_schema(set, Arc::new(schema));
        registered.expect("a catalog in memory takes any schema");
    }
    catalogs
}
