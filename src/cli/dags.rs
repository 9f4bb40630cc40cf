//! `tidemill dags`: what is defined, and whether it may run.

use super::standing::{dag_state, next};
use super::{answers, request};
use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::dag::OnLate;
use crate::model::hive::PartitionKey;
use crate::model::name::Name;
use crate::model::request::Verb;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::print;
use crate::terminal::screen::{Grid, Lean, Times, or_dash, short};
use crate::view::dags as view;
use crate::view::dags::{DagFacts, Definition, ScheduleFacts, TaskDefinition, WorkFacts};
use clap::Subcommand;
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

pub fn run(context: &Context, verb: DagsVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let (dag, verb): (String, fn(Name) -> Verb) = match verb {
            DagsVerb::List => {
                let all = view::list(&store).await?;
                return context.show(&all, |all| list_screen(all, &context.times()));
            }
            DagsVerb::Show { dag } => {
                let dag = find(context, &store, &dag).await?;
                let facts = view::show(&store, &dag).await?;
                return context.show(&facts, |facts| screen(facts, &context.times()));
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

pub(super) fn list_screen(all: &[DagFacts], times: &Times) -> String {
    let mut grid = Grid::new(&[
        ("DAG", Lean::Left),
        ("STATE", Lean::Left),
        ("SCHEDULE", Lean::Left),
        ("STREAMS", Lean::Right),
        ("TASKS", Lean::Right),
        ("NEXT", Lean::Left),
    ]);
    for dag in all {
        let definition = dag.definition.as_ref();
        grid.row([
            dag.name.to_string(),
            dag_state(dag.state).to_owned(),
            or_dash(definition.map(|its| schedule(&its.schedule))),
            or_dash(definition.map(|its| its.streams.len().to_string())),
            or_dash(definition.map(|its| its.tasks.len().to_string())),
            or_dash(dag.next.as_ref().map(|waits| next(waits, times))),
        ]);
    }
    grid.show()
}

/// `each hour of raw.recentchange that closes`.
fn schedule(schedule: &ScheduleFacts) -> String {
    match schedule {
        ScheduleFacts::Manual => "by hand".to_owned(),
        ScheduleFacts::OnClose { table, grain, on_late, .. } => {
            let late = match on_late {
                OnLate::Refresh => "",
                OnLate::Hold => ", late rows held",
                OnLate::Ignore => ", late rows ignored",
            };
            format!("each {grain} of {table} that closes{late}")
        }
    }
}

pub(super) fn screen(dag: &DagFacts, times: &Times) -> String {
    let (state, version) = (dag_state(dag.state), short(&dag.version));
    let mut shown = format!("{}    {state}, version {version}\n", dag.name);
    if let Some(definition) = &dag.definition {
        let Definition { doc, owner, .. } = definition;
        for line in [doc, owner].into_iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(shown, "{line}");
        }
        let _ = writeln!(shown, "runs      {}", schedule(&definition.schedule));
    }
    if let Some(waits) = &dag.next {
        let _ = writeln!(shown, "next      {}", next(waits, times));
    }
    for stream in dag.definition.iter().flat_map(|its| &its.streams) {
        let _ = writeln!(shown, "stream    {} (job {})", stream.id, stream.job);
    }
    for task in dag.definition.iter().flat_map(|its| &its.tasks) {
        let _ = writeln!(shown, "task      {}", in_words(task));
    }
    shown
}

/// `sane after by_hour: test select …; up to 4 tries`.
fn in_words(task: &TaskDefinition) -> String {
    let after: Vec<_> = task.after.iter().map(ToString::to_string).collect();
    let after =
        if after.is_empty() { String::new() } else { format!(" after {}", after.join(", ")) };
    let work = match &task.work {
        WorkFacts::Batch { job } => format!("job {job}"),
        WorkFacts::Exec { argv } => format!("exec {}", argv.join(" ")),
        WorkFacts::Test { sql } => format!("test {sql}"),
    };
    let retries = match task.retries {
        0 => String::new(),
        retries => format!("; up to {} tries", retries + 1),
    };
    format!("{}{after}: {work}{retries}", task.name)
}
