//! `tidemill partitions`: what has closed, what is open, and what holds it up.

use super::standing::fate;
use super::tide::chart;
use super::{answers, request};
use crate::error::{Error, ErrorKind};
use crate::lake::Lake;
use crate::model::duration::show_duration;
use crate::model::hive::PartitionKey;
use crate::model::project::Project;
use crate::model::request::Verb;
use crate::model::stream::StreamState;
use crate::model::table::LakeTable;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::screen::{Times, count, counted, size};
use crate::view::needs::Trouble;
use crate::view::partitions as view;
use crate::view::partitions::{Holding, PartitionList, PartitionShown, PartitionStanding, Sorting};
use clap::Subcommand;
use std::fmt::Write as _;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub enum PartitionsVerb {
    /// Lists the hive partitions of a table as a chart
    List { table: String },
    /// Shows one hive partition: its rows, its runs, what it waits for
    Show { table: String, key: PartitionKey },
    /// Closes it as it is, marked partial
    Close {
        table: String,
        key: PartitionKey,
        /// Confirms that rows may be missing
        #[arg(long)]
        force: bool,
    },
    /// Closes it again with all rows that have arrived, for every DAG of the table
    Reopen { table: String, key: PartitionKey },
}

pub fn run(context: &Context, verb: PartitionsVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let verb = match verb {
            PartitionsVerb::List { table } => {
                let table = find(context, &store, &table).await?;
                let listed = view::list(&store, &table).await?;
                return context.show(&listed, list_screen);
            }
            PartitionsVerb::Show { table, key } => {
                let table = find(context, &store, &table).await?;
                let shown = shown(context, &project, &store, &table, key).await?;
                return context.show(&shown, |shown| show_screen(shown, context, &context.times()));
            }
            PartitionsVerb::Close { table, key, force } => {
                let table = find(context, &store, &table).await?.table.name;
                if !force {
                    let what = format!("{key} of {table} would be closed with what it has");
                    return Err(Error::new(ErrorKind::Input, what).remedy(
                        "add --force if rows may be missing; what comes later closes it again",
                    ));
                }
                Verb::ClosePartition { table, key }
            }
            PartitionsVerb::Reopen { table, key } => {
                let table = find(context, &store, &table).await?.table.name;
                Verb::ReopenPartition { table, key }
            }
        };
        let outcome = request::ask(context, &project, &store, verb).await?;
        context.show(&outcome, |outcome| format!("{}\n", answers::done(outcome)))
    })
}

pub(super) async fn find(
    context: &Context,
    store: &Store,
    named: &str,
) -> Result<LakeTable, Error> {
    let tables = store.tables().await?;
    let known: Vec<_> = tables.iter().map(|table| table.table.name.to_string()).collect();
    tables
        .into_iter()
        .find(|table| table.table.name.as_str() == named)
        .ok_or_else(|| unknown("table", named, &known, &context.command("dags list")))
}

pub(super) fn list_screen(listed: &PartitionList) -> String {
    let PartitionList { table, grain, timezone, .. } = listed;
    let rule = if listed.streamed {
        let after = show_duration(Duration::from_secs(listed.close_after_secs));
        format!("; it closes {after} after its end")
    } else {
        String::new()
    };
    let chart = chart(&listed.partitions);
    let chart = if chart.is_empty() { "nothing yet\n".to_owned() } else { chart };
    format!("{table} by {grain}, {timezone}{rule}\n{chart}")
}

/// What store and lake know of a hive partition.
async fn shown(
    context: &Context,
    project: &Project,
    store: &Store,
    table: &LakeTable,
    key: PartitionKey,
) -> Result<PartitionShown, Error> {
    check_grain(context, table, key)?;
    let mut shown = view::show(store, table, key).await?;
    if !table.is_streamed() {
        return Ok(shown);
    }
    if shown.has_landed() {
        let settings = &project.settings;
        let lake = Lake::open(&settings.lake, &settings.project, context.clock.clone()).await?;
        view::add_from_lake(&lake, store, &mut shown).await?;
    } else {
        shown.quarantined = Some(0);
    }
    Ok(shown)
}

