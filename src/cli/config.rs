//! `tidemill config`: an environment's file, made of what was provisioned.

use crate::config::import;
use crate::config::import::Imported;
use crate::error::{Doing, Error, ErrorKind};
use crate::terminal::context::Context;
use crate::terminal::print;
use clap::Subcommand;
use std::io::Read;
use std::{fs, io};

/// What `terraform/` starts the daemon with.
const ENV: &str = "gcp";

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Writes `tidemill.<ENV>.toml` (default: gcp) from `terraform output -json` on stdin
    Import {
        /// Replaces an existing file that differs
        #[arg(long)]
        yes: bool,
    },
}

pub fn run(context: &Context, verb: &ConfigVerb) -> Result<(), Error> {
    let ConfigVerb::Import { yes } = verb;
    let mut json = String::new();
    io::stdin()
        .read_to_string(&mut json)
        .map_err(|error| Error::new(ErrorKind::Input, error))
        .doing(|| "read stdin".into())?;
    let env = context.env.as_deref().unwrap_or(ENV);
    let Imported { text, left } = import::import(&json, env)?;
    let path = context.dir.join(format!("tidemill.{env}.toml"));
    let shown = path.display();
    match fs::read_to_string(&path) {
        Ok(there) if there != text && !yes => {
            return Err(Error::new(ErrorKind::Input, format!("{shown} exists with other content"))
                .remedy("add --yes to replace it"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Error::new(ErrorKind::Input, error)).doing(|| format!("read {shown}"));
        }
    }
    fs::write(&path, text)
        .map_err(|error| Error::new(ErrorKind::Input, error))
        .doing(|| format!("write {shown}"))?;
    let mut told = format!("wrote {shown}\nleft to you:\n");
    for line in left {
        told.push_str(&format!("  {line}\n"));
    }
    let check = Context { env: Some(env.to_owned()), ..context.clone() }.command("check");
    print::text(&format!("{told}next: {check}\n"))
}
