//! Follows the names from file to file: what is written becomes what is meant.
//!
//! A name that leads to a file with problems of its own is no problem here: one slip, one problem.

use super::cut::Cuts;
use super::dag::{DagFile, OnCloseFile, ScheduleFile};
use super::feed::{FeedOverride, FeedSource};
use super::files::{Files, Resolved, Writers};
use super::job::{BatchFile, FeedFile, JobFile, JobFileKind, StreamFile};
use super::meant::did_you_mean;
use super::problem::{At, Place, Problem, Sink};
use super::tasks;
use crate::model::dag::{Dag, OnClose, Schedule, Table, TableContent};
use crate::model::job::{BatchJob, FeedJob, Job, JobKind, StreamJob};
use crate::model::name::{Name, TableName, TopicName};
use std::collections::BTreeMap;
use std::path::Path;

pub fn resolve(files: &Files, sink: &Sink) -> Resolved {
    let writers = writers(files, sink);
    warehouse_tables_have_one_writer(files, sink);
    for job in files.jobs.values() {
        names_of_job(job, files, &writers, sink);
    }
    for feed in &files.feeds {
        feed_override(feed, files, sink);
    }
    for dag in files.dags.values() {
        on_close_table(dag, files, &writers, sink);
        tasks::check(dag, files, sink);
    }
    streams_run_once(files, sink);
    every_job_is_run(files, sink);
    let cuts = Cuts::of(files, &writers, sink);
    let jobs: BTreeMap<_, _> = files
        .jobs
        .values()
        .filter_map(|file| Some((file.name.clone(), job(file, files, &cuts)?)))
        .collect();
    let tables = writers.iter().filter_map(|(name, file)| table(name, file, &cuts));
    Resolved {
        tables: tables.map(|table| (table.name.clone(), table)).collect(),
        dags: files
            .dags
            .values()
            .filter_map(|file| dag(file, &cuts))
            .map(|dag| (dag.name.clone(), dag))
            .collect(),
        jobs,
    }
}

fn writers<'a>(files: &'a Files, sink: &Sink) -> Writers<'a> {
    let mut writers = Writers::new();
    for job in files.jobs.values() {
        let Some(table) = job.table() else { continue };
        if let Some(other) = writers.get(&table.value) {
            let title = format!("{} is written by two jobs", table.value);
            let help =
                format!("a table has one writer: rename this one, or the one of `{}`", other.name);
            sink.push(Problem::error(title, &table.place).help(help));
            continue;
        }
        writers.insert(&table.value, job);
    }
    writers
}

fn warehouse_tables_have_one_writer(files: &Files, sink: &Sink) {
    let mut loaded: BTreeMap<&TableName, &Name> = BTreeMap::new();
    for job in files.jobs.values() {
        let Some(JobFileKind::Batch(batch)) = &job.kind else { continue };
        let Some(to) = &batch.to_warehouse else { continue };
        if let Some(other) = loaded.insert(&to.value.table, &job.name) {
            let title = format!("{} of the warehouse is loaded by two jobs", to.value.table);
            let help = format!("a table has one writer: rename this one, or the one of `{other}`");
            sink.push(Problem::error(title, &to.place).help(help));
        }
    }
}

fn names_of_job(job: &JobFile, files: &Files, writers: &Writers<'_>, sink: &Sink) {
    match &job.kind {
        Some(JobFileKind::Feed(feed)) => topic_exists(&feed.topic, files, sink),
        Some(JobFileKind::Stream(stream)) => {
            topic_exists(&stream.topic, files, sink);
            instances_have_work(stream, files, sink);
        }
        Some(JobFileKind::Batch(batch)) => {
            for table in &batch.reads {
                table_exists(table, files, writers, sink);
            }
        }
        None => {}
    }
}

/// A topic partition is read by one process: more of them than that would only wait.
fn instances_have_work(stream: &StreamFile, files: &Files, sink: &Sink) {
    let topic = files.topics.get(&stream.topic.value).and_then(|file| file.topic.as_ref());
    let Some(topic) = topic.filter(|topic| topic.partitions < stream.instances.value) else {
        return;
    };
    let (instances, partitions) = (stream.instances.value, topic.partitions);
    let title =
        format!("{instances} instances share {partitions} topic partitions of {}", topic.name);
    let help = "one without a topic partition waits until another ends; a topic that exists may have \
                more of them than its file says";
    sink.push(Problem::warning(title, &stream.instances.place).help(help));
}

