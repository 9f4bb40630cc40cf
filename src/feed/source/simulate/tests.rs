use super::*;
use crate::model::job::SimulateModel;
use serde_json::Value;
use std::collections::HashSet;

fn model(seed: u64) -> Model {
    Model::new(&Simulate {
        model: SimulateModel::Recentchange,
        seed,
        rate: 5000.0,
        from: "2026-11-20T00:00:00Z".parse::<jiff::Timestamp>().unwrap().into(),
        span: Some(std::time::Duration::from_hours(24)),
        speed: None,
        late: None,
    })
}

/// The first hours of the day.
const SOME: u64 = 40_000;

fn lines() -> Vec<(EventTime, String)> {
    let model = model(7);
    let mut line = String::new();
    (0..SOME).map(|number| (model.write(number, &mut line), line.clone())).collect()
}

fn good() -> Vec<Value> {
    lines().iter().filter_map(|(_, line)| serde_json::from_str(line).ok()).collect()
}

#[track_caller]
fn check_share(what: impl Fn(&Value) -> bool, per_mille: std::ops::Range<usize>) {
    let events = good();
    let share = events.iter().filter(|event| what(event)).count() * 1000 / events.len();
    assert!(per_mille.contains(&share), "{share} per mille, not in {per_mille:?}");
}

#[test]
fn types_bots_and_wikis_have_their_measured_shares() {
    check_share(|event| event["type"] == "edit", 545..567);
    check_share(|event| event["type"] == "categorize", 366..388);
    check_share(|event| event["type"] == "log", 45..55);
    check_share(|event| event["bot"] == true, 400..420);
    check_share(|event| event["wiki"] == "commonswiki", 415..435);
    check_share(|event| event["id"].is_null(), 18..27);
    check_share(|event| event["patrolled"].is_boolean(), 405..435);
    check_share(|event| event["notify_url"].is_string(), 940..960);
}

#[test]
fn sizes_are_those_of_the_live_stream() {
    let mut sizes: Vec<_> = lines().iter().map(|(_, line)| line.len()).collect();
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((1_340..1_500).contains(&mean), "mean {mean}");
    let p95 = sizes[sizes.len() * 95 / 100];
    assert!((1_850..2_300).contains(&p95), "p95 {p95}");
}

#[test]
fn dates_are_out_of_order_as_often_as_measured_and_by_less_than_a_second() {
    let (mut newest, mut behind) = (i64::MIN, 0);
    for (at, _) in lines() {
        if at.0 < newest {
            behind += 1;
            assert!(newest - at.0 < 1_000_000, "{} µs behind", newest - at.0);
        }
        newest = newest.max(at.0);
    }
    assert!((440..590).contains(&behind), "{behind} of {SOME}");
}

#[test]
fn no_event_breaks_the_promise() {
    let model = model(7);
    let dates: Vec<_> = lines().iter().map(|(at, _)| *at).collect();
    let mut lowest = Micros::MAX;
    for number in (0..SOME).rev() {
        lowest = lowest.min(dates[usize::try_from(number).unwrap()]);
        assert!(model.promise(number) <= lowest, "event {number}");
    }
}

#[test]
fn about_one_in_5000_is_broken_and_one_an_hour_is_a_canary() {
    let lines = lines();
    let canaries = lines.iter().filter(|(_, line)| line.contains(r#""domain":"canary""#)).count();
    assert_eq!(canaries, 6);
    let broken = lines.iter().filter(|(at, line)| {
        let event = serde_json::from_str::<Value>(line).unwrap_or_default();
        event["meta"]["id"].is_null() || event["meta"]["dt"] != stamp(*at)
    });
    assert!((2..20).contains(&broken.count()));
}

#[test]
fn no_two_events_share_an_id() {
    let events = good();
    let ids: HashSet<_> = events.iter().filter_map(|event| event["meta"]["id"].as_str()).collect();
    assert!(ids.len() + 20 > events.len());
    let all: HashSet<_> = (0..216_000).map(|number| dice::uuid(7, number)).collect();
    assert_eq!(all.len(), 216_000);
}

#[test]
fn another_seed_is_another_world_and_the_same_seed_the_same() {
    let (mut first, mut second) = (String::new(), String::new());
    model(7).write(123, &mut first);
    model(7).write(123, &mut second);
    assert_eq!(first, second);
    model(8).write(123, &mut second);
    assert_ne!(first, second);
}
