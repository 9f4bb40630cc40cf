//! Which files each table of a query is made of.

use super::Context;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::Lake;
use crate::lake::tables::VisibleFile;
use crate::model::commit::FORMAT;
use crate::model::dag::{DagVersion, Table as Declaration, TableContent};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::job::{Job, JobKind};
use crate::model::name::{Name, TableName, TopicName};
use crate::model::project::Project;
use crate::model::run::Input;
use crate::model::schema::{Schema, SchemaColumn};
use crate::model::time::{EventTime, Micros};
use crate::model::topic::Topic;
use crate::sql::file::TableFile;
use crate::sql::plan_schema;
use crate::sql::schema::{lake_schema, output_schema};
use crate::sql::table::{Catalog, Table};
use crate::warehouse::{BigQuery, Local, Warehouse, type_name};
use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema as ArrowSchema, SchemaRef};
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const DAY_MICROS: i64 = 86_400_000_000;

/// What the project's files say of tables.
#[derive(Clone, Copy)]
pub struct Declared<'a> {
    pub tables: &'a BTreeMap<TableName, Declaration>,
    pub jobs: &'a BTreeMap<Name, Job>,
    pub topics: &'a BTreeMap<TopicName, Topic>,
}

/// What a table is for a query that no input of the run names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpinned {
    /// Nothing: the run was made when there was nothing.
    Empty,
    /// What lies in the run's range now.
    Visible,
}

impl<'a> From<&'a DagVersion> for Declared<'a> {
    fn from(version: &'a DagVersion) -> Self {
        let DagVersion { tables, jobs, topics, .. } = version;
        Self { tables, jobs, topics }
    }
}

impl<'a> From<&'a Project> for Declared<'a> {
    fn from(project: &'a Project) -> Self {
        let Project { tables, jobs, topics, .. } = project;
        Self { tables, jobs, topics }
    }
}

impl Declared<'_> {
    /// The column by whose value a stream routes the rows of a table to its hive partitions.
    fn routed_by(&self, name: &TableName) -> Option<String> {
        let TableContent::Topic(topic) = &self.tables.get(name)?.content else { return None };
        Some(self.topics.get(topic)?.event_time.column.clone())
    }

    /// The columns of a lake table: its topic's, or those of the query that writes it.
    pub fn schema(&self, name: &TableName) -> Result<SchemaRef, Error> {
        self.schema_within(name, &mut Vec::new()).doing(|| format!("find the columns of {name}"))
    }

    /// What the lake remembers of the table's files, so that later ones fit them.
    pub fn stored(&self, name: &TableName) -> Result<Schema, Error> {
        let schema = self.schema(name)?;
        let table = &self.tables[name];
        match &table.content {
            TableContent::Topic(topic) => Ok(Schema::of(&table.partition_by, &self.topics[topic])),
            TableContent::Query => stored(&table.partition_by, &schema),
        }
    }

    fn schema_within(
        &self,
        name: &TableName,
        above: &mut Vec<TableName>,
    ) -> Result<SchemaRef, Error> {
        let unknown = || Error::new(ErrorKind::Input, format!("no table is named `{name}`"));
        let table = self.tables.get(name).ok_or_else(unknown)?;
        match &table.content {
            TableContent::Topic(topic) => {
                let topic =
                    self.topics.get(topic).ok_or_else(|| unread("topic", topic.as_str()))?;
                Ok(lake_schema(&topic.columns))
            }
            TableContent::Query => {
                let Some(JobKind::Batch(writer)) =
                    self.jobs.get(&table.writer).map(|job| &job.kind)
                else {
                    return Err(unread("job", table.writer.as_str()));
                };
                if above.contains(name) {
                    let problem = format!("{name} is made from itself");
                    return Err(Error::new(ErrorKind::Input, problem));
                }
                above.push(name.clone());
                let mut reads = Vec::new();
                for read in &writer.reads {
                    reads.push((read.clone(), self.schema_within(read, above)?));
                }
                above.pop();
                let returned = plan_schema(&writer.sql, &reads)?;
                Ok(output_schema(table.partition_by.grain, &returned)?)
            }
        }
    }
}

