//! Load jobs through crashes, lost answers and processes that wake up too late.

use crate::project::{Project, machine};
use crate::servers;
use crate::storage::Storage;
use crate::warehouse::{FIVE, Memory, Place, SIX};
use crate::wikimedia::{RAW, await_day, check_day, made_up_day, watch};
use async_trait::async_trait;
use serde_json::json;
use std::process::Command;
use std::sync::Arc;
use tidemill::error::{Error, ErrorKind};
use tidemill::model::load::{BegunLoad, LoadEnd, LoadIntent};
use tidemill::warehouse::{Journal, Load, Warehouse};

/// More calls than a load of any kind makes.
const CALLS_MAX: u32 = 30;

#[test]
fn googles_own_client_finds_the_emulators_rules() {
    let Some(address) = servers::bigquery() else { return };
    script("check.py", &[address, servers::BUCKETS]);
}

/// Runs a script with Google's own client.
fn script(name: &str, arguments: &[&str]) {
    let folder = env!("CARGO_MANIFEST_DIR");
    let python =
        Command::new("emulators/bigquery/serve").arg("client").current_dir(folder).output();
    let python = String::from_utf8(python.unwrap().stdout).unwrap();
    let asked = Command::new(python.trim())
        .arg(format!("emulators/bigquery/{name}"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
}

#[test]
fn a_made_up_day_goes_from_a_broker_through_a_bucket_into_bigquery() {
    let Some(brokers) = servers::kafka() else { return };
    let _machine = machine();
    let storage = Storage::start();
    let Some(bigquery) = servers::BigQuery::over(storage.folder.path()) else { return };
    let (mut project, day) = (Project::shipped(), made_up_day());
    project.on_brokers(brokers);
    project.in_bucket(&storage, "wiki");
    project.in_bigquery(&bigquery.address);
    project.feed_from(&format!("replay = {{ file = \"{}\" }}", day.file.display()));
    let lister = watch(&project);
    let daemon = project.up();
    await_day(&project, &day);
    daemon.stop();
    let (_, _, _, run) = project.runs("wikimedia").pop().unwrap();
    let shown = project.tidemill(&["runs", "show", "wikimedia", &run]);
    let text = "select sum(changes) as changes from warehouse.agg.recentchange_by_hour";
    let asked = project.tidemill(&["sql", text]);
    assert!(asked.out.contains(&day.events.to_string()), "{asked:?}");
    let job = format!("by load job tidemill-wiki-wikimedia-{run}-by_hour-t1");
    assert!(shown.out.contains(&job), "{}", shown.out);
    check_trace(&project);
    // What the warehouse holds, as files, so that it is compared as any other day is.
    let folder = project.warehouse();
    let tables = ["agg.recentchange_by_hour", "agg.recentchange_by_day"];
    script("export.py", &[&[&bigquery.address, folder.to_str().unwrap()], &tables[..]].concat());
    check_day(&project, &day, lister);
}

/// A row is traced to the load jobs of its hour's run.
fn check_trace(project: &Project) {
    let row = ["lake", "trace", RAW, "--where", "true", "-n", "1"];
    let traced = project.tidemill(&[&row[..], &["-o", "json"]].concat());
    let rows: serde_json::Value = serde_json::from_str(&traced.out).unwrap();
    let run = &rows[0]["runs"][0];
    let job = format!("tidemill-wiki-wikimedia-{}-by_hour-t1", run["run"].as_str().unwrap());
    assert_eq!(run["loads"][0]["job"], *job, "{}", traced.out);
    let told = project.tidemill(&row);
    assert!(told.out.contains(&format!("  load job    {job}: agg.")), "{}", told.out);
}

/// Asks the emulator for a fault of the calls that are about the test's own data set.
fn fault(place: &Place, call: &str, fault: &str, skip: u32) {
    let fault = json!([{ "call": call, "fault": fault, "skip": skip, "about": place.set }]);
    place.post("/faults", &fault.to_string());
}

/// Loads until the emulator does not answer; then it is as if the process had been killed. True if
/// the load came to its end before that.
async fn until_killed(place: &Arc<Place>, load: &Load) -> bool {
    let waits = Arc::clone(place);
    let hung = tokio::task::spawn_blocking(move || waits.post("/hung", &waits.set));
    tokio::select! {
        done = place.replace(load) => {
            done.unwrap();
            place.post("/clear", &place.set); // It also ends the waiting.
            true
        }
        _ = hung => false,
    }
}

/// Loads `load` with a crash at every call, and then once more, as the next life does.
async fn survives(when: &str, values: &[i64], expected: &str) {
    for call in 0..CALLS_MAX {
        let Some(place) = Place::bigquery().await else { return };
        let place = Arc::new(place);
        for load in [place.load(FIVE, 1, &[1]), place.load(SIX, 1, &[9])] {
            place.replace(&load).await.unwrap();
        }
        let load = place.load(FIVE, 2, values);
        fault(&place, "any", when, call);
        let done = until_killed(&place, &load).await;
        let rows = place.rows();
        assert!(rows == expected || rows == "05: 1, 06: 9", "{when} call {call}: {rows}");
        place.replace(&load).await.unwrap();
        assert_eq!(place.rows(), expected, "{when} call {call}");
        let jobs = place.journal.told();
        assert_eq!(jobs.len(), 3, "one job for each load: {jobs:?}");
        let late = place.replace(&place.load(FIVE, 1, &[1])).await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::Fenced, "{late}");
        if done {
            assert!(call > 2, "it made {call} calls");
            return;
        }
    }
    panic!("it makes more than {CALLS_MAX} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_any_call_ends_in_the_same_rows() {
    survives("hang before", &[2, 3], "05: 2 3, 06: 9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_call_ends_in_the_same_rows() {
    survives("hang after", &[2, 3], "05: 2 3, 06: 9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_rows_disappear_ends_without_them() {
    survives("hang before", &[], "06: 9").await;
    survives("hang after", &[], "06: 9").await;
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_loads_once() {
    let Some(place) = Place::bigquery().await else { return };
    fault(&place, "jobs.insert", "after", 0);
    let loaded = place.replace(&place.load(FIVE, 1, &[1, 2])).await.unwrap();
    assert_eq!(place.rows(), "05: 1 2");
    assert!(loaded.job.unwrap().ends_with("-2026-11-20T05-r1-t1"));
    assert_eq!(place.journal.told(), ["2026-11-20T05-r1-t1 loaded"]);
}

/// Submits a load that stays running, and dies.
async fn leave_running(place: &Place, load: &Load) {
    fault(place, "jobs.insert", "hold", 0);
    let running = tokio::time::timeout(std::time::Duration::from_millis(1500), place.replace(load));
    assert!(running.await.is_err(), "the job should still run");
}

#[tokio::test]
async fn a_restart_takes_over_the_job_that_it_left_running() {
    let Some(place) = Place::bigquery().await else { return };
    let load = place.load(FIVE, 1, &[1]);
    leave_running(&place, &load).await;
    let (loaded, _) = tokio::join!(place.replace(&load), async {
        tokio::task::yield_now().await;
        place.post("/release", &place.set)
    });
    loaded.unwrap();
    assert_eq!(place.rows(), "05: 1");
    assert_eq!(place.journal.told(), ["2026-11-20T05-r1-t1 loaded"]);
}

#[tokio::test]
async fn a_running_job_of_an_older_closing_is_cancelled_first() {
    let Some(place) = Place::bigquery().await else { return };
    place.replace(&place.load(SIX, 1, &[9])).await.unwrap();
    leave_running(&place, &place.load(FIVE, 1, &[1])).await;
    place.replace(&place.load(FIVE, 2, &[2])).await.unwrap();
    place.post("/release", &place.set);
    assert_eq!(place.rows(), "05: 2, 06: 9");
    assert_eq!(
        place.journal.told()[1..],
        ["2026-11-20T05-r1-t1 burnt", "2026-11-20T05-r2-t1 loaded"]
    );
}

/// One who wrote its job down long ago, slept, and continues now.
struct Woken(BegunLoad);

#[async_trait]
impl Journal for Woken {
    async fn begin(&self, _: &LoadIntent) -> Result<BegunLoad, Error> {
        Ok(self.0.clone())
    }

    async fn end(&self, _: &str, _: LoadEnd) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn one_who_wakes_up_after_a_newer_closing_finds_its_id_burnt() {
    let Some(place) = Place::bigquery().await else { return };
    let old = place.load(FIVE, 1, &[1]);
    let intent = LoadIntent {
        table: place.to().table,
        key: old.key,
        closing: 1,
        content: "its rows".into(),
    };
    let begun = place.journal.begin(&intent).await.unwrap();
    place.replace(&place.load(FIVE, 2, &[2])).await.unwrap();
    let old = place.load(FIVE, 1, &[1]);
    let late = place.warehouse.replace(&old, &Woken(begun)).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced, "{late}");
    assert_eq!(place.rows(), "05: 2");
}

#[tokio::test]
async fn a_job_of_other_rows_is_not_taken_for_this_one() {
    let Some(place) = Place::bigquery().await else { return };
    leave_running(&place, &place.load(FIVE, 1, &[1])).await;
    place.replace(&place.load(FIVE, 1, &[2])).await.unwrap();
    place.post("/release", &place.set);
    assert_eq!(place.rows(), "05: 2");
    assert_eq!(place.journal.told(), ["2026-11-20T05-r1-t1 burnt", "2026-11-20T05-r1-t2 loaded"]);
}

#[tokio::test]
async fn a_failed_job_is_never_taken_over() {
    let Some(place) = Place::bigquery().await else { return };
    let load = place.load(FIVE, 1, &[1]);
    let nowhere = load.source.as_ref().map(|source| format!("{source}.gone"));
    let failed = place.replace(&Load { source: nowhere, ..load.clone() }).await.unwrap_err();
    assert!(failed.to_string().contains("failed: "), "{failed}");
    place.replace(&load).await.unwrap();
    assert_eq!(place.rows(), "05: 1");
    assert_eq!(place.journal.told(), ["2026-11-20T05-r1-t1 failed", "2026-11-20T05-r1-t2 loaded"]);
}

#[tokio::test]
async fn a_lost_journal_still_fences_by_the_labels_of_jobs() {
    let Some(place) = Place::bigquery().await else { return };
    place.replace(&place.load(FIVE, 2, &[2])).await.unwrap();
    let lost = Memory::new(&format!("{}-anew", place.set));
    let old = place.load(FIVE, 1, &[1]);
    let late = place.warehouse.replace(&old, &lost).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced, "{late}");
    place.warehouse.replace(&place.load(FIVE, 3, &[3]), &lost).await.unwrap();
    assert_eq!(place.rows(), "05: 3");
}

#[tokio::test]
async fn a_refusal_names_the_roles_to_grant() {
    let Some(place) = Place::bigquery().await else { return };
    fault(&place, "jobs.insert", "denied", 0);
    let denied = place.replace(&place.load(FIVE, 1, &[1])).await.unwrap_err();
    let told =
        format!("{denied}\nhelp: {}", denied.remedy.as_deref().unwrap()).replace(&place.set, "agg");
    insta::assert_snapshot!(told, @r"
    load 1 file into agg.by_hour$2026112005: submit job tidemill-agg-2026-11-20T05-r1-t1: BigQuery answered 403: no permission bigquery.tables.updateData
    help: grant roles/bigquery.dataEditor on dataset agg and roles/bigquery.user on project tidemill (of it bigquery.jobs.create and .list are used) to the account that tidemill runs as
    ");
}

#[tokio::test]
async fn who_may_write_a_data_set_need_not_be_allowed_to_make_one() {
    let Some(place) = Place::bigquery().await else { return };
    let there = json!({ "datasetReference": { "datasetId": place.set }, "location": "EU" });
    place.post("/bigquery/v2/projects/tidemill/datasets", &there.to_string());
    fault(&place, "datasets.insert", "denied", 0);
    place.replace(&place.load(FIVE, 1, &[1])).await.unwrap();
    assert_eq!(place.rows(), "05: 1");
    place.post("/clear", &place.set);
}

#[tokio::test]
async fn a_table_is_made_as_its_job_describes_it() {
    let Some(place) = Place::bigquery().await else { return };
    let mut load = place.load(FIVE, 1, &[1]);
    load.to.cluster_by = vec!["n".into()];
    load.to.expire = Some(std::time::Duration::from_hours(400 * 24));
    load.to.description = "Counts".into();
    load.to.labels.insert("team".into(), "data".into());
    place.replace(&load).await.unwrap();
    assert_eq!(described(&place), "Counts HOUR hour_start 34560000000 n data wiki");
    load.to.description = "Counts of changes".into();
    load.to.expire = Some(std::time::Duration::from_hours(24));
    load.to.cluster_by = vec!["hour_start".into(), "n".into()];
    place.replace(&load).await.unwrap();
    assert_eq!(
        described(&place),
        "Counts of changes HOUR hour_start 86400000 hour_start data wiki"
    );
}

#[tokio::test]
async fn a_table_is_read_back_whole_or_by_hive_partition() {
    let Some(place) = Place::bigquery().await else { return };
    // More than a page of an answer has.
    let many: Vec<i64> = (0..12_000).collect();
    for load in [place.load(FIVE, 1, &many), place.load(SIX, 1, &[9])] {
        place.replace(&load).await.unwrap();
    }
    let Warehouse::BigQuery(bigquery) = &place.warehouse else { panic!("it is a folder") };
    let table = place.to().table;
    for (key, rows) in [
        (None, 12_001),
        (Some(FIVE), 12_000),
        (Some("2026-11-20"), 12_001),
        (Some("2026-11-21"), 0),
    ] {
        let key = key.map(|key| key.parse().unwrap());
        let read = bigquery.read(&table, key.as_ref()).await.unwrap();
        assert_eq!(read.num_rows(), rows, "{key:?}");
    }
    let nowhere = format!("{}.gone", place.set).parse().unwrap();
    let missing = bigquery.read(&nowhere, None).await.unwrap_err();
    assert!(missing.to_string().contains("has no such table"), "{missing}");
}

fn described(place: &Place) -> String {
    let told = place.get(&format!("datasets/{}/tables/by_hour", place.set));
    let text = |pointer: &str| told.pointer(pointer).and_then(|text| text.as_str()).unwrap_or("?");
    [
        "/description",
        "/timePartitioning/type",
        "/timePartitioning/field",
        "/timePartitioning/expirationMs",
        "/clustering/fields/0",
        "/labels/team",
        "/labels/tidemill_project",
    ]
    .map(text)
    .join(" ")
}
