//! How runs and DAGs stand, in words that several screens share.

use crate::model::duration::show_duration;
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::run::RunState;
use crate::model::time::Micros;
use crate::terminal::screen::Times;
use crate::view::next::Next;
use crate::view::runs::RunFacts;
use crate::view::status::DagState;

/// `succeeded, 1.9 s`: where a run stands, and how long it took or has been taking.
pub fn fate(run: &RunFacts, now: Micros) -> String {
    let took = |started: Micros| run.ended.map_or(now, |ended| ended.0).since(started);
    let took = run.started.map(|started| show_duration(took(started.0)));
    match (run.state, took) {
        (RunState::Held, _) => "held: waits for a person".to_owned(),
        (RunState::Queued | RunState::Superseded, _) | (_, None) => run.state.to_string(),
        (RunState::Running, Some(took)) => format!("running for {took}"),
        (RunState::Succeeded | RunState::Failed, Some(took)) => format!("{}, {took}", run.state),
    }
}

pub fn dag_state(state: DagState) -> &'static str {
    match state {
        DagState::Active => "active",
        DagState::Paused => "paused",
        DagState::Gone => "gone",
    }
}

/// What makes the DAG's next run: `hour 09, when the watermark passes 10:10Z`.
pub fn next(next: &Next, times: &Times) -> String {
    let named = |key| named(key, times);
    match next {
        Next::FirstClosing { table } => format!("the first closing of {table}"),
        Next::Output { table, grain } => format!("the next {grain} of {table} that is done"),
        Next::Watermark { partition_key, passes } => {
            let passes = times.minute(passes.0);
            format!("{}, when the watermark passes {passes}", named(partition_key))
        }
        Next::Daemon { partition_key } => {
            format!("{}, at the daemon's next look", named(partition_key))
        }
        Next::Dag { partition_key, dag } => format!("{}, when {dag} is done", named(partition_key)),
        Next::Run { partition_key, of, state: RunState::Failed, .. } => {
            format!("{} waits for {}, which failed: see below", named(partition_key), named(of))
        }
        Next::Run { partition_key, of, .. } => {
            format!("{}, when {} is done", named(partition_key), named(of))
        }
    }
}

/// `hour 09` of these days, else `hour 2015-09-12T09`, `day 2026-11-20`.
fn named(key: &PartitionKey, times: &Times) -> String {
    let start = PartitionBy::utc(key.grain).range(key).0;
    match key.grain {
        Grain::Hour if times.is_near(start) => format!("hour {:02}", key.start.hour()),
        Grain::Hour | Grain::Day | Grain::Month => format!("{} {key}", key.grain),
    }
}
