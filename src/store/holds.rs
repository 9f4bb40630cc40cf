//! Why a range of a coarser schedule has no run yet: what in it is not done.

use super::Store;
use crate::error::Error;
use crate::model::due::Hold;
use crate::model::name::TableName;
use crate::model::time::Micros;

impl Store {
    /// What keeps `table` from being done for the half-open range; `None`: nothing does.
    ///
    /// A table that a batch writes is done when its input is, and the newest run of each hive
    /// partition in the range has succeeded.
    pub async fn hold(
        &self,
        table: &TableName,
        range: (Micros, Micros),
    ) -> Result<Option<Hold>, Error> {
        let mut nearest = None;
        let mut at = table.clone();
        // `check` refuses a circle of DAGs; a store that has one would only stop here.
        for _ in 0..100 {
            let Some(lake_table) = self.table(&at).await? else { break };
            if lake_table.is_streamed() {
                let frontier = lake_table.frontier;
                if frontier.is_none_or(|frontier| frontier < range.1) {
                    return Ok(Some(Hold::Frontier { table: at, frontier }));
                }
                break;
            }
            // What is furthest upstream explains most: it is told first.
            if let Some(unfinished) =
                self.unfinished(&lake_table.dag, range).await?.into_iter().next()
            {
                nearest = Some(Hold::Run(unfinished));
            } else if self.any_due(&lake_table.dag, range).await? {
                nearest = Some(Hold::Due { dag: lake_table.dag.clone() });
            }
            let writer = self.dag(&lake_table.dag).await?;
            let Some(input) = writer.and_then(|writer| writer.on_close) else { break };
            at = input;
        }
        Ok(nearest)
    }
}
