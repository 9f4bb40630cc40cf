//! Reads `tidemill.toml`, with its environment laid over it: where things are, and how much of them.
//!
//! Every key may be left out; what is left out lives in the environment's own folder.

use super::feed::FeedOverride;
use super::node::Node;
use super::problem::{At, Place, Problem, Sink, names_a_secret};
use super::section::Section;
use super::value::{env_value, url};
use super::{feed, lake, warehouse};
use crate::model::name::ProjectName;
use crate::model::secret::EnvValue;
use crate::model::secret::Secret;
use crate::model::settings::{Kafka, Limits, Settings};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FORMAT: u32 = 1;
const BATCH_MEMORY_BYTES: u64 = 1 << 30;
const STREAM_MEMORY_BYTES: u64 = 256 << 20;
const KEEP_RUNS: Duration = Duration::from_hours(90 * 24);
/// A year and a month: whoever audits a year finds all of it.
const KEEP_REQUESTS: Duration = Duration::from_hours(400 * 24);
const KEEP_TOPICS_BYTES: u64 = 2 << 30;

/// `None` with at least one problem in `sink`.
pub fn read(
    root: &Path,
    env: &str,
    node: &Node,
    sink: &Sink,
) -> (Option<Settings>, Vec<FeedOverride>) {
    let Some(mut section) = Section::open("settings", node, sink) else {
        return (None, Vec::new());
    };
    if let Some(format) = section.integer("format", 1..=u32::MAX)
        && format != FORMAT
        && let Some(entry) = section.take("format")
    {
        let title = format!("format {format} is newer than this Tidemill, which reads format 1");
        sink.push(Problem::error(title, &entry.node.place).help("install a newer Tidemill"));
    }
    let home = home(root, env);
    let project = section.parsed::<ProjectName>("project").map(|name| name.value);
    let project = project.or_else(|| "tidemill".parse().ok());
    let limits = limits(section.section("limits", "settings.limits"));
    let state = state(section.section("state", "settings.state"), root, &home);
    let kafka = kafka(section.section("kafka", "settings.kafka"), &home, limits.1);
    let lake = lake::read(section.section("lake", "settings.lake"), root, &home);
    let warehouse = section.section("warehouse", "settings.warehouse");
    let warehouse = warehouse::read(warehouse, lake.as_ref(), root, &home);
    let feeds = section.named("feeds").iter().filter_map(|entry| {
        let from = feed::read(Section::open("feed.from", &entry.node, sink)?)?;
        let job = At { value: entry.key.clone(), place: entry.key_place.clone() };
        Some(FeedOverride { job, from })
    });
    let feeds = feeds.collect();
    section.finish();
    let settings = (|| {
        let (project, state, kafka) = (project?, state?, kafka?);
        let (lake, warehouse, env) = (lake?, warehouse?, env.to_owned());
        Some(Settings { project, env, home, state, kafka, lake, warehouse, limits: limits.0 })
    })();
    (settings, feeds)
}

/// `.tidemill/`, or `.tidemill/<env>/`.
fn home(root: &Path, env: &str) -> PathBuf {
    let home = root.join(".tidemill");
    if env == super::DEFAULT_ENV { home } else { home.join(env) }
}

/// The limits, and how many bytes an embedded topic keeps.
fn limits(section: Option<Section<'_>>) -> (Limits, u64) {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut limits = Limits {
        parallelism: u32::try_from(cores).unwrap_or(u32::MAX),
        batch_memory_bytes: BATCH_MEMORY_BYTES,
        stream_memory_bytes: STREAM_MEMORY_BYTES,
        keep_runs: KEEP_RUNS,
        keep_requests: KEEP_REQUESTS,
    };
    let Some(mut section) = section else { return (limits, KEEP_TOPICS_BYTES) };
    let written = section.integer("parallelism", 1..=1024);
    limits.parallelism = written.unwrap_or(limits.parallelism);
    limits.batch_memory_bytes = section.size("batch_memory").unwrap_or(BATCH_MEMORY_BYTES);
    limits.stream_memory_bytes = section.size("stream_memory").unwrap_or(STREAM_MEMORY_BYTES);
    limits.keep_runs = section.span("keep_runs").unwrap_or(KEEP_RUNS);
    limits.keep_requests = section.span("keep_requests").unwrap_or(KEEP_REQUESTS);
    let keep_topics = section.size("keep_topics").unwrap_or(KEEP_TOPICS_BYTES);
    section.finish();
    (limits, keep_topics)
}

