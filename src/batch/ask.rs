//! `tidemill sql`: a question about what lake and warehouse hold now.

use super::show::Shown;
use super::tables::Declared;
use super::tables::of_lake;
use super::tables::of_warehouse;
use super::tables::visible;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::lake::Lake;
use crate::sql::problem::SqlProblem;
use crate::sql::session::Budget;
use crate::sql::session::Session;
use crate::sql::statement::tables_of;
use crate::sql::table::Catalog;
use crate::sql::table::Table;
use crate::warehouse::Warehouse;
use futures::TryStreamExt;

/// How often to ask again when a file was replaced while it was read.
const TRIES_MAX: u32 = 3;

/// The rows of an answer, as many as were asked for, and how many there are in all.
pub type Answer = Shown;

/// Answers a query over everything that is visible now; keeps at most `rows_max` rows.
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
    let mut tables: Vec<Table> = Vec::new();
    for (catalog, name) in tables_of(text)? {
        tables.push(match catalog {
            Catalog::Lake if !declared.tables.contains_key(&name) => {
                let names: Vec<&str> =
                    declared.tables.keys().map(crate::model::name::TableName::as_str).collect();
                let problem = SqlProblem::new(format!("no table is named `{name}`"));
                return Err(problem.meant(name.as_str(), "tables", &names).into());
            }
            Catalog::Lake => {
                let files = visible(lake, &name, None).await?;
                of_lake(lake, &declared, &name, files).await?
            }
            Catalog::Warehouse => of_warehouse(warehouse, &name, None).await?,
        });
    }
    let session = Session::new(budget, &tables)?;
    let query = session.query(text, None).await?;
    let mut shown = Shown::new(query.schema(), rows_max);
    let mut rows = query.rows().await?;
    while let Some(batch) = rows.try_next().await? {
        shown.add(&batch);
    }
    Ok(shown)
}
