//! What `tidemill check` found, for a person and for a program.

use crate::config::Loaded;
use crate::config::problem::{At, Place, Problem, ProblemFacts, Problems};
use crate::error::Error;
use crate::model::dag::TableContent;
use crate::model::duration::show_duration;
use crate::model::name::{TableName, TopicName};
use crate::model::project::Project;
use crate::model::schema::{Changed, Schema};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
pub struct Report {
    /// The project as far as it could be read.
    pub project: Option<Project>,
    pub problems: Problems,
    pub(super) columns: BTreeMap<TopicName, Vec<At<String>>>,
    pub(super) cuts: BTreeMap<TableName, Place>,
}

/// The report as data, for `-o json`.
#[derive(Debug, Serialize)]
pub struct Facts<'a> {
    pub dags: usize,
    pub jobs: usize,
    pub topics: usize,
    pub errors: usize,
    pub warnings: usize,
    pub problems: Vec<ProblemFacts<'a>>,
}

impl Report {
    /// Whether the project can run; warnings don't keep it from that.
    pub fn is_sound(&self) -> bool {
        self.problems.errors() == 0
    }

    /// The project and its warnings, if it can run.
    pub fn into_loaded(self) -> Result<Loaded, Problems> {
        match self.project {
            Some(project) if self.problems.errors() == 0 => {
                Ok(Loaded { project, warnings: self.problems })
            }
            Some(_) | None => Err(self.problems),
        }
    }

    /// Compares what a table shall be with what the files are that it already has.
    pub fn compare(&mut self, table: &TableName, recorded: &Schema, wanted: &Schema) {
        let found = self.changed(table, recorded, wanted);
        self.problems = Problems::new(self.problems.iter().cloned().chain(found).collect());
    }

    /// Adds what keeps the project from running and stands in none of its files.
    pub fn refuse(&mut self, error: &Error) {
        let problem = Problem::nowhere(error.to_string());
        let problem = match &error.remedy {
            Some(remedy) => problem.help(remedy.clone()),
            None => problem,
        };
        self.problems = Problems::new(self.problems.iter().cloned().chain([problem]).collect());
    }

    fn changed(&self, name: &TableName, recorded: &Schema, wanted: &Schema) -> Option<Problem> {
        let refusal = recorded.refuses(wanted)?;
        let (place, files) = match refusal.what {
            Changed::PartitionBy => (self.cuts.get(name)?.clone(), "cut as before"),
            Changed::Column(now) => (self.place_of(name, now)?, "with the columns as they were"),
        };
        let problem = Problem::error(refusal.why.clone(), &place);
        let problem = problem.note(format!("{name} has files {files}"));
        Some(problem.help(refusal.remedy()))
    }

    /// Where the column that stands at `now` is written, or at least what names the table.
    fn place_of(&self, name: &TableName, now: Option<usize>) -> Option<Place> {
        let TableContent::Topic(topic) = &self.project.as_ref()?.tables.get(name)?.content else {
            return self.cuts.get(name).cloned();
        };
        let columns = self.columns.get(topic)?;
        match now {
            Some(now) => Some(columns.get(now)?.place.clone()),
            None => Some(Place::top(&columns.first()?.place.source)),
        }
    }

    /// `2 DAGs, 4 jobs, 1 topic in 38 ms: 3 errors, 1 warning`.
    pub fn summary(&self, took: Duration) -> String {
        let Facts { dags, jobs, topics, errors, warnings, .. } = self.facts();
        let found: Vec<_> = [(errors, "error"), (warnings, "warning")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| counted(count, what))
            .collect();
        let found = if found.is_empty() { "no problems".into() } else { found.join(", ") };
        let (dags, jobs) = (counted(dags, "DAG"), counted(jobs, "job"));
        let took = show_duration(took);
        format!("{dags}, {jobs}, {} in {took}: {found}", counted(topics, "topic"))
    }

    pub fn facts(&self) -> Facts<'_> {
        let project = self.project.as_ref();
        Facts {
            dags: project.map_or(0, |project| project.dags.len()),
            jobs: project.map_or(0, |project| project.jobs.len()),
            topics: project.map_or(0, |project| project.topics.len()),
            errors: self.problems.errors(),
            warnings: self.problems.warnings(),
            problems: self.problems.iter().map(Problem::facts).collect(),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
