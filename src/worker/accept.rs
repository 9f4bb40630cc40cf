//! Checks the project's files and hands what is accepted to the daemon, by way of the store.

use crate::batch::Declared;
use crate::check;
use crate::check::Report;
use crate::clock::Clock;
use crate::config::Environment;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::lake::Lake;
use crate::model::settings::LakeUrl;
use crate::store::Store;
use crate::store::dags::Accepted;
use std::path::Path;
use tracing::warn;

/// Takes the project in `dir` over into its state store; `Input`, with every problem, if it can't be.
pub fn run(dir: &Path, env: Option<&str>, environment: &Environment) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))?;
    runtime.block_on(accept(dir, env, environment))
}

async fn accept(dir: &Path, env: Option<&str>, environment: &Environment) -> Result<(), Error> {
    let clock = Clock::system();
    let loaded = checked(dir, env, environment, &clock).await?.into_loaded()?;
    if !loaded.warnings.is_empty() {
        warn!("the project's files are accepted, but\n{}", loaded.warnings);
    }
    let project = loaded.project;
    let accepted = Accepted::of(&project);
    let store = Store::open(&project.settings.state).await?;
    store
        .accept(&accepted, clock.now().into())
        .await
        .doing(|| "take the project's files over".into())
}

/// Everything wrong with the project's files, also beside the files that its tables already have.
pub async fn checked(
    dir: &Path,
    env: Option<&str>,
    environment: &Environment,
    clock: &Clock,
) -> Result<Report, Error> {
    let mut report = check::run(dir, env, environment);
    match beside_what_is_there(&mut report, clock).await {
        Ok(()) => Ok(report),
        // It keeps the project from running like any slip in a file, and is told with them.
        Err(error) if error.kind == ErrorKind::Input => {
            report.refuse(&error);
            Ok(report)
        }
        Err(error) => Err(error),
    }
}

/// What only the lake and the state store can tell: tables that would be cut otherwise, columns that
/// moved, and whether both are ours.
async fn beside_what_is_there(report: &mut Report, clock: &Clock) -> Result<(), Error> {
    let Some(project) = &report.project else { return Ok(()) };
    let name = &project.settings.project;
    let state = project.settings.state.clone();
    // A look at the files makes no lake.
    let lake = match Lake::find(&project.settings.lake, name, clock.clone()).await {
        Ok(Some(lake)) => lake,
        Ok(None) => return Ok(()),
        // Files can be checked where there is no way to the bucket; a stream looks again.
        Err(error) if matches!(project.settings.lake, LakeUrl::Bucket(_)) => {
            warn!(remedy = error.remedy, "tables are not compared with those of the lake: {error}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let declared = Declared::from(project);
    let mut compared = Vec::new();
    for table in project.tables.keys() {
        // Where a query can't be planned, that is told already.
        if let Some(recorded) = lake.newest_schema(table).await?
            && let Ok(wanted) = declared.stored(table)
        {
            compared.push((table.clone(), recorded, wanted));
        }
    }
    for (table, recorded, wanted) in compared {
        report.compare(&table, &recorded, &wanted);
    }
    match Store::open_existing(&state).await? {
        Some(store) => store.admits_lake(lake.id()).await,
        None => Ok(()),
    }
}
