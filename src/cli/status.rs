//! `tidemill status`: one look at everything.

use crate::daemon;
use crate::daemon::Holder;
use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::dag::{DagVersion, OnClose, Schedule};
use crate::model::due::{DueRange, Hold};
use crate::model::duration::show_duration;
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::job::JobKind;
use crate::model::project::Project;
use crate::model::run::{Run, RunState};
use crate::model::stream::{Stream, StreamKind, StreamState};
use crate::model::time::Micros;
use crate::store::Store;
use crate::store::runs::Wanted;
use crate::terminal::context::{Context, block_on};
use crate::terminal::screen::{Grid, Lean, Stamp, Times, count, counted, fate, or_dash, short_run};
use serde::Serialize;
use std::fmt::Write as _;

/// How many failed or held runs are looked at for "needs you".
const NEEDS_MAX: u32 = 100;

#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub project: String,
    pub env: String,
    pub up: Option<Up>,
    pub streams: Vec<StreamLine>,
    pub dags: Vec<DagLine>,
    /// What waits for a person, each with the command that tells more.
    pub needs_you: Vec<Need>,
}

#[derive(Debug, Serialize)]
pub struct Up {
    pub pid: u32,
    pub since: Stamp,
}

#[derive(Debug, Serialize)]
pub struct StreamLine {
    pub id: String,
    pub kind: StreamKind,
    pub state: String,
    pub rate: Option<f64>,
    pub lag: Option<u64>,
    pub watermark: Option<Stamp>,
    pub last_commit: Option<Stamp>,
}

#[derive(Debug, Serialize)]
pub struct DagLine {
    pub name: String,
    pub state: &'static str,
    pub last_run: Option<String>,
    pub fate: Option<String>,
    pub next: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Need {
    pub what: String,
    pub look: String,
}

pub fn run(context: &Context) -> Result<(), Error> {
    let project = context.project()?;
    let times = context.times();
    let status = block_on(async {
        let store = context.store(&project).await?;
        let holder = daemon::holder(&project.settings.home);
        let restart = restart(context, holder.as_ref());
        let up = holder.map(|holder| Up { pid: holder.pid, since: Stamp(holder.started) });
        let mut status = facts(context, &project, &store, up, &times).await?;
        status.needs_you.splice(0..0, restart);
        Ok(status)
    })?;
    context.show(&status, |status| screen(status, &times))
}

pub async fn facts(
    context: &Context,
    project: &Project,
    store: &Store,
    up: Option<Up>,
    times: &Times,
) -> Result<Status, Error> {
    let streams = store.streams().await?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        project: project.settings.project.to_string(),
        env: project.settings.env.clone(),
        up,
        dags: dag_lines(store, times).await?,
        needs_you: needs(context, store, &streams).await?,
        streams: stream_lines(store, &streams).await?,
    })
}

/// The streams that the files have.
pub async fn stream_lines(store: &Store, streams: &[Stream]) -> Result<Vec<StreamLine>, Error> {
    let mut lines = Vec::new();
    for stream in streams.iter().filter(|stream| stream.present) {
        let mirrored = mirrored(store, stream).await?;
        lines.push(stream_line(stream, mirrored));
    }
    Ok(lines)
}

/// What the mirror of a stream's log knows of it, whichever process has written the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mirrored {
    last_commit: Option<Micros>,
    watermark: Option<Micros>,
}

async fn mirrored(store: &Store, stream: &Stream) -> Result<Mirrored, Error> {
    let version = store.version(&stream.version).await?;
    let Some(JobKind::Stream(job)) = version.jobs.get(&stream.job).map(|job| &job.kind) else {
        return Ok(Mirrored::default());
    };
    let cursors = store.cursors(&job.table).await?;
    let frontier = store.table(&job.table).await?.and_then(|table| table.frontier);
    Ok(Mirrored {
        last_commit: cursors.iter().map(|cursor| cursor.seen).max(),
        watermark: frontier.map(|frontier| frontier.plus(job.close_after)),
    })
}

