//! Attempts that the state store does not know: it was lost, and they went on under their shims.
//!
//! What they write is fenced by the lake, but nobody would ever end them, and each stream would run
//! twice. So they are ended before the first attempt of the new store begins.

use super::Surroundings;
use super::folder::{Claim, End, Folder, Status};
use super::process::sweep;
use crate::error::{Error, ErrorKind};
use std::{fs, io};
use tracing::warn;

/// Ends all of them; the folders stay, with their logs.
pub(super) async fn end(around: &Surroundings) -> Result<(), Error> {
    let unavailable = |error: io::Error| Error::new(ErrorKind::Unavailable, error);
    let entries = match fs::read_dir(around.home.join("attempts")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unavailable(error)),
    };
    for entry in entries {
        let name = entry.map_err(unavailable)?.file_name();
        let Some(id) = name.to_str() else { continue };
        let folder = Folder::of(&around.home, id);
        let is_over = folder.status()?.is_some() || folder.claimed()? == Some(Claim::GivenUp);
        if is_over || around.store.attempt(id).await?.is_some() {
            continue;
        }
        // A shim that has not begun yet finds the claim, and starts nothing.
        let session = match folder.claim(Claim::GivenUp)? {
            Claim::Shim(shim) => Some(shim),
            Claim::GivenUp => None,
        };
        let ended = sweep(&folder.path, session.as_ref());
        warn!(attempt.id = %id, ended, "the state store does not know {id}: its {ended} processes are ended");
        let status = Status { ended: around.clock.now().into(), end: End::Signalled(9) };
        folder.put_status(&status)?;
    }
    Ok(())
}
