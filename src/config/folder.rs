//! Finds a project's files and reads each.

use super::dag::{self, DagFile};
use super::environment::{Environment, set_from};
use super::files::Files;
use super::job::JobFile;
use super::meant::did_you_mean;
use super::node::{self, Node, Table, Value};
use super::problem::{At, Place, Problem, QUERY_FILE, Sink, Source};
use super::resolve::{replayed_files_exist, resolve};
use super::sql::{self, SqlText};
use super::{job, settings, topic, warehouse};
use crate::model::name::{Name, TableName, TopicName};
use crate::model::project::Project;
use crate::model::settings::Settings;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// A project as far as it could be read, and everything wrong with it.
#[derive(Debug)]
pub struct Read {
    /// Files with problems of their own are left out of it.
    pub project: Option<Project>,
    pub problems: Vec<Problem>,
    /// Every SQL text in it, for whoever can check SQL.
    pub sql: Vec<SqlText>,
    /// The columns of each topic, in order.
    pub columns: BTreeMap<TopicName, Vec<At<String>>>,
    /// Where it is written how each lake table is cut.
    pub cuts: BTreeMap<TableName, Place>,
}

pub fn read(dir: &Path, env: Option<&str>, environment: &Environment) -> Read {
    let sink = Sink::default();
    let mut files = Files::default();
    let project = read_into(dir, env, environment, &mut files, &sink);
    let sql = sql::texts(&files);
    let columns = files.topics.into_iter().map(|(name, file)| (name, file.columns)).collect();
    let cut = |file: &JobFile| Some((file.table()?.value.clone(), file.cut()?.clone()));
    let cuts = files.jobs.values().filter_map(cut).collect();
    Read { project, problems: sink.into_problems(), sql, columns, cuts }
}

fn read_into(
    dir: &Path,
    env: Option<&str>,
    environment: &Environment,
    files: &mut Files,
    sink: &Sink,
) -> Option<Project> {
    let root = project_root(dir, sink)?;
    let quiet = Sink::default();
    let settings = read_settings(&root, env, environment, files, sink);
    for (path, name) in named::<TopicName>(&root, "topics", sink) {
        let (node, told) = parse(&root, &path, sink, &quiet);
        files.topics.insert(name.clone(), topic::read(&name, &node, told));
    }
    for (path, name) in jobs(&root, sink) {
        let (node, told) = parse(&root, &path, sink, &quiet);
        let query = path.with_file_name(QUERY_FILE);
        let query = query.exists().then(|| source(&root, &query, sink)).flatten();
        files.jobs.insert(name.clone(), job::read(&name, &node, query, told));
    }
    for (path, name) in named::<Name>(&root, "dags", sink) {
        let (node, told) = parse(&root, &path, sink, &quiet);
        let dag = dag::read(&name, &node, told);
        let is_toml = std::ptr::eq(told, sink);
        files.dags.extend(dag.map(|dag| (name, DagFile { whole: dag.whole && is_toml, ..dag })));
    }
    let resolved = resolve(files, sink);
    warehouse::check(settings.as_ref().map(|settings| &settings.warehouse), files, &resolved, sink);
    replayed_files_exist(&root, files, sink);
    let topics =
        files.topics.iter().filter_map(|(name, file)| Some((name.clone(), file.topic.clone()?)));
    Some(Project {
        topics: topics.collect(),
        jobs: resolved.jobs,
        dags: resolved.dags,
        tables: resolved.tables,
        settings: settings.or_else(|| built_in(&root))?,
        root,
    })
}

/// What a project without settings has. Where they are wrong nothing runs, and the rest is checked.
fn built_in(root: &Path) -> Option<Settings> {
    let nothing = nothing_written("tidemill.toml".into());
    settings::read(root, super::DEFAULT_ENV, &nothing, &Sink::default()).0
}

/// The absolute folder, if it holds a project: `tidemill.toml`, or at least `dags/` or `jobs/`.
fn project_root(dir: &Path, sink: &Sink) -> Option<PathBuf> {
    let shown = dir.display();
    let root = match fs::canonicalize(dir) {
        Ok(root) => root,
        Err(err) => {
            let problem = Problem::nowhere(format!("there is no folder {shown}: {err}"));
            sink.push(problem.help("go to a project's folder, or name one with -C"));
            return None;
        }
    };
    let is_project = ["tidemill.toml", "dags", "jobs"].iter().any(|name| root.join(name).exists());
    if !is_project {
        let title =
            format!("{} holds no project: it has no tidemill.toml, dags/ or jobs/", root.display());
        let help =
            "go to a project's folder, or name one with -C; an empty tidemill.toml begins one";
        sink.push(Problem::nowhere(title).help(help));
    }
    is_project.then_some(root)
}

