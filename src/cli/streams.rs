//! `tidemill streams`: what never ends, and how far it has come.

use super::instances::Instance;
use super::status::{stream_grid, stream_lines};
use super::{answers, instances, request};
use crate::daemon;
use crate::error::Error;
use crate::feed;
use crate::lake::paths::TOPIC_ID_DIGITS;
use crate::model::commit::consumer_group;
use crate::model::dag::DagVersion;
use crate::model::duration::show_duration;
use crate::model::job::{FeedFrom, JobKind};
use crate::model::project::Project;
use crate::model::request::Verb;
use crate::model::stream::{Stream, StreamProgress, TopicPartitionProgress};
use crate::model::time::Micros;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::screen::{Grid, Lean, Stamp, Times, count, counted, or_dash, short, size};
use clap::Subcommand;
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Debug, Subcommand)]
pub enum StreamsVerb {
    /// Lists all streams and feeds
    List,
    /// Shows one stream: what it reads and writes, and its position in each topic partition
    Show { stream: String },
    /// Starts it, also when it waits for a person
    Start { stream: String },
    /// Stops it after it has committed what it has read
    Stop { stream: String },
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: String,
    state: String,
    since: Option<Stamp>,
    pid: Option<i32>,
    /// Its process is older than the daemon.
    adopted: bool,
    restarts: u32,
    next_start: Option<Stamp>,
    waiting_for: Option<String>,
    job: String,
    version: String,
    reads: String,
    /// Of the topic that a stream reads, once its table has seen one.
    topic_id: Option<String>,
    consumer_group: Option<String>,
    writes: String,
    grain: Option<&'static str>,
    memory_bytes: u64,
    memory_max_bytes: u64,
    hive_partitions_open: u32,
    note: Option<String>,
    produced: u64,
    left_out: u64,
    passed_over: u64,
    counts: crate::model::commit::Counts,
    /// Where it has several.
    instances: Vec<Instance>,
    topic_partitions: Vec<Place>,
    watermark: Option<Stamp>,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Place {
    topic_partition: u32,
    committed: u64,
    end: u64,
    watermark: Option<Stamp>,
    commit: u64,
    /// The lowest watermark of all: the stream's.
    holds: bool,
}

pub fn run(context: &Context, verb: StreamsVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let verb = match verb {
            StreamsVerb::List => {
                let streams = store.streams().await?;
                let lines = stream_lines(&store, &streams).await?;
                return context.show(&lines, |lines| stream_grid(lines, &context.times()));
            }
            StreamsVerb::Show { stream } => {
                let stream = find(context, &store, &stream).await?;
                let up = daemon::holder(&project.settings.home).map(|holder| holder.started);
                let shown = facts(&project, &store, &stream, up).await?;
                return context.show(&shown, |shown| screen(shown, &context.times()));
            }
            StreamsVerb::Start { stream } => {
                Verb::StartStream { stream: find(context, &store, &stream).await?.id }
            }
            StreamsVerb::Stop { stream } => {
                Verb::StopStream { stream: find(context, &store, &stream).await?.id }
            }
        };
        let outcome = request::ask(context, &project, &store, verb).await?;
        context.show(&outcome, |outcome| format!("{}\n", answers::done(outcome)))
    })
}

async fn find(context: &Context, store: &Store, id: &str) -> Result<Stream, Error> {
    let streams = store.streams().await?;
    let known: Vec<_> = streams.iter().map(|stream| stream.id.clone()).collect();
    streams
        .into_iter()
        .find(|stream| stream.id == id)
        .ok_or_else(|| unknown("stream", id, &known, &context.command("streams list")))
}

