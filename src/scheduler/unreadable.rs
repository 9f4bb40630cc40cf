//! Versions of DAGs that cannot be read: they fail their own runs, and hold nothing else up.

use super::make::ActiveDag;
use super::plan;
use crate::error::{Error, ErrorKind};
use crate::model::accepted::DagEntry;
use crate::model::attempt::Failure;
use crate::model::dag::{Dag, DagVersion, Empty, OnClose, OnLate, Schedule};
use crate::model::name::Name;
use crate::model::run::Run;
use crate::model::time::Micros;
use crate::model::zone::Zone;
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::warn;

/// A DAG of whose newest version only its row is known. Closings make its runs all the same, so that none
/// is forgotten; they fail, and can be cleared once there is a version that can be read.
pub async fn stand_in(store: &Store, dag: DagEntry) -> Result<ActiveDag, Error> {
    let schedule = match (dag.on_close, dag.grain) {
        (Some(table), Some(grain)) => {
            let declared = match store.table(&table).await {
                Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
                found => found.ok().flatten(),
            };
            let timezone = declared.map(|its| its.table.partition_by.timezone);
            Schedule::OnClose(OnClose {
                table,
                grain,
                timezone: timezone.unwrap_or_else(Zone::utc),
                on_late: OnLate::Refresh,
                empty: Empty::Skip,
                start: None,
                max_active_runs: 1,
            })
        }
        _ => Schedule::Manual,
    };
    let of = Dag {
        name: dag.name,
        doc: String::new(),
        owner: String::new(),
        streams: BTreeMap::new(),
        schedule,
        tasks: Vec::new(),
    };
    let (jobs, topics, tables) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let version = Arc::new(DagVersion { dag: of, jobs, topics, tables });
    let (hash, paused, present) = (dag.version, dag.paused, dag.present);
    Ok(ActiveDag { hash, version, paused, present, readable: false })
}

/// Fails the runs that are pinned to one of these versions, and takes them out of the facts; says whether
/// there were any.
pub async fn fail_runs(
    store: &Store,
    facts: &mut plan::Facts,
    versions: &BTreeMap<String, Error>,
    now: Micros,
) -> Result<bool, Error> {
    if versions.is_empty() {
        return Ok(false);
    }
    let active = facts.active.iter().map(|active| &active.run);
    let queued = facts.dags.values().flat_map(|dag| &dag.queued);
    let runs: Vec<Run> =
        active.chain(queued).filter(|run| versions.contains_key(&run.version)).cloned().collect();
    for run in &runs {
        fail(store, run, &versions[&run.version], now).await?;
    }
    let is_read = |run: &Run| !versions.contains_key(&run.version);
    facts.active.retain(|active| is_read(&active.run));
    for dag in facts.dags.values_mut() {
        dag.queued.retain(is_read);
    }
    Ok(!runs.is_empty())
}

/// Fails one run whose version cannot be read.
pub async fn fail(store: &Store, run: &Run, error: &Error, now: Micros) -> Result<(), Error> {
    let failure = failure(&run.dag, &run.version, &run.id, error);
    let mut tx = store.begin().await?;
    if tx.fail_run(&run.id, &failure, now).await? {
        warn!(run.id = %run.id, dag.name = %run.dag, remedy = failure.remedy,
            "{} of {} has failed: {}", run.id, run.dag, failure.error);
    }
    tx.commit().await
}

fn failure(dag: &Name, hash: &str, run: &str, error: &Error) -> Failure {
    let short = hash.get(..7).unwrap_or(hash);
    let own = error.remedy.as_deref().unwrap_or("restore the state store from a copy");
    Failure {
        kind: error.kind,
        error: format!("version {short} of its DAG cannot be read: {}", error.cause()),
        remedy: Some(format!(
            "{own}; or `tidemill runs clear {dag} {run}`, which takes the newest version of the DAG"
        )),
    }
}
