//! Parquet files of the lake: one for each hive partition, one for the quarantine.

use super::super::chunk::Rejected;
use super::super::header::RecordHeader;
use super::super::route::Part;
use super::file::{OpenFile, SealedFile};
use super::{Output, Prepared, quarantine};
use crate::error::Error;
use crate::lake::at_once;
use crate::lake::commit::{Log, NewFile};
use crate::model::commit::File;
use crate::model::hive::PartitionKey;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many files of a record are staged at once: each is hashed by one core and synced by the disk.
const STAGED_AT_ONCE: usize = 4;

pub struct ParquetFiles {
    topic_partition: u32,
    header: Arc<RecordHeader>,
    schema: SchemaRef,
    log: Log,
    files: BTreeMap<PartitionKey, OpenFile>,
    quarantine: Option<OpenFile>,
    staged: Vec<File>,
    /// Number of the next file of the record.
    index: u32,
}

impl ParquetFiles {
    /// `schema` is that of the table, `log` that of the topic partition.
    pub fn new(
        topic_partition: u32,
        header: Arc<RecordHeader>,
        schema: SchemaRef,
        log: Log,
    ) -> Self {
        Self {
            topic_partition,
            header,
            schema,
            log,
            files: BTreeMap::new(),
            quarantine: None,
            staged: Vec::new(),
            index: 0,
        }
    }

    fn sealed(
        &mut self,
        seq: u64,
        key: Option<PartitionKey>,
        file: OpenFile,
    ) -> Result<NewFile, Error> {
        let header = &self.header;
        let metadata = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("table", header.output.to_string()),
            ("schema", header.schema.to_string()),
            ("topic", header.topic.to_string()),
            ("topic_id", header.topic_id.clone()),
            ("topic_partition", self.topic_partition.to_string()),
            ("seq", seq.to_string()),
        ];
        let SealedFile { payload, rows, event_time_min, event_time_max } = file.seal(&metadata)?;
        let index = self.index;
        self.index += 1;
        Ok(NewFile { key, index, payload, rows, event_time_min, event_time_max })
    }
}

#[async_trait]
impl Output for ParquetFiles {
    fn take(&mut self, part: Part) -> Result<(), Error> {
        let file = self.files.entry(part.key);
        file.or_insert_with(|| OpenFile::new(&self.schema)).push(part)
    }

    fn quarantine(&mut self, rejected: &[Rejected]) -> Result<(), Error> {
        let file = self.quarantine.get_or_insert_with(quarantine::open);
        quarantine::push(file, self.topic_partition, rejected)
    }

    fn memory(&self) -> u64 {
        self.files.values().chain(&self.quarantine).map(OpenFile::memory).sum()
    }

    fn staged_bytes(&self) -> u64 {
        self.staged.iter().map(|file| file.bytes).sum()
    }

    fn open(&self) -> Vec<(PartitionKey, u64)> {
        self.files.iter().map(|(&key, file)| (key, file.memory())).collect()
    }

    fn keys(&self) -> Vec<PartitionKey> {
        let staged = self.staged.iter().filter_map(|file| file.key);
        self.files.keys().copied().chain(staged).collect()
    }

    async fn seal(&mut self, seq: u64, key: PartitionKey) -> Result<(), Error> {
        let Some(file) = self.files.remove(&key) else { return Ok(()) };
        let file = self.sealed(seq, Some(key), file)?;
        self.staged.push(self.log.stage(seq, file).await?);
        Ok(())
    }

    async fn prepare(&mut self, seq: u64) -> Result<Prepared, Error> {
        let mut files = Vec::with_capacity(self.files.len());
        for (key, file) in std::mem::take(&mut self.files) {
            files.push(self.sealed(seq, Some(key), file)?);
        }
        if let Some(file) = self.quarantine.take() {
            files.push(self.sealed(seq, None, file)?);
        }
        let stage = files.into_iter().map(|file| self.log.stage(seq, file)).collect();
        let staged: Vec<File> = at_once(STAGED_AT_ONCE, stage).await?;
        let mut prepared = Prepared { files: std::mem::take(&mut self.staged), quarantine: None };
        for file in staged {
            match file.key {
                Some(_) => prepared.files.push(file),
                None => prepared.quarantine = Some(file),
            }
        }
        self.index = 0;
        Ok(prepared)
    }
}