pub(super) fn check_grain(
    context: &Context,
    table: &LakeTable,
    key: PartitionKey,
) -> Result<(), Error> {
    let (name, grain) = (&table.table.name, table.table.partition_by.grain);
    if key.grain == grain {
        return Ok(());
    }
    let problem = format!("{name} is cut by {grain}, and {key} is a {}", key.grain);
    let listed = context.command(&format!("partitions list {name}"));
    Err(Error::new(ErrorKind::Input, problem).remedy(format!("see `{listed}`")))
}

pub(super) fn show_screen(shown: &PartitionShown, context: &Context, times: &Times) -> String {
    let state = match shown.state {
        PartitionStanding::Open => "open",
        PartitionStanding::Closed => "closed",
        PartitionStanding::LateRows => "late rows",
        PartitionStanding::Empty => "closed, no rows",
    };
    let (rows, files) = (count(shown.rows), counted(shown.files, "file"));
    let mut text = format!("{state:<9} {rows} rows, {files}, {}", size(shown.bytes));
    if let Some(quarantined) = shown.quarantined {
        let late = count(shown.late_rows);
        let _ = write!(text, "     quarantined {}     late {late}", count(quarantined));
    }
    text.push('\n');
    if shown.revision > 0 {
        let partial = if shown.partial { ", partial" } else { "" };
        let at = shown.closed.map_or(String::new(), |at| format!(", made {}", times.time(at.0)));
        let _ = writeln!(text, "revision  {}{partial}{at}", shown.revision);
    }
    if shown.waiting_rows > 0 {
        let waiting = count(shown.waiting_rows);
        let _ = writeln!(text, "waiting   {waiting} late rows, for the next revision");
    }
    text += &holdup(shown, context, times);
    if let Some(Sorting { attempt, state, error }) = &shown.sorting {
        let why = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        let _ = writeln!(text, "sorting   {attempt}, {state}{why}");
    }
    for run in &shown.runs {
        let _ = writeln!(text, "run       {} {}: {}", run.dag, run.id, fate(run, times.now));
    }
    if shown.runs_left_out > 0 {
        let _ = writeln!(text, "          and {}", counted(shown.runs_left_out, "older run"));
    }
    text
}

/// What an open one waits for, and what keeps it from closing.
fn holdup(shown: &PartitionShown, context: &Context, times: &Times) -> String {
    let mut text = String::new();
    if let Some(closes) = shown.closes {
        let passes = times.time(closes.passes.0);
        let stands = closes.watermark.map_or("there is none yet".to_owned(), |watermark| {
            format!("it stands at {}", times.time(watermark.0))
        });
        let on_time = if shown.is_on_time(times.now) { ", on time" } else { "" };
        let _ = writeln!(text, "closes    when the watermark passes {passes}; {stands}{on_time}");
    }
    if let Some(Trouble { text: problem, remedy, since }) = &shown.problem {
        let problem = problem.replace('\n', "\n          ");
        let _ = writeln!(text, "stuck     since {}: {problem}", times.time(since.0));
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "          help: {remedy}");
        }
    }
    let past = times.now.since(shown.end.0);
    if !shown.held_by.is_empty() && !past.is_zero() {
        let _ = writeln!(text, "is open   {} past its end", show_duration(past));
    }
    for holding in &shown.held_by {
        let _ = writeln!(text, "held by   {}: {}", holding.stream, why(holding));
    }
    if !shown.held_by.is_empty() {
        let PartitionShown { table, partition_key, .. } = shown;
        let close = context.command(&format!("partitions close {table} {partition_key} --force"));
        let _ = writeln!(text, "          as it is: {close}   (marked partial)");
    }
    text
}

fn why(holding: &Holding) -> String {
    let state = match holding.state {
        StreamState::Stopped => "it is stopped",
        StreamState::Draining => "it is stopping",
        StreamState::Retrying => "it failed and starts again",
        StreamState::Running | StreamState::Waiting | StreamState::Ended => {
            return holding.reason.clone().unwrap_or_else(|| format!("it is {}", holding.state));
        }
    };
    state.to_owned()
}