/// The same of a batch's result, whose first column Tidemill has added.
pub(super) fn stored(partition_by: &PartitionBy, result: &ArrowSchema) -> Result<Schema, Error> {
    let column = |field: &FieldRef| {
        let (name, kind) = (field.name().clone(), field.data_type());
        let unknown = || Error::new(ErrorKind::Bug, format!("no table takes `{name}`: {kind}"));
        Ok(SchemaColumn { kind: type_name(kind).ok_or_else(unknown)?, name })
    };
    let columns = result.fields().iter().skip(1).map(column).collect::<Result<_, Error>>()?;
    let partition_by = Some(partition_by.clone());
    Ok(Schema { format: FORMAT, partition_by, columns, event_time: None })
}

/// What makes a table is missing: its file has a problem of its own.
fn unread(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::Input, format!("its {what} `{name}` can't be read"))
        .remedy("`tidemill check` tells why")
}

/// The tables of a run's query, each of exactly the files that the run is pinned to.
pub(super) async fn pinned(
    context: &Context<'_>,
    wanted: &BTreeSet<(Catalog, TableName)>,
    unpinned: Unpinned,
) -> Result<Vec<Table>, Error> {
    let declared = Declared::from(context.version);
    let key = context.run.subject.as_ref().map(|range| range.key);
    let mut tables = Vec::new();
    for (catalog, name) in wanted {
        let table = match catalog {
            Catalog::Lake => {
                let inputs = context.run.inputs.iter().filter(|input| input.table == *name);
                let inputs: Vec<&Input> = inputs.collect();
                let files = if !inputs.is_empty() {
                    closed(context, &declared, &inputs).await?
                } else if unpinned == Unpinned::Visible {
                    visible(context.lake, name, key.as_ref()).await?
                } else {
                    Vec::new()
                };
                of_lake(context.lake, &declared, name, files).await?
            }
            Catalog::Warehouse => of_warehouse(context.warehouse, name, key.as_ref()).await?,
        };
        tables.push(table);
    }
    Ok(tables)
}

pub(super) async fn of_lake(
    lake: &Lake,
    declared: &Declared<'_>,
    name: &TableName,
    files: Vec<TableFile>,
) -> Result<Table, Error> {
    let (schema, store) = (declared.schema(name)?, Arc::clone(lake.objects()));
    let routed_by = match declared.routed_by(name) {
        Some(column) if lake.is_routed_by(name, &column).await? => Some(column),
        Some(_) | None => None,
    };
    Ok(Table { catalog: Catalog::Lake, name: name.clone(), schema, store, files, routed_by })
}

/// A warehouse table, or the part of it that lies within `key`.
pub(super) async fn of_warehouse(
    warehouse: &Warehouse,
    name: &TableName,
    key: Option<&PartitionKey>,
) -> Result<Table, Error> {
    match warehouse {
        Warehouse::Local(local) => of_folders(local, name, key),
        Warehouse::BigQuery(bigquery) => Box::pin(of_service(bigquery, name, key)).await,
    }
}

/// The rows as they are now, as a file in memory: a query here reads files.
async fn of_service(
    warehouse: &BigQuery,
    name: &TableName,
    key: Option<&PartitionKey>,
) -> Result<Table, Error> {
    let rows = warehouse.read(name, key).await?;
    in_memory(Catalog::Warehouse, name, rows.schema(), &[rows]).await
}

/// A table of these rows alone.
pub(super) async fn in_memory(
    catalog: Catalog,
    name: &TableName,
    schema: SchemaRef,
    rows: &[RecordBatch],
) -> Result<Table, Error> {
    let store = Arc::new(InMemory::new());
    let mut files = Vec::new();
    if rows.iter().any(|batch| batch.num_rows() > 0) {
        let bug = |err| Error::new(ErrorKind::Bug, err);
        let mut writer =
            ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None).map_err(bug)?;
        rows.iter().try_for_each(|batch| writer.write(batch)).map_err(bug)?;
        let content = writer.into_inner().map_err(bug)?;
        let (path, bytes) = (Path::from("rows.parquet"), content.len() as u64);
        store.put(&path, content.into()).await?;
        files.push(TableFile { path, bytes, times: None });
    }
    let name = name.clone();
    Ok(Table { catalog, name, schema, store, files, routed_by: None })
}