/// A process that has just started knows nothing of what those before it have done: the mirror does.
fn stream_line(stream: &Stream, mirrored: Mirrored) -> StreamLine {
    let at_work = stream.state == StreamState::Running;
    let progress = stream.progress.clone().unwrap_or_default();
    let told = progress.watermark.or(progress.last_mark);
    StreamLine {
        id: stream.id.clone(),
        kind: stream.kind,
        state: stream.state.to_string(),
        rate: at_work.then_some(progress.rate),
        lag: progress.lag.filter(|_| stream.kind == StreamKind::Stream),
        watermark: told.or(mirrored.watermark).map(Stamp),
        last_commit: progress.last_commit.or(mirrored.last_commit).map(Stamp),
    }
}

async fn dag_lines(store: &Store, times: &Times) -> Result<Vec<DagLine>, Error> {
    let mut lines = Vec::new();
    for dag in store.dags().await? {
        let wanted = Wanted { dag: Some(dag.name.clone()), most: 1, ..Wanted::default() };
        let last = store.runs(&wanted).await?.pop();
        let version = store.version(&dag.version).await?;
        lines.push(DagLine {
            name: dag.name.to_string(),
            state: dag_state(&dag),
            fate: last.as_ref().map(|run| fate(run, times.now)),
            last_run: last.map(|run| run.id),
            next: if dag.paused || !dag.present {
                None
            } else {
                next(store, &version, times).await?
            },
        });
    }
    Ok(lines)
}

pub fn dag_state(dag: &DagEntry) -> &'static str {
    match (dag.present, dag.paused) {
        (false, _) => "gone",
        (true, true) => "paused",
        (true, false) => "active",
    }
}

/// What makes the DAG's next run: `hour 09, when the watermark passes 10:10Z`.
pub async fn next(
    store: &Store,
    version: &DagVersion,
    times: &Times,
) -> Result<Option<String>, Error> {
    let on_close = match &version.dag.schedule {
        Schedule::Manual => return Ok(None),
        Schedule::OnClose(on_close) => on_close,
    };
    let first = Ok(Some(format!("the first closing of {}", on_close.table)));
    let Some(table) = store.table(&on_close.table).await? else { return first };
    let due = store.due_ranges().await?.into_iter().find(|due| due.dag == version.dag.name);
    if let Some(due) = due {
        return held(store, on_close, &due, times).await.map(Some);
    }
    if !table.is_streamed() {
        let what = on_close.grain;
        return Ok(Some(format!("the next {what} of {} that is done", on_close.table)));
    }
    let Some(frontier) = table.frontier else { return first };
    let by = PartitionBy { grain: on_close.grain, timezone: on_close.timezone.clone() };
    let key = by.key_of(frontier);
    let passes = by.range(&key).1.plus(table.close_after);
    Ok(Some(format!("{}, when the watermark passes {}", named(&key, times), times.minute(passes))))
}

/// What a range waits for in which something has closed already.
async fn held(
    store: &Store,
    on_close: &OnClose,
    due: &DueRange,
    times: &Times,
) -> Result<String, Error> {
    let range = named(&due.key, times);
    Ok(match store.hold(&on_close.table, (due.start, due.end)).await? {
        None => format!("{range}, at the daemon's next look"),
        Some(Hold::Frontier { table, .. }) => {
            let table = store.table(&table).await?;
            let close_after = table.map(|table| table.close_after).unwrap_or_default();
            let passes = times.minute(due.end.plus(close_after));
            format!("{range}, when the watermark passes {passes}")
        }
        Some(Hold::Run(unfinished)) => {
            let part = named(&unfinished.key, times);
            match unfinished.state {
                RunState::Failed => format!("{range} waits for {part}, which failed: see below"),
                RunState::Held
                | RunState::Queued
                | RunState::Running
                | RunState::Succeeded
                | RunState::Superseded => format!("{range}, when {part} is done"),
            }
        }
        Some(Hold::Due { dag }) => format!("{range}, when {dag} is done"),
    })
}

/// `hour 09` of these days, else `hour 2015-09-12T09`, `day 2026-11-20`.
fn named(key: &PartitionKey, times: &Times) -> String {
    let start = PartitionBy::utc(key.grain).range(key).0;
    match key.grain {
        Grain::Hour if times.is_near(start) => format!("hour {:02}", key.start.hour()),
        Grain::Hour | Grain::Day | Grain::Month => format!("{} {key}", key.grain),
    }
}

