//! Where the demo runs: on folders of this machine, or on the emulators' servers.

use crate::config;
use crate::config::Environment;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::project::Project;
use crate::model::settings::{Kafka, LakeUrl, Warehouse};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

pub const EMULATORS: &str = "emulators";
const OVERLAY: &str = include_str!("../../tidemill.emulators.toml");
const TOPIC: &str = "wikimedia.recentchange";
/// They are on this machine.
const ANSWER_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Here,
    /// Servers keep what an earlier demo has left, so each has a topic, a folder of the bucket and a
    /// BigQuery project of its own, named by this word.
    Emulators(String),
}

impl Place {
    /// What `--env` asks for.
    pub fn of(env: Option<&str>) -> Result<Self, Error> {
        match env {
            None => Ok(Self::Here),
            Some(EMULATORS) => {
                let word = Uuid::new_v4().simple().to_string();
                Ok(Self::Emulators(format!("demo-{}", &word[..8])))
            }
            Some(other) => {
                let problem = format!("the demo has no environment `{other}`");
                Err(Error::new(ErrorKind::Input, problem)
                    .remedy("leave --env out, or run it on the emulators: --env emulators"))
            }
        }
    }

    pub fn env(&self) -> Option<&'static str> {
        match self {
            Self::Here => None,
            Self::Emulators(_) => Some(EMULATORS),
        }
    }

    /// A shipped path or text as it is here: only the topic has another name.
    pub fn named(&self, text: &str) -> String {
        match self {
            Self::Here => text.to_owned(),
            Self::Emulators(word) => text.replace(TOPIC, &format!("{TOPIC}.{word}")),
        }
    }

    /// The environment's file, by its name.
    pub fn overlay(&self) -> Option<(String, String)> {
        let Self::Emulators(word) = self else { return None };
        let lines = OVERLAY.lines().map(|line| match line.split_once(" = \"") {
            Some((key, value)) if key.trim_end() == "url" => {
                format!("{key} = \"{}/{word}\"", value.trim_end_matches('"'))
            }
            Some((key, _)) if key.trim_end() == "project" => format!("{key} = \"{word}\""),
            Some(_) | None => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        Some((format!("tidemill.{EMULATORS}.toml"), text))
    }

    /// The project that was written to `dir`. Where the emulators are may be set from outside, by
    /// `TIDEMILL_CONFIG__…`; the demo here is the same everywhere.
    pub fn load(&self, dir: &Path, environment: &Environment) -> Result<Project, Error> {
        let nothing = Environment::default();
        let environment = match self {
            Self::Here => &nothing,
            Self::Emulators(_) => environment,
        };
        Ok(config::load(dir, self.env(), environment)?.project)
    }

    /// Whether the servers are up: they are asked before anything waits for them.
    pub fn answers(&self, project: &Project) -> Result<(), Error> {
        if *self == Self::Here {
            return Ok(());
        }
        let settings = &project.settings;
        let kafka = match &settings.kafka {
            Kafka::Brokers { servers, .. } => servers.split(',').next(),
            Kafka::Embedded { .. } => None,
        };
        let storage = match &settings.lake {
            LakeUrl::Bucket(bucket) => bucket.endpoint.as_deref(),
            LakeUrl::Folder(_) => None,
        };
        let bigquery = match &settings.warehouse {
            Warehouse::BigQuery(bigquery) => bigquery.endpoint.as_deref(),
            Warehouse::Local(_) => None,
        };
        for (what, address) in
            [("Kafka", kafka), ("Cloud Storage", storage), ("BigQuery", bigquery)]
        {
            let Some(address) = address else { continue };
            let host = address.trim_start_matches("http://");
            connect(host)
                .map_err(|err| {
                    Error::new(ErrorKind::Unavailable, format!("{what} does not answer: {err}"))
                        .remedy("start the emulators: emulators/up, or docker compose up")
                })
                .doing(|| format!("ask {host}"))?;
        }
        Ok(())
    }

    /// The table of the warehouse, for a reader who looks for it.
    pub fn warehouse(&self, dir: &Path) -> String {
        match self {
            Self::Here => dir.join(".tidemill/warehouse").display().to_string(),
            Self::Emulators(word) => format!("BigQuery, project {word}"),
        }
    }
}

fn connect(host: &str) -> std::io::Result<()> {
    let address = host.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| std::io::Error::other("it has no address"))?;
    TcpStream::connect_timeout(&address, ANSWER_MAX).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_emulators_each_demo_has_names_of_its_own() {
        let place = Place::Emulators("demo-1".into());
        assert_eq!(
            place.named("topic = \"wikimedia.recentchange\""),
            "topic = \"wikimedia.recentchange.demo-1\""
        );
        let (name, text) = place.overlay().unwrap();
        assert_eq!(name, "tidemill.emulators.toml");
        assert!(text.contains("url      = \"gs://tidemill-lake/demo-1\"\n"), "{text}");
        assert!(text.contains("project  = \"demo-1\"\n"), "{text}");
        assert_ne!(Place::of(Some(EMULATORS)).unwrap(), Place::of(Some(EMULATORS)).unwrap());
    }

    #[test]
    fn the_demo_runs_here_or_on_the_emulators() {
        assert_eq!(Place::of(None).unwrap(), Place::Here);
        let refused = Place::of(Some("gcp")).unwrap_err();
        assert_eq!(refused.to_string(), "the demo has no environment `gcp`");
    }
}
