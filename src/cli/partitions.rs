//! `tidemill partitions`: what has closed, what is open, and what holds it up.

use super::tide::{Tide, chart};
use super::{answers, request};
use crate::error::{Error, ErrorKind};
use crate::lake::Lake;
use crate::model::attempt::Attempt;
use crate::model::closing::Closed;
use crate::model::commit::Closing;
use crate::model::duration::show_duration;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use crate::model::project::Project;
use crate::model::request::Verb;
use crate::model::run::{Run, RunState};
use crate::model::stream::StreamState;
use crate::model::table::LakeTable;
use crate::model::time::Micros;
use crate::store::Store;
use crate::store::runs::Wanted;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::screen::{Stamp, Times, count, counted, fate, size};
use clap::Subcommand;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// Gaps between closed partitions are shown as empty, up to so many.
const GAP_MAX: usize = 1_000;
/// Records that are read at once.
const READS_MAX: usize = 16;

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

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    table: String,
    grain: String,
    timezone: String,
    close_after_secs: u64,
    streamed: bool,
    partitions: BTreeMap<PartitionKey, Tide>,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    table: String,
    key: String,
    state: &'static str,
    revision: u32,
    rows: u64,
    files: u64,
    bytes: u64,
    /// Messages quarantined by the commits that its rows came with; of a stream's table.
    pub(super) quarantined: Option<u64>,
    /// Rows that came when it had closed.
    pub(super) late_rows: u64,
    /// Those of them that the newest closing lacks.
    waiting_rows: u64,
    partial: bool,
    closed: Option<Stamp>,
    closes: Option<String>,
    held_by: Vec<String>,
    /// While somebody holds it: since when it could have closed, and the verb that closes it.
    past_end: Option<String>,
    close_it: Option<String>,
    /// The attempt that sorts its rows, and how it stands; of a table that is published on close.
    #[serde(skip_serializing_if = "Option::is_none")]
    sorting: Option<String>,
    runs: Vec<String>,
}

