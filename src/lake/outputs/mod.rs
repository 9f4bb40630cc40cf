//! The one object of a hive partition that a batch writes, replaced as a whole.
//!
//! Beside it lies the number of the closing that it was made from. Under a lock the next output is
//! staged, then the number is written, with the staged name, and only then the staged object is
//! renamed into place. So the number never lies below the object: an older closing is refused even
//! when the newer writer was killed before its rename, and what that one left staged is still
//! there to be renamed by whoever comes next.
//!
//! In a bucket there is neither a lock nor a rename: [`compare`] keeps the same promise there.

mod compare;
mod lock;

use super::place::Turns;
use super::{Lake, decode, encode, paths};
use crate::crash;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{FORMAT, Output, OutputFile, OutputInput};
use crate::model::file::LocalFile;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::time::Duration;

/// The result of a batch for one hive partition.
#[derive(Clone, Debug)]
pub struct NewOutput {
    pub table: TableName,
    pub key: PartitionKey,
    /// The number of the run: most often that of the input's closing, and always above what any
    /// earlier run had.
    pub n: u32,
    pub run: String,
    /// The closing of exactly this hive partition, if it was made from one.
    pub input: Option<OutputInput>,
    /// A Parquet file of any size and its rows; `None`: no rows, so no object.
    pub content: Option<(LocalFile, u64)>,
}

impl Lake {
    /// Replaces the output of a hive partition, durably.
    ///
    /// Fails with kind `Fenced` where an output of a newer closing has been. The same closing may
    /// replace its own.
    pub async fn replace_output(&self, new: NewOutput) -> Result<Output, Error> {
        let doing = || format!("replace output {} of {} by closing {}", new.key, new.table, new.n);
        let NewOutput { table, key, n, run, input, content } = new.clone();
        let folder = match &self.turns {
            Turns::Lock(folder) => folder,
            Turns::Swap(swap) => {
                return self.replace_compared(&**swap, new.clone()).await.doing(doing);
            }
        };
        let _locked = self.lock_output(lock::WAIT_MAX, folder, &table, &key).await.doing(doing)?;
        let before = self.read_output(&table, &key).await.doing(doing)?;
        fence(before.as_ref(), n).doing(doing)?;
        let file = match content {
            Some((file, rows)) => {
                Some(self.stage_output(&table, &key, n, &file, rows).await.doing(doing)?)
            }
            None => None,
        };
        let output = Output { format: FORMAT, table, key, n, run, input, file };
        self.write_number(&output).await.doing(doing)?;
        self.settle(&output).await.doing(doing)?;
        Ok(output)
    }

    /// The newest output of a hive partition; `None` while there has been none.
    ///
    /// Finishes what a killed writer left undone, so what it tells of is in its place. Waits while
    /// another one is at it.
    pub async fn output(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Output>, Error> {
        self.output_within(lock::WAIT_MAX, table, key).await
    }

    /// The same for whoever must not wait: `Unavailable` while another process is replacing it.
    pub async fn output_at_once(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Output>, Error> {
        self.output_within(Duration::ZERO, table, key).await
    }

    async fn output_within(
        &self,
        wait: Duration,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Output>, Error> {
        let doing = || format!("read output {key} of {table}");
        let Some(output) = self.read_output(table, key).await.doing(doing)? else {
            return Ok(None);
        };
        if self.is_settled(&output).await.doing(doing)? {
            return Ok(Some(output));
        }
        let folder = match &self.turns {
            Turns::Lock(folder) => folder,
            Turns::Swap(swap) => {
                return self.settled_output(&**swap, output).await.doing(doing);
            }
        };
        let _locked = self.lock_output(wait, folder, table, key).await.doing(doing)?;
        let output = self.read_output(table, key).await.doing(doing)?;
        if let Some(output) = &output {
            self.settle(output).await.doing(doing)?;
        }
        Ok(output)
    }

    pub(super) async fn read_output(
        &self,
        table: &TableName,
        key: &PartitionKey,
    ) -> Result<Option<Output>, Error> {
        let path = paths::output_number(table, key);
        let Some(bytes) = self.read(&path).await? else { return Ok(None) };
        decode(&bytes).doing(|| format!("read {path}")).map(Some)
    }

    async fn stage_output(
        &self,
        table: &TableName,
        key: &PartitionKey,
        n: u32,
        file: &LocalFile,
        rows: u64,
    ) -> Result<OutputFile, Error> {
        let staged = paths::output_staged(table, key, n);
        self.upload(&staged, file).await?;
        crash::point("output-staged");
        Ok(OutputFile {
            staged: staged.to_string(),
            published: paths::output(table, key).to_string(),
            bytes: file.bytes,
            checksum: file.checksum.clone(),
            rows,
        })
    }

    async fn write_number(&self, output: &Output) -> Result<(), Error> {
        let path = paths::output_number(&output.table, &output.key);
        let call = || async {
            self.objects().put(&path, encode(output).into()).await?;
            Ok(())
        };
        self.retry().run(call).await.doing(|| format!("write {path}"))
    }

    /// Whether the object in place is the one that the number tells of.
    async fn is_settled(&self, output: &Output) -> Result<bool, Error> {
        let waits = match &output.file {
            Some(file) => self.size(&file.staged.as_str().into()).await?,
            None => self.size(&paths::output(&output.table, &output.key)).await?,
        };
        Ok(waits.is_none())
    }

    /// Puts the object in place and clears the stage; only under the lock. Safe to repeat.
    async fn settle(&self, output: &Output) -> Result<(), Error> {
        let Output { table, key, file, .. } = output;
        match file {
            Some(file) => self.put_in_place(file).await?,
            None => self.delete(&paths::output(table, key)).await?,
        }
        // Nobody stages without the lock: what is left was staged by one who was killed.
        for left in self.list(&paths::output_stage(table, key)).await? {
            self.delete(&left.location).await?;
        }
        Ok(())
    }

    async fn put_in_place(&self, file: &OutputFile) -> Result<(), Error> {
        let (from, to) = (Path::from(file.staged.as_str()), Path::from(file.published.as_str()));
        let call = || async {
            match self.objects().rename(&from, &to).await {
                Ok(()) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(Error::from(error)),
            }
        };
        let renamed = self.retry().run(call).await.doing(|| format!("rename {from} to {to}"))?;
        // If not now, then before: by us with the answer lost, or by one who was killed then.
        if renamed || self.holds(&to, file.bytes, &file.checksum).await? {
            return Ok(());
        }
        let problem = format!("{to} is not the object that was staged for it as {from}");
        Err(Error::new(ErrorKind::Data, problem)
            .remedy("clear the run that made it: it runs again"))
    }
}

/// Refuses the closing `n` where a newer one has been.
pub(crate) fn fence(before: Option<&Output>, n: u32) -> Result<(), Error> {
    match before {
        Some(before) if before.n > n => {
            let problem = format!("it was made from closing {} by {}", before.n, before.run);
            Err(Error::new(ErrorKind::Fenced, problem).remedy(
                "the newest run of this hive partition stands: `tidemill runs list` names it; an older \
                 one need not run again",
            ))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod compare_tests;
#[cfg(test)]
mod tests;
