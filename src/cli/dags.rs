//! `tidemill dags`: what is defined, and whether it may run.

use super::status::{dag_state, next};
use super::{answers, request};
use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::dag::{DagVersion, OnLate, Schedule, Work};
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::request::Verb;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::print;
use crate::terminal::screen::{Grid, Lean, Times, or_dash, short};
use clap::Subcommand;
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Debug, Subcommand)]
pub enum DagsVerb {
    /// Lists all DAGs
    List,
    /// Shows one DAG: its schedule, streams and tasks
    Show { dag: String },
    /// Starts a run of the DAG now
    Trigger {
        dag: String,
        /// For the newest closing of this hive partition, for example 2026-11-20T05
        #[arg(long)]
        partition_key: Option<PartitionKey>,
    },
    /// Starts no more of its runs; its streams continue
    Pause { dag: String },
    /// Starts its runs again
    Unpause { dag: String },
}

#[derive(Debug, Serialize)]
pub(super) struct DagFacts {
    name: String,
    state: &'static str,
    doc: String,
    owner: String,
    version: String,
    schedule: String,
    next: Option<String>,
    streams: Vec<StreamFacts>,
    tasks: Vec<TaskFacts>,
}

#[derive(Debug, Serialize)]
struct StreamFacts {
    id: String,
    job: String,
}

#[derive(Debug, Serialize)]
struct TaskFacts {
    name: String,
    after: Vec<String>,
    work: String,
    retries: u32,
}

pub fn run(context: &Context, verb: DagsVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let (dag, verb): (String, fn(Name) -> Verb) = match verb {
            DagsVerb::List => {
                let all = all(&store, &context.times()).await?;
                return context.show(&all, |all| list_screen(all));
            }
            DagsVerb::Show { dag } => {
                let dag = find(context, &store, &dag).await?;
                let facts = facts(&store, &dag, &context.times()).await?;
                return context.show(&facts, screen);
            }
            DagsVerb::Trigger { dag, partition_key } => {
                let dag = find(context, &store, &dag).await?.name;
                let verb = Verb::TriggerDag { dag: dag.clone(), key: partition_key };
                let outcome = request::ask(context, &project, &store, verb).await?;
                let run = answers::done(&outcome);
                print::note(&format!("started; `{}` waits for its end", {
                    context.command(&format!("runs wait {dag} {run}"))
                }));
                return context.show(&run, |run| format!("{run}\n"));
            }
            DagsVerb::Pause { dag } => (dag, |dag| Verb::PauseDag { dag }),
            DagsVerb::Unpause { dag } => (dag, |dag| Verb::UnpauseDag { dag }),
        };
        let dag = find(context, &store, &dag).await?.name;
        let outcome = request::ask(context, &project, &store, verb(dag)).await?;
        context.show(&outcome, |outcome| format!("{}\n", answers::done(outcome)))
    })
}

/// The DAG of that name, or an error that names the nearest.
pub async fn find(context: &Context, store: &Store, named: &str) -> Result<DagEntry, Error> {
    let dags = store.dags().await?;
    let known: Vec<_> = dags.iter().map(|dag| dag.name.to_string()).collect();
    dags.into_iter()
        .find(|dag| dag.name.as_str() == named)
        .ok_or_else(|| unknown("DAG", named, &known, &context.command("dags list")))
}

pub(super) async fn all(store: &Store, times: &Times) -> Result<Vec<DagFacts>, Error> {
    let mut all = Vec::new();
    for dag in store.dags().await? {
        all.push(facts(store, &dag, times).await?);
    }
    Ok(all)
}

pub(super) fn list_screen(all: &[DagFacts]) -> String {
    let mut grid = Grid::new(&[
        ("DAG", Lean::Left),
        ("STATE", Lean::Left),
        ("SCHEDULE", Lean::Left),
        ("STREAMS", Lean::Right),
        ("TASKS", Lean::Right),
        ("NEXT", Lean::Left),
    ]);
    for dag in all {
        grid.row([
            dag.name.clone(),
            dag.state.to_owned(),
            dag.schedule.clone(),
            dag.streams.len().to_string(),
            dag.tasks.len().to_string(),
            or_dash(dag.next.clone()),
        ]);
    }
    grid.show()
}

pub(super) async fn facts(store: &Store, dag: &DagEntry, times: &Times) -> Result<DagFacts, Error> {
    let version = store.version(&dag.version).await?;
    let next = next(store, &version, times).await?;
    let streams = version.dag.streams.iter();
    Ok(DagFacts {
        name: dag.name.to_string(),
        state: dag_state(dag),
        doc: version.dag.doc.clone(),
        owner: version.dag.owner.clone(),
        version: short(&dag.version),
        schedule: schedule(&version),
        next: next.filter(|_| dag.present && !dag.paused),
        streams: streams
            .map(|(name, job)| StreamFacts {
                id: format!("{}.{name}", dag.name),
                job: job.to_string(),
            })
            .collect(),
        tasks: tasks(&version),
    })
}

/// `each hour of raw.recentchange that closes`.
fn schedule(version: &DagVersion) -> String {
    match &version.dag.schedule {
        Schedule::Manual => "by hand".to_owned(),
        Schedule::OnClose(on_close) => {
            let late = match on_close.on_late {
                OnLate::Refresh => "",
                OnLate::Hold => ", late rows held",
                OnLate::Ignore => ", late rows ignored",
            };
            format!("each {} of {} that closes{late}", on_close.grain, on_close.table)
        }
    }
}

fn tasks(version: &DagVersion) -> Vec<TaskFacts> {
    let work = |work: &Work| match work {
        Work::Batch(job) => format!("job {job}"),
        Work::Exec { argv, .. } => format!("exec {}", argv.join(" ")),
        Work::Test(sql) => format!("test {sql}"),
    };
    let task = |task: &crate::model::dag::Task| TaskFacts {
        name: task.name.to_string(),
        after: task.after.iter().map(ToString::to_string).collect(),
        work: work(&task.work),
        retries: task.retries,
    };
    version.dag.tasks.iter().map(task).collect()
}

pub(super) fn screen(dag: &DagFacts) -> String {
    let DagFacts { name, state, doc, owner, version, schedule, .. } = dag;
    let mut shown = format!("{name}    {state}, version {version}\n");
    for line in [doc, owner].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(shown, "{line}");
    }
    let _ = writeln!(shown, "runs      {schedule}");
    if let Some(next) = &dag.next {
        let _ = writeln!(shown, "next      {next}");
    }
    for stream in &dag.streams {
        let _ = writeln!(shown, "stream    {} (job {})", stream.id, stream.job);
    }
    for task in &dag.tasks {
        let after = if task.after.is_empty() {
            String::new()
        } else {
            format!(" after {}", task.after.join(", "))
        };
        let retries = match task.retries {
            0 => String::new(),
            retries => format!("; up to {} tries", retries + 1),
        };
        let _ = writeln!(shown, "task      {}{after}: {}{retries}", task.name, task.work);
    }
    shown
}
