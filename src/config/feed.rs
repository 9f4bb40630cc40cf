//! Reads where a feed's events come from: in its job, or in `[feeds]` of an environment.

use super::problem::{At, Problem};
use super::section::Section;
use super::server;
use super::value::variable;
use crate::model::job::{Exec, FeedFrom, LateRows, Replay, Simulate, SimulateModel};
use std::time::Duration;

/// Events a second, as measured on the real stream.
const RATE: f64 = 37.0;
/// Between two calls of a program, where its job says nothing.
const EXEC_EVERY: Duration = Duration::from_secs(10);
/// A thousand years: more overflows event time.
const HOURS_MAX: f64 = 8_766_000.0;

/// Where events come from, and where that names a file.
#[derive(Clone, Debug)]
pub struct FeedSource {
    pub from: FeedFrom,
    pub file: Option<At<String>>,
}

/// What an environment says instead of a feed's own job.
#[derive(Clone, Debug)]
pub struct FeedOverride {
    pub job: At<String>,
    pub from: FeedSource,
}

/// Reads `{ replay = {…} }` or another source: in a job, or in `[feeds]` of an environment.
pub fn read(mut from: Section<'_>) -> Option<FeedSource> {
    let own = |from| FeedSource { from, file: None };
    let replay = from.section("replay", "feed.from.replay").map(replay);
    let simulate = from
        .section("simulate", "feed.from.simulate")
        .map(|section| simulate(section).map(FeedFrom::Simulate).map(own));
    let exec = from
        .section("exec", "feed.from.exec")
        .map(|section| exec(section).map(FeedFrom::Exec).map(own));
    let sse = from
        .section("sse", "feed.from.sse")
        .map(|section| server::sse(section).map(FeedFrom::Sse).map(own));
    let wikimedia = from
        .section("wikimedia", "feed.from.wikimedia")
        .map(|section| server::wikimedia(section).map(FeedFrom::Wikimedia).map(own));
    let found = [replay, simulate, exec, sse, wikimedia];
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    if found.len() > 1 {
        let title = "a feed has one source";
        let help = "leave one of wikimedia, sse, exec, replay and simulate";
        from.sink().push(Problem::error(title, &from.place).help(help));
        found.clear();
    } else if found.is_empty() && !from.has_any() {
        let sources = "wikimedia, sse, exec, replay or simulate";
        from.missing(sources, "simulate = { model = \"recentchange\" }");
    }
    from.finish();
    found.pop().flatten()
}

fn exec(mut section: Section<'_>) -> Option<Exec> {
    let command = section.texts("command");
    let is_written = section.has("command");
    if !is_written || command.as_ref().is_some_and(Vec::is_empty) {
        section.missing("command", "command = [\"./poll\", \"--changes\"]");
    }
    let every = section.duration("every").unwrap_or(EXEC_EVERY);
    let environment = section.named("env").iter();
    let environment = environment
        .filter_map(|entry| Some((entry.key.clone(), variable(entry, section.sink())?)))
        .collect();
    section.finish();
    let command = command?.into_iter().map(|item| item.value).collect::<Vec<_>>();
    (!command.is_empty()).then_some(Exec { command, every, environment })
}

fn replay(mut section: Section<'_>) -> Option<FeedSource> {
    let file = section.text("file");
    if !section.has("file") {
        section.missing("file", "file = \"events.jsonl.gz\"");
    }
    let speed = section.positive("speed");
    section.finish();
    let file = file?;
    let from = FeedFrom::Replay(Replay { file: file.value.clone(), speed });
    Some(FeedSource { from, file: Some(file) })
}

fn simulate(mut section: Section<'_>) -> Option<Simulate> {
    let model = section.word("model", &[("recentchange", SimulateModel::Recentchange)]);
    if !section.has("model") {
        section.missing("model", "model = \"recentchange\"");
    }
    let from = section.moment("from");
    if !section.has("from") {
        section.missing("from", "from = \"2026-11-20\": the event time of the first event");
    }
    let random_seed = section.integer("seed", 0..=u32::MAX).unwrap_or(1);
    let rate = section.positive("rate").unwrap_or(RATE);
    let hours = section.positive("hours");
    let speed = section.positive("speed");
    let late_rows = section.section("late", "feed.from.simulate.late").map(late);
    section.finish();
    Some(Simulate {
        model: model?,
        seed: random_seed.into(),
        rate,
        from: from?,
        span: hours.map(|hours| Duration::from_secs_f64(hours.min(HOURS_MAX) * 3600.0)),
        speed,
        late: late_rows.flatten(),
    })
}

fn late(mut section: Section<'_>) -> Option<LateRows> {
    let rows = section.integer("rows", 1..=1_000_000);
    let from = section.moment("from");
    let hours = section.positive("hours").unwrap_or(1.0).min(HOURS_MAX);
    let at = section.moment("at");
    for (key, help) in [
        ("rows", "rows = 312"),
        ("from", "from = \"2026-11-20T09:00:00Z\": the date of the first late event"),
        ("at", "at = \"2026-11-20T17:00:00Z\": the events around which they are sent"),
    ] {
        if !section.has(key) {
            section.missing(key, help);
        }
    }
    section.finish();
    Some(LateRows {
        rows: rows?,
        from: from?,
        span: Duration::from_secs_f64(hours * 3600.0),
        at: at?,
    })
}