fn of_folders(
    warehouse: &Local,
    name: &TableName,
    key: Option<&PartitionKey>,
) -> Result<Table, Error> {
    let schema = warehouse.columns(name)?.ok_or_else(|| {
        let loaded = warehouse.tables().unwrap_or_default();
        let loaded: Vec<String> = loaded.iter().map(ToString::to_string).collect();
        Error::new(ErrorKind::Input, format!("nothing has been loaded into {name} yet"))
            .remedy(format!("the warehouse's tables: {}", loaded.join(", ")))
    })?;
    let partitions = warehouse.partitions(name)?;
    let files = partitions.into_iter().filter(|partition| lies_within(&partition.key, key));
    let files = files.map(|partition| {
        let path = Path::from_absolute_path(&partition.file);
        let path = path.map_err(|err| Error::new(ErrorKind::Input, err))?;
        Ok(TableFile { path, bytes: partition.bytes, times: None })
    });
    let files = files.collect::<Result<Vec<_>, Error>>()?;
    let store = Arc::new(LocalFileSystem::new());
    let (catalog, name) = (Catalog::Warehouse, name.clone());
    Ok(Table { catalog, name, schema, store, files, routed_by: None })
}

/// The files that a plain reader sees now, within `key` if there is one.
pub(super) async fn visible(
    lake: &Lake,
    name: &TableName,
    key: Option<&PartitionKey>,
) -> Result<Vec<TableFile>, Error> {
    let files = lake.visible_files(name).await?.into_iter();
    let files = files.filter(|file| lies_within(&file.key, key));
    let file = |file: VisibleFile| TableFile {
        path: file.published,
        bytes: file.bytes,
        times: Some(times(&file.key)),
    };
    Ok(files.map(file).collect())
}

/// Where the event times of the rows in a hive partition lie.
fn times(key: &PartitionKey) -> (EventTime, EventTime) {
    let (from, until) = PartitionBy::utc(key.grain).range(key);
    let aside = match key.grain {
        Grain::Hour => 0,
        // Whatever the timezone that they are cut in: none is a day from UTC.
        Grain::Day | Grain::Month => DAY_MICROS,
    };
    (Micros(from.0.saturating_sub(aside)), Micros(until.0.saturating_add(aside)))
}

fn lies_within(part: &PartitionKey, whole: Option<&PartitionKey>) -> bool {
    whole.is_none_or(|whole| part.grain <= whole.grain && part.within(whole.grain) == *whole)
}

async fn closed(
    context: &Context<'_>,
    declared: &Declared<'_>,
    inputs: &[&Input],
) -> Result<Vec<TableFile>, Error> {
    let mut files = Vec::new();
    for input in inputs {
        let Input { table, key, n } = input;
        let range = context.run.subject.as_ref().map(|range| &range.key);
        if !lies_within(key, range) {
            let problem = format!("{table} {key} lies outside what the run works on");
            return Err(Error::new(ErrorKind::Bug, problem));
        }
        let made_by = declared.tables.get(table).map(|table| &table.content);
        let made = match made_by {
            Some(TableContent::Query) => output_of(context.lake, input).await?,
            Some(TableContent::Topic(_)) | None => files_of(context.lake, input).await?,
        };
        if let Some(file) = made.iter().find(|file| !file.path.as_ref().contains(&key.path())) {
            let problem = format!("{} is no file of {table} {key}, closing {n}", file.path);
            return Err(Error::new(ErrorKind::Data, problem));
        }
        files.extend(made);
    }
    Ok(files)
}

/// The exact files of a closing of a stream's table.
async fn files_of(lake: &Lake, input: &Input) -> Result<Vec<TableFile>, Error> {
    let Input { table, key, n } = input;
    let closing = lake.closing(table, key, *n).await?.ok_or_else(|| {
        Error::new(ErrorKind::Data, format!("the lake has no closing {n} of {table} {key}"))
    })?;
    let file = |file: crate::model::commit::ClosedFile| TableFile {
        path: file.published.into(),
        bytes: file.bytes,
        times: Some(times(key)),
    };
    Ok(closing.files.into_iter().map(file).collect())
}

/// The one object of a batch's table. It may be newer than the closing that the run was made for;
/// then that newer one makes the next run.
async fn output_of(lake: &Lake, input: &Input) -> Result<Vec<TableFile>, Error> {
    let Input { table, key, .. } = input;
    let output = lake.output(table, key).await?.ok_or_else(|| {
        Error::new(ErrorKind::Data, format!("the lake has no output {key} of {table}"))
    })?;
    let file = |file: crate::model::commit::OutputFile| TableFile {
        path: file.published.into(),
        bytes: file.bytes,
        times: None,
    };
    Ok(output.file.map(file).into_iter().collect())
}
