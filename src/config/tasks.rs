//! The names within a DAG: its jobs, the edges between its tasks, and what they hand over.

use super::dag::{DagFile, ScheduleFile, TaskFile, WorkFile};
use super::files::Files;
use super::graph;
use super::job::{JobFile, JobFileKind};
use super::meant::did_you_mean;
use super::problem::{At, Problem, Sink};
use crate::model::dag::{Task, Work};
use crate::model::name::{Name, TableName};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(dag: &DagFile, files: &Files, sink: &Sink) {
    for stream in &dag.streams {
        job_of_stream(&stream.job, files, sink);
    }
    for task in &dag.tasks {
        let work = task.work.as_ref();
        if let Some(WorkFile::Batch(job)) = work {
            job_of_task(dag, job, files, sink);
            reads_what_its_run_writes(dag, job, files, sink);
        }
        if matches!(dag.schedule, ScheduleFile::Manual) {
            needs_no_partition(task, files, sink);
        }
        for after in &task.after {
            task_exists(dag, after, sink);
        }
        name_is_its_own(dag, task, sink);
    }
    if let Err(cycle) = order(dag) {
        let names: Vec<_> = cycle.iter().map(|name| name.as_str()).collect();
        let first = dag.tasks.iter().find(|task| Some(&&task.name.value) == cycle.first());
        let place = first.map_or(&dag.place, |task| &task.name.place);
        let title = format!("these tasks wait for each other: {}", names.join(" after "));
        sink.push(Problem::error(title, place).help("leave out one of their `after`"));
        return;
    }
    for task in &dag.tasks {
        outputs_come_from_before(dag, task, sink);
    }
}

/// The tasks as they are meant, in topological order; `None` where one of them can't be read.
pub fn in_order(dag: &DagFile) -> Option<Vec<Task>> {
    let order = order(dag).ok()?;
    order
        .into_iter()
        .map(|name| dag.tasks.iter().find(|task| task.name.value == *name))
        .map(|file| meant(file?))
        .collect()
}

pub fn job_of(task: &TaskFile) -> Option<&Name> {
    match task.work.as_ref()? {
        WorkFile::Batch(job) => Some(&job.value),
        WorkFile::Exec { .. } | WorkFile::Test(_) => None,
    }
}

fn order(dag: &DagFile) -> Result<Vec<&Name>, Vec<&Name>> {
    let names = dag.tasks.iter().map(|task| &task.name.value);
    let needs = dag
        .tasks
        .iter()
        .flat_map(|task| task.after.iter().map(|after| (&task.name.value, &after.value)));
    graph::order(names, needs)
}

fn meant(file: &TaskFile) -> Option<Task> {
    let work = match file.work.as_ref()? {
        WorkFile::Batch(job) => Work::Batch(job.value.clone()),
        WorkFile::Exec { argv, env, .. } => Work::Exec { argv: argv.clone(), env: env.clone() },
        WorkFile::Test(sql) => Work::Test(sql.value.clone()),
    };
    Some(Task {
        name: file.name.value.clone(),
        after: file.after.iter().map(|after| after.value.clone()).collect(),
        work,
        retries: file.retries,
        retry_delay: file.retry_delay,
        timeout: file.timeout,
    })
}

fn find_job<'a>(
    job: &At<Name>,
    files: &'a Files,
    fits: fn(&JobFileKind) -> bool,
    sink: &Sink,
) -> Option<&'a JobFileKind> {
    if let Some(found) = files.jobs.get(&job.value) {
        return found.kind.as_ref();
    }
    let fitting = |file: &&JobFile| file.kind.as_ref().is_none_or(fits);
    let names = files.jobs.values().filter(fitting).map(|file| file.name.as_str());
    let title = format!("no job is named `{}`", job.value);
    let help = did_you_mean(job.value.as_str(), "jobs that fit", names);
    sink.push(Problem::error(title, &job.place).help(help));
    None
}

