//! The warehouse: tables cut by the column that Tidemill adds, one hive partition replaced at a time.
//!
//! Whatever it is made of, it promises the same: a partition is replaced at once or not at all, rows
//! outside of it are refused, an older closing never replaces a newer one, and columns keep their
//! order for ever.

pub mod bigquery;
mod content;
mod disk;
mod journal;
mod local;
mod schema;

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod local_tests;

pub use bigquery::BigQuery;
pub use content::{CLOSING_KEY, RUN_KEY};
pub use journal::Journal;
pub use local::{Local, Partition};
pub use schema::{Schema, type_name};

use crate::clock::Clock;
use crate::error::Error;
use crate::model::file::LocalFile;
use crate::model::hive::{Grain, PartitionKey};
use crate::model::job::WarehouseTable;
use crate::model::name::ProjectName;
use crate::model::settings::Warehouse as Settings;
use arrow::datatypes::Schema as ArrowSchema;

/// Where batches load what they have made.
pub enum Warehouse {
    Local(Local),
    BigQuery(Box<BigQuery>),
}

/// The rows of one hive partition, all of them.
#[derive(Clone, Debug)]
pub struct Load {
    pub to: WarehouseTable,
    pub key: PartitionKey,
    /// Of the input; an older one never replaces a newer one.
    pub closing: u32,
    /// A Parquet file whose first column is the start column, and which names `closing` under
    /// [`CLOSING_KEY`]. Without rows it empties the partition. It is read where it lies, and may be
    /// larger than memory.
    pub file: LocalFile,
    /// Where the lake keeps the same bytes: `gs://…`. `None` without rows, or where nobody but this
    /// machine reads the lake.
    pub source: Option<String>,
}

/// What became of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub rows: u64,
    pub bytes: u64,
    /// Under which id the warehouse knows it.
    pub job: Option<String>,
}

impl Warehouse {
    /// Opens the warehouse without asking it anything.
    pub async fn open(
        settings: &Settings,
        project: &ProjectName,
        clock: Clock,
    ) -> Result<Self, Error> {
        Ok(match settings {
            Settings::Local(root) => Self::Local(Local::new(root, clock)),
            Settings::BigQuery(settings) => {
                Self::BigQuery(Box::new(BigQuery::open(settings, project, clock).await?))
            }
        })
    }

    /// Refuses columns that the table can't take, without changing anything.
    pub async fn admit(
        &self,
        to: &WarehouseTable,
        grain: Grain,
        columns: &ArrowSchema,
    ) -> Result<(), Error> {
        match self {
            Self::Local(local) => local.admit(&to.table, grain, columns),
            Self::BigQuery(bigquery) => Box::pin(bigquery.admit(to, grain, columns)).await,
        }
    }

    /// Replaces one hive partition, durably.
    ///
    /// Fails with kind `Fenced` where a newer closing has been loaded, `Input` where the columns
    /// don't fit the table, and `Data` where a row is outside the partition. A repeat of the same
    /// closing is harmless.
    pub async fn replace(&self, load: &Load, journal: &dyn Journal) -> Result<Loaded, Error> {
        match self {
            Self::Local(local) => local.replace(load).await,
            Self::BigQuery(bigquery) => Box::pin(bigquery.replace(load, journal)).await,
        }
    }
}
