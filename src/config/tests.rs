use super::*;
use crate::model::hive::Grain;
use crate::model::settings::LakeUrl;
use std::fs;

/// A folder with these files, loaded: the problems as they are printed, or the warnings.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = folder.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn load(&self, env: Option<&str>, environment: &Environment) -> Result<Loaded, Problems> {
        load(self.0.path(), env, environment)
    }
}

#[test]
fn the_shipped_project_loads_without_a_problem() {
    let loaded = load(Path::new("."), None, &Environment::default())
        .map_err(|problems| problems.to_string());
    let loaded = loaded.unwrap();
    assert_eq!(loaded.warnings.to_string(), "");
    let project = loaded.project;
    assert_eq!(project.dags.len(), 2);
    let table = |name: &str| project.tables[&name.parse().unwrap()].partition_by.grain;
    assert_eq!(table("agg.recentchange_by_hour"), Grain::Hour);
    assert_eq!(table("agg.recentchange_by_day"), Grain::Day);
}

#[test]
fn an_empty_file_is_a_project_with_everything_of_its_own() {
    let folder = Folder::new(&[("tidemill.toml", "")]);
    let settings = folder.load(None, &Environment::default()).unwrap().project.settings;
    let home = fs::canonicalize(folder.0.path()).unwrap().join(".tidemill");
    assert_eq!(settings.home, home);
    assert_eq!(settings.lake, LakeUrl::Folder(home.join("lake")));
    assert_eq!(settings.state, home.join("state.db"));
}

#[test]
fn a_run_of_the_day_is_pinned_to_the_job_that_counts_the_hours() {
    let project = load(Path::new("."), None, &Environment::default()).unwrap().project;
    let version = project.version(&project.dags[&"wikimedia_daily".parse().unwrap()]);
    let jobs: Vec<_> = version.jobs.keys().map(ToString::to_string).collect();
    assert_eq!(jobs, ["recentchange_by_day", "recentchange_by_hour", "recentchange_land"]);
    assert_eq!(version.topics.len(), 1);
    assert_eq!(version.tables.len(), 3);
}
