//! Events of every kind: each lands, or is set aside with a reason that names the field.

use crate::project::{Project, wait_until};
use crate::tables;
use crate::wikimedia::{RAW, sample};
use std::fs;
use std::path::Path;

/// Replays the file; returns how many events landed and were dropped, and why the others did not.
fn replay(project: &Project, file: &Path) -> (usize, u64, Vec<String>) {
    project.feed_from(&format!("replay = {{ file = \"{}\" }}", file.display()));
    project.edit("jobs/recentchange_land/job.toml", "every = \"5m\"", "every = \"200ms\"");
    let lines = fs::read_to_string(file).unwrap().lines().count() as u64;
    let daemon = project.up();
    wait_until("each event has gone somewhere", || {
        let counts = tables::records(&project.lake(), RAW).into_iter().map(|record| record.counts);
        let gone = counts.map(|its| its.landed + its.quarantined + its.dropped).sum::<u64>();
        if gone >= lines { Ok(()) } else { Err(format!("{gone} of {lines}")) }
    });
    daemon.stop();
    let records = tables::records(&project.lake(), RAW);
    let gone = records.iter().map(|record| &record.counts);
    let gone: u64 = gone.map(|its| its.landed + its.quarantined + its.dropped).sum();
    assert_eq!(gone, lines, "landed + quarantined + dropped = lines");
    let dropped = records.iter().map(|record| record.counts.dropped).sum();
    let landed = tables::files(&project.lake().join("raw/recentchange"));
    let landed = landed.iter().map(|file| tables::origins(file).unwrap().len()).sum();
    let aside = tables::files(&project.lake().join("_tidemill").join(RAW).join("quarantine"));
    let reasons = aside.iter().flat_map(|file| tables::texts(file, "reason")).collect();
    (landed, dropped, reasons)
}

#[test]
fn each_real_event_lands_or_its_reason_names_the_field() {
    let Some(file) = sample("recentchange-real-varied.jsonl") else { return };
    let (landed, dropped, reasons) = replay(&Project::shipped(), &file);
    println!("{landed} landed, {dropped} dropped, quarantined: {reasons:#?}");
    assert_eq!(landed + reasons.len(), 15);
    assert_eq!(dropped, 0, "none is a canary");
    let fields = ["meta.", "id", "type", "wiki"];
    let named = |reason: &&String| fields.iter().any(|field| reason.contains(field));
    assert_eq!(reasons.iter().find(|reason| !named(reason)), None);
}

#[test]
fn each_broken_event_is_set_aside_and_its_reason_names_the_field() {
    let project = Project::shipped();
    let event = |id: &str, dt: &str, more: &str| {
        format!(r#"{{"meta":{{"id":{id},"dt":"{dt}","domain":"a.org"}}{more}}}"#)
    };
    let now = "2026-11-20T05:00:00Z";
    let good = event("\"good\"", now, r#","wiki":"a","bot":true,"length":{"old":1,"new":3}"#);
    let broken = [
        (event("null", now, ""), "meta.id: "),
        (event("\"1\"", "yesterday", ""), "meta.dt: "),
        (event("\"2\"", "2999-01-01T00:00:00Z", ""), "meta_dt: "),
        (event("\"3\"", now, r#","id":"one""#), "id: "),
        (event("\"4\"", now, r#","id":99999999999999999999"#), "id: "),
        (event("\"5\"", now, r#","bot":"maybe""#), "bot: "),
        (event("\"6\"", now, r#","length":{"old":1.5}"#), "length.old: "),
        (event("\"7\"", now, r#","wiki":{"name":"a"}"#), "wiki: "),
        (r#"{"meta":{"id":"8""#.to_owned(), "invalid JSON"),
        ("[1]".to_owned(), "the message: "),
    ];
    let lines: Vec<_> =
        broken.iter().map(|(line, _)| line.as_str()).chain([good.as_str()]).collect();
    project.write("events.jsonl", &(lines.join("\n") + "\n"));
    let (landed, dropped, mut reasons) = replay(&project, &project.path("events.jsonl"));
    println!("{reasons:#?}");
    assert_eq!((landed, dropped, reasons.len()), (1, 0, broken.len()));
    for (line, field) in broken {
        let found = reasons.iter().position(|reason| reason.starts_with(field));
        let found = found.unwrap_or_else(|| panic!("no reason names {field}, for {line}"));
        reasons.remove(found);
    }
}
