//! `tidemill sql`: a question about what the lake and the warehouse hold.

use super::args::Output;
use super::context::Context;
use super::print;
use crate::batch;
use crate::batch::Answer;
use crate::batch::Declared;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::lake::Lake;
use crate::model::settings::Project;
use crate::sql::session::Budget;
use crate::warehouse::Warehouse;
use clap::Args;
use std::io::Read;

/// Rows of a screen; `-n` asks for more.
const ROWS_DEFAULT: usize = 1_000;

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// One query; `-` reads it from stdin
    query: String,
    /// How many rows are printed at most
    #[arg(short = 'n', long, default_value_t = ROWS_DEFAULT)]
    rows_max: usize,
}

pub fn run(context: &Context, args: &SqlArgs) -> Result<(), Error> {
    let project = context.project()?;
    let mut text = args.query.clone();
    if text == "-" {
        text.clear();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|err| Error::new(ErrorKind::Input, format!("read stdin: {err}")))?;
    }
    // A plan has a part for each core, and a part works where it was spawned.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|err| Error::new(ErrorKind::Unavailable, err))?;
    let answer = runtime.block_on(ask(context, &project, &text, args.rows_max))?;
    match context.output {
        Output::Table => print::text(&(batch::table(&answer)? + "\n")),
        Output::Json => print::json(&batch::json(&answer)?),
    }
}

/// Answers `text` over everything that readers see now.
pub async fn ask(
    context: &Context,
    project: &Project,
    text: &str,
    rows_max: usize,
) -> Result<Answer, Error> {
    let settings = &project.settings;
    let lake = Lake::open(&settings.lake, &settings.project, context.clock.clone()).await?;
    let clock = context.clock.clone();
    let warehouse = Warehouse::open(&settings.warehouse, &settings.project, clock).await?;
    let budget = Budget {
        memory_bytes: settings.limits.batch_memory_bytes,
        spill: settings.home.join("spill").join(format!("sql-{}", std::process::id())),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    std::fs::create_dir_all(&budget.spill)
        .map_err(|err| Error::new(ErrorKind::Input, err))
        .doing(|| format!("make the folder {}", budget.spill.display()))?;
    let declared = Declared::from(project);
    let answer = batch::ask(declared, &lake, &warehouse, &budget, text, rows_max).await;
    let _ = std::fs::remove_dir_all(&budget.spill); // What is left there harms nobody.
    answer
}