fn topic_exists(topic: &At<TopicName>, files: &Files, sink: &Sink) {
    if !files.topics.contains_key(&topic.value) {
        let title = format!("no topic is named `{}`", topic.value);
        let names = files.topics.keys().map(TopicName::as_str);
        let help = did_you_mean(topic.value.as_str(), "files in topics/", names);
        sink.push(Problem::error(title, &topic.place).help(help));
    }
}

fn table_exists(table: &At<TableName>, files: &Files, writers: &Writers<'_>, sink: &Sink) {
    // A job that can't be read may well be the one that writes it.
    if writers.contains_key(&table.value) || files.jobs.values().any(|job| job.kind.is_none()) {
        return;
    }
    let title = format!("no job writes {}", table.value);
    let names = writers.keys().map(|name| name.as_str());
    let help = did_you_mean(table.value.as_str(), "tables", names);
    sink.push(Problem::error(title, &table.place).help(help));
}

fn feed_override(feed: &FeedOverride, files: &Files, sink: &Sink) {
    let job = files.jobs.iter().find(|(name, _)| name.as_str() == feed.job.value);
    match job.map(|(_, job)| &job.kind) {
        Some(Some(JobFileKind::Feed(_)) | None) => {}
        Some(Some(JobFileKind::Stream(_) | JobFileKind::Batch(_))) => {
            let title = format!("`{}` is not a feed", feed.job.value);
            sink.push(Problem::error(title, &feed.job.place));
        }
        None => {
            let feeds =
                files.jobs.values().filter(|job| matches!(job.kind, Some(JobFileKind::Feed(_))));
            let title = format!("no feed is named `{}`", feed.job.value);
            let help = did_you_mean(&feed.job.value, "feeds", feeds.map(|job| job.name.as_str()));
            sink.push(Problem::error(title, &feed.job.place).help(help));
        }
    }
}

fn on_close_table(dag: &DagFile, files: &Files, writers: &Writers<'_>, sink: &Sink) {
    if let ScheduleFile::OnClose(on_close) = &dag.schedule {
        table_exists(&on_close.table, files, writers, sink);
    }
}

/// Two processes that write one table or fill one topic would fence each other for ever.
fn streams_run_once(files: &Files, sink: &Sink) {
    let mut seen: BTreeMap<&Name, &Place> = BTreeMap::new();
    let mut filled: BTreeMap<&TopicName, &Name> = BTreeMap::new();
    for stream in files.dags.values().flat_map(|dag| &dag.streams) {
        let job = &stream.job;
        if let Some(first) = seen.insert(&job.value, &job.place) {
            let title = format!("`{}` is run by two streams", job.value);
            let (line, _) = first.line_column();
            let note = format!("the other one: {}:{line}", first.source.name);
            let help = "a job of a stream runs once: make a second job";
            sink.push(Problem::error(title, &job.place).note(note).help(help));
            continue;
        }
        let kind = files.jobs.get(&job.value).and_then(|job| job.kind.as_ref());
        let Some(JobFileKind::Feed(feed)) = kind else { continue };
        if let Some(other) = filled.insert(&feed.topic.value, &job.value) {
            let title = format!("`{other}` and `{}` both fill {}", job.value, feed.topic.value);
            sink.push(Problem::error(title, &job.place).help("a topic has one feed"));
        }
    }
}

fn every_job_is_run(files: &Files, sink: &Sink) {
    if files.dags.values().any(|dag| !dag.whole) {
        return;
    }
    for job in files.jobs.values() {
        let by_stream =
            |dag: &DagFile| dag.streams.iter().any(|stream| stream.job.value == job.name);
        let by_task =
            |dag: &DagFile| dag.tasks.iter().any(|task| tasks::job_of(task) == Some(&job.name));
        if job.kind.is_some() && !files.dags.values().any(|dag| by_stream(dag) || by_task(dag)) {
            let title = format!("no DAG runs `{}`", job.name);
            let help = "name it in a DAG, in [streams] or as the job of a task";
            sink.push(Problem::warning(title, &job.place).help(help));
        }
    }
}