/// What was edited that the daemon takes over only at its next start.
fn restart(context: &Context, holder: Option<&Holder>) -> Option<Need> {
    let holder = holder.filter(|holder| !holder.restart_for.is_empty())?;
    Some(Need {
        what: format!("{} changed since this daemon began", holder.restart_for.join(", ")),
        look: format!("kill -INT {}, then {}", holder.pid, context.command("up")),
    })
}

async fn needs(context: &Context, store: &Store, streams: &[Stream]) -> Result<Vec<Need>, Error> {
    let mut needs = Vec::new();
    for stream in streams.iter().filter(|stream| stream.state == StreamState::Waiting) {
        let why = stream.waiting_for.clone().unwrap_or_else(|| "it stopped".to_owned());
        needs.push(Need {
            what: format!("{} waits: {why}", stream.id),
            look: context.command(&format!("streams show {}", stream.id)),
        });
    }
    for state in [RunState::Failed, RunState::Held] {
        let wanted = Wanted { state: Some(state), most: NEEDS_MAX, ..Wanted::default() };
        for run in store.runs(&wanted).await? {
            if is_newest(store, &run).await? {
                let word = if state == RunState::Held { "is held" } else { "failed" };
                let id = short_run(&run.id);
                needs.push(Need {
                    what: format!("{} {id} {word}", run.dag),
                    look: context.command(&format!("tasks why {} {id}", run.dag)),
                });
            }
        }
    }
    Ok(needs)
}

/// Whether no later run of the same hive partition has taken its place.
pub async fn is_newest(store: &Store, run: &Run) -> Result<bool, Error> {
    let Some(of) = &run.subject else { return Ok(true) };
    let wanted = Wanted { dag: Some(run.dag.clone()), key: Some(of.key), ..Wanted::default() };
    let rivals = store.runs(&wanted).await?;
    Ok(!rivals.iter().any(|other| other.subject.as_ref().is_some_and(|other| other.n > of.n)))
}

pub fn screen(status: &Status, times: &Times) -> String {
    let up = match &status.up {
        Some(up) => format!("up {}, pid {}", show_duration(times.now.since(up.since.0)), up.pid),
        None => "not up".to_owned(),
    };
    let Status { version, project, env, .. } = status;
    let mut shown = format!("tidemill {version}  project {project}  env {env}  {up}\n");
    shown += &stream_grid(&status.streams, times);
    let mut dags = Grid::new(&[
        ("DAG", Lean::Left),
        ("STATE", Lean::Left),
        ("LAST RUN", Lean::Left),
        ("FATE", Lean::Left),
        ("NEXT", Lean::Left),
    ]);
    for dag in &status.dags {
        dags.row([
            dag.name.clone(),
            dag.state.to_owned(),
            or_dash(dag.last_run.as_deref().map(|id| short_run(id).to_owned())),
            or_dash(dag.fate.clone()),
            or_dash(dag.next.clone()),
        ]);
    }
    shown += &dags.show();
    match status.needs_you.len() {
        0 => shown.push_str("Nothing needs you.\n"),
        needs => {
            let verb = if needs == 1 { "needs" } else { "need" };
            let _ = writeln!(shown, "{} {verb} you:", counted(needs as u64, "thing"));
            for need in &status.needs_you {
                let _ = writeln!(shown, "  {}    {}", need.what, need.look);
            }
        }
    }
    shown
}

pub fn stream_grid(streams: &[StreamLine], times: &Times) -> String {
    let mut grid = Grid::new(&[
        ("STREAM", Lean::Left),
        ("STATE", Lean::Left),
        ("RATE", Lean::Right),
        ("LAG", Lean::Right),
        ("WATERMARK", Lean::Right),
        ("LAST COMMIT", Lean::Right),
    ]);
    for stream in streams {
        let commit = |at: Stamp| format!("{} ({})", times.time(at.0), times.ago(at.0));
        grid.row([
            stream.id.clone(),
            stream.state.clone(),
            or_dash(stream.rate.map(|rate| format!("{rate:.0}/s"))),
            or_dash(stream.lag.map(count)),
            or_dash(stream.watermark.map(|at| times.time(at.0))),
            or_dash(stream.last_commit.map(commit)),
        ]);
    }
    grid.show()
}
