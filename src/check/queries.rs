//! The SQL over tables: what batches return and load, and what tests ask.

use super::problem;
use crate::config::meant::did_you_mean;
use crate::config::problem::Problem;
use crate::config::sql::{Role, SqlText};
use crate::model::dag::TableContent;
use crate::model::job::{BatchJob, JobKind};
use crate::model::name::{Name, TableName};
use crate::model::project::Project;
use crate::sql::problem::SqlProblem;
use crate::sql::schema::{lake_schema, output_schema};
use crate::sql::{expr, plan_schema};
use arrow::datatypes::{Schema, SchemaRef};
use std::collections::BTreeMap;

/// `whole`: every file could be read as it was meant.
pub fn check(project: &Project, texts: &[SqlText], whole: bool) -> Vec<Problem> {
    let mut schemas = Schemas { project, whole, results: BTreeMap::new() };
    texts.iter().filter_map(|text| schemas.check(text)).collect()
}

/// What the queries of a project return, each planned once.
struct Schemas<'a> {
    project: &'a Project,
    whole: bool,
    results: BTreeMap<Name, Planned>,
}

#[derive(Clone)]
enum Planned {
    /// The table that the query makes, its start column first.
    Table(SchemaRef),
    Wrong(SqlProblem),
    /// What it reads has problems of its own.
    Unknown,
}

impl Schemas<'_> {
    fn check(&mut self, text: &SqlText) -> Option<Problem> {
        let sql = &text.text.value;
        match &text.role {
            Role::Query { job } => match self.result(job) {
                Planned::Wrong(found) => Some(self.with_origin(problem(&found, text), job)),
                Planned::Table(_) | Planned::Unknown => None,
            },
            Role::ResultExpectation { job } => {
                let Planned::Table(schema) = self.result(job) else { return None };
                let returned = without_start(&schema);
                Some(problem(&expr::compile_rule(sql, &returned).err()?, text))
            }
            Role::ClusterBy { job } => {
                let Planned::Table(schema) = self.result(job) else { return None };
                let returned = without_start(&schema);
                if returned.field_with_name(sql).is_ok() {
                    return None;
                }
                let title = format!("the query returns no column `{sql}`");
                let names = returned.fields().iter().map(|field| field.name().as_str());
                let help = did_you_mean(sql, "it returns", names);
                Some(Problem::error(title, &text.text.place).help(help))
            }
            Role::Test { .. } => {
                let tables: Vec<TableName> = self.project.tables.keys().cloned().collect();
                let known = tables.into_iter().filter(|name| sql.contains(name.as_str()));
                let tables = self.tables(&known.collect::<Vec<_>>())?;
                let found = plan_schema(sql, &tables).err()?;
                // The table may be that of a job whose file has a problem of its own.
                let follows = !self.whole && found.message.starts_with("no table is named");
                (!follows).then(|| problem(&found, text))
            }
            Role::Computed { .. } | Role::RowExpectation { .. } => None,
        }
    }

    fn result(&mut self, name: &Name) -> Planned {
        if let Some(planned) = self.results.get(name) {
            return planned.clone();
        }
        let job = self.project.jobs.get(name).map(|job| &job.kind);
        let planned = match job {
            Some(JobKind::Batch(job)) => self.plan(job),
            Some(JobKind::Feed(_) | JobKind::Stream(_)) | None => Planned::Unknown,
        };
        self.results.insert(name.clone(), planned.clone());
        planned
    }

    fn plan(&mut self, job: &BatchJob) -> Planned {
        let Some(tables) = self.tables(&job.reads) else { return Planned::Unknown };
        let returned = plan_schema(&job.sql, &tables);
        match returned.and_then(|returned| output_schema(job.partition_by.grain, &returned)) {
            Ok(schema) => Planned::Table(schema),
            Err(problem) => Planned::Wrong(problem),
        }
    }

    /// Every one of `names` with its schema, or `None` where one is not known.
    fn tables(&mut self, names: &[TableName]) -> Option<Vec<(TableName, SchemaRef)>> {
        names.iter().map(|name| Some((name.clone(), self.table(name)?))).collect()
    }

    fn table(&mut self, name: &TableName) -> Option<SchemaRef> {
        let table = self.project.tables.get(name)?;
        match &table.content {
            TableContent::Topic(topic) => {
                Some(lake_schema(&self.project.topics.get(topic)?.columns))
            }
            TableContent::Query => match self.result(&table.writer) {
                Planned::Table(schema) => Some(schema),
                Planned::Wrong(_) | Planned::Unknown => None,
            },
        }
    }

    /// Adds where columns come from to a problem that is about one.
    fn with_origin(&self, problem: Problem, job: &Name) -> Problem {
        match self.origin(job) {
            Some(origin) if problem.title.starts_with("no column") => problem.note(origin),
            Some(_) | None => problem,
        }
    }

    /// Where the columns of a batch's input are written.
    fn origin(&self, job: &Name) -> Option<String> {
        let JobKind::Batch(job) = &self.project.jobs.get(job)?.kind else { return None };
        let table = |name: &TableName| {
            let table = self.project.tables.get(name)?;
            Some(match &table.content {
                TableContent::Topic(topic) => format!("{name}: topics/{topic}.toml"),
                TableContent::Query => format!("{name}: jobs/{}/query.sql", table.writer),
            })
        };
        let origins: Vec<_> = job.reads.iter().filter_map(table).collect();
        Some(format!("its columns come from {}", origins.join(", ")))
    }
}

/// What the query itself returns of its table.
fn without_start(table: &Schema) -> Schema {
    Schema::new(table.fields().iter().skip(1).cloned().collect::<Vec<_>>())
}
