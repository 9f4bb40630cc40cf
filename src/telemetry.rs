//! Writes what happens to stderr, for people or for machines.

use crate::error::{Error, ErrorKind};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt};

/// `TIDEMILL_LOG` says which lines, in the words of `tracing`: `debug`, `tidemill::stream=trace`.
const FILTER_VARIABLE: &str = "TIDEMILL_LOG";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging for this process, once; `quiet` leaves warnings and errors only.
pub fn start(format: Format, quiet: bool) -> Result<(), Error> {
    let default = if quiet { "warn" } else { "info,sqlx=warn,tokio_cron_scheduler=warn" };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| default.into());
    // A line that cannot be written is lost: to tell that on stderr, which is the terminal or pipe that
    // has gone, would bring the process down.
    let lines = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let started = match format {
        Format::Human => {
            let lines = lines.with_target(false).with_ansi(std::io::stderr().is_terminal());
            tracing::subscriber::set_global_default(lines.finish())
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true);
            tracing::subscriber::set_global_default(lines.finish())
        }
    };
    started.map_err(|error| Error::new(ErrorKind::Bug, error))
}
