//! What makes a DAG's next run.

use super::Stamp;
use super::definitions::Definitions;
use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::dag::{OnClose, Schedule};
use crate::model::due::{DueRange, Hold};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::name::{Name, TableName};
use crate::model::run::RunState;
use crate::model::time::Micros;
use crate::store::Store;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a DAG's next run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "waits_for", rename_all = "snake_case")]
pub enum Next {
    /// Nothing of its table has closed yet.
    FirstClosing { table: TableName },
    /// The next hive partition of a table that a batch writes.
    Output { table: TableName, grain: Grain },
    /// The hive partition closes when the watermark of its table passes this moment.
    Watermark { partition_key: PartitionKey, passes: Stamp },
    /// The run of a finer hive partition.
    Run { partition_key: PartitionKey, dag: Name, run: String, of: PartitionKey, state: RunState },
    /// A coarser schedule before it.
    Dag { partition_key: PartitionKey, dag: Name },
    /// Nothing: the daemon's next look.
    Daemon { partition_key: PartitionKey },
}

/// Tells of several DAGs what each waits for; ranges that several wait for are looked at once.
pub struct Outlook<'a> {
    store: &'a Store,
    definitions: &'a Definitions,
    due: BTreeMap<Name, DueRange>,
    holds: BTreeMap<(TableName, Micros, Micros), Option<Hold>>,
}

impl<'a> Outlook<'a> {
    pub async fn over(store: &'a Store, definitions: &'a Definitions) -> Result<Self, Error> {
        let due = store.first_due().await?;
        Ok(Self { store, definitions, due, holds: BTreeMap::new() })
    }

    /// `None` where no closing makes a run, or none is to be made now.
    pub async fn next(&mut self, dag: &DagEntry) -> Result<Option<Next>, Error> {
        if dag.paused || !dag.present {
            return Ok(None);
        }
        let Some(version) = self.definitions.version(&dag.version) else { return Ok(None) };
        let on_close = match &version.dag.schedule {
            Schedule::Manual => return Ok(None),
            Schedule::OnClose(on_close) => on_close,
        };
        if self.definitions.tables.contains_key(&on_close.table)
            && let Some(due) = self.due.get(&dag.name).cloned()
        {
            return self.held(on_close, &due).await.map(Some);
        }
        Ok(Some(self.closing(on_close)))
    }

    /// The hive partition or range that the frontier stands in.
    fn closing(&self, on_close: &OnClose) -> Next {
        let OnClose { table, grain, timezone, .. } = on_close;
        let first = Next::FirstClosing { table: table.clone() };
        let Some(known) = self.definitions.tables.get(table) else { return first };
        if !known.is_streamed() {
            return Next::Output { table: table.clone(), grain: *grain };
        }
        let Some(frontier) = known.frontier else { return first };
        let by = PartitionBy { grain: *grain, timezone: timezone.clone() };
        let partition_key = by.key_of(frontier);
        let passes = Stamp(by.range(&partition_key).1.plus(known.close_after));
        Next::Watermark { partition_key, passes }
    }

    /// What a range waits for in which something has closed already.
    async fn held(&mut self, on_close: &OnClose, due: &DueRange) -> Result<Next, Error> {
        let wanted = (on_close.table.clone(), due.start, due.end);
        let hold = if let Some(known) = self.holds.get(&wanted) {
            known.clone()
        } else {
            let found = self.store.hold(&on_close.table, (due.start, due.end)).await?;
            self.holds.insert(wanted, found.clone());
            found
        };
        let partition_key = due.key;
        Ok(match hold {
            None => Next::Daemon { partition_key },
            Some(Hold::Frontier { table, .. }) => {
                let table = self.definitions.tables.get(&table);
                let close_after = table.map(|table| table.close_after).unwrap_or_default();
                Next::Watermark { partition_key, passes: Stamp(due.end.plus(close_after)) }
            }
            Some(Hold::Run(of)) => {
                Next::Run { partition_key, dag: of.dag, run: of.run, of: of.key, state: of.state }
            }
            Some(Hold::Due { dag }) => Next::Dag { partition_key, dag },
        })
    }
}
