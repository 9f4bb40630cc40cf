//! One topic partition that is ours, from one start to the next: its ledger, its output, its log.

use super::chunk::Chunk;
use super::header::RecordHeader;
use super::judge::Judged;
use super::ledger::Ledger;
use super::output::Output;
use super::roll::{Facts, OpenBytes};
use super::route::Part;
use crate::crash;
use crate::error::Error;
use crate::lake::commit::{Append, Log};
use crate::model::commit::Record;
use crate::model::hive::PartitionKey;
use crate::model::time::Micros;

/// A topic partition that is ours.
pub struct Owned {
    pub topic_partition: u32,
    /// Which start of it by this process this is; what was read before an earlier one is void.
    pub life: u64,
    pub ledger: Ledger,
    pub output: Box<dyn Output>,
    pub log: Log,
}

/// What became of a record.
pub enum Commit {
    Ours(Box<Record>),
    /// Another writer has moved the log: begin again at its end.
    Theirs,
}

impl Owned {
    /// Takes the judged rows of a chunk in, cut by hive partition.
    pub fn take(
        &mut self,
        chunk: &Chunk,
        judged: Judged,
        parts: Vec<Part>,
        now: Micros,
    ) -> Result<(), Error> {
        let Judged { rejected, dropped, .. } = judged;
        self.ledger.note(chunk, &parts, &rejected, dropped, now);
        parts.into_iter().try_for_each(|part| self.output.take(part))?;
        if rejected.is_empty() { Ok(()) } else { self.output.quarantine(&rejected) }
    }

    pub fn facts(&self) -> Facts {
        self.ledger.facts(self.output.memory() + self.output.staged_bytes())
    }

    /// What sealing could take out of memory.
    pub fn open(&self) -> impl Iterator<Item = OpenBytes> {
        let topic_partition = self.topic_partition;
        let open = self.output.open().into_iter();
        open.map(move |(key, bytes)| OpenBytes { topic_partition, key, bytes })
    }

    /// Takes the rows of one hive partition out of memory, ahead of the record that will name them.
    pub async fn seal(&mut self, key: PartitionKey) -> Result<(), Error> {
        self.output.seal(self.ledger.tip().next_seq(), key).await
    }

    /// Commits and publishes everything read so far.
    pub async fn commit(&mut self, header: &RecordHeader, now: Micros) -> Result<Commit, Error> {
        let prepared = self.output.prepare(self.ledger.tip().next_seq()).await?;
        let record = self.ledger.record(header, prepared);
        match self.log.append(self.ledger.tip(), &record).await? {
            Append::Theirs(_) => Ok(Commit::Theirs),
            Append::Ours(unpublished) => {
                crash::point("record");
                let tip = self.log.publish(&unpublished).await?;
                self.ledger.committed(&record, tip, now);
                Ok(Commit::Ours(Box::new(record)))
            }
        }
    }
}
