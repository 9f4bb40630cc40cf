//! Brokers that want an account: `SASL_SSL` with SCRAM-SHA-512.

use crate::project::{Project, wait_until};
use crate::servers::{self, Brokers, PASSWORD, USER};
use crate::tables;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use tidemill::clock::Clock;
use tidemill::error::{Error, ErrorKind};
use tidemill::kafka::{Cluster, Outgoing, TopicFacts};

const WRONG: &str = "neap-tide-7f3a";

fn cluster(brokers: &Brokers, password: &str, ca: &str) -> Cluster {
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", USER),
        ("sasl.password", password),
        ("ssl.ca.location", ca),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Cluster::Brokers { servers: brokers.secure.clone(), properties: BTreeMap::from(properties) }
}

fn ensure(cluster: &Cluster) -> Result<TopicFacts, Error> {
    let topic = format!("t-{}", uuid::Uuid::new_v4().simple()).parse().unwrap();
    cluster.ensure_topic(&topic, 1, Duration::from_hours(1))?;
    let mut producer = cluster.producer(&topic, &Clock::system())?;
    producer.send(Outgoing { payload: Some(b"x"), ..Outgoing::default() })?;
    producer.flush()?;
    cluster.facts(&topic).map(Option::unwrap)
}

#[test]
fn the_right_password_reads_and_writes() {
    let Some(brokers) = servers::broker() else { return };
    ensure(&cluster(brokers, PASSWORD, &brokers.ca)).unwrap();
}

#[test]
fn a_wrong_password_is_told_with_broker_and_mechanism_and_without_itself() {
    let Some(brokers) = servers::broker() else { return };
    let error = ensure(&cluster(brokers, WRONG, &brokers.ca)).unwrap_err();
    let told = error.to_string();
    assert_eq!(error.kind, ErrorKind::Input, "{told}");
    assert!(told.contains(&brokers.secure) && told.contains("SCRAM-SHA-512"), "{told}");
    assert!(error.remedy.as_ref().unwrap().contains("[kafka.properties]"), "{error:?}");
    assert!(!format!("{error:?}").contains(WRONG), "{error:?}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_told() {
    let Some(brokers) = servers::broker() else { return };
    let error = ensure(&cluster(brokers, PASSWORD, "/etc/ssl/certs/ca-certificates.crt"));
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Feed and stream wait for a person while the password is wrong, then land what there is.
#[test]
fn a_password_from_a_file_is_read_when_it_is_needed_and_written_nowhere() {
    let Some(brokers) = servers::broker() else { return };
    let mut project = Project::shipped();
    project.on_brokers(&brokers.secure);
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), format!("{WRONG}\n")).unwrap();
    let text = fs::read_to_string(project.path("tidemill.toml")).unwrap();
    let properties = format!(
        "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = \"{USER}\"\n\"sasl.password\" = {{ file = \"{}\" }}\n\
         \"ssl.ca.location\" = \"{}\"\n",
        secret.path().display(),
        brokers.ca,
    );
    project.write("tidemill.toml", &format!("{text}{properties}"));
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/made-up-day.jsonl.gz");
    project.feed_from(&format!("replay = {{ file = \"{}\" }}", file.display()));
    project.edit("jobs/recentchange_land/job.toml", "every = \"5m\"", "every = \"200ms\"");
    let daemon = project.up();
    let shown = wait_until("the stream waits for a person", || {
        let shown = project.tidemill(&["streams", "show", "wikimedia.land"]).out;
        if shown.contains("waits") { Ok(shown) } else { Err(shown) }
    });
    assert!(shown.contains(&brokers.secure) && shown.contains("SCRAM-SHA-512"), "{shown}");
    fs::write(secret.path(), format!("{PASSWORD}\n")).unwrap();
    for stream in ["wikimedia.collect", "wikimedia.land"] {
        wait_until("it is waited for", || {
            let shown = project.tidemill(&["streams", "show", stream]).out;
            if shown.contains("waits") { Ok(()) } else { Err(shown) }
        });
        let started = project.tidemill(&["streams", "start", stream]);
        assert_eq!(started.code, Some(0), "{started:?}");
    }
    wait_until("rows land", || {
        let landed = tables::records(&project.lake(), crate::wikimedia::RAW);
        let landed: u64 = landed.iter().map(|record| record.counts.landed).sum();
        if landed >= 960 { Ok(()) } else { Err(landed.to_string()) }
    });
    daemon.stop();
    for file in tables::files(&project.path(".")) {
        let bytes = fs::read(&file).unwrap_or_default();
        for secret in [WRONG, PASSWORD] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} has the password", file.display());
        }
    }
}
