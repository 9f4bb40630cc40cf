//! The demo's folder: the shipped pipeline with a feed of its own, an ordinary project afterwards.

use super::place::{EMULATORS, Place};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::dag::content_hash;
use crate::model::time::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository's files, in the binary: the demo needs nothing else.
const SHIPPED: [(&str, &str); 9] = [
    (
        "topics/wikimedia.recentchange.toml",
        include_str!("../../topics/wikimedia.recentchange.toml"),
    ),
    (
        "jobs/recentchange_collect/job.toml",
        include_str!("../../jobs/recentchange_collect/job.toml"),
    ),
    ("jobs/recentchange_land/job.toml", include_str!("../../jobs/recentchange_land/job.toml")),
    (
        "jobs/recentchange_by_hour/job.toml",
        include_str!("../../jobs/recentchange_by_hour/job.toml"),
    ),
    (
        "jobs/recentchange_by_hour/query.sql",
        include_str!("../../jobs/recentchange_by_hour/query.sql"),
    ),
    ("jobs/recentchange_by_day/job.toml", include_str!("../../jobs/recentchange_by_day/job.toml")),
    (
        "jobs/recentchange_by_day/query.sql",
        include_str!("../../jobs/recentchange_by_day/query.sql"),
    ),
    ("dags/wikimedia.toml", include_str!("../../dags/wikimedia.toml")),
    ("dags/wikimedia_daily.toml", include_str!("../../dags/wikimedia_daily.toml")),
];

/// The demo's day passes in a minute: what takes minutes in the shipped job takes seconds in it.
const FASTER: [(&str, &str); 2] =
    [("late_quiet   = \"1m\"", "late_quiet   = \"2s\""), ("every = \"5m\"", "every = \"1s\"")];

pub const EVENTS_PER_SEC: u32 = 5_000;
pub const LATE_ROWS: u32 = 312;
/// A replayed file takes about as long as the simulated day.
const REPLAY_SECS: f64 = 40.0;
const MARKER: &str = ".tidemill/demo.json";

/// Where the demo's events come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// 24 hours from this midnight on, with late rows for two of them.
    Simulated(Micros),
    /// A file of JSON lines, absolute, with its first and last date where it has any.
    File(PathBuf, Option<(Micros, Micros)>),
    /// Wikimedia's own stream: whom it may write to, and another server's address.
    Live { contact: String, url: Option<String> },
}

/// What the demo has written, to know its own folder again.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    files: BTreeMap<String, String>,
}

/// Fills `dir` with the project. It must be new, empty, or an earlier demo's that nobody has edited.
pub fn prepare(dir: &Path, input: &Input, place: &Place) -> Result<(), Error> {
    let doing = || format!("prepare {}", dir.display());
    clear(dir).doing(doing)?;
    let mut files: BTreeMap<String, String> = SHIPPED
        .iter()
        .map(|(path, text)| (place.named(path), place.named(&faster(text))))
        .collect();
    files.insert("tidemill.toml".to_owned(), settings(input));
    files.extend(place.overlay());
    for (path, text) in &files {
        write(&dir.join(path), text).doing(doing)?;
    }
    let files = files.into_iter().map(|(path, text)| (path, content_hash(&text))).collect();
    let marker = serde_json::to_string(&Marker { files }).unwrap_or_default();
    write(&dir.join(MARKER), &marker).doing(doing)
}

/// Removes an earlier demo; refuses what is somebody's work.
fn clear(dir: &Path) -> Result<(), Error> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(Error::new(ErrorKind::Input, err)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let another = "name a new or empty folder: demo --dir another-folder";
    let marker = fs::read_to_string(dir.join(MARKER)).ok();
    let marker = marker.and_then(|text| serde_json::from_str::<Marker>(&text).ok());
    let Some(marker) = marker else {
        return Err(Error::new(ErrorKind::Input, "the folder is not empty").remedy(another));
    };
    let home = dir.join(".tidemill");
    if [&home.join(EMULATORS), &home].iter().any(|home| crate::daemon::holder(home).is_some()) {
        return Err(Error::new(ErrorKind::Input, "the project in it is up").remedy(another));
    }
    for (path, hash) in &marker.files {
        let edited =
            fs::read_to_string(dir.join(path)).is_ok_and(|text| content_hash(&text) != *hash);
        if edited {
            let what = format!("{path} has been edited since the demo wrote it");
            return Err(Error::new(ErrorKind::Input, what).remedy(another));
        }
    }
    for path in marker.files.keys() {
        let _ = fs::remove_file(dir.join(path)); // It is written anew.
    }
    fs::remove_dir_all(home).map_err(|err| Error::new(ErrorKind::Input, err))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|err| Error::new(ErrorKind::Input, err))
        .doing(|| format!("write {}", path.display()))
}

