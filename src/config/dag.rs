//! Reads `dags/<dag>.toml`: streams, a schedule, tasks.

use super::job::GRAINS;
use super::node::{Entry, Node};
use super::problem::{At, Place, Problem, Sink};
use super::section::{Section, text};
use super::value::variable;
use crate::model::dag::{Empty, OnLate};
use crate::model::hive::Grain;
use crate::model::name::{Name, TableName};
use crate::model::secret::EnvValue;
use crate::model::template::Template;
use crate::model::time::Micros;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

const RETRY_DELAY: Duration = Duration::from_secs(30);
const MAX_ACTIVE_RUNS: u32 = 4;

/// A DAG as it is written; the names in it may still lead nowhere.
#[derive(Clone, Debug)]
pub struct DagFile {
    pub name: Name,
    pub place: Place,
    pub doc: String,
    pub owner: String,
    pub streams: Vec<StreamEntry>,
    pub schedule: ScheduleFile,
    pub tasks: Vec<TaskFile>,
    /// Whether all of the file could be read.
    pub whole: bool,
}

/// A stream's name and its job.
#[derive(Clone, Debug)]
pub struct StreamEntry {
    pub name: At<Name>,
    pub job: At<Name>,
}

#[derive(Clone, Debug)]
pub enum ScheduleFile {
    Manual,
    OnClose(OnCloseFile),
    /// It has problems of its own.
    Unreadable,
}

#[derive(Clone, Debug)]
pub struct OnCloseFile {
    pub table: At<TableName>,
    /// Left out: the table's own.
    pub grain: Option<At<Grain>>,
    pub on_late: OnLate,
    pub empty: Empty,
    pub start: Option<Micros>,
    pub max_active_runs: u32,
}

