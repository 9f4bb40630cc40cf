//! The lock of one hive partition's output. The system frees it when its holder dies.

use super::super::{Lake, paths};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// The writers of a hive partition are serial, so who waits this long meets one that is stopped.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Held until dropped.
#[derive(Debug)]
pub struct Locked {
    _file: File,
}

impl Lake {
    /// Waits until nobody else replaces this output, but no longer than `wait`.
    pub(super) async fn lock_output(
        &self,
        wait: Duration,
        folder: &Path,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Locked, Error> {
        let path = folder.join(paths::output_lock(table, key));
        let clock = &self.retry.clock;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(locked) = try_lock(&path).doing(|| format!("lock {}", path.display()))? {
                return Ok(locked);
            }
            if waited >= wait {
                let problem = format!("another process holds {}", path.display());
                return Err(Error::new(ErrorKind::Unavailable, problem)
                    .remedy("see which one with `fuser`; a stopped attempt frees it when killed"));
            }
            clock.sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }
}

fn try_lock(path: &Path) -> Result<Option<Locked>, Error> {
    let unavailable = |error: std::io::Error| Error::new(ErrorKind::Unavailable, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(unavailable)?;
    }
    // The file stays: if it were deleted, two could hold locks of one name.
    let file = File::options().create(true).append(true).open(path).map_err(unavailable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Locked { _file: file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(unavailable(error.into())),
    }
}
