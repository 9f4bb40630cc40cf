//! What an attempt's process is started with: its argv, its folder and its environment.

use super::folder::{Folder, Spec};
use super::process::ATTEMPT_VARIABLE;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::attempt::Attempt;
use crate::model::dag::{DagVersion, Schedule, Work, handed_down};
use crate::model::name::Name;
use crate::model::run::Run;
use crate::model::secret::EnvValue;
use crate::model::secret::Secret;
use crate::model::template::{Filling, Template};
use crate::model::zone::Zone;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Our own program as it was when we started, whatever lies at its path now.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Finds the value of a secret, now.
pub type Secrets = Arc<dyn Fn(&Secret) -> Result<String, Error> + Send + Sync>;

/// Where and as what the project's processes run.
#[derive(Clone)]
pub struct Setting {
    /// The folder of `tidemill.toml`; exec tasks start there.
    pub root: PathBuf,
    /// The arguments that make another process of ours read the same project: `-C`, `--env`.
    pub project_arguments: Vec<String>,
    /// The daemon's own environment.
    pub environment: BTreeMap<String, String>,
    pub secrets: Secrets,
}

/// What is needed to know of an exec task's run.
pub struct Context<'a> {
    pub run: &'a Run,
    pub task: &'a Name,
    pub version: &'a DagVersion,
    /// What the tasks before it wrote.
    pub outputs: &'a BTreeMap<Name, Value>,
}

/// What is started, and with which environment, which may hold secrets and is never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub spec: Spec,
    pub environment: BTreeMap<String, String>,
}

/// A process of ours that works on the attempt.
pub fn worker(setting: &Setting, attempt: &Attempt, folder: &Folder) -> Launch {
    let mut argv = vec![OWN_PROGRAM.to_owned()];
    argv.extend(setting.project_arguments.iter().cloned());
    argv.extend(["worker".to_owned(), "--attempt".to_owned(), attempt.id.clone()]);
    let mut environment = setting.environment.clone();
    environment.insert(ATTEMPT_VARIABLE.to_owned(), folder.path.display().to_string());
    Launch { spec: Spec { argv, cwd: setting.root.clone() }, environment }
}

/// Whether an exec task names what a task before it wrote.
pub fn needs_outputs(version: &DagVersion, task: &Name) -> bool {
    let task = version.dag.tasks.iter().find(|known| known.name == *task);
    let Some(Work::Exec { argv, env }) = task.map(|task| &task.work) else { return false };
    let texts = env.values().filter_map(|value| match value {
        EnvValue::Text(text) => Some(text),
        EnvValue::Secret(_) => None,
    });
    argv.iter().chain(texts).any(|text| text.contains("{tasks."))
}

/// The user's own program.
pub fn exec(
    setting: &Setting,
    attempt: &Attempt,
    folder: &Folder,
    context: &Context<'_>,
) -> Result<Launch, Error> {
    let doing = || format!("launch {}.{}", context.run.dag, context.task);
    let task = context.version.dag.tasks.iter().find(|task| task.name == *context.task);
    let Some(Work::Exec { argv, env }) = task.map(|task| &task.work) else {
        let missing = format!("dag version {} has no such exec task", context.run.version);
        return Err(Error::new(ErrorKind::Bug, missing)).doing(doing);
    };
    let fill = filler(context);
    let argv = argv.iter().map(|item| fill(item)).collect::<Result<_, _>>().doing(doing)?;
    let inherited = setting.environment.iter();
    let mut environment =
        handed_down(inherited.map(|(name, value)| (name.as_str(), value.as_str())));
    environment.extend(told(attempt, folder, context));
    for (name, value) in env {
        let value = match value {
            EnvValue::Text(text) => fill(text),
            EnvValue::Secret(secret) => (setting.secrets)(secret),
        };
        environment.insert(name.clone(), value.doing(|| format!("set {name}")).doing(doing)?);
    }
    Ok(Launch { spec: Spec { argv, cwd: setting.root.clone() }, environment })
}

fn filler<'a>(context: &'a Context<'a>) -> impl Fn(&str) -> Result<String, Error> + 'a {
    let of = context.run.subject.as_ref();
    let key = of.map(|of| of.key.to_string());
    let outputs: BTreeMap<String, Value> =
        context.outputs.iter().map(|(task, output)| (task.to_string(), output.clone())).collect();
    let timezone = match &context.version.dag.schedule {
        Schedule::OnClose(on_close) => on_close.timezone.clone(),
        Schedule::Manual => Zone::utc(),
    };
    move |text| {
        let filling = Filling {
            run_id: &context.run.id,
            partition_key: key.as_deref(),
            data_interval: of.map(|of| (of.start, of.end)),
            timezone: &timezone,
            outputs: &outputs,
        };
        text.parse::<Template>()
            .and_then(|template| template.fill(&filling))
            .map_err(|wrong| Error::new(ErrorKind::Input, wrong))
            .doing(|| format!("fill {text:?}"))
    }
}

/// What every exec task is told of itself.
fn told(attempt: &Attempt, folder: &Folder, context: &Context<'_>) -> Vec<(String, String)> {
    let mut told = vec![
        (ATTEMPT_VARIABLE, folder.path.display().to_string()),
        ("TIDEMILL_OUTPUT", folder.output().display().to_string()),
        ("TIDEMILL_DAG", context.run.dag.to_string()),
        ("TIDEMILL_RUN_ID", context.run.id.clone()),
        ("TIDEMILL_TASK", context.task.to_string()),
        ("TIDEMILL_TRY", attempt.tries.to_string()),
    ];
    if let Some(of) = &context.run.subject {
        told.push(("TIDEMILL_PARTITION_KEY", of.key.to_string()));
        told.push(("TIDEMILL_DATA_INTERVAL_START", of.start.to_string()));
        told.push(("TIDEMILL_DATA_INTERVAL_END", of.end.to_string()));
    }
    told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
