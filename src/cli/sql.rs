//! `tidemill sql`: a question about what the lake and the warehouse hold.

use crate::batch;
use crate::error::{Error, ErrorKind};
use crate::terminal::context::{Context, block_on_cores};
use crate::terminal::print;
use crate::terminal::print::Output;
use clap::Args;
use std::io::Read;

/// Rows of a screen; `-n` asks for more.
const ROWS_DEFAULT: usize = 1_000;

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// One query; `-` reads it from stdin
    query: String,
    /// Maximum number of rows to print
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
    let asked = batch::ask_project(&project, &context.clock, &text, args.rows_max);
    let answer = block_on_cores(asked)?;
    match context.output {
        Output::Table => print::text(&(batch::table_in(&context.zone, &answer)? + "\n")),
        Output::Json => print::json(&batch::json(&answer)?),
    }
}
