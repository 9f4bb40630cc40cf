//! Every screen, as a table and as JSON, from fixed facts at a fixed time.

mod bed;
mod held_up;

use super::{dags, lake, partitions, runs, status, streams, why};
use crate::error::Error;
use crate::lake::verify::Severity;
use crate::model::settings::LakeUrl;
use crate::store::runs::Wanted;
use crate::terminal::context::block_on;
use crate::terminal::print;
use crate::terminal::screen::Times;
use crate::view;
use crate::view::Stamp;
use crate::view::definitions::Definitions;
use crate::view::up::Up;
use bed::{Bed, at, key, times};
use jiff::tz::TimeZone;
use serde::Serialize;

const FAILED: &str = "close-2026-11-20T18-r1";

/// What a test has seen of a project: its screen, then its facts as `-o json` prints them.
fn seen(look: impl AsyncFnOnce(&Bed) -> Result<String, Error>) -> String {
    block_on(async {
        let bed = Bed::new().await;
        let seen = look(&bed).await?;
        Ok(bed.without_hashes(&seen).await)
    })
    .unwrap()
}

fn both<T: Serialize>(facts: &T, screen: impl FnOnce(&T) -> String) -> String {
    let json = serde_json::to_string_pretty(facts).unwrap();
    format!("{}\n{json}", screen(facts))
}

/// Only the first of many facts of one kind: the others would say the same.
fn both_of_one<T: Serialize>(facts: &[T], screen: impl FnOnce(&[T]) -> String) -> String {
    let json = serde_json::to_string_pretty(&facts[0]).unwrap();
    format!("{}\n{json}", screen(facts))
}

fn up() -> Up {
    Up { pid: 40_112, since: Stamp(at("2026-11-21T06:02:00Z")), restart_for: Vec::new() }
}

