//! One attempt at a batch: SQL over exactly the files that a run is pinned to.
//!
//! The order is what makes a kill harmless: an engine writes the result to a file beside the attempt's
//! log, that file is judged whole before anything is replaced, the lake is replaced before the
//! warehouse is loaded, and only then is the outcome told. Whoever comes next does the same again; both
//! sides refuse a closing that is older than theirs, and columns that can't follow those of the table's
//! other files.

mod ask;
mod catalog;
pub mod compact;
mod engine;
pub mod golden;
mod judge;
mod show;
mod sorted;
mod tables;
mod value;

#[cfg(test)]
mod compact_tests;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod tests;

pub use ask::{Answer, ask, ask_project, by_hand};
pub use show::{Shown, json, one_line, rows, table, table_in};
pub use tables::Declared;

use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::Lake;
use crate::lake::outputs::NewOutput;
use crate::model::commit::OutputInput;
use crate::model::dag::DagVersion;
use crate::model::job::{BatchJob, JobKind};
use crate::model::name::{Name, TableName};
use crate::model::run::{PinnedRun, Subject};
use crate::sql::parameters::Parameters;
pub use crate::sql::session::Budget;
use crate::sql::session::Session;
use crate::sql::statement::tables_of;
use crate::sql::table::Catalog;
use crate::warehouse::{Journal, Load, Warehouse};
use engine::datafusion::DataFusion;
use engine::{Engine, Made, Query, Stage};
use futures::TryStreamExt;
use serde::Serialize;
use std::collections::BTreeSet;
use tracing::info;

/// How many rows an error about rows shows.
const ROWS_SHOWN: usize = 10;

/// All that a batch needs of the world around it.
pub struct Context<'a> {
    pub version: &'a DagVersion,
    pub run: &'a PinnedRun,
    pub lake: &'a Lake,
    pub warehouse: &'a Warehouse,
    /// Where load jobs are written down.
    pub journal: &'a dyn Journal,
    /// Its spill folder belongs to this attempt alone.
    pub budget: &'a Budget,
}

/// What a batch has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub files_read: u64,
    pub rows: u64,
    /// Of the Parquet file that lake and warehouse got.
    pub bytes: u64,
    /// The warehouse's id of the job that loaded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_job: Option<String>,
}

/// Runs a batch job; a repeat gives the same result again.
///
/// Fails with kind `Fenced` where a newer closing has been here, `Data` where an expectation is not
/// met, and `Input` where the query or its columns are wrong.
pub async fn run(context: &Context<'_>, job: &Name) -> Result<Outcome, Error> {
    let batch = batch_job(context.version, job)?;
    let range = context.run.subject.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Input, format!("job `{job}` needs a hive partition to work on"))
            .remedy("trigger the DAG with --partition-key")
    })?;
    let doing = || format!("run job `{job}` for {}", range.key);
    let stage = Stage::clear(&context.budget.spill.join("result")).doing(doing)?;
    let engine = DataFusion { budget: context.budget };
    let result = work(context, &engine, batch, range, &stage).await.doing(doing)?;
    let (Made { rows, file, .. }, files_read) = result;
    crash::point("output-made");
    let bytes = file.bytes;
    let mut source = None;
    if let Some(table) = &batch.to_lake {
        let new = NewOutput {
            table: table.clone(),
            key: range.key,
            n: range.n,
            run: context.run.id.clone(),
            input: input_of(context.run, batch, range),
            content: (rows > 0).then(|| (file.clone(), rows)),
        };
        let made = context.lake.replace_output(new).await.doing(doing)?;
        crash::point("output-written");
        source = made.file.and_then(|file| context.lake.address(&file.published));
    }
    let mut load_job = None;
    if let Some(to) = &batch.to_warehouse {
        let load = Load { to: to.clone(), key: range.key, closing: range.n, file, source };
        let loaded = context.warehouse.replace(&load, context.journal).await.doing(doing)?;
        load_job = loaded.job;
    }
    info!(job.name = %job, run.id = context.run.id, rows, bytes, "`{job}` made {rows} rows of {files_read} files");
    Ok(Outcome { files_read, rows, bytes, load_job })
}

/// The closing that a run of this very hive partition is for: of the first table that the job reads.
fn input_of(run: &PinnedRun, batch: &BatchJob, range: &Subject) -> Option<OutputInput> {
    let table = batch.reads.first()?;
    let own = run.inputs.iter().find(|input| input.key == range.key && input.table == *table)?;
    Some(OutputInput { table: own.table.clone(), n: own.n })
}

/// Runs a test: a query that must return no rows. Where it does, the error shows the first ones.
pub async fn test(context: &Context<'_>, text: &str) -> Result<(), Error> {
    let wanted = tables_of(text)?;
    let tables = tables::pinned(context, &wanted, tables::Unpinned::Visible).await?;
    let session = Session::new(context.budget, &tables)?;
    let parameters = context.run.subject.as_ref().map(|range| parameters(&context.run.id, range));
    let query = session.query(text, parameters.as_ref())?.in_fixed_order()?;
    let schema = query.schema();
    let mut rows = query.rows()?;
    let mut shown = Shown::new(schema, ROWS_SHOWN);
    while let Some(batch) = rows.try_next().await? {
        shown.add(&batch);
    }
    match shown.count() {
        0 => Ok(()),
        count => {
            let problem = format!("the test returned {}\n{}", show::rows(count), table(&shown)?);
            Err(Error::new(ErrorKind::Data, problem)
                .remedy("a test returns the rows that are wrong: mend what made them"))
        }
    }
}

fn batch_job<'a>(version: &'a DagVersion, job: &Name) -> Result<&'a BatchJob, Error> {
    match version.jobs.get(job).map(|job| &job.kind) {
        Some(JobKind::Batch(batch)) => Ok(batch),
        Some(JobKind::Feed(_) | JobKind::Stream(_)) | None => {
            let problem = format!("the DAG's version has no batch job `{job}`");
            Err(Error::new(ErrorKind::Bug, problem))
        }
    }
}

/// Makes the result and judges it; nothing is replaced yet. Returns how many files it was made of, too.
async fn work(
    context: &Context<'_>,
    engine: &dyn Engine,
    batch: &BatchJob,
    range: &Subject,
    stage: &Stage,
) -> Result<(Made, u64), Error> {
    let wanted: BTreeSet<(Catalog, TableName)> =
        batch.reads.iter().map(|table| (Catalog::Lake, table.clone())).collect();
    let tables = tables::pinned(context, &wanted, tables::Unpinned::Empty).await?;
    let files_read = tables.iter().map(|table| table.files.len() as u64).sum();
    let query = Query {
        sql: &batch.sql,
        tables: &tables,
        parameters: &parameters(&context.run.id, range),
        range,
        run: &context.run.id,
    };
    if let Some(to) = &batch.to_warehouse {
        let columns = engine.columns(&query).await?;
        context.warehouse.admit(to, range.key.grain, &columns).await?;
    }
    let made = engine.run(&query, stage).await?;
    judge::judge(&batch.expects, &made.file).await?;
    if let Some(table) = &batch.to_lake {
        let stored = tables::stored(&batch.partition_by, &made.schema)?;
        context.lake.schema_number(table, &stored).await?;
    }
    Ok((made, files_read))
}

fn parameters(run: &str, range: &Subject) -> Parameters {
    Parameters {
        data_interval_start: range.start,
        data_interval_end: range.end,
        partition_key: range.key.to_string(),
        run_id: run.to_owned(),
    }
}
