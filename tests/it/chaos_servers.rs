//! What chaos goes on at beside local files: real brokers and the emulators of Google's services,
//! which refuse, lose answers and hang on demand.

use crate::project::Project;
use crate::servers::{self, BigQuery, Brokers, ask, post};
use crate::storage::Storage;
use crate::tables;
use crate::wikimedia::RAW;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use std::time::Duration;
use tidemill::model::name::TopicName;

/// A member that is silent for so long is taken for dead; a sleeper of three of these is a zombie.
pub const SESSION: Duration = Duration::from_secs(2);

/// A stalled request takes effect when its writer may be dead, and its successor at work.
const STALL_MS_MAX: u64 = 8000;

pub struct Servers {
    brokers: &'static Brokers,
    storage: Storage,
    bigquery: BigQuery,
}

/// The share of one round in the servers.
pub struct Share<'a> {
    servers: &'a Servers,
    /// Google Cloud project, folder of the bucket, and what faults are about.
    name: String,
    topic: TopicName,
    /// The broker that is dead.
    dead: Option<u32>,
}

impl Servers {
    /// `None` where Java or Python are missing.
    pub fn start() -> Option<Self> {
        let brokers = servers::three_brokers()?;
        let storage = Storage::start();
        let bigquery = BigQuery::over(storage.folder.path())?;
        Some(Self { brokers, storage, bigquery })
    }

    /// Lets the project live at the servers.
    pub fn share(&self, project: &mut Project, round: u64) -> Share<'_> {
        let name = format!("chaos-round-{round}-x");
        project.on_brokers(&self.brokers.open);
        let session = SESSION.as_millis();
        project.set(&format!(
            "[kafka.properties]\n\"session.timeout.ms\" = \"{session}\"\n\"heartbeat.interval.ms\" = \"500\"\n\"topic.metadata.refresh.interval.ms\" = \"1000\"\n"
        ));
        project.in_bucket(&self.storage, &name);
        let address = &self.bigquery.address;
        project.set(&format!(
            "[warehouse]\nkind = \"bigquery\"\nproject = \"{name}\"\nlocation = \"EU\"\nendpoint = \"{address}\"\n"
        ));
        let topic = project.topic().parse().unwrap();
        Share { servers: self, name, topic, dead: None }
    }
}

impl Share<'_> {
    /// Where BigQuery's tables can be asked for.
    pub fn warehouse(&self) -> String {
        format!("{}/bigquery/v2/projects/{}", self.servers.bigquery.address, self.name)
    }

    /// `kill -9` of a broker, unless one is dead: then that one comes back.
    pub fn kill_broker(&mut self, random: &mut StdRng) -> bool {
        if self.dead.is_some() {
            self.revive_broker();
            return false;
        }
        let broker = random.random_range(1..=3);
        self.servers.brokers.kill(broker);
        self.dead = Some(broker);
        true
    }

    pub fn revive_broker(&mut self) {
        if let Some(broker) = self.dead.take() {
            self.servers.brokers.start(broker);
        }
    }

    /// Members come into the stream's consumer group and leave it, faster than it settles.
    pub fn storm(&self, project: &Project, random: &mut StdRng) -> bool {
        let Some(group) = tables::group(&project.lake(), RAW) else {
            return false;
        };
        for _ in 0..random.random_range(2..6) {
            let member: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &self.servers.brokers.open)
                .set("group.id", &group)
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("enable.auto.commit", "false")
                .set("session.timeout.ms", SESSION.as_millis().to_string())
                .set("heartbeat.interval.ms", "500")
                .create()
                .unwrap();
            member.subscribe(&[self.topic.as_str()]).unwrap();
            // It may own topic partitions now; what it reads is nobody's.
            drop(member.poll(Duration::from_millis(random.random_range(0..700))));
        }
        true
    }

    /// The next requests to Cloud Storage fail, in all ways together.
    pub fn storage_faults(&self, random: &mut StdRng) -> bool {
        let mut rules = Vec::new();
        for fault in ["before", "after", "stall_before", "stall_after"] {
            let status = *[429, 500, 503].choose(random).unwrap();
            rules.push(json!({
                "fault": fault,
                "status": status,
                "stall_ms": random.random_range(0..STALL_MS_MAX),
                "prefix": format!("lake/{}/", self.name),
                "probability": random.random_range(0.05..0.4),
                "seed": random.random::<u32>(),
                "next": random.random_range(1..15),
            }));
        }
        self.servers.storage.faults(&Value::from(rules).to_string());
        true
    }

    /// The next calls of BigQuery fail; a job that is held runs when it is released, or is cancelled.
    pub fn bigquery_faults(&self, random: &mut StdRng) -> bool {
        self.release();
        let fault = *["before", "after", "hold"].choose(random).unwrap();
        let (call, most) = if fault == "hold" { ("jobs.insert", 3) } else { ("any", 9) };
        let times = random.random_range(1..most);
        let fault = json!([{ "call": call, "fault": fault, "about": self.name, "times": times }]);
        post(&self.servers.bigquery.address, "/faults", &fault.to_string());
        true
    }

    fn release(&self) {
        post(&self.servers.bigquery.address, "/release", &self.name);
    }

    /// All works again.
    pub fn calm(&mut self) {
        self.revive_broker();
        self.servers.storage.faults("[]");
        post(&self.servers.bigquery.address, "/clear", &self.name);
        self.release();
    }

    /// Each job has come to its end.
    pub fn check_jobs(&self) -> Result<(), String> {
        let path =
            format!("/bigquery/v2/projects/{}/jobs?projection=full&maxResults=1000", self.name);
        let told = ask(&self.servers.bigquery.address, "GET", &path, "");
        let told: Value = serde_json::from_str(&told).unwrap();
        let jobs = told["jobs"].as_array().unwrap();
        assert!(!jobs.is_empty(), "no jobs: {told}");
        match jobs.iter().find(|job| job["status"]["state"] != "DONE") {
            Some(job) => Err(job.to_string()),
            None => Ok(()),
        }
    }
}