/// `up`: since when the daemon runs, if it does.
pub(super) async fn facts(
    project: &Project,
    store: &Store,
    stream: &Stream,
    up: Option<Micros>,
) -> Result<Shown, Error> {
    let attempt = store.attempts_of_stream(&stream.id, 1).await?.pop();
    let version = store.version(&stream.version).await?;
    let source = source(project, store, &version, stream).await?;
    let (reads, writes) = ends(&version, stream);
    let all = instances::of(store, stream).await?;
    let progress = instances::together(&all);
    let at_work = attempt.as_ref().filter(|attempt| !attempt.state.ended());
    let since = at_work.and_then(|attempt| attempt.started);
    Ok(Shown {
        id: stream.id.clone(),
        state: stream.state.to_string(),
        since: since.map(Stamp),
        pid: at_work.and_then(|attempt| attempt.process.as_ref()).map(|process| process.pid),
        adopted: since.zip(up).is_some_and(|(since, up)| since < up),
        restarts: stream.restarts,
        next_start: stream.next_start.map(Stamp),
        waiting_for: stream.waiting_for.clone(),
        job: stream.job.to_string(),
        version: short(&stream.version),
        reads,
        topic_id: source.topic_id,
        consumer_group: source.consumer_group,
        writes,
        grain: source.grain,
        memory_bytes: progress.memory_bytes,
        memory_max_bytes: progress.memory_max_bytes,
        hive_partitions_open: progress.hive_partitions_open,
        note: progress.note.clone(),
        produced: progress.produced,
        left_out: progress.left_out,
        passed_over: progress.passed_over,
        counts: progress.counts,
        instances: instances::each(store, &all).await?,
        topic_partitions: places(&progress),
        watermark: progress.watermark.or(progress.last_mark).map(Stamp),
        last_error: attempt.and_then(|attempt| attempt.failure).map(|failure| failure.error),
    })
}

/// What a stream reads as Kafka knows it, and how its table is cut.
#[derive(Default)]
struct Source {
    topic_id: Option<String>,
    consumer_group: Option<String>,
    grain: Option<&'static str>,
}

async fn source(
    project: &Project,
    store: &Store,
    version: &DagVersion,
    stream: &Stream,
) -> Result<Source, Error> {
    let Some(JobKind::Stream(job)) = version.jobs.get(&stream.job).map(|job| &job.kind) else {
        return Ok(Source::default());
    };
    let members = store.table(&job.table).await?.and_then(|table| table.members);
    let group = |lake: String| consumer_group(&project.settings.project, &lake, &job.table);
    Ok(Source {
        topic_id: members.map(|members| members.topic_id),
        consumer_group: store.lake_id().await?.map(group),
        grain: Some(job.partition_by.grain.as_str()),
    })
}

fn places(progress: &StreamProgress) -> Vec<Place> {
    let lowest = progress.topic_partitions.iter().map(|place| place.watermark).min();
    let positive = |offset: i64| u64::try_from(offset).unwrap_or(0);
    let place = |place: &TopicPartitionProgress| Place {
        topic_partition: place.topic_partition,
        committed: positive(place.committed),
        end: positive(place.end),
        watermark: place.watermark.map(Stamp),
        commit: place.seq,
        holds: Some(place.watermark) == lowest,
    };
    progress.topic_partitions.iter().map(place).collect()
}

/// What it reads and what it writes, in words.
fn ends(version: &DagVersion, stream: &Stream) -> (String, String) {
    match version.jobs.get(&stream.job).map(|job| &job.kind) {
        Some(JobKind::Feed(feed)) => {
            let from = match &feed.from {
                FeedFrom::Replay(replay) => format!("the file {}", replay.file),
                FeedFrom::Simulate(simulate) => {
                    format!("a simulation, seed {}, {}/s", simulate.seed, simulate.rate)
                }
                FeedFrom::Exec(exec) => format!("the program {}", exec.command.join(" ")),
                FeedFrom::Sse(sse) => format!("the events of {}", feed::shown(&sse.server.url)),
                FeedFrom::Wikimedia(from) => {
                    format!("Wikimedia's {}, live", from.streams.join(", "))
                }
            };
            (from, format!("topic {}", feed.topic))
        }
        Some(JobKind::Stream(job)) => (
            job.topic.to_string(),
            format!(
                "{}, every {} or {}",
                job.table,
                show_duration(job.roll.every),
                size(job.roll.size_bytes)
            ),
        ),
        Some(JobKind::Batch(_)) | None => ("-".to_owned(), "-".to_owned()),
    }
}

