//! How each table is cut into hive partitions: a stream says it, a batch takes the grain of the
//! schedule that runs it.

use super::dag::{DagFile, OnCloseFile, ScheduleFile};
use super::files::{Files, Writers};
use super::job::{BatchFile, JobFile, JobFileKind};
use super::problem::{Place, Problem, Sink};
use super::{graph, tasks};
use crate::model::hive::PartitionBy;
use crate::model::name::{Name, TableName};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Cuts {
    jobs: BTreeMap<Name, PartitionBy>,
    dags: BTreeMap<Name, PartitionBy>,
}

impl Cuts {
    pub fn of(files: &Files, writers: &Writers<'_>, sink: &Sink) -> Self {
        let mut cuts = Self::default();
        for job in files.jobs.values() {
            if let Some(JobFileKind::Stream(stream)) = &job.kind {
                cuts.jobs.insert(job.name.clone(), stream.to.partition_by.clone());
            }
        }
        for job in batches_in_order(files, writers, sink) {
            cuts.cut_batch(job, files, writers, sink);
        }
        for dag in files.dags.values() {
            if let ScheduleFile::OnClose(on_close) = &dag.schedule
                && let Some(cut) = cuts.of_schedule(on_close, writers, sink)
            {
                cuts.dags.insert(dag.name.clone(), cut);
            }
        }
        cuts
    }

    pub fn of_job(&self, job: &Name) -> Option<&PartitionBy> {
        self.jobs.get(job)
    }

    /// Of the hive partitions that a DAG's runs are for.
    pub fn of_dag(&self, dag: &Name) -> Option<&PartitionBy> {
        self.dags.get(dag)
    }

    fn of_table(&self, table: &TableName, writers: &Writers<'_>) -> Option<&PartitionBy> {
        self.jobs.get(&writers.get(table)?.name)
    }

    fn of_schedule(
        &self,
        on_close: &OnCloseFile,
        writers: &Writers<'_>,
        sink: &Sink,
    ) -> Option<PartitionBy> {
        let table = self.of_table(&on_close.table.value, writers)?;
        let Some(grain) = &on_close.grain else { return Some(table.clone()) };
        if grain.value < table.grain {
            let title = format!(
                "{} is cut by {}: it has no {}s",
                on_close.table.value, table.grain, grain.value
            );
            let help = "a grain finer than the table's is not in this version: leave it out";
            sink.push(Problem::error(title, &grain.place).help(help));
            return None;
        }
        Some(PartitionBy { grain: grain.value, timezone: table.timezone.clone() })
    }

    /// A batch is cut as the schedule that runs it; one that only people run, as its input.
    fn cut_batch(
        &mut self,
        (job, batch): (&JobFile, &BatchFile),
        files: &Files,
        writers: &Writers<'_>,
        sink: &Sink,
    ) {
        let mut runs = runs_of(&job.name, files);
        let first = runs.next();
        for (_, _, place) in runs {
            let Some((dag, _, _)) = first else { break };
            let title =
                format!("`{}` has a second schedule: `{}` runs it, too", job.name, dag.name);
            let help = "what it writes would be written twice: make a job with a table of its own";
            sink.push(Problem::error(title, place).help(help));
        }
        // A schedule that is wrong is told where its DAG is cut.
        let quiet = Sink::default();
        let cut = match first {
            Some((_, on_close, _)) => self.of_schedule(on_close, writers, &quiet),
            None => {
                batch.reads.first().and_then(|table| self.of_table(&table.value, writers)).cloned()
            }
        };
        if let Some(cut) = cut {
            self.refuse_others(batch, &cut, writers, sink);
            self.jobs.insert(job.name.clone(), cut);
        }
    }

    /// A run reads of every table what lies within its own hive partition. A day that is still open
    /// would be empty for each of its hours, and days of two timezones share only a part.
    fn refuse_others(
        &self,
        batch: &BatchFile,
        cut: &PartitionBy,
        writers: &Writers<'_>,
        sink: &Sink,
    ) {
        for table in &batch.reads {
            let Some(own) = self.of_table(&table.value, writers) else { continue };
            if own.divides(cut) {
                continue;
            }
            let title = format!("{} is cut by {own}, and this job runs by {cut}", table.value);
            let help = if own.timezone == cut.timezone {
                format!("run the job by {0}: `grain = \"{0}\"` in the DAG's schedule", own.grain)
            } else {
                "give both one timezone: a run reads what is within its own hive partition".into()
            };
            sink.push(Problem::error(title, &table.place).help(help));
        }
    }
}

fn runs_of<'a>(
    job: &'a Name,
    files: &'a Files,
) -> impl Iterator<Item = (&'a DagFile, &'a OnCloseFile, &'a Place)> {
    files.dags.values().filter_map(move |dag| {
        let ScheduleFile::OnClose(on_close) = &dag.schedule else { return None };
        let task = dag.tasks.iter().find(|task| tasks::job_of(task) == Some(job))?;
        Some((dag, on_close, &task.name.place))
    })
}

/// Batches after those whose tables they read.
fn batches_in_order<'a>(
    files: &'a Files,
    writers: &Writers<'a>,
    sink: &Sink,
) -> Vec<(&'a JobFile, &'a BatchFile)> {
    let batch = |job: &'a JobFile| match &job.kind {
        Some(JobFileKind::Batch(batch)) => Some((job, batch.as_ref())),
        Some(JobFileKind::Feed(_) | JobFileKind::Stream(_)) | None => None,
    };
    let batches: Vec<_> = files.jobs.values().filter_map(batch).collect();
    let needs = batches.iter().flat_map(|(job, batch)| {
        let read = batch.reads.iter().filter_map(|table| writers.get(&table.value));
        read.map(|writer| (&job.name, &writer.name))
    });
    match graph::order(batches.iter().map(|(job, _)| &job.name), needs) {
        Ok(order) => order.into_iter().filter_map(|name| batch(files.jobs.get(name)?)).collect(),
        Err(cycle) => {
            let names: Vec<_> = cycle.iter().map(|name| name.as_str()).collect();
            let title = format!("these jobs read each other's tables: {}", names.join(" reads "));
            let first = cycle.first().and_then(|name| files.jobs.get(*name));
            if let Some(first) = first.and_then(batch).and_then(|(_, batch)| batch.reads.first()) {
                let help =
                    "no closing of them could ever be the first: leave one of the `reads` out";
                sink.push(Problem::error(title, &first.place).help(help));
            }
            Vec::new()
        }
    }
}