fn faster(text: &str) -> String {
    FASTER.iter().fold(text.to_owned(), |text, (shipped, faster)| text.replace(shipped, faster))
}

fn settings(input: &Input) -> String {
    let feed = match input {
        Input::Simulated(midnight) => {
            let hour = |hours: i64| Micros(midnight.0 + hours * 3_600_000_000);
            format!(
                "[feeds.recentchange_collect.simulate]\n\
                 model = \"recentchange\"\n\
                 seed  = 7\n\
                 rate  = {EVENTS_PER_SEC}                          # events a second: an hour of them in two seconds\n\
                 from  = \"{midnight}\"\n\
                 hours = 24\n\
                 [feeds.recentchange_collect.simulate.late]\n\
                 rows  = {LATE_ROWS}                           # dated in two hours that have closed when they are sent\n\
                 from  = \"{}\"\n\
                 hours = 2\n\
                 at    = \"{}\"\n",
                hour(9),
                hour(17)
            )
        }
        Input::File(path, span) => {
            let file = toml_text(&path.display().to_string());
            let speed = span.map_or(String::new(), |(first, last)| {
                let speed = (last.since(first).as_secs_f64() / REPLAY_SECS).max(1.0);
                format!(
                    "speed = {speed:.0}                          # seconds of event time a second\n"
                )
            });
            format!("[feeds.recentchange_collect.replay]\nfile  = {file}\n{speed}")
        }
        Input::Live { contact, url } => {
            let agent = format!("tidemill-demo/{} ({contact})", env!("CARGO_PKG_VERSION"));
            let url = url.as_ref().map(|url| format!("url        = {}\n", toml_text(url)));
            format!(
                "[feeds.recentchange_collect.wikimedia]\nstreams    = [\"recentchange\"]\nuser_agent = {}\n{}",
                toml_text(&agent),
                url.unwrap_or_default()
            )
        }
    };
    format!(
        "# Written by `tidemill demo`; yours to edit.\nformat  = 1\nproject = \"demo\"\n\n\
         # Another source for the feed of jobs/recentchange_collect.\n{feed}"
    )
}

fn toml_text(text: &str) -> String {
    // JSON's escapes are TOML's, too.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::Environment;

    fn midnight() -> Input {
        Input::Simulated("2026-11-20T00:00:00Z".parse::<jiff::Timestamp>().unwrap().into())
    }

    #[test]
    fn what_the_demo_writes_is_a_project_without_problems() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("a \"b\".jsonl");
        std::fs::write(&file, "").unwrap();
        let contact = "data@example.org".to_owned();
        let live = Input::Live { contact, url: Some("http://127.0.0.1:9".to_owned()) };
        for input in [midnight(), Input::File(file, Some((Micros(0), Micros(9)))), live] {
            for place in [Place::Here, Place::Emulators("demo-1".into())] {
                prepare(dir.path(), &input, &place).unwrap();
                let nothing = Environment::default();
                let loaded = config::load(dir.path(), place.env(), &nothing).unwrap();
                // On BigQuery `check` says how many partitions a table may have.
                assert!(place != Place::Here || loaded.warnings.is_empty());
                assert_eq!(loaded.project.dags.len(), 2);
            }
        }
    }

    #[test]
    fn the_shipped_job_is_made_faster_where_it_waits() {
        for (shipped, _) in FASTER {
            assert!(SHIPPED.iter().any(|(_, text)| text.contains(shipped)), "{shipped}");
        }
    }

    #[test]
    fn a_folder_with_somebodys_work_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert_eq!(
            prepare(dir.path(), &midnight(), &Place::Here).unwrap_err().kind,
            ErrorKind::Input
        );
        assert!(dir.path().join("thesis.txt").exists());
    }

    #[test]
    fn an_earlier_demo_is_replaced_unless_it_was_edited() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), &midnight(), &Place::Here).unwrap();
        prepare(dir.path(), &midnight(), &Place::Here).unwrap();
        fs::write(dir.path().join("dags/wikimedia.toml"), "doc = \"mine\"").unwrap();
        let error = prepare(dir.path(), &midnight(), &Place::Here).unwrap_err();
        assert!(error.to_string().contains("dags/wikimedia.toml has been edited"), "{error}");
    }
}
