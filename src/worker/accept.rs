//! Checks the project's files and hands what is accepted to the daemon, by way of the store.

use crate::batch::Declared;
use crate::check;
use crate::check::Report;
use crate::clock::Clock;
use crate::config;
use crate::config::Environment;
use crate::config::problem::Severity;
use crate::error::{Doing, Error, ErrorKind};
use crate::lake::Lake;
use crate::model::accepted::Accepted;
use crate::model::problem::{About, Problem};
use crate::model::settings::LakeUrl;
use crate::model::time::Micros;
use crate::store::Store;
use std::path::Path;
use tracing::warn;

/// Takes the project in `dir` over into its state store; `Input`, with every problem, if it can't be.
///
/// `asks` is the store of the daemon that asks, and the epoch under which it decides: one that another
/// daemon has followed accepts nothing. There the problems are written down too, so that they can
/// be seen for as long as they are there; without it the files themselves say which store they mean.
pub fn run(
    dir: &Path,
    env: Option<&str>,
    environment: &Environment,
    asks: Option<(&Path, u64)>,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))?;
    runtime.block_on(accept(dir, env, environment, asks))
}

async fn accept(
    dir: &Path,
    env: Option<&str>,
    environment: &Environment,
    asks: Option<(&Path, u64)>,
) -> Result<(), Error> {
    let clock = Clock::system();
    let now = Micros::from(clock.now());
    let report = checked(dir, env, environment, &clock).await?;
    let store = match asks {
        Some((state, epoch)) => Some(Store::open_made(state).await?.under(epoch)),
        None => None,
    };
    if let Some(store) = store.as_ref().filter(|_| !report.is_sound()) {
        store.refuse_files(&refused(&report, now)).await?;
    }
    let loaded = report.into_loaded()?;
    if !loaded.warnings.is_empty() {
        warn!("the project's files are accepted, but\n{}", loaded.warnings);
    }
    let project = loaded.project;
    let accepted = Accepted::of(&project);
    let store = match store {
        Some(store) => store,
        None => Store::open(&project.settings.state).await?,
    };
    store.accept(&accepted, now).await.doing(|| "take the project's files over".into())
}

/// What keeps the files from being accepted, as the store keeps it; warnings do not.
fn refused(report: &Report, now: Micros) -> Vec<Problem> {
    let problem = |found: &config::problem::Problem| {
        let facts = found.facts();
        let number = |place: Option<usize>| place.and_then(|at| u32::try_from(at).ok());
        let told = [Some(facts.title), facts.label, facts.note].into_iter().flatten();
        Problem {
            about: About::Files {
                file: facts.file.map(str::to_owned),
                line: number(facts.line),
                column: number(facts.column),
            },
            text: told.collect::<Vec<_>>().join("; "),
            remedy: facts.help.map(str::to_owned),
            since: now,
        }
    };
    let errors = report.problems.iter().filter(|found| found.severity == Severity::Error);
    errors.map(problem).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_edit_is_kept_with_its_place_until_the_files_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".tidemill/state.db");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let environment = Environment::default();
        let store = Store::open(&state).await.unwrap().lead("1@here", Micros(1)).await.unwrap();
        let asks = Some((state.as_path(), store.epoch().unwrap()));
        let accept = || accept(folder.path(), None, &environment, asks);
        write("tidemill.toml", "project = \"wiki\"\n");
        write("dags/daily.toml", "[tasks.count]\nexec = [\"true\"]\nretires = 3\n");
        let refused = accept().await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Input);
        let kept = store.problems().await.unwrap();
        let [Problem { about, text, .. }] = kept.as_slice() else { panic!("{kept:?}") };
        let (file, line) = (Some("dags/daily.toml".to_owned()), Some(3));
        assert_eq!(*about, About::Files { file, line, column: Some(1) });
        assert!(text.contains("retires"), "{text}");
        write("dags/daily.toml", "[tasks.count]\nexec = [\"true\"]\nretries = 3\n");
        accept().await.unwrap();
        assert_eq!(store.problems().await.unwrap(), []);
    }
}