fn job(file: &JobFile, files: &Files, cuts: &Cuts) -> Option<Job> {
    let kind = match file.kind.as_ref()? {
        JobFileKind::Feed(feed) => JobKind::Feed(FeedJob {
            from: source_of(file, feed, files).from.clone(),
            topic: feed.topic.value.clone(),
            unique: feed.unique.clone(),
        }),
        JobFileKind::Stream(stream) => JobKind::Stream(StreamJob {
            topic: stream.topic.value.clone(),
            start: stream.start,
            on_gap: stream.on_gap,
            table: stream.to.table.value.clone(),
            partition_by: stream.to.partition_by.clone(),
            close_after: stream.to.close_after,
            late_quiet: stream.to.late_quiet,
            roll: stream.to.roll,
            instances: stream.instances.value,
            publish: stream.to.publish,
        }),
        JobFileKind::Batch(batch) => JobKind::Batch(batch_job(file, batch, cuts)?),
    };
    Some(Job { name: file.name.clone(), kind })
}

/// Where a feed's events come from, here.
fn source_of<'a>(file: &JobFile, feed: &'a FeedFile, files: &'a Files) -> &'a FeedSource {
    let over = files.feeds.iter().find(|over| over.job.value == file.name.as_str());
    over.map_or(&feed.from, |over| &over.from)
}

/// A file that is replayed may yet come; a feed that begins without it waits for a person.
pub fn replayed_files_exist(root: &Path, files: &Files, sink: &Sink) {
    for job in files.jobs.values() {
        let Some(JobFileKind::Feed(feed)) = &job.kind else { continue };
        if let Some(file) = &source_of(job, feed, files).file
            && !root.join(&file.value).is_file()
        {
            let title = format!("there is no file {}", file.value);
            let help = "put it there before `up`; a relative path starts at the project's folder";
            sink.push(Problem::warning(title, &file.place).help(help));
        }
    }
}

fn batch_job(file: &JobFile, batch: &BatchFile, cuts: &Cuts) -> Option<BatchJob> {
    Some(BatchJob {
        reads: batch.reads.iter().map(|table| table.value.clone()).collect(),
        sql: batch.sql.text.clone(),
        expects: batch.expects.iter().map(|(expect, _)| expect.clone()).collect(),
        to_lake: batch.to_lake.as_ref().map(|table| table.value.clone()),
        to_warehouse: batch.to_warehouse.as_ref().map(|table| table.value.clone()),
        partition_by: cuts.of_job(&file.name)?.clone(),
    })
}

fn table(name: &TableName, file: &JobFile, cuts: &Cuts) -> Option<Table> {
    let content = match file.kind.as_ref()? {
        JobFileKind::Stream(stream) => TableContent::Topic(stream.topic.value.clone()),
        JobFileKind::Feed(_) | JobFileKind::Batch(_) => TableContent::Query,
    };
    let partition_by = cuts.of_job(&file.name)?.clone();
    Some(Table { name: name.clone(), writer: file.name.clone(), partition_by, content })
}

fn dag(file: &DagFile, cuts: &Cuts) -> Option<Dag> {
    let schedule = match &file.schedule {
        ScheduleFile::Manual => Schedule::Manual,
        ScheduleFile::OnClose(on_close) => Schedule::OnClose(schedule(file, on_close, cuts)?),
        ScheduleFile::Unreadable => return None,
    };
    let streams = file.streams.iter();
    Some(Dag {
        name: file.name.clone(),
        doc: file.doc.clone(),
        owner: file.owner.clone(),
        streams: streams
            .map(|stream| (stream.name.value.clone(), stream.job.value.clone()))
            .collect(),
        schedule,
        tasks: tasks::in_order(file)?,
    })
}

fn schedule(file: &DagFile, on_close: &OnCloseFile, cuts: &Cuts) -> Option<OnClose> {
    let cut = cuts.of_dag(&file.name)?;
    Some(OnClose {
        table: on_close.table.value.clone(),
        grain: cut.grain,
        timezone: cut.timezone.clone(),
        on_late: on_close.on_late,
        empty: on_close.empty,
        start: on_close.start,
        max_active_runs: on_close.max_active_runs,
    })
}
