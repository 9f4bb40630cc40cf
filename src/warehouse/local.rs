//! The local warehouse: tables as folders of Parquet that any reader opens.
//!
//! It keeps the promises of a cloud warehouse's load jobs. A table is cut by the column that
//! Tidemill adds, one hive partition is replaced at once or not at all, columns keep their order
//! for ever, and the closing that a partition was loaded from fences older writers. All of that
//! hangs on one rename: the closing's number is in the file itself, so that rows and number
//! can't part. What is not rows is beside the tables, under `_tidemill`.

use super::content::{Content, Footer};
use super::schema::Schema;
use super::{Load, Loaded, disk};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::hive::{Grain, PartitionKey};
use crate::model::name::TableName;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use std::path::{Path, PathBuf};

/// The one file of a hive partition.
const FILE: &str = "part.parquet";

/// A folder of tables; a clone is another handle to it.
#[derive(Clone, Debug)]
pub struct Local {
    root: PathBuf,
    clock: Clock,
}

/// A hive partition as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub key: PartitionKey,
    pub closing: u32,
    pub run: String,
    pub rows: u64,
    pub bytes: u64,
    /// Absolute.
    pub file: PathBuf,
}

impl Local {
    /// The warehouse at a folder, which is made when first loaded into.
    pub fn new(root: &Path, clock: Clock) -> Self {
        Self { root: root.to_owned(), clock }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses columns that the table can't take, without changing anything.
    pub fn admit(
        &self,
        table: &TableName,
        grain: Grain,
        columns: &ArrowSchema,
    ) -> Result<(), Error> {
        let wanted = Schema::new(grain, columns);
        let admitted = wanted.and_then(|wanted| wanted.follow(self.schema(table)?.as_ref()));
        admitted.map(|_| ()).doing(|| format!("load into {table}"))
    }

    /// See [`super::Warehouse::replace`].
    pub async fn replace(&self, load: &Load) -> Result<Loaded, Error> {
        let Load { to, key, closing, .. } = load;
        let table = &to.table;
        let doing = || format!("load {key} of {table} from closing {closing}");
        let content = Content::read(&load.file).doing(doing)?;
        content.check(key, *closing).doing(doing)?;
        let _lock = disk::lock(&self.beside(table).join("lock"), &self.clock).await.doing(doing)?;
        self.replace_locked(load, &content).doing(doing)?;
        Ok(Loaded { rows: content.footer.rows, bytes: load.file.bytes, job: None })
    }

    fn replace_locked(&self, load: &Load, content: &Content) -> Result<(), Error> {
        let file = self.file(&load.to.table, &load.key);
        let newer = |now: &Partition| now.closing > load.closing;
        if let Some(Partition { closing, run, .. }) = read_partition(&file, load.key)?.filter(newer)
        {
            let problem = format!("it was loaded from closing {closing} by {run}");
            return Err(Error::new(ErrorKind::Fenced, problem));
        }
        let stage = disk::Stage::clear(&self.beside(&load.to.table).join("stage"))?;
        let before = self.schema(&load.to.table)?;
        let schema =
            Schema::new(load.key.grain, &content.footer.columns)?.follow(before.as_ref())?;
        if before.as_ref() != Some(&schema) {
            // Columns without rows are harmless; rows without columns are not.
            stage.put(&schema.encode(), &self.schema_file(&load.to.table))?;
        }
        stage.copy(&load.file.path, &file)
    }

    /// The columns of a table, the start column first; `None` while nothing was ever loaded.
    pub fn columns(&self, table: &TableName) -> Result<Option<SchemaRef>, Error> {
        self.schema(table)?.map(|schema| schema.columns()).transpose()
    }

    /// Everything that is loaded, in the order of the keys; partitions that were emptied, too.
    pub fn partitions(&self, table: &TableName) -> Result<Vec<Partition>, Error> {
        let mut found = Vec::new();
        let Some(schema) = self.schema(table)? else { return Ok(found) };
        for (folder, key) in disk::partitions(&self.folder(table), schema.grain)? {
            found.extend(read_partition(&folder.join(FILE), key)?);
        }
        found.sort_by_key(|partition| partition.key);
        Ok(found)
    }

    /// Every table that was ever loaded.
    pub fn tables(&self) -> Result<Vec<TableName>, Error> {
        disk::names(&self.root.join(BESIDE))
    }

    fn schema(&self, table: &TableName) -> Result<Option<Schema>, Error> {
        let file = self.schema_file(table);
        let Some(bytes) = disk::read(&file)? else { return Ok(None) };
        Schema::decode(&bytes).doing(|| format!("read {}", file.display())).map(Some)
    }

    fn schema_file(&self, table: &TableName) -> PathBuf {
        self.beside(table).join("schema.json")
    }

    fn folder(&self, table: &TableName) -> PathBuf {
        self.root.join(table.data_set()).join(table.table())
    }

    fn file(&self, table: &TableName, key: &PartitionKey) -> PathBuf {
        self.folder(table).join(key.path()).join(FILE)
    }

    fn beside(&self, table: &TableName) -> PathBuf {
        self.root.join(BESIDE).join(table.as_str())
    }
}

/// No data set has a name that begins so.
const BESIDE: &str = "_tidemill";

fn read_partition(file: &Path, key: PartitionKey) -> Result<Option<Partition>, Error> {
    let doing = || format!("read {}", file.display());
    let Some((opened, bytes)) = disk::open(file)? else { return Ok(None) };
    let Footer { closing, run, rows, .. } = Footer::read(opened).doing(doing)?;
    Ok(Some(Partition { key, closing, run, rows, bytes, file: file.to_owned() }))
}
