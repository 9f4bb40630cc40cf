//! Runs the shim or the command line, and ends the process with its exit code.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // The shim comes before everything else: each task pays for its start.
    if arguments.next().is_some_and(|verb| verb == "shim")
        && let (Some(_), Some(folder)) = (arguments.next(), arguments.next())
    {
        return match tidemill::supervisor::shim::run(Path::new(&folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    tidemill::cli::run(std::env::args_os())
}
