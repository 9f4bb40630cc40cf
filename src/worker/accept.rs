//! Checks the project's files and hands what is accepted to the daemon, by way of the store.

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
    let Some(project) = &report.project else { return Ok(report) };
    let name = &project.settings.project;
    // A look at the files makes no lake.
    let lake = match Lake::find(&project.settings.lake, name, clock.clone()).await {
        Ok(Some(lake)) => lake,
        Ok(None) => return Ok(report),
        // Files can be checked where there is no way to the bucket; a stream looks again.
        Err(error) if matches!(project.settings.lake, LakeUrl::Bucket(_)) => {
            warn!(
                remedy = error.remedy,
                "columns are not compared with those of the lake: {error}"
            );
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    let tables: Vec<_> = project.tables.keys().cloned().collect();
    for table in tables {
        if let Some(recorded) = lake.newest_schema(&table).await? {
            report.compare(&table, &recorded);
        }
    }
    Ok(report)
}
