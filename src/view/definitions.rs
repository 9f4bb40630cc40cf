//! What a project consists of as it was last accepted: what other views look names up in.

use crate::error::Error;
use crate::model::accepted::DagEntry;
use crate::model::dag::DagVersion;
use crate::model::job::JobKind;
use crate::model::name::TableName;
use crate::model::stream::Stream;
use crate::model::table::LakeTable;
use crate::store::Store;
use std::collections::BTreeMap;

/// DAGs, streams and tables, each read once.
#[derive(Clone, Debug)]
pub struct Definitions {
    pub dags: Vec<DagEntry>,
    pub streams: Vec<Stream>,
    pub tables: BTreeMap<TableName, LakeTable>,
    versions: BTreeMap<String, DagVersion>,
}

impl Definitions {
    pub async fn read(store: &Store) -> Result<Self, Error> {
        let tables = store.tables().await?;
        Ok(Self {
            dags: store.dags().await?,
            streams: store.streams().await?,
            tables: tables.into_iter().map(|table| (table.table.name.clone(), table)).collect(),
            versions: store.versions_in_use().await?,
        })
    }

    /// The version that a DAG has now; `None` if it cannot be read, which is a problem of its own.
    pub fn version(&self, hash: &str) -> Option<&DagVersion> {
        self.versions.get(hash)
    }

    /// What a stream or feed does.
    pub fn job(&self, stream: &Stream) -> Option<&JobKind> {
        self.version(&stream.version)?.jobs.get(&stream.job).map(|job| &job.kind)
    }
}
