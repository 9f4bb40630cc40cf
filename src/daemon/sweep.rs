//! Clears what killed writers staged and never committed.
//!
//! A writer sweeps where it begins; what a zombie uploads after that would stay there for ever. No
//! age and no clock decide, only the records, so a sweep beside writers at work takes nothing of
//! theirs, and one that is cut short is gone on with by the next.

use crate::error::Error;
use crate::lake::Lake;
use crate::model::name::TableName;
use crate::model::table::LakeTable;
use crate::store::Store;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(super) struct Sweeping {
    pub store: Store,
    pub lake: Lake,
    pub wake: Arc<Notify>,
}

impl Sweeping {
    /// Sweeps when the daemon starts, and whenever it is woken.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.sweep() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
            }
        }
    }

    async fn sweep(&self) {
        let tables = match self.store.tables().await {
            Ok(tables) => tables,
            Err(error) => {
                warn!(%error, "could not read which tables to sweep; trying again in ten minutes");
                return;
            }
        };
        for table in tables.iter().filter(|table| LakeTable::is_streamed(table)) {
            let name = &table.table.name;
            match sweep_table(&self.lake, name).await {
                Ok(0) => {}
                Ok(swept) => {
                    info!(table = %name, swept, "swept {swept} staged files of {name} that nothing needs");
                }
                Err(error) => {
                    warn!(table = %name, %error, "could not sweep the stage of {name}; trying again in ten minutes");
                }
            }
        }
    }
}

async fn sweep_table(lake: &Lake, table: &TableName) -> Result<usize, Error> {
    // First what closings add is shown: what they took goes only when all of it is.
    let mut swept = lake.sweep_sorted(table).await?;
    for log in lake.logs(table).await? {
        swept += log.sweep(0).await? + log.retire_closed().await?;
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::commit::{Append, Log, NewFile};
    use crate::lake::testing::{TOPIC_ID, memory, output, record_of};
    use crate::lake::verify::Known;

    async fn stage(log: &Log, seq: u64) {
        let file = NewFile {
            key: None,
            index: 0,
            payload: "rows".into(),
            rows: 1,
            event_time_min: None,
            event_time_max: None,
        };
        log.stage(seq, file).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_zombie_stages_is_swept_and_what_waits_for_its_record_is_not() {
        let lake = memory().await;
        let log = lake.log(&output(), TOPIC_ID, 3);
        let tip = log.recover().await.unwrap();
        let appended = log.append(&tip, &record_of(1, 0, 0, vec![])).await.unwrap();
        assert!(matches!(appended, Append::Ours(_)));
        stage(&log, 1).await; // By one who does not know that the number is taken.
        stage(&log, 2).await;
        assert_eq!(sweep_table(&lake, &output()).await.unwrap(), 1);
        assert_eq!(sweep_table(&lake, &output()).await.unwrap(), 0);
        assert_eq!(lake.verify(&output(), &Known::default()).await.unwrap().staged, 1);
    }
}