#[derive(Clone, Debug)]
pub struct TaskFile {
    pub name: At<Name>,
    pub after: Vec<At<Name>>,
    /// Missing where it has problems of its own.
    pub work: Option<WorkFile>,
    pub retries: u32,
    pub retry_delay: Duration,
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
pub enum WorkFile {
    Batch(At<Name>),
    Exec { argv: Vec<String>, env: BTreeMap<String, EnvValue>, templates: Vec<At<Template>> },
    Test(At<String>),
}

#[derive(Clone, Copy, Debug)]
struct Defaults {
    retries: u32,
    retry_delay: Duration,
    timeout: Option<Duration>,
}

pub fn read(name: &Name, root: &Node, sink: &Sink) -> Option<DagFile> {
    let mut section = Section::open("dag", root, sink)?;
    let doc = section.text("doc").map(|text| text.value).unwrap_or_default();
    let owner = section.text("owner").map(|text| text.value).unwrap_or_default();
    let entries = section.named("streams");
    let streams: Vec<_> = entries.iter().filter_map(|entry| stream(entry, sink)).collect();
    let mut whole = streams.len() == entries.len();
    let schedule = if section.has("schedule") {
        section.section("schedule", "dag.schedule").and_then(on_close)
    } else {
        Some(ScheduleFile::Manual)
    };
    let defaults = defaults(section.section("defaults", "dag.defaults"));
    let entries = section.named("tasks");
    let tasks: Vec<_> = entries.iter().filter_map(|entry| task(entry, defaults, sink)).collect();
    whole &= tasks.len() == entries.len();
    let manual = matches!(schedule, Some(ScheduleFile::Manual));
    if streams.is_empty() && entries.is_empty() && whole && manual {
        section.missing("tasks", "[tasks.NAME] with job, exec or test; or [streams]");
    }
    if let Some(ScheduleFile::OnClose(on_close)) = &schedule
        && entries.is_empty()
    {
        let title = "this DAG has a schedule, and no tasks to run";
        let help = "write [tasks.NAME], or leave [schedule] out: streams need none";
        sink.push(Problem::error(title, &on_close.table.place).help(help));
    }
    section.finish();
    let schedule = schedule.unwrap_or(ScheduleFile::Unreadable);
    let name = name.clone();
    Some(DagFile { name, place: root.place.clone(), doc, owner, streams, schedule, tasks, whole })
}

fn stream(entry: &Entry, sink: &Sink) -> Option<StreamEntry> {
    let name = key_name(entry, sink);
    let job = text(&entry.node, sink)?;
    Some(StreamEntry { name: name?, job: parse(&job, sink)? })
}

fn key_name(entry: &Entry, sink: &Sink) -> Option<At<Name>> {
    parse(&At { value: entry.key.clone(), place: entry.key_place.clone() }, sink)
}

fn parse<T: FromStr<Err: Display>>(text: &At<String>, sink: &Sink) -> Option<At<T>> {
    match text.value.parse() {
        Ok(value) => Some(At { value, place: text.place.clone() }),
        Err(wrong) => {
            sink.push(Problem::error(wrong.to_string(), &text.place));
            None
        }
    }
}

fn on_close(mut section: Section<'_>) -> Option<ScheduleFile> {
    let table = section.parsed::<TableName>("on_close");
    let grain_place = section.take("grain").map(|entry| entry.node.place.clone());
    let grain = section.word("grain", &GRAINS);
    let late = [("hold", OnLate::Hold), ("refresh", OnLate::Refresh), ("ignore", OnLate::Ignore)];
    let on_late = section.word("on_late", &late).unwrap_or(OnLate::Refresh);
    let empty = [("skip", Empty::Skip), ("run", Empty::Run)];
    let empty = section.word("empty", &empty).unwrap_or(Empty::Skip);
    let start = section.moment("start");
    let max_active_runs = section.integer("max_active_runs", 1..=1000).unwrap_or(MAX_ACTIVE_RUNS);
    let cron = section.has_unasked("cron");
    if !section.has("on_close") && !cron {
        let help = "on_close = \"raw.events\"; a DAG that only people start has no [schedule]";
        section.missing("on_close", help);
    }
    section.finish();
    let grain = grain.zip(grain_place).map(|(value, place)| At { value, place });
    let table = table?;
    Some(ScheduleFile::OnClose(OnCloseFile {
        table,
        grain,
        on_late,
        empty,
        start,
        max_active_runs,
    }))
}

fn defaults(section: Option<Section<'_>>) -> Defaults {
    let built_in = Defaults { retries: 0, retry_delay: RETRY_DELAY, timeout: None };
    let Some(mut section) = section else { return built_in };
    let written = patience(&mut section, built_in);
    section.finish();
    written
}

fn patience(section: &mut Section<'_>, defaults: Defaults) -> Defaults {
    Defaults {
        retries: section.integer("retries", 0..=100).unwrap_or(defaults.retries),
        retry_delay: section.duration("retry_delay").unwrap_or(defaults.retry_delay),
        timeout: section.span("timeout").or(defaults.timeout),
    }
}

fn task(entry: &Entry, defaults: Defaults, sink: &Sink) -> Option<TaskFile> {
    let name = key_name(entry, sink);
    let mut section = Section::open("dag.task", &entry.node, sink)?;
    let after = section.texts("after").unwrap_or_default();
    let after = after.iter().filter_map(|task| section.parse(task)).collect();
    section.word("trigger_rule", &[("all_success", ())]);
    let Defaults { retries, retry_delay, timeout } = patience(&mut section, defaults);
    let work = work(&mut section, &entry.key_place);
    section.finish();
    Some(TaskFile { name: name?, after, work, retries, retry_delay, timeout })
}

fn work(section: &mut Section<'_>, place: &Place) -> Option<WorkFile> {
    let sink = section.sink();
    let written = ["job", "exec", "test"].into_iter().filter(|key| section.has(key));
    let written: Vec<_> = written.collect();
    let job = section.parsed("job").map(WorkFile::Batch);
    let test = section.text("test").map(WorkFile::Test);
    let exec = exec(section);
    if section.has("env") && !written.contains(&"exec") {
        let title = "only `exec` has an environment";
        sink.push(Problem::error(title, &section.take("env")?.key_place));
    }
    match written.as_slice() {
        [_] => job.or(exec).or(test),
        [] => {
            let title = "this task does nothing";
            sink.push(Problem::error(title, place).help("give it one of job, exec and test"));
            None
        }
        [..] => {
            let title = format!("this task has {}", written.join(" and "));
            sink.push(Problem::error(title, place).help("leave one: a task does one thing"));
            None
        }
    }
}

fn exec(section: &mut Section<'_>) -> Option<WorkFile> {
    let sink = section.sink();
    let env_entries = section.named("env");
    let argv_place = section.take("exec")?.node.place.clone();
    let argv = section.texts("exec")?;
    if argv.first().is_none_or(|program| program.value.is_empty()) {
        let help = "exec = [\"./bin/fetch\", \"--day\", \"{data_interval_start:%Y-%m-%d}\"]";
        sink.push(Problem::error("`exec` names no program", &argv_place).help(help));
        return None;
    }
    let mut templates: Vec<At<Template>> =
        argv.iter().filter_map(|item| parse(item, sink)).collect();
    let mut sound = templates.len() == argv.len();
    let mut env = BTreeMap::new();
    for entry in env_entries {
        let Some(value) = variable(entry, sink) else {
            sound = false;
            continue;
        };
        if let EnvValue::Text(text) = &value {
            let text = At { value: text.clone(), place: entry.node.place.clone() };
            let template = parse(&text, sink);
            sound &= template.is_some();
            templates.extend(template);
        }
        env.insert(entry.key.clone(), value);
    }
    let argv = argv.into_iter().map(|item| item.value).collect();
    sound.then_some(WorkFile::Exec { argv, env, templates })
}
