//! `tidemill jobs`: tests the queries of batch jobs on golden files.

use crate::batch::golden::{Case, Difference, Rows};
use crate::batch::{by_hand, one_line, rows};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::job::JobKind;
use crate::model::name::Name;
use crate::model::project::Project;
use crate::sql::session::Budget;
use crate::terminal::context::{Context, block_on_cores, unknown};
use crate::terminal::print;
use crate::terminal::print::Output;
use clap::Subcommand;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::process::ExitCode;

/// Rows of each side that a screen shows; JSON has them all.
const ROWS_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// Runs queries on the rows in jobs/<job>/golden/ and compares what they return with expected.csv
    Test {
        /// Batch jobs; without a name, all that have golden files
        jobs: Vec<String>,
        /// Writes what the queries return into expected.csv
        #[arg(long)]
        update: bool,
    },
}

struct Tested {
    case: Case,
    outcome: Outcome,
}

enum Outcome {
    Passed { rows: usize },
    Written { rows: usize },
    Differs { expected: Rows, difference: Difference },
    NothingExpected,
    Failed(Error),
}

pub fn run(context: &Context, verb: &JobsVerb) -> Result<ExitCode, Error> {
    let JobsVerb::Test { jobs, update } = verb;
    let project = context.project()?;
    let cases = cases(context, &project, jobs)?;
    let tested = block_on_cores(by_hand(&project, async |budget| {
        let mut tested = Vec::new();
        for case in cases {
            let outcome = test(&project, &case, budget, *update).await;
            tested.push(Tested { outcome: outcome.unwrap_or_else(Outcome::Failed), case });
        }
        tested
    }))?;
    match context.output {
        Output::Table => {
            let text: String = tested.iter().map(|tested| tested.words(context)).collect();
            print::text(&text)?;
        }
        Output::Json => print::json(&tested.iter().map(Tested::facts).collect::<Vec<_>>())?,
    }
    let good = tested.iter().all(|tested| tested.outcome.is_good());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cases(context: &Context, project: &Project, wanted: &[String]) -> Result<Vec<Case>, Error> {
    let is_batch = |name: &&Name| matches!(project.jobs[*name].kind, JobKind::Batch(_));
    let known: Vec<&Name> = project.jobs.keys().filter(is_batch).collect();
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    if let Some(other) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(unknown("batch job", other, &names, &context.command("check")));
    }
    let mut cases = Vec::new();
    for job in
        known.into_iter().filter(|job| wanted.is_empty() || wanted.contains(&job.to_string()))
    {
        let of_job = Case::of(project, job)?;
        if of_job.is_empty() && !wanted.is_empty() {
            return Err(without_files(context, job.as_str()));
        }
        cases.extend(of_job);
    }
    if cases.is_empty() { Err(without_files(context, "<job>")) } else { Ok(cases) }
}

fn without_files(context: &Context, job: &str) -> Error {
    let problem = format!("there are no golden files in jobs/{job}/golden/");
    let update = context.command(&format!("jobs test {job} --update"));
    Error::new(ErrorKind::Input, problem).remedy(format!(
        "write rows into jobs/{job}/golden/input.<table>.jsonl, then `{update}` writes what the query returns"
    ))
}

async fn test(
    project: &Project,
    case: &Case,
    budget: &Budget,
    update: bool,
) -> Result<Outcome, Error> {
    let returned = case.run(project, budget).await?;
    if update {
        let path = case.expected_file();
        fs::write(&path, returned.text())
            .map_err(|err| Error::new(ErrorKind::Input, err))
            .doing(|| format!("write {}", path.display()))?;
        return Ok(Outcome::Written { rows: returned.lines.len() });
    }
    let Some(expected) = case.expected()? else { return Ok(Outcome::NothingExpected) };
    Ok(match expected.differ(&returned) {
        None => Outcome::Passed { rows: expected.lines.len() },
        Some(difference) => Outcome::Differs { expected, difference },
    })
}

impl Outcome {
    fn is_good(&self) -> bool {
        matches!(self, Self::Passed { .. } | Self::Written { .. })
    }
}

impl Tested {
    fn name(&self) -> String {
        match &self.case.name {
            None => self.case.job.to_string(),
            Some(name) => format!("{}/{name}", self.case.job),
        }
    }

    fn words(&self, context: &Context) -> String {
        let (name, file) = (self.name(), self.case.expected_file());
        match &self.outcome {
            Outcome::Passed { rows } => format!("passed   {name}: {}\n", counted(*rows)),
            Outcome::Written { rows } => {
                format!("written  {name}: {} into {}\n", counted(*rows), file.display())
            }
            Outcome::NothingExpected => {
                let update = context.command(&format!("jobs test {} --update", self.case.job));
                format!(
                    "failed   {name}: there is no {}\n         `{update}` writes what the query returns\n",
                    file.display()
                )
            }
            Outcome::Failed(err) => {
                let text = print::error_text(err);
                let text =
                    text.strip_prefix("error: ").unwrap_or(&text).replace('\n', "\n         ");
                format!("failed   {name}: {text}\n")
            }
            Outcome::Differs { expected, difference } => {
                let Difference { headers, missing, unexpected } = difference;
                let mut text = format!(
                    "failed   {name}: {} missing (-), {} not expected (+)\n",
                    counted(missing.len()),
                    counted(unexpected.len())
                );
                match headers {
                    None => line(&mut text, ' ', &expected.header),
                    Some((expected, returned)) => {
                        line(&mut text, '-', expected);
                        line(&mut text, '+', returned);
                    }
                }
                for (sign, rows) in [('-', missing), ('+', unexpected)] {
                    rows.iter().take(ROWS_SHOWN).for_each(|row| line(&mut text, sign, row));
                    if rows.len() > ROWS_SHOWN {
                        let more = format!("… {} more", rows.len() - ROWS_SHOWN);
                        line(&mut text, sign, &more);
                    }
                }
                text
            }
        }
    }

    fn facts(&self) -> Value {
        let (status, more) = match &self.outcome {
            Outcome::Passed { rows } => ("passed", json!({ "rows": rows })),
            Outcome::Written { rows } => ("written", json!({ "rows": rows })),
            Outcome::NothingExpected => ("failed", json!({ "error": "there is no expected.csv" })),
            Outcome::Failed(err) => ("failed", json!({ "error": err.to_string() })),
            Outcome::Differs { expected, difference } => (
                "failed",
                json!({
                    "header": expected.header,
                    "returned_header": difference.headers.as_ref().map(|(_, returned)| returned),
                    "missing": difference.missing,
                    "unexpected": difference.unexpected,
                }),
            ),
        };
        let mut facts = json!({ "job": self.case.job, "case": self.case.name, "status": status });
        if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
            facts.extend(more);
        }
        facts
    }
}

fn counted(lines: usize) -> String {
    rows(lines as u64)
}

/// One line of a screen, whatever the data has in it.
fn line(text: &mut String, sign: char, row: &str) {
    let row: String = one_line(row).collect();
    let _ = writeln!(text, "  {sign} {row}"); // Writing to a String can't fail.
}