fn job_of_stream(job: &At<Name>, files: &Files, sink: &Sink) {
    let fits = |kind: &JobFileKind| !matches!(kind, JobFileKind::Batch(_));
    if let Some(JobFileKind::Batch(_)) = find_job(job, files, fits, sink) {
        let title = format!("`{}` is a batch, which ends: no stream", job.value);
        let help = format!("[tasks.NAME] with job = \"{}\"", job.value);
        sink.push(Problem::error(title, &job.place).help(help));
    }
}

fn job_of_task(dag: &DagFile, job: &At<Name>, files: &Files, sink: &Sink) {
    let fits = |kind: &JobFileKind| matches!(kind, JobFileKind::Batch(_));
    match find_job(job, files, fits, sink) {
        Some(JobFileKind::Batch(batch)) => {
            if let ScheduleFile::OnClose(on_close) = &dag.schedule
                && let Some(first) = batch.reads.first()
                && first.value != on_close.table.value
                && is_written(&on_close.table.value, files)
            {
                let title = format!(
                    "`{}` works on closings of {}, and this DAG runs for those of {}",
                    job.value, first.value, on_close.table.value
                );
                let help = format!(
                    "put {} first in its `reads`, or the task into a DAG with on_close = \"{}\"",
                    on_close.table.value, first.value
                );
                sink.push(Problem::error(title, &job.place).help(help));
            }
        }
        Some(JobFileKind::Feed(_) | JobFileKind::Stream(_)) => {
            let title = format!("`{}` does not end: no task", job.value);
            let help = format!("[streams] with NAME = \"{}\"", job.value);
            sink.push(Problem::error(title, &job.place).help(help));
        }
        None => {}
    }
}

/// Without a schedule a run works on no hive partition: what needs one could never run.
fn needs_no_partition(task: &TaskFile, files: &Files, sink: &Sink) {
    match &task.work {
        Some(WorkFile::Batch(job)) => {
            let kind = files.jobs.get(&job.value).and_then(|job| job.kind.as_ref());
            let Some(JobFileKind::Batch(batch)) = kind else { return };
            let title = format!(
                "`{}` works on a hive partition, and a run of this DAG has none: it has no schedule",
                job.value
            );
            let like = batch.reads.first().map_or("raw.events", |first| first.value.as_str());
            let help = format!("add [schedule] with on_close = \"{like}\"");
            sink.push(Problem::error(title, &job.place).help(help));
        }
        Some(WorkFile::Exec { templates, .. }) => {
            for template in templates {
                let Some(named) = template.value.of_partition() else { continue };
                let title = format!("`{{{named}}}` has no value here: this DAG has no schedule");
                let help = "leave it out, or add [schedule] with on_close = \"raw.events\"";
                sink.push(Problem::error(title, &template.place).help(help));
            }
        }
        Some(WorkFile::Test(_)) | None => {}
    }
}

/// `dag.name` is the id of one thing, and one task does one piece of work.
fn name_is_its_own(dag: &DagFile, task: &TaskFile, sink: &Sink) {
    let name = &task.name;
    if dag.streams.iter().any(|stream| stream.name.value == name.value) {
        let title = format!("a stream and a task are both named `{}`", name.value);
        sink.push(Problem::error(title, &name.place).help("rename one: both would be the same id"));
    }
    let Some(WorkFile::Batch(job)) = &task.work else { return };
    let first = dag.tasks.iter().find(|other| job_of(other) == Some(&job.value));
    if let Some(first) = first.filter(|first| first.name.value != name.value) {
        let title = format!("`{}` does what `{}` does", name.value, first.name.value);
        let help = "a job is run by one task: leave this one out";
        sink.push(Problem::error(title, &job.place).help(help));
    }
}

fn is_written(table: &TableName, files: &Files) -> bool {
    files.jobs.values().any(|job| job.table().is_some_and(|written| written.value == *table))
}

