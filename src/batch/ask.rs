//! `tidemill sql`: a question about what lake and warehouse hold now.

use super::catalog;
use super::show::Shown;
use super::tables::{Declared, of_lake, of_warehouse, visible};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::Lake;
use crate::model::project::Project;
use crate::sql::asked::{Asked, asked};
use crate::sql::session::{Budget, Session};
use crate::sql::statement::tables_of;
use crate::sql::table::{Catalog, Table};
use crate::warehouse::Warehouse;
use futures::TryStreamExt;

/// How often to ask again when a file was replaced while it was read.
const TRIES_MAX: u32 = 3;

/// The rows of an answer, as many as were asked for, and how many there are in all.
pub type Answer = Shown;

/// Answers a query over a project's own lake and warehouse, as [`ask`] does.
pub async fn ask_project(
    project: &Project,
    clock: &Clock,
    text: &str,
    rows_max: usize,
) -> Result<Answer, Error> {
    let settings = &project.settings;
    let lake = Lake::open(&settings.lake, &settings.project, clock.clone()).await?;
    let warehouse = Warehouse::open(&settings.warehouse, &settings.project, clock.clone()).await?;
    by_hand(project, async |budget| {
        ask(Declared::from(project), &lake, &warehouse, budget, text, rows_max).await
    })
    .await?
}

/// Runs queries for a person, with what they may use: a folder of this process alone, too, which exists
/// meanwhile.
pub async fn by_hand<T>(
    project: &Project,
    work: impl AsyncFnOnce(&Budget) -> T,
) -> Result<T, Error> {
    let settings = &project.settings;
    let budget = Budget {
        memory_bytes: settings.limits.batch_memory_bytes,
        spill: settings.home.join("spill").join(format!("sql-{}", std::process::id())),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    std::fs::create_dir_all(&budget.spill)
        .map_err(|err| Error::new(ErrorKind::Input, err))
        .doing(|| format!("make the folder {}", budget.spill.display()))?;
    let done = work(&budget).await;
    let _ = std::fs::remove_dir_all(&budget.spill); // What is left there harms nobody.
    Ok(done)
}

/// Answers a question about everything that is visible now; keeps at most `rows_max` rows of a query.
///
/// `raw.recentchange` is a lake table, `warehouse.agg.by_hour` one of the warehouse.
pub async fn ask(
    declared: Declared<'_>,
    lake: &Lake,
    warehouse: &Warehouse,
    budget: &Budget,
    text: &str,
    rows_max: usize,
) -> Result<Answer, Error> {
    let mut tries = 1;
    loop {
        match answer(declared, lake, warehouse, budget, text, rows_max).await {
            Err(err) if err.kind == ErrorKind::Data && tries < TRIES_MAX => tries += 1,
            done => return done,
        }
    }
}

async fn answer(
    declared: Declared<'_>,
    lake: &Lake,
    warehouse: &Warehouse,
    budget: &Budget,
    text: &str,
    rows_max: usize,
) -> Result<Answer, Error> {
    let (text, explain) = match asked(text)? {
        Asked::Query(text) => (text, false),
        Asked::Plan(text) => (text, true),
        Asked::Tables => return catalog::tables(&declared, warehouse),
        Asked::Columns(catalog, name) => {
            return catalog::columns(&declared, warehouse, catalog, &name);
        }
    };
    let mut tables: Vec<Table> = Vec::new();
    for (catalog, name) in tables_of(text)? {
        tables.push(match catalog {
            Catalog::Lake => {
                catalog::declared(&declared, &name)?;
                let files = visible(lake, &name, None).await?;
                of_lake(lake, &declared, &name, files).await?
            }
            Catalog::Warehouse => of_warehouse(warehouse, &name, None).await?,
        });
    }
    let session = Session::new(budget, &tables)?;
    let query = session.query(text, None)?;
    if explain {
        return catalog::lines("step", query.steps()?.lines());
    }
    let mut shown = Shown::new(query.schema(), rows_max);
    let mut rows = query.rows()?;
    while let Some(batch) = rows.try_next().await? {
        shown.add(&batch);
    }
    Ok(shown)
}
