//! A project that an earlier version has left is taken over: what was at work ends, and its hours go on
//! closing.
//!
//! `tests/upgrade/` has such projects, each killed as a whole while it was at work.

use crate::project::{Project, is, wait_until};
use crate::tables;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use std::collections::BTreeSet;
use std::path::Path;
use tidemill::model::run::RunState;

/// Twelve hours, of which some had closed.
const HOURS: usize = 12;
/// One more is broken, and lies in quarantine.
const ORDERS: usize = 241;

/// How many runs of each state a DAG has.
fn states(project: &Project, dag: &str) -> [usize; 4] {
    let runs = project.runs(dag);
    let count = |wanted: RunState| runs.iter().filter(|run| run.2 == wanted).count();
    [RunState::Queued, RunState::Running, RunState::Succeeded, RunState::Failed].map(count)
}

/// Each order once, and the hours that they lie in.
fn check_orders(project: &Project, table: &str) {
    let files = tables::files(&project.lake().join(table));
    let ids: Vec<String> = files.iter().flat_map(|file| tables::texts(file, "id")).collect();
    assert_eq!(tables::repeated(ids.clone()), Vec::<String>::new(), "{table}");
    assert_eq!(ids.len(), ORDERS, "{table}");
    let hours = tables::hive_partitions(&project.lake().join(table));
    assert_eq!(hours.len(), HOURS, "{table}: {hours:?}");
}

fn rows_of(files: &[std::path::PathBuf], column: &str) -> i64 {
    let batches = files.iter().flat_map(|file| tables::read(file, &[column]).unwrap());
    batches
        .map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>())
        .sum()
}

#[test]
fn a_project_of_97188dc_is_taken_over_its_runs_end_and_its_hours_go_on_closing() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/97188dc.tar.gz");
    let project = Project::of_archive(&archive, "orders");
    let closed = |table: &str| tables::closings(&project.lake(), table).len();
    let begun = closed("raw.orders");
    assert!((2..HOURS - 2).contains(&begun), "{begun} hours had closed");
    let [queued, running, ..] = states(&project, "slow");
    assert!(queued > 0 && running == 1, "{queued} queued, {running} running");
    let before: BTreeSet<String> = project.runs("slow").into_iter().map(|run| run.3).collect();

    let daemon = project.up();
    project.write("go", ""); // What `slow` waits for.
    for table in ["raw.orders", "raw.sorted", "agg.by_hour"] {
        wait_until("all hours close", || is(&closed(table), &HOURS));
    }
    for dag in ["slow", "counts"] {
        wait_until("all runs end", || {
            let [queued, running, succeeded, failed] = states(&project, dag);
            is(&[queued, running, failed], &[0; 3])?;
            if succeeded >= HOURS { Ok(()) } else { Err(format!("{succeeded} runs of {dag}")) }
        });
    }
    daemon.stop();

    let after: BTreeSet<String> = project.runs("slow").into_iter().map(|run| run.3).collect();
    assert!(before.is_subset(&after), "{before:?} {after:?}");
    check_orders(&project, "raw/orders");
    check_orders(&project, "raw/sorted");
    let by_hour = tables::files(&project.lake().join("agg/by_hour"));
    assert_eq!(rows_of(&by_hour, "orders"), i64::try_from(ORDERS).unwrap());
    // A daemon sweeps when it starts what the kill of a compaction has left staged.
    let daemon = project.up();
    for table in ["raw.orders", "raw.sorted", "agg.by_hour"] {
        wait_until("nothing is left to be mended", || {
            let verified = project.tidemill(&["lake", "verify", table]);
            if verified.code == Some(0) { Ok(()) } else { Err(format!("{verified:?}")) }
        });
    }
    daemon.stop();
}