/// What a run reads beside its closing is pinned when the run is made: before its own tasks write.
fn reads_what_its_run_writes(dag: &DagFile, job: &At<Name>, files: &Files, sink: &Sink) {
    let Some(JobFileKind::Batch(batch)) =
        files.jobs.get(&job.value).and_then(|job| job.kind.as_ref())
    else {
        return;
    };
    for other in dag.tasks.iter().filter_map(job_of).filter(|other| **other != job.value) {
        let Some(JobFile { kind: Some(JobFileKind::Batch(other_batch)), .. }) =
            files.jobs.get(other)
        else {
            continue;
        };
        let Some(written) = &other_batch.to_lake else { continue };
        if let Some(read) = batch.reads.iter().find(|read| read.value == written.value) {
            let title =
                format!("`{}` would read {} as it was before its run", job.value, read.value);
            let note = format!("`{other}` writes it in the same run");
            let help = format!("put this task into a DAG with on_close = \"{}\"", read.value);
            sink.push(Problem::error(title, &job.place).note(note).help(help));
        }
    }
}

fn task_exists(dag: &DagFile, task: &At<Name>, sink: &Sink) {
    // A task that can't be read may well be the one that is meant.
    if dag.whole && !dag.tasks.iter().any(|other| other.name.value == task.value) {
        let title = format!("no task is named `{}`", task.value);
        let names = dag.tasks.iter().map(|task| task.name.value.as_str());
        let help = did_you_mean(task.value.as_str(), "the tasks of this DAG", names);
        sink.push(Problem::error(title, &task.place).help(help));
    }
}

fn outputs_come_from_before(dag: &DagFile, task: &TaskFile, sink: &Sink) {
    let Some(WorkFile::Exec { templates, .. }) = &task.work else { return };
    let before = before(dag, &task.name.value);
    for template in templates {
        for named in template.value.tasks() {
            let other = dag.tasks.iter().find(|other| other.name.value.as_str() == named);
            let title = match other {
                None => format!("no task is named `{named}`"),
                Some(other) if !matches!(other.work, Some(WorkFile::Exec { .. }) | None) => {
                    format!("`{named}` writes no output: only exec tasks do")
                }
                Some(other) if !before.contains(&other.name.value) => {
                    let title =
                        format!("`{named}` need not have ended before `{}`", task.name.value);
                    let help = format!("add \"{named}\" to its `after`");
                    sink.push(Problem::error(title, &template.place).help(help));
                    continue;
                }
                Some(_) => continue,
            };
            let execs = dag.tasks.iter().filter(|other| before.contains(&other.name.value));
            let execs = execs.filter(|other| matches!(other.work, Some(WorkFile::Exec { .. })));
            let names = execs.map(|other| other.name.value.as_str());
            let help = did_you_mean(named, "exec tasks before this one", names);
            sink.push(Problem::error(title, &template.place).help(help));
        }
    }
}

/// Every task that has ended when `task` starts.
fn before<'a>(dag: &'a DagFile, task: &Name) -> BTreeSet<&'a Name> {
    let after: BTreeMap<_, _> =
        dag.tasks.iter().map(|task| (&task.name.value, &task.after)).collect();
    let mut found = BTreeSet::new();
    let mut open: Vec<&Name> = after
        .get(task)
        .into_iter()
        .flat_map(|after| after.iter().map(|name| &name.value))
        .collect();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(
                after.get(name).into_iter().flat_map(|after| after.iter().map(|name| &name.value)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::{COUNT, Folder, LAND, LANDING, QUERY, TOPIC};

    #[test]
    fn a_dag_without_a_schedule_has_no_task_that_needs_a_hive_partition() {
        let dag = r#"[tasks.count]
job = "count"
[tasks.tell]
exec = ["./tell", "{partition_key}", "{run_id}"]
env = { DAY = "{data_interval_start:%Y-%m-%d}" }
"#;
        let folder = Folder::new(&[TOPIC, LAND, COUNT, QUERY, LANDING, ("dags/by_hand.toml", dag)]);
        insta::assert_snapshot!(folder.problems());
    }
}