#[test]
fn status_names_what_runs_and_what_needs_a_person() {
    let told = seen(async |bed| {
        let times = times();
        let settings = &bed.project.settings;
        let facts = view::status::status(&bed.store, settings, Some(up())).await?;
        Ok(both(&facts, |facts| status::screen(facts, &bed.context, &times)))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn a_stream_that_has_just_started_has_the_last_commit_of_the_one_before() {
    let told = seen(async |bed| {
        let began = at("2026-11-21T09:14:00Z");
        let stream = bed.store.stream("wikimedia.land").await?.unwrap();
        bed.store.heartbeat(&stream.id, stream.epoch, &<_>::default(), began).await?;
        let definitions = Definitions::read(&bed.store).await?;
        let lines = view::streams::lines(&bed.store, &definitions).await?;
        Ok(streams::stream_grid(&lines, &times()))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn times_are_shown_in_the_zone_that_was_asked_for() {
    let told = seen(async |bed| {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let times = Times { zone, ..times() };
        let definitions = Definitions::read(&bed.store).await?;
        let lines = view::streams::lines(&bed.store, &definitions).await?;
        Ok(streams::stream_grid(&lines, &times))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn tasks_why_tells_what_failed_and_how_to_go_on() {
    let told = seen(async |bed| {
        let Bed { context, project, store, .. } = bed;
        let run = runs::find(context, store, "wikimedia", FAILED).await?;
        let facts = why::facts(context, project, store, &run, times()).await?;
        Ok(both(&why::explain(&facts), why::screen))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn streams_list_is_a_line_a_stream() {
    let told = seen(async |bed| {
        let definitions = Definitions::read(&bed.store).await?;
        let lines = view::streams::lines(&bed.store, &definitions).await?;
        Ok(both(&lines, |lines| streams::stream_grid(lines, &times())))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn streams_show_names_what_it_reads_and_who_holds_the_watermark() {
    let told = seen(async |bed| {
        let stream = bed.store.stream("wikimedia.land").await?.unwrap();
        let since = Some(up().since.0.plus(std::time::Duration::from_hours(1)));
        let project = &bed.project.settings.project;
        let shown = view::streams::show(&bed.store, project, &stream, since).await?;
        Ok(both(&shown, |shown| streams::screen(shown, &times())))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn streams_show_of_a_feed_tells_what_it_has_sent() {
    let told = seen(async |bed| {
        let stream = bed.store.stream("wikimedia.collect").await?.unwrap();
        let (project, since) = (&bed.project.settings.project, Some(up().since.0));
        let shown = view::streams::show(&bed.store, project, &stream, since).await?;
        Ok(streams::screen(&shown, &times()))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn partitions_list_draws_the_hours_of_two_days() {
    let told = seen(async |bed| {
        let table = partitions::find(&bed.context, &bed.store, "raw.changes").await?;
        let listed = view::partitions::list(&bed.store, &table).await?;
        Ok(both(&listed, partitions::list_screen))
    });
    insta::assert_snapshot!(told);
}

/// The screen of one hour; the lake, which the bed has none of, adds what was quarantined.
async fn partition(bed: &Bed, hour: &str, quarantined: u64, late: u64) -> Result<String, Error> {
    let table = partitions::find(&bed.context, &bed.store, "raw.changes").await?;
    let times = times();
    partitions::check_grain(&bed.context, &table, key(hour))?;
    let mut shown = view::partitions::show(&bed.store, &table, key(hour)).await?;
    (shown.quarantined, shown.late_rows) = (Some(quarantined), late);
    Ok(both(&shown, |shown| partitions::show_screen(shown, &bed.context, &times)))
}

#[test]
fn partitions_show_of_an_open_hour_tells_what_it_waits_for() {
    insta::assert_snapshot!(seen(async |bed| partition(bed, "2026-11-21T08", 2, 0).await));
}

#[test]
fn partitions_show_of_an_hour_that_is_held_tells_by_whom() {
    let told = seen(async |bed| {
        let stream = bed.store.stream("wikimedia.collect").await?.unwrap();
        let note = "disconnected (HTTP 429), tries again in 38 s".to_owned();
        let progress = crate::model::stream::StreamProgress { note: Some(note), ..<_>::default() };
        let now = at("2026-11-21T09:14:00Z");
        bed.store.heartbeat(&stream.id, stream.epoch, &progress, now).await?;
        partition(bed, "2026-11-21T08", 0, 0).await
    });
    insta::assert_snapshot!(told);
}

#[test]
fn partitions_show_of_an_hour_that_closed_twice_has_both_runs() {
    insta::assert_snapshot!(seen(async |bed| partition(bed, "2026-11-20T14", 0, 9_000).await));
}

#[test]
fn a_key_of_another_grain_is_refused() {
    let told = seen(async |bed| {
        let error = partition(bed, "2026-11-20", 0, 0).await.unwrap_err();
        Ok(print::error_text(&error))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn runs_list_has_the_newest_first() {
    let told = seen(async |bed| {
        let wanted = Wanted { most: 4, ..Wanted::default() };
        let listed = view::runs::list(&bed.store, &wanted).await?;
        Ok(both_of_one(&listed, |listed| runs::list_screen(listed, &times())))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn runs_show_has_what_it_reads_and_its_tasks() {
    let told = seen(async |bed| {
        let run = runs::find(&bed.context, &bed.store, "wikimedia", FAILED).await?;
        let shown = view::runs::show(&bed.store, run).await?;
        Ok(both(&shown, |shown| runs::screen(shown, &times())))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn dags_list_says_what_comes_next() {
    let told = seen(async |bed| {
        let all = view::dags::list(&bed.store).await?;
        Ok(both_of_one(&all, |all| dags::list_screen(all, &times())))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn dags_show_has_its_streams_and_tasks() {
    let told = seen(async |bed| {
        let dag = dags::find(&bed.context, &bed.store, "wikimedia").await?;
        let facts = view::dags::show(&bed.store, &dag).await?;
        Ok(dags::screen(&facts, &times()))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn a_lake_that_is_gone_or_empty_is_told_and_none_is_made() {
    seen(async |bed| {
        let Bed { context, project, .. } = bed;
        let LakeUrl::Folder(folder) = &project.settings.lake else { panic!("it is a folder") };
        let table = "raw.changes".parse().unwrap();
        let told = lake::verify(context, project, &table).await?;
        assert_eq!(told.worst(), Some(Severity::Damage));
        assert!(!folder.exists());
        std::fs::create_dir_all(folder).unwrap();
        let told = lake::verify(context, project, &table).await?;
        assert_eq!(told.worst(), Some(Severity::Damage));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
        Ok(String::new())
    });
}
