//! Checks the project's files and hands what is accepted to the daemon, by way of the store.

use crate::clock::Clock;
use crate::config;
use crate::config::Environment;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::store::Store;
use crate::store::dags::Accepted;
use std::path::Path;
use tracing::warn;

/// Takes the project in `dir` over into its state store; `Input`, with every problem, if it can't be.
pub fn run(dir: &Path, env: Option<&str>, environment: &Environment) -> Result<(), Error> {
    let loaded = config::load(dir, env, environment)?;
    if !loaded.warnings.is_empty() {
        warn!("the project's files are accepted, but\n{}", loaded.warnings);
    }
    let project = loaded.project;
    let accepted = Accepted::of(&project);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))?;
    runtime.block_on(async {
        let store = Store::open(&project.settings.state).await?;
        let now = Clock::system().now().into();
        store.accept(&accepted, now).await.doing(|| "take the project's files over".into())
    })
}