pub(super) fn screen(shown: &Shown, times: &Times) -> String {
    let mut text = head(shown, times);
    let topic_id = shown.topic_id.as_deref();
    let topic_id = topic_id.map_or(String::new(), |id| format!(", topic id {}", first(id)));
    let group = shown.consumer_group.as_ref();
    let group = group.map_or(String::new(), |group| format!(", group {group}"));
    let _ = writeln!(text, "reads     {}{topic_id}{group}", shown.reads);
    let _ = writeln!(text, "writes    {}{}", shown.writes, memory(shown));
    if !shown.instances.is_empty() {
        text += &instances::show(&shown.instances, times);
    }
    if !shown.topic_partitions.is_empty() {
        text += &grid(shown, times);
    }
    let counts = &shown.counts;
    if counts.read > 0 {
        let _ = write!(
            text,
            "since start: read {} = landed {} + quarantined {} + dropped {} + marks {}",
            count(counts.read),
            count(counts.landed),
            count(counts.quarantined),
            count(counts.dropped),
            count(counts.marks)
        );
        if counts.tombstones > 0 {
            let _ = write!(text, " + tombstones {}", count(counts.tombstones));
        }
        text.push('\n');
    }
    if shown.produced > 0 {
        let marked = shown.watermark.map(|at| times.time(at.0));
        let sent = count(shown.produced);
        let _ = writeln!(text, "sent      {sent} events, last mark {}", or_dash(marked));
        if shown.left_out > 0 {
            let left_out = count(shown.left_out);
            let _ = writeln!(text, "left out  {left_out} repeats, by their ids, since start");
        }
        if shown.passed_over > 0 {
            let passed = count(shown.passed_over);
            let _ = writeln!(
                text,
                "passed    over {passed} too large or not for the topic, since start"
            );
        }
    }
    text
}

/// Its state and its process, and what is the matter.
fn head(shown: &Shown, times: &Times) -> String {
    let mut text = format!("{:<9}", shown.state);
    if let (Some(since), Some(pid)) = (shown.since, shown.pid) {
        let adopted = if shown.adopted { ", adopted" } else { "" };
        let _ = write!(text, " since {}, pid {pid}{adopted},", times.time(since.0));
    }
    let Shown { job, version, .. } = shown;
    let restarts = counted(u64::from(shown.restarts), "restart");
    let _ = writeln!(text, " {restarts}       job {job}, version {version}");
    if let Some(at) = shown.next_start {
        let _ = writeln!(text, "starts    again at {}", times.time(at.0));
    }
    for (what, why) in
        [("waits", &shown.waiting_for), ("outside", &shown.note), ("error", &shown.last_error)]
    {
        if let Some(why) = why {
            let _ = writeln!(text, "{what:<9} {}", why.replace('\n', "\n          "));
        }
    }
    text
}

/// `      memory 184 of 512 MiB, 2 hours open`.
fn memory(shown: &Shown) -> String {
    const MIB: u64 = 1 << 20;
    let (used, most) = (shown.memory_bytes, shown.memory_max_bytes);
    if most == 0 {
        return String::new();
    }
    let used = if most.is_multiple_of(MIB) { count(used.div_ceil(MIB)) } else { size(used) };
    let open = u64::from(shown.hive_partitions_open);
    let open = counted(open, shown.grain.unwrap_or("hive partition"));
    format!("      memory {used} of {}, {open} open", size(most))
}

/// As much of a topic's id as the names of its files have.
fn first(id: &str) -> &str {
    id.get(..TOPIC_ID_DIGITS).unwrap_or(id)
}

fn grid(shown: &Shown, times: &Times) -> String {
    let mut grid = Grid::new(&[
        ("TOPIC PARTITION", Lean::Left),
        ("COMMITTED", Lean::Right),
        ("END", Lean::Right),
        ("LAG", Lean::Right),
        ("WATERMARK", Lean::Right),
        ("COMMIT", Lean::Right),
        ("", Lean::Left),
    ]);
    for place in &shown.topic_partitions {
        let alone = shown.topic_partitions.iter().filter(|place| place.holds).count() == 1;
        let holds = place.holds && alone;
        grid.row([
            place.topic_partition.to_string(),
            count(place.committed),
            count(place.end),
            count(place.end.saturating_sub(place.committed)),
            or_dash(place.watermark.map(|at| times.time(at.0))),
            place.commit.to_string(),
            if holds { "<- holds the watermark".to_owned() } else { String::new() },
        ]);
    }
    grid.show()
}
