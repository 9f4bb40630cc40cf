//! `tidemill doctor` on the emulators, on one that forgets conditions, and on settings that don't fit.

use crate::project::{Project, wait_until};
use crate::servers;
use crate::storage::Storage;
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};

/// The findings about one system, as `ok|warn|bad what: seen`.
fn found(project: &Project, system: &str) -> (Option<i32>, Vec<String>) {
    let answer = project.tidemill(&["-o", "json", "doctor"]);
    let systems: Value = serde_json::from_str(&answer.out).unwrap_or_else(|_| panic!("{answer:?}"));
    let one = systems.as_array().unwrap().iter().find(|one| one["name"] == system).unwrap();
    let line = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}; {}", text("health"), text("what"), text("seen"), text("remedy"))
    };
    (answer.code, one["findings"].as_array().unwrap().iter().map(line).collect())
}

fn on_emulators(storage: &Storage, bigquery: &servers::BigQuery, location: &str) -> Project {
    let mut project = Project::shipped();
    project.in_bucket(storage, "wiki");
    project.in_bigquery(&bigquery.address);
    project.edit("tidemill.toml", "location = \"EU\"", &format!("location = \"{location}\""));
    project
}

#[test]
fn the_emulators_do_what_we_rely_on() {
    let storage = Storage::start();
    let Some(bigquery) = servers::BigQuery::over(storage.folder.path()) else { return };
    // A bucket of the emulator is in the US unless it is asked to lie elsewhere.
    let project = on_emulators(&storage, &bigquery, "US");
    let (code, findings) = found(&project, "warehouse");
    assert_eq!(code, Some(0), "{findings:?}");
    let begins = |start: &str| findings.iter().any(|finding| finding.starts_with(start));
    for start in [
        "good it accepts a job and returns its result",
        "good the service's clock and this machine's agree",
        "good the lake's bucket is in the location of the jobs: bucket US, jobs US",
        "warning data set agg is in the location of the jobs: the first load creates it",
    ] {
        assert!(begins(start), "{start} is not in {findings:?}");
    }
    check_fresh(&project);
}

/// What there is nothing of yet is told, and not made.
fn check_fresh(project: &Project) {
    let (_, findings) = found(project, "lake");
    let none = "warning the lake opens, and is this project's: there is none yet";
    assert!(findings[0].starts_with(none), "{findings:?}");
    assert!(findings[1..].iter().all(|finding| finding.starts_with("good")), "{findings:?}");
    let left = Command::new("find").arg(project.lake()).args(["-type", "f"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "left in the bucket");
}

#[test]
fn a_store_that_loses_an_answer_is_not_condemned() {
    let storage = Storage::start();
    let mut project = Project::shipped();
    project.in_bucket(&storage, "wiki");
    storage.faults(r#"[{ "fault": "after", "status": 503, "method": "PUT", "next": 2 }]"#);
    check_fresh(&project);
}

#[test]
fn a_broker_that_is_not_there_is_told_with_its_address_and_why() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut project = Project::shipped();
    project.on_brokers(&free.to_string());
    let (code, findings) = found(&project, "kafka");
    assert_eq!((code, findings.len()), (Some(1), 1), "{findings:?}");
    let [told] = &findings[..] else { panic!("{findings:?}") };
    for part in [&free.to_string()[..], "Connection refused", "`kafka.brokers` names them"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn a_place_that_can_not_be_made_is_told_with_a_remedy() {
    let project = Project::shipped();
    project.set("[lake]\nurl = \"file:/proc/x\"");
    project.set("[state]\nurl = \"sqlite:/proc/x/state.db\"");
    let (code, lake) = found(&project, "lake");
    assert_eq!(code, Some(1));
    assert!(lake[0].starts_with("bad ") && lake[0].contains("let `lake.url` name"), "{lake:?}");
    let (_, state) = found(&project, "state");
    println!("{state:#?}");
    assert!(state.iter().any(|one| one.contains("the state store's disk has room")), "{state:?}");
}

#[test]
fn a_bucket_or_a_data_set_elsewhere_is_found() {
    let storage = Storage::start();
    let Some(bigquery) = servers::BigQuery::over(storage.folder.path()) else { return };
    let data_set = r#"{ "datasetReference": { "datasetId": "agg" }, "location": "EU" }"#;
    servers::post(&bigquery.address, "/bigquery/v2/projects/tidemill/datasets", data_set);
    let (code, findings) = found(&on_emulators(&storage, &bigquery, "EU"), "warehouse");
    assert_eq!(code, Some(1), "{findings:?}");
    let bad: Vec<_> = findings.iter().filter(|finding| finding.starts_with("bad")).collect();
    assert_eq!(bad.len(), 1, "{findings:?}");
    assert!(bad[0].contains("bucket US, jobs EU"), "{bad:?}");
    assert!(
        findings.iter().any(|one| one.starts_with("good tables of agg can be created")),
        "{findings:?}"
    );
    let (_, findings) = found(&on_emulators(&storage, &bigquery, "US"), "warehouse");
    let elsewhere = "bad data set agg is in the location of the jobs: it is in EU, jobs run in US";
    assert!(findings.iter().any(|one| one.starts_with(elsewhere)), "{findings:?}");
}

#[test]
fn a_right_that_lacks_is_found_with_the_role_to_grant() {
    let storage = Storage::start();
    let Some(bigquery) = servers::BigQuery::over(storage.folder.path()) else { return };
    let project = on_emulators(&storage, &bigquery, "US");
    let denied = r#"[{ "call": "jobs.insert", "fault": "denied", "about": "doctor" }]"#;
    servers::post(&bigquery.address, "/faults", denied);
    let (code, findings) = found(&project, "warehouse");
    assert_eq!(code, Some(1));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("roles/bigquery.user on project tidemill"), "{findings:?}");
}

/// The emulator of Cloud Storage that many use; its copies ignore preconditions.
struct FakeGcs {
    address: String,
    process: Child,
}

impl FakeGcs {
    /// `None` where there is no Go.
    fn start() -> Option<Self> {
        let program = servers::fake_gcs()?;
        // It takes port 0 and does not tell which one that was.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let process = Command::new(program)
            .args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"])
            .args(["-port", &port.to_string(), "-public-host", &host, "-log-level", "error"])
            .spawn()
            .unwrap();
        wait_until("fake-gcs-server listens", || {
            TcpStream::connect(&host).map(drop).map_err(|err| err.to_string())
        });
        Some(Self { address: format!("http://{host}"), process })
    }
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_store_that_ignores_conditions_is_caught_before_anyone_relies_on_it() {
    let Some(fake) = FakeGcs::start() else { return };
    servers::post(&fake.address, "/storage/v1/b", r#"{ "name": "lake" }"#);
    let project = Project::shipped();
    let lake = format!("[lake]\nurl = \"gs://lake\"\nendpoint = \"{}\"\n", fake.address);
    let text = std::fs::read_to_string(project.path("tidemill.toml")).unwrap();
    project.write("tidemill.toml", &format!("{text}\n{lake}"));
    let (code, findings) = found(&project, "lake");
    println!("{findings:#?}");
    assert_eq!(code, Some(1), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.starts_with("bad")), "{findings:?}");
}