pub fn run(context: &Context, verb: PartitionsVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let verb = match verb {
            PartitionsVerb::List { table } => {
                let table = find(context, &store, &table).await?;
                let listed = listed(&store, &table).await?;
                return context.show(&listed, list_screen);
            }
            PartitionsVerb::Show { table, key } => {
                let table = find(context, &store, &table).await?;
                let times = context.times();
                let mut shown = shown(context, &store, &table, key, &times).await?;
                if table.is_streamed() {
                    add_from_lake(context, &project, &store, &table, key, &mut shown).await?;
                }
                return context.show(&shown, |shown| show_screen(shown, &times));
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

const EVER: (Micros, Micros) = (Micros::MIN, Micros::MAX);

pub(super) async fn listed(store: &Store, table: &LakeTable) -> Result<Listed, Error> {
    let name = &table.table.name;
    let closed = store.newest_closed(name, EVER).await?;
    let runs = runs_on(store, name).await?;
    let mut partitions = BTreeMap::new();
    for closed in &closed {
        partitions.insert(closed.key, tide(closed, runs.get(&closed.key)));
    }
    for open in store.open_partitions(name).await? {
        let tide = if open.closings == 0 { Tide::Open } else { Tide::Late };
        partitions.insert(open.key, tide);
    }
    fill_gaps(&mut partitions, table);
    Ok(Listed {
        table: name.to_string(),
        grain: table.table.partition_by.grain.to_string(),
        timezone: table.table.partition_by.timezone.clone(),
        close_after_secs: table.close_after.as_secs(),
        streamed: table.is_streamed(),
        partitions,
    })
}

fn tide(closed: &Closed, runs: Option<&Vec<Run>>) -> Tide {
    let runs = runs.map_or(&[][..], Vec::as_slice);
    let newest = |run: &&Run| run.subject.as_ref().is_some_and(|of| of.n == closed.n);
    let in_state = |state| runs.iter().filter(newest).any(|run| run.state == state);
    if in_state(RunState::Failed) {
        Tide::Failed
    } else if in_state(RunState::Held) {
        Tide::Late
    } else if closed.partial {
        Tide::Partial
    } else if closed.n > 1 {
        Tide::Again { revision: closed.n }
    } else if closed.rows == 0 {
        Tide::Empty
    } else {
        Tide::Closed
    }
}

/// Hive partitions that passed without rows have no closing: they lie between those that have one.
fn fill_gaps(partitions: &mut BTreeMap<PartitionKey, Tide>, table: &LakeTable) {
    let Some((first, last)) = partitions.keys().next().zip(partitions.keys().next_back()) else {
        return;
    };
    let (mut key, last) = (*first, *last);
    for _ in 0..GAP_MAX {
        if key >= last {
            return;
        }
        let ended = |frontier| table.table.partition_by.range(&key).1 <= frontier;
        let empty = if table.frontier.is_some_and(ended) { Tide::Empty } else { Tide::Open };
        if table.is_streamed() {
            partitions.entry(key).or_insert(empty);
        }
        key = key.next();
    }
}

/// The runs that closings of a table have made, by key.
async fn runs_on(
    store: &Store,
    table: &TableName,
) -> Result<BTreeMap<PartitionKey, Vec<Run>>, Error> {
    let mut runs: BTreeMap<PartitionKey, Vec<Run>> = BTreeMap::new();
    for run in store.runs(&Wanted::default()).await? {
        let Some(of) = run.subject.as_ref().filter(|of| of.table == *table) else { continue };
        runs.entry(of.key).or_default().push(run);
    }
    Ok(runs)
}

pub(super) fn list_screen(listed: &Listed) -> String {
    let Listed { table, grain, timezone, .. } = listed;
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

/// What the store knows of a hive partition.
pub(super) async fn shown(
    context: &Context,
    store: &Store,
    table: &LakeTable,
    key: PartitionKey,
    times: &Times,
) -> Result<Shown, Error> {
    let name = &table.table.name;
    let by = &table.table.partition_by;
    if key.grain != by.grain {
        let problem = format!("{name} is cut by {}, and {key} is a {}", by.grain, key.grain);
        let listed = context.command(&format!("partitions list {name}"));
        return Err(Error::new(ErrorKind::Input, problem).remedy(format!("see `{listed}`")));
    }
    let closed = store.newest_closed_of(name, &key).await?;
    let open = store.open_partitions(name).await?.into_iter().find(|open| open.key == key);
    let end = by.range(&key).1;
    let passed = table.frontier.is_some_and(|frontier| end <= frontier);
    let state = match (&closed, &open) {
        (Some(_), Some(_)) => "late rows",
        (Some(_), None) => "closed",
        (None, None) if passed => "closed, no rows",
        (None, _) => "open",
    };
    let waits = closed.is_none() && !passed && table.is_streamed();
    let held = if waits { held_by(store, table, end, times).await? } else { Held::default() };
    let is_held = !held.by.is_empty();
    let past = times.now.since(end);
    let close_it = format!("partitions close {name} {key} --force");
    let runs = runs_on(store, name).await?.remove(&key).unwrap_or_default();
    let next = closed.as_ref().map_or(0, |closed| closed.n) + 1;
    let sorting = store.newest_compaction(name, &key, next).await?;
    let closed_rows = closed.as_ref().map_or((0, 0, 0), |c| (c.rows, c.files, c.bytes));
    let more = open.as_ref().map_or((0, 0, 0), |o| (o.rows, o.files, o.bytes));
    Ok(Shown {
        table: name.to_string(),
        key: key.to_string(),
        state,
        revision: closed.as_ref().map_or(0, |closed| closed.n),
        rows: closed_rows.0 + more.0,
        files: closed_rows.1 + more.1,
        bytes: closed_rows.2 + more.2,
        quarantined: None,
        late_rows: 0,
        waiting_rows: if closed.is_some() { more.0 } else { 0 },
        partial: closed.as_ref().is_some_and(|closed| closed.partial),
        closed: closed.map(|closed| Stamp(closed.created)),
        closes: held.closes,
        held_by: held.by,
        past_end: (is_held && !past.is_zero()).then(|| show_duration(past)),
        close_it: is_held.then(|| context.command(&close_it)),
        sorting: sorting.as_ref().map(sorted_by),
        runs: runs
            .iter()
            .map(|run| format!("{} {}: {}", run.dag, run.id, fate(run, times.now)))
            .collect(),
    })
}

/// What only the lake tells of a stream's hive partition, for the store forgets.
///
/// A message without a date belongs to no hive partition: counted are those that were committed
/// together with rows of this one. Late is what its first closing lacks.
async fn add_from_lake(
    context: &Context,
    project: &Project,
    store: &Store,
    table: &LakeTable,
    key: PartitionKey,
    shown: &mut Shown,
) -> Result<(), Error> {
    let name = &table.table.name;
    let mut files = store.files_of(name, &key).await?;
    shown.quarantined = Some(0);
    if files.is_empty() && shown.revision == 0 {
        return Ok(());
    }
    let settings = &project.settings;
    let lake = Lake::open(&settings.lake, &settings.project, context.clock.clone()).await?;
    let closing = async |n| match n {
        0 => Ok(None),
        n => lake.closing(name, &key, n).await,
    };
    let (first, newest) = (closing(shown.revision.min(1)).await?, closing(shown.revision).await?);
    let rows = |closing: &Option<Closing>| closing.as_ref().map_or(0, |closing| closing.rows);
    shown.late_rows = rows(&newest).saturating_sub(rows(&first)) + shown.waiting_rows;
    let mut records = BTreeSet::new();
    if let Some(newest) = newest {
        for its in newest.compaction.into_iter().flat_map(|compaction| compaction.records) {
            let record = |seq| (its.topic_id.clone(), its.topic_partition, seq);
            records.extend(its.seqs.iter().copied().map(record));
        }
        files.extend(newest.files.into_iter().filter(|file| !file.is_compacted()));
    }
    records.extend(files.into_iter().map(|file| (file.topic_id, file.topic_partition, file.seq)));
    let logs = records.into_iter().map(|(topic_id, topic_partition, seq)| {
        let log = lake.log(name, &topic_id, topic_partition);
        async move { log.read(seq).await }
    });
    let records: Vec<_> =
        futures::stream::iter(logs).buffer_unordered(READS_MAX).try_collect().await?;
    let quarantined = records.into_iter().flatten().map(|record| record.counts.quarantined);
    shown.quarantined = Some(quarantined.sum());
    Ok(())
}

fn sorted_by(attempt: &Attempt) -> String {
    let Attempt { id, state, failure, .. } = attempt;
    let why = failure.as_ref().map_or(String::new(), |failure| format!(": {}", failure.error));
    format!("{id}, {state}{why}")
}

#[derive(Default)]
struct Held {
    closes: Option<String>,
    by: Vec<String>,
}

/// What the closing waits for: the watermark, and whoever should move it and does not.
async fn held_by(
    store: &Store,
    table: &LakeTable,
    end: Micros,
    times: &Times,
) -> Result<Held, Error> {
    let passes = end.plus(table.close_after);
    let watermark = table.frontier.map(|frontier| frontier.plus(table.close_after));
    let stands = watermark.map_or("there is none yet".to_owned(), |watermark| {
        format!("it stands at {}", times.time(watermark))
    });
    let mut by = Vec::new();
    for stream in store.streams().await?.into_iter().filter(|stream| stream.dag == table.dag) {
        let stopped = match stream.state {
            StreamState::Running | StreamState::Ended => None,
            StreamState::Stopped => Some("it is stopped".to_owned()),
            StreamState::Draining => Some("it is stopping".to_owned()),
            StreamState::Retrying => Some("it failed and starts again".to_owned()),
            StreamState::Waiting => stream.waiting_for.clone(),
        };
        let note = stream.progress.as_ref().and_then(|progress| progress.note.clone());
        if let Some(why) = stopped.or(note) {
            by.push(format!("{}: {why}", stream.id));
        }
    }
    let on_time = if by.is_empty() && times.now < passes { ", on time" } else { "" };
    let closes = format!("when the watermark passes {}; {stands}{on_time}", times.time(passes));
    Ok(Held { closes: Some(closes), by })
}

pub(super) fn show_screen(shown: &Shown, times: &Times) -> String {
    let mut text = format!(
        "{:<9} {} rows, {}, {}",
        shown.state,
        count(shown.rows),
        counted(shown.files, "file"),
        size(shown.bytes)
    );
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
    if let Some(closes) = &shown.closes {
        let _ = writeln!(text, "closes    {closes}");
    }
    if let Some(past) = &shown.past_end {
        let _ = writeln!(text, "is open   {past} past its end");
    }
    for by in &shown.held_by {
        let _ = writeln!(text, "held by   {by}");
    }
    if let Some(close_it) = &shown.close_it {
        let _ = writeln!(text, "          as it is: {close_it}   (marked partial)");
    }
    if let Some(sorting) = &shown.sorting {
        let _ = writeln!(text, "sorting   {sorting}");
    }
    for run in &shown.runs {
        let _ = writeln!(text, "run       {run}");
    }
    text
}