fn state(section: Option<Section<'_>>, root: &Path, home: &Path) -> Option<PathBuf> {
    let Some(mut section) = section else { return Some(home.join("state.db")) };
    let url = url(&mut section, "sqlite:", "sqlite:.tidemill/state.db", root);
    section.finish();
    url.unwrap_or_else(|| Some(home.join("state.db")))
}

fn kafka(section: Option<Section<'_>>, home: &Path, keep_bytes: u64) -> Option<Kafka> {
    let embedded = Kafka::Embedded { dir: home.join("topics"), keep_bytes };
    let Some(mut section) = section else { return Some(embedded) };
    let brokers = section.text("brokers");
    let has_properties = section.has("properties");
    let sink = section.sink();
    let entries = section.named("properties").iter();
    let properties: BTreeMap<_, _> = entries
        .filter_map(|entry| {
            if OURS.contains(&entry.key.as_str()) {
                let title = format!("`{}` is set by Tidemill itself", entry.key);
                let help = "rows would be lost or doubled with another value: leave it out";
                sink.push(Problem::error(title, &entry.key_place).help(help));
            }
            let value = env_value(&entry.node, sink)?;
            refuse_written_secret(&entry.key, &value, &entry.node.place, sink);
            Some((entry.key.clone(), hidden(&entry.key, value, &entry.node.place)))
        })
        .collect();
    let place = section.take("properties").map(|entry| entry.key_place.clone());
    section.finish();
    match brokers {
        Some(brokers) if brokers.value != "embedded" => {
            servers(&brokers, sink).map(|servers| Kafka::Brokers { servers, properties })
        }
        Some(_) | None => {
            if let Some(place) = place.filter(|_| has_properties) {
                let title = "the embedded topics take no properties";
                sink.push(Problem::warning(title, &place).help("set brokers = \"host:port\""));
            }
            Some(embedded)
        }
    }
}

/// Properties on which it rests that each row counts once.
const OURS: [&str; 13] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "transactional.id",
];

fn servers(brokers: &At<String>, sink: &Sink) -> Option<String> {
    let server = |server: &str| {
        let (host, port) = server.trim().rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| server.trim().to_owned())
    };
    let servers: Option<Vec<_>> = brokers.value.split(',').map(server).collect();
    if servers.is_none() {
        let title = format!("`{}` names no brokers", brokers.value);
        let help = "write \"embedded\", or \"host:port,host:port\"";
        sink.push(Problem::error(title, &brokers.place).help(help));
    }
    servers.map(|servers| servers.join(","))
}

/// A secret that stands in a file is in its history for ever.
fn refuse_written_secret(key: &str, value: &EnvValue, place: &Place, sink: &Sink) {
    if names_a_secret(key) && matches!(value, EnvValue::Text(_)) && variable(place).is_none() {
        let title = format!("`{key}` is a secret, and it is written here as text");
        // Its own place would print it again.
        let help =
            "write { env = \"NAME\" } or { file = \"/run/secrets/name\" }, and change the secret";
        sink.push(Problem::error(title, &place.start()).help(help));
    }
}

/// A secret set by the process's environment stays there; we keep the variable's name.
fn hidden(key: &str, value: EnvValue, place: &Place) -> EnvValue {
    match variable(place) {
        Some(name) if names_a_secret(key) => EnvValue::Secret(Secret::Env(name.to_owned())),
        _ => value,
    }
}

fn variable(place: &Place) -> Option<&str> {
    Some(place.source.name.as_str()).filter(|name| name.starts_with(super::environment::PREFIX))
}
