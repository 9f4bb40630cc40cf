//! What every verb starts from: which project, which environment, how to print.

use super::print;
use super::print::Output;
use super::screen::Times;
use crate::clock::Clock;
use crate::config;
use crate::config::Environment;
use crate::config::problem::Problems;
use crate::error::{Error, ErrorKind};
use crate::model::job::QUERY_STACK_BYTES;
use crate::model::project::Project;
use crate::model::time::Micros;
use crate::store::Store;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::future::Future;
use std::path::PathBuf;
use strsim::jaro_winkler;

/// Below it, two names are not taken for a slip of the other.
const ALIKE: f64 = 0.75;

#[derive(Clone, Debug)]
pub struct Context {
    pub dir: PathBuf,
    pub env: Option<String>,
    pub output: Output,
    /// Of times on screen; facts are in UTC.
    pub zone: TimeZone,
    /// The program as it was called, for lines that say what to type next.
    pub program: String,
    pub clock: Clock,
    pub environment: Environment,
}

impl Context {
    pub fn now(&self) -> Micros {
        Micros::from(self.clock.now())
    }

    /// By which waiting is measured.
    pub fn steady(&self) -> Micros {
        Micros::from(self.clock.steady())
    }

    /// How a screen drawn now shows moments.
    pub fn times(&self) -> Times {
        Times { now: self.now(), zone: self.zone.clone() }
    }

    /// The project as far as its files can be read: a slip in a job is no reason to show nothing.
    pub fn project(&self) -> Result<Project, Error> {
        let read = config::read(&self.dir, self.env.as_deref(), &self.environment);
        read.project.ok_or_else(|| {
            // Problems bring their own "error:".
            let problems = Problems::new(read.problems).to_string();
            let text = problems.strip_prefix("error: ").unwrap_or(&problems).to_owned();
            Error::new(ErrorKind::Input, text)
        })
    }

    /// The state store of a project that has been up.
    pub async fn store(&self, project: &Project) -> Result<Store, Error> {
        Store::open_existing(&project.settings.state).await?.ok_or_else(|| {
            let root = project.root.display();
            Error::new(ErrorKind::Input, format!("the project in {root} has never been up"))
                .remedy(format!("run `{}`", self.command("up")))
        })
    }

    /// A line to type that works where this one did: `./tidemill -C demo status`.
    pub fn command(&self, verb: &str) -> String {
        let mut line = self.program.clone();
        if self.dir.as_os_str() != "." {
            line = format!("{line} -C {}", self.dir.display());
        }
        if let Some(env) = &self.env {
            line = format!("{line} --env {env}");
        }
        format!("{line} {verb}")
    }

    /// Prints facts as a screen, or as they are.
    pub fn show<T: Serialize>(
        &self,
        facts: &T,
        screen: impl FnOnce(&T) -> String,
    ) -> Result<(), Error> {
        match self.output {
            Output::Table => print::text(&screen(facts)),
            Output::Json => print::json(facts),
        }
    }
}

/// Runs a verb that waits for the store or the lake.
pub fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|err| Error::new(ErrorKind::Unavailable, err))?.block_on(work)
}

/// Runs a verb that works on a query: a plan has a part for each core, and a part works where it was
/// spawned.
pub fn block_on_cores<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(QUERY_STACK_BYTES)
        .enable_all()
        .build();
    runtime.map_err(|err| Error::new(ErrorKind::Unavailable, err))?.block_on(work)
}

/// So many names are told; of more, the command that lists them.
const TOLD_MAX: usize = 8;

/// "no DAG is named `x`", with the nearest of the names that there are.
pub fn unknown(what: &str, named: &str, known: &[String], list: &str) -> Error {
    let near = known
        .iter()
        .map(|name| (jaro_winkler(named, name), name))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let all = match known {
        [] => "there is none yet".to_owned(),
        few if few.len() <= TOLD_MAX => format!("there are: {}", few.join(", ")),
        many => format!("`{list}` lists all {}", many.len()),
    };
    let remedy = match near {
        Some((_, near)) => format!("did you mean `{near}`? {all}"),
        None => all,
    };
    Error::new(ErrorKind::Input, format!("no {what} is named `{named}`")).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(named: &str, expected: &str) {
        let known = ["wiki_by_hour".to_owned(), "exchange_rates".to_owned()];
        let error = unknown("DAG", named, &known, "tidemill dags list");
        assert_eq!(error.remedy.unwrap(), expected);
    }

    #[test]
    fn a_slip_is_answered_with_the_name_that_was_meant() {
        check(
            "wiki_hourly",
            "did you mean `wiki_by_hour`? there are: wiki_by_hour, exchange_rates",
        );
        check("zzz", "there are: wiki_by_hour, exchange_rates");
    }
}