fn read_settings(
    root: &Path,
    env: Option<&str>,
    environment: &Environment,
    files: &mut Files,
    sink: &Sink,
) -> Option<Settings> {
    let env = env.or_else(|| environment.get("TIDEMILL_ENV")).filter(|env| !env.is_empty());
    let env = env.unwrap_or(super::DEFAULT_ENV);
    let path = root.join("tidemill.toml");
    let quiet = Sink::default();
    let (mut base, mut told) = if path.exists() {
        parse(root, &path, sink, &quiet)
    } else {
        (nothing_written("tidemill.toml".into()), sink)
    };
    let Value::Table(table) = &mut base.value else { return None };
    if env != super::DEFAULT_ENV {
        let (over, told_of_it) = overlay(root, env, sink, &quiet)?;
        if let Value::Table(over) = over.value {
            table.overlay(over);
        }
        told = if std::ptr::eq(told_of_it, sink) { told } else { told_of_it };
    }
    set_from(environment, table, told);
    let (settings, feeds) = settings::read(root, env, &base, told);
    files.feeds = feeds;
    settings
}

fn nothing_written(name: String) -> Node {
    let source = Arc::new(Source { name, text: String::new() });
    Node { place: Place::top(&source), value: Value::Table(Table::default()) }
}

fn overlay<'a>(
    root: &Path,
    env: &str,
    sink: &'a Sink,
    quiet: &'a Sink,
) -> Option<(Node, &'a Sink)> {
    // It names a file and a folder: it must not lead out of the project.
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let path = root.join(format!("tidemill.{env}.toml"));
    if env.chars().all(sound) && path.exists() {
        return Some(parse(root, &path, sink, quiet));
    }
    let env_of =
        |name: &str| Some(name.strip_prefix("tidemill.")?.strip_suffix(".toml")?.to_owned());
    let names =
        entries(root, sink).into_iter().filter_map(|path| env_of(path.file_name()?.to_str()?));
    let names: Vec<String> = names.collect();
    let title = format!("no environment is named `{env}`: there is no tidemill.{env}.toml");
    let help = did_you_mean(env, "environments here", names.iter().map(String::as_str));
    sink.push(Problem::nowhere(title).help(help));
    None
}

/// `<folder>/<name>.toml`, each with its name.
fn named<N: FromStr<Err: Display>>(root: &Path, folder: &str, sink: &Sink) -> Vec<(PathBuf, N)> {
    let files = entries(&root.join(folder), sink).into_iter().filter(|path| path.is_file());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files
        .filter_map(|path| {
            Some((path.clone(), name(root, &path, path.file_stem()?.to_str()?, sink)?))
        })
        .collect()
}

/// `jobs/<name>/job.toml`, each with its name.
fn jobs(root: &Path, sink: &Sink) -> Vec<(PathBuf, Name)> {
    let mut jobs = Vec::new();
    for folder in entries(&root.join("jobs"), sink).into_iter().filter(|path| path.is_dir()) {
        let Some(text) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        let path = folder.join("job.toml");
        if !path.exists() {
            let place =
                Place::top(&Arc::new(Source { name: shown(root, &path), text: String::new() }));
            let problem = Problem::warning(format!("jobs/{text} holds no job"), &place);
            sink.push(problem.help("write its job.toml, or move the folder out of jobs/"));
        } else if let Some(name) = name(root, &path, text, sink) {
            jobs.push((path, name));
        }
    }
    jobs
}

fn name<N: FromStr<Err: Display>>(root: &Path, path: &Path, text: &str, sink: &Sink) -> Option<N> {
    let name: Result<N, _> = text.parse();
    if let Err(wrong) = &name {
        let place = Place::top(&Arc::new(Source { name: shown(root, path), text: String::new() }));
        sink.push(Problem::error(wrong.to_string(), &place).help("rename it"));
    }
    name.ok()
}

/// What lies in a folder, by name; nothing where there is none.
fn entries(folder: &Path, sink: &Sink) -> Vec<PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    let listed =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut listed: Vec<PathBuf> = listed.unwrap_or_else(|err: std::io::Error| {
        sink.push(Problem::nowhere(format!("read {}: {err}", folder.display())));
        Vec::new()
    });
    listed.sort();
    listed
}

/// The file, and who is told of problems with what it says: nobody where it is not TOML, since what
/// is left of it would be full of them.
fn parse<'a>(root: &Path, path: &Path, sink: &'a Sink, quiet: &'a Sink) -> (Node, &'a Sink) {
    let Some(source) = source(root, path, sink) else {
        return (nothing_written(shown(root, path)), quiet);
    };
    let before = sink.count();
    let node = node::parse(&source, sink);
    (node, if sink.count() == before { sink } else { quiet })
}

fn source(root: &Path, path: &Path, sink: &Sink) -> Option<Arc<Source>> {
    match fs::read_to_string(path) {
        Ok(text) => Some(Arc::new(Source { name: shown(root, path), text })),
        Err(err) => {
            let place =
                Place::top(&Arc::new(Source { name: shown(root, path), text: String::new() }));
            sink.push(Problem::error(format!("this can't be read: {err}"), &place));
            None
        }
    }
}

/// The path from the project's folder.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
