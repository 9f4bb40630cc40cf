//! The words of the command line.

use super::config::ConfigVerb;
use super::dags::DagsVerb;
use super::demo::DemoArgs;
use super::lake::LakeVerb;
use super::partitions::PartitionsVerb;
use super::runs::RunsVerb;
use super::sql::SqlArgs;
use super::streams::StreamsVerb;
use super::tables::TablesVerb;
use super::tasks::TasksVerb;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use jiff::tz::TimeZone;
use std::path::PathBuf;

/// From Kafka to closed hours in the warehouse, in one binary.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Args {
    /// The project's folder, where `tidemill.toml` is
    #[arg(short = 'C', global = true, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Lays `tidemill.<ENV>.toml` over `tidemill.toml`; `TIDEMILL_ENV` says the same
    #[arg(long, global = true)]
    pub env: Option<String>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// The timezone of times on screen, e.g. Europe/Madrid
    #[arg(long, global = true, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub tz: TimeZone,
    #[command(subcommand)]
    pub verb: Verb,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    // The name that everyone has, also where no database of timezones is installed.
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| "write UTC or a name like Europe/Madrid".to_owned())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    /// The same facts, for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Reads the project's files and tells everything that is wrong with them
    Check,
    /// Tries whether every configured system does what Tidemill relies on
    Doctor,
    /// Runs the project until Ctrl-C
    Up {
        /// Logs one JSON object a line
        #[arg(long)]
        log_json: bool,
        /// Ends, as at Ctrl-C, when stdin ends; for a program that must not leave it behind
        #[arg(long, hide = true)]
        while_stdin: bool,
    },
    /// A day of Wikimedia changes through the whole chain, in about a minute
    Demo(DemoArgs),
    /// What runs, what has run, and what needs a person
    Status,
    /// DAGs: list, show, trigger, pause, unpause
    #[command(subcommand)]
    Dags(DagsVerb),
    /// Runs of DAGs: list, show, clear, mark, wait
    #[command(subcommand)]
    Runs(RunsVerb),
    /// Tasks of a run: their logs, and why they have not run
    #[command(subcommand)]
    Tasks(TasksVerb),
    /// Streams and feeds: list, show, start, stop
    #[command(subcommand)]
    Streams(StreamsVerb),
    /// Hive partitions of a table: list, show, close, reopen
    #[command(subcommand)]
    Partitions(PartitionsVerb),
    /// A table's files and log: verify them, trace a row
    #[command(subcommand)]
    Lake(LakeVerb),
    /// An environment's file: import
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Tables of the lake, as other engines read them: ddl
    #[command(subcommand)]
    Tables(TablesVerb),
    /// Asks the lake and the warehouse (as warehouse.<table>) a question
    Sql(SqlArgs),
    /// Prints the version
    Version,
    /// Works on one attempt, or checks the files for the daemon; started by `up`
    #[command(hide = true)]
    Worker {
        #[arg(long, required_unless_present = "accept", conflicts_with = "accept")]
        attempt: Option<String>,
        #[arg(long)]
        accept: bool,
    },
}
