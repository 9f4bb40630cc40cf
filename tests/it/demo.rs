//! The demo from its first line to its last, and Ctrl-C in between.

use crate::project::{is, machine, wait_until};
use crate::servers;
use crate::storage::Storage;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn demo(dir: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["demo", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The command lines of all processes that name `dir`, the demo's own included.
fn processes(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let command = |entry: std::fs::DirEntry| {
        let text = std::fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        text.contains(&dir).then_some(text)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(command).collect()
}

fn wait_for_workers(dir: &Path, demo: &mut Child) {
    let workers = || processes(dir).iter().filter(|line| line.contains("worker")).count();
    while workers() < 2 {
        assert_eq!(demo.try_wait().unwrap(), None, "the demo has ended");
        std::thread::sleep(Duration::from_millis(10)); // Between two looks.
    }
}

#[test]
fn the_demo_agrees_with_itself_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), &[]).wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("landed + quarantined + dropped = produced: yes"), "{out}");
    assert!(out.contains("warehouse = SQL over the lake, hour by hour: yes"), "{out}");
    assert!(err.contains("we kill -9 the landing process"), "{err}");
    assert_eq!(processes(dir.path()), Vec::<String>::new());
    an_ordinary_project_is_left(dir.path());
}

#[test]
fn the_demo_agrees_with_itself_on_brokers_a_bucket_and_bigquery() {
    let Some(brokers) = servers::kafka() else { return };
    let _machine = machine();
    let storage = Storage::start();
    let Some(bigquery) = servers::BigQuery::over(storage.folder.path()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--env", "emulators", "demo", "--dir"])
        .arg(dir.path())
        // The test's servers have ports and a bucket of their own.
        .env("TIDEMILL_CONFIG__KAFKA__BROKERS", brokers)
        .env("TIDEMILL_CONFIG__LAKE__URL", "gs://lake/demo")
        .env("TIDEMILL_CONFIG__LAKE__ENDPOINT", &storage.address)
        .env("TIDEMILL_CONFIG__WAREHOUSE__ENDPOINT", &bigquery.address)
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("landed + quarantined + dropped = produced: yes"), "{out}");
    assert!(out.contains("warehouse = SQL over the lake, hour by hour: yes"), "{out}");
    assert!(!dir.path().join(".tidemill/lake").exists(), "something was written to a folder");
    assert_eq!(processes(dir.path()), Vec::<String>::new());
}

#[test]
fn without_the_emulators_the_demo_says_how_to_start_them() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--env", "emulators", "demo", "--dir"])
        .arg(dir.path())
        .env("TIDEMILL_CONFIG__KAFKA__BROKERS", "127.0.0.1:1")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("Kafka does not answer"), "{err}");
    assert!(err.contains("emulators/up"), "{err}");
}

/// Every verb that reads answers as a table and as JSON with the keys that programs rely on.
#[track_caller]
fn an_ordinary_project_is_left(dir: &Path) {
    let run = json(dir, &["runs", "list", "wikimedia"])[0]["id"].as_str().unwrap().to_owned();
    let hour = run.strip_prefix("close-").unwrap()[..13].to_owned();
    let table = "raw.recentchange";
    for (arguments, keys) in [
        (vec!["status"], "dags env needs_you project streams up version"),
        (vec!["check"], "dags errors jobs problems topics warnings"),
        (
            vec!["dags", "show", "wikimedia"],
            "doc name next owner schedule state streams tasks version",
        ),
        (
            vec!["partitions", "list", table],
            "close_after_secs grain partitions streamed table timezone",
        ),
        (vec!["tasks", "why", "wikimedia", &run], "because not_in_the_way ran run state"),
        (vec!["sql", "select 1 as one"], "columns row_count rows rows_left_out"),
        (
            vec!["partitions", "show", table, &hour],
            "bytes closed closes end files held_by late_rows partial partition_key problem \
             quarantined revision rows runs runs_left_out sorting start state table waiting_rows",
        ),
        (
            vec!["runs", "show", "wikimedia", &run],
            "created dag ended failure id inputs kind marked_by partial partition_key revision started state \
             superseded_by table tasks version",
        ),
        (
            vec!["streams", "show", "wikimedia.land"],
            "adopted counts from hive_partitions_open id instances job kind last_error left_out \
             memory_bytes memory_max_bytes next_start note passed_over pid produced restarts since state to \
             topic_partitions version waiting_for watermark",
        ),
    ] {
        let facts = json(dir, &arguments);
        let found: Vec<_> = facts.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), keys, "{arguments:?}");
        assert!(!answer(dir, &arguments).is_empty(), "{arguments:?}");
    }
    for list in [&["dags", "list"][..], &["streams", "list"], &["tasks", "logs", "wikimedia.land"]]
    {
        assert!(!json(dir, list).as_array().unwrap().is_empty(), "{list:?}");
    }
}

#[track_caller]
fn json(dir: &Path, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&answer(dir, &[&["-o", "json"], arguments].concat())).unwrap()
}

#[track_caller]
fn answer(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = command.arg("-C").arg(dir).args(arguments).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// Three hours of events, then one of the first hour. Each topic partition gets one of 02:30, which lets the
/// first hour close; they and those of 03:00 are ten seconds apart in the demo.
fn late_events() -> String {
    let event = |(id, at): (usize, &str)| {
        format!(
            r#"{{"meta":{{"id":"{id}","dt":"2026-11-20T{at}Z","domain":"a"}},"id":{id},"type":"edit","wiki":"w","user":"u","bot":false,"length":{{"old":1,"new":2}}}}"#
        )
    };
    let at = [
        "01:00:00", "01:00:01", "02:30:00", "02:30:01", "02:30:02", "02:30:03", "03:00:00",
        "03:00:01", "01:00:59",
    ];
    at.into_iter().enumerate().map(event).map(|line| line + "\n").collect()
}

#[test]
fn a_late_row_at_the_end_of_a_file_is_counted_before_the_demo_says_so_in_json() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("late.jsonl");
    std::fs::write(&file, late_events()).unwrap();
    let input = ["--input", file.to_str().unwrap(), "-o", "json"];
    let output = demo(dir.path(), &input).wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["landed"], &told["differing"]), (&9.into(), &0.into()), "{told}");
    let first = &told["lines"][0];
    assert_eq!((&first["changes"], &first["revision"]), (&3.into(), &2.into()), "{told}");
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_running_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), &[]);
    wait_for_workers(dir.path(), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("nothing is left", || is(&processes(dir.path()), &Vec::new()));
}

#[test]
fn ctrl_c_ends_the_demo_and_all_that_it_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), &[]);
    wait_for_workers(dir.path(), &mut child);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(processes(dir.path()), Vec::<String>::new());
}
