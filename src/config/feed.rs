//! Reads where a feed's events come from: in its job, or in `[feeds]` of an environment.

use super::problem::At;
use super::problem::Problem;
use super::section::Section;
use crate::model::job::FeedFrom;
use crate::model::job::LateRows;
use crate::model::job::Replay;
use crate::model::job::Simulate;
use crate::model::job::SimulateModel;
use std::time::Duration;

/// Events a second, as measured on the real stream.
const RATE: f64 = 37.0;
/// A thousand years: more overflows event time.
const HOURS_MAX: f64 = 8_766_000.0;

/// Where events come from, and where that names a file.
#[derive(Clone, Debug)]
pub struct FeedSource {
    pub from: FeedFrom,
    pub file: Option<At<String>>,
}

/// Reads `{ replay = {…} }` or `{ simulate = {…} }`: in a job, or in `[feeds]` of an environment.
pub fn read(mut from: Section<'_>) -> Option<FeedSource> {
    let replay = from.section("replay", "feed.from.replay").map(replay);
    let simulate = from.section("simulate", "feed.from.simulate").map(simulate);
    if replay.is_some() && simulate.is_some() {
        let title = "a feed has one source";
        from.sink().push(Problem::error(title, &from.place).help("leave out replay or simulate"));
    } else if replay.is_none() && simulate.is_none() && !from.has_any() {
        from.missing("replay or simulate", "simulate = { model = \"recentchange\" }");
    }
    from.finish();
    match (replay, simulate) {
        (Some(replay), None) => replay,
        (None, Some(simulate)) => {
            simulate.map(|simulate| FeedSource { from: FeedFrom::Simulate(simulate), file: None })
        }
        _ => None,
    }
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
