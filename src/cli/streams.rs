//! `tidemill streams`: what never ends, and how far it has come.

use super::{answers, request};
use crate::daemon;
use crate::error::Error;
use crate::lake::paths::TOPIC_ID_DIGITS;
use crate::model::duration::show_duration;
use crate::model::request::Verb;
use crate::model::stream::Stream;
use crate::store::Store;
use crate::terminal::context::{Context, block_on, unknown};
use crate::terminal::screen::{Grid, Lean, Times, count, counted, or_dash, short, size};
use crate::view::Stamp;
use crate::view::definitions::Definitions;
use crate::view::instances::Instance;
use crate::view::streams::{Source, StreamLine, StreamShown, Target, lines, show};
use clap::Subcommand;
use std::fmt::Write as _;
use std::time::Duration;

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

pub fn run(context: &Context, verb: StreamsVerb) -> Result<(), Error> {
    let project = context.project()?;
    block_on(async {
        let store = context.store(&project).await?;
        let verb = match verb {
            StreamsVerb::List => {
                let lines = lines(&store, &Definitions::read(&store).await?).await?;
                return context.show(&lines, |lines| stream_grid(lines, &context.times()));
            }
            StreamsVerb::Show { stream } => {
                let stream = find(context, &store, &stream).await?;
                let up = daemon::holder(&project.settings.home).map(|holder| holder.started);
                let shown = show(&store, &project.settings.project, &stream, up).await?;
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

pub(super) fn stream_grid(streams: &[StreamLine], times: &Times) -> String {
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
            stream.state.to_string(),
            or_dash(stream.rate.map(|rate| format!("{rate:.0}/s"))),
            or_dash(stream.lag.map(count)),
            or_dash(stream.watermark.map(|at| times.time(at.0))),
            or_dash(stream.last_commit.map(commit)),
        ]);
    }
    grid.show()
}

async fn find(context: &Context, store: &Store, id: &str) -> Result<Stream, Error> {
    let streams = store.streams().await?;
    let known: Vec<_> = streams.iter().map(|stream| stream.id.clone()).collect();
    streams
        .into_iter()
        .find(|stream| stream.id == id)
        .ok_or_else(|| unknown("stream", id, &known, &context.command("streams list")))
}

/// What it reads, in words.
fn source(from: &Source) -> String {
    match from {
        Source::Replay { file } => format!("the file {file}"),
        Source::Simulate { seed, rate } => format!("a simulation, seed {seed}, {rate}/s"),
        Source::Exec { command } => format!("the program {}", command.join(" ")),
        Source::Sse { address } => format!("the events of {address}"),
        Source::Wikimedia { streams } => format!("Wikimedia's {}, live", streams.join(", ")),
        Source::Topic { topic, topic_id, consumer_group } => {
            let id = topic_id.as_deref().map(|id| format!(", topic id {}", first(id)));
            let group = consumer_group.as_ref().map(|group| format!(", group {group}"));
            format!("{topic}{}{}", id.unwrap_or_default(), group.unwrap_or_default())
        }
    }
}

/// What it writes, in words.
fn target(to: &Target) -> String {
    match to {
        Target::Topic { topic } => format!("topic {topic}"),
        Target::Table { table, every_ms, size_bytes, .. } => {
            let every = show_duration(Duration::from_millis(*every_ms));
            format!("{table}, every {every} or {}", size(*size_bytes))
        }
    }
}

pub(super) fn screen(shown: &StreamShown, times: &Times) -> String {
    let mut text = head(shown, times);
    let _ = writeln!(text, "reads     {}", or_dash(shown.from.as_ref().map(source)));
    let writes = or_dash(shown.to.as_ref().map(target));
    let _ = writeln!(text, "writes    {writes}{}", memory(shown));
    if !shown.instances.is_empty() {
        text += &instances(&shown.instances, times);
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
fn head(shown: &StreamShown, times: &Times) -> String {
    let mut text = format!("{:<9}", shown.state);
    if let (Some(since), Some(pid)) = (shown.since, shown.pid) {
        let adopted = if shown.adopted { ", adopted" } else { "" };
        let _ = write!(text, " since {}, pid {pid}{adopted},", times.time(since.0));
    }
    let (job, version) = (&shown.job, short(&shown.version));
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
fn memory(shown: &StreamShown) -> String {
    const MIB: u64 = 1 << 20;
    let (used, most) = (shown.memory_bytes, shown.memory_max_bytes);
    if most == 0 {
        return String::new();
    }
    let used = if most.is_multiple_of(MIB) { count(used.div_ceil(MIB)) } else { size(used) };
    let open = u64::from(shown.hive_partitions_open);
    let grain = match &shown.to {
        Some(Target::Table { grain, .. }) => grain.as_str(),
        Some(Target::Topic { .. }) | None => "hive partition",
    };
    let open = counted(open, grain);
    format!("      memory {used} of {}, {open} open", size(most))
}

/// As much of a topic's id as the names of its files have.
fn first(id: &str) -> &str {
    id.get(..TOPIC_ID_DIGITS).unwrap_or(id)
}

fn grid(shown: &StreamShown, times: &Times) -> String {
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

fn instances(instances: &[Instance], times: &Times) -> String {
    let mut grid = Grid::new(&[
        ("INSTANCE", Lean::Left),
        ("STATE", Lean::Left),
        ("PID", Lean::Right),
        ("RESTARTS", Lean::Right),
        ("TOPIC PARTITIONS", Lean::Left),
        ("LAG", Lean::Right),
        ("HEARTBEAT", Lean::Right),
    ]);
    for instance in instances {
        let places: Vec<_> = instance.topic_partitions.iter().map(u32::to_string).collect();
        grid.row([
            instance.id.clone(),
            instance.state.to_string(),
            or_dash(instance.pid.map(|pid| pid.to_string())),
            instance.restarts.to_string(),
            or_dash(Some(places.join(" ")).filter(|places| !places.is_empty())),
            count(instance.lag),
            or_dash(instance.heartbeat.map(|at| times.time(at.0))),
        ]);
    }
    grid.show()
}
