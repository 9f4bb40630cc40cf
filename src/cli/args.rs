//! The words of the command line.

use super::config::ConfigVerb;
use super::dags::DagsVerb;
use super::jobs::JobsVerb;
use super::lake::LakeVerb;
use super::partitions::PartitionsVerb;
use super::runs::RunsVerb;
use super::sql::SqlArgs;
use super::streams::StreamsVerb;
use super::tables::TablesVerb;
use super::tasks::TasksVerb;
use crate::demo::DemoArgs;
use crate::model::zone::Zone;
use crate::terminal::print::Output;
use clap::{Parser, Subcommand};
use jiff::tz::TimeZone;
use std::path::PathBuf;

/// From Kafka to closed hours in the warehouse, in one binary.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Args {
    /// The project's folder, which contains `tidemill.toml`
    #[arg(short = 'C', global = true, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Environment: keys of `tidemill.<ENV>.toml` replace those of `tidemill.toml`; or set `TIDEMILL_ENV`
    #[arg(long, global = true)]
    pub env: Option<String>,
    /// Format of the results
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// The timezone of times on screen, e.g. Europe/Madrid
    #[arg(long, global = true, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub tz: TimeZone,
    #[command(subcommand)]
    pub verb: Verb,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    let zone = name.parse::<Zone>().map(|zone| zone.rules().clone());
    zone.map_err(|_| "write UTC or a name like Europe/Madrid".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Checks the project's files and lists every problem
    Check,
    /// Tests that every configured system does what Tidemill relies on
    Doctor,
    /// Runs the project until Ctrl-C
    Up {
        /// Logs one JSON object per line
        #[arg(long)]
        log_json: bool,
        /// Ends when stdin ends, as after Ctrl-C; for a program that must not leave it running
        #[arg(long, hide = true)]
        while_stdin: bool,
    },
    /// Runs a simulated day of Wikimedia changes through the whole pipeline, in about a minute
    Demo(DemoArgs),
    /// Shows what runs, what has run, and what needs a person
    Status,
    /// DAGs: list, show, trigger, pause, unpause
    #[command(subcommand)]
    Dags(DagsVerb),
    /// Runs of DAGs: list, show, clear, mark, wait
    #[command(subcommand)]
    Runs(RunsVerb),
    /// Tasks of a run: logs, why
    #[command(subcommand)]
    Tasks(TasksVerb),
    /// Streams and feeds: list, show, start, stop
    #[command(subcommand)]
    Streams(StreamsVerb),
    /// Hive partitions of a table: list, show, close, reopen
    #[command(subcommand)]
    Partitions(PartitionsVerb),
    /// A table's files and log: verify, trace
    #[command(subcommand)]
    Lake(LakeVerb),
    /// Jobs: test
    #[command(subcommand)]
    Jobs(JobsVerb),
    /// The file of an environment: import
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Tables of the lake for other engines: ddl
    #[command(subcommand)]
    Tables(TablesVerb),
    /// Runs one query on the lake and the warehouse (as warehouse.<table>)
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
        /// The state store of the daemon that has the files checked
        #[arg(long, value_name = "FILE", conflicts_with = "attempt", requires = "epoch")]
        state: Option<PathBuf>,
        /// The epoch under which that daemon decides
        #[arg(long, requires = "state")]
        epoch: Option<u64>,
        /// As that daemon logs
        #[arg(long, conflicts_with = "attempt")]
        log_json: bool,
    },
}

impl Verb {
    /// Whether its errors are lines of a log for machines.
    pub fn logs_json(&self) -> bool {
        matches!(self, Self::Up { log_json: true, .. } | Self::Worker { log_json: true, .. })
    }
}
