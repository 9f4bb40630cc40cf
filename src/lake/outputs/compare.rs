//! Replacing an output by compare and set: every step names the version that it replaces.
//!
//! The number is written by compare-and-set, so an older closing can't follow a newer one. The object
//! is then put in place by a compare-and-set of its own, whose version is looked up *before* the
//! number is read again: were it looked up after, a writer that paused in between would replace a
//! newer output by its own. Who loses looks again, and gives up once the number is another's.

use super::super::place::Swap;
use super::super::{Lake, decode, encode, paths};
use super::{NewOutput, fence};
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{FORMAT, Output, OutputFile};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, UpdateVersion};

/// What a conditional write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Done,
    /// The object is not what we thought; look again.
    Refused,
    /// What was staged is gone, and is not in its place either.
    Gone,
}

/// Whose output is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Ours,
    /// Another one's number stands there by now.
    Superseded,
}

/// What the writer of an output does, having read the number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Write,
    /// It is there, by an earlier try whose answer was lost.
    Settle,
}

fn next(before: Option<&Output>, ours: &Output) -> Result<Step, Error> {
    fence(before, ours.n)?;
    Ok(if before == Some(ours) { Step::Settle } else { Step::Write })
}

fn lost(place: &Path) -> Error {
    let problem = format!(
        "{place} is not the object that was staged for it, and the staged object is missing"
    );
    Error::new(ErrorKind::Data, problem).remedy("clear the run that made it: it runs again")
}

impl Lake {
    /// See [`Lake::replace_output`].
    pub(super) async fn replace_compared(
        &self,
        swap: &dyn Swap,
        new: NewOutput,
    ) -> Result<Output, Error> {
        let NewOutput { table, key, n, run, input, content } = new;
        // Before anything is uploaded: the common refusal costs one read.
        fence(self.read_output(&table, &key).await?.as_ref(), n)?;
        let file = match content {
            Some((file, rows)) => Some(self.stage_output(&table, &key, n, &file, rows).await?),
            None => None,
        };
        let output = Output { format: FORMAT, table, key, n, run, input, file };
        let replaced = match self.claim(&output).await {
            Ok(()) => self.settle_compared(swap, &output).await,
            Err(error) => Err(error),
        };
        let lost = match replaced {
            Ok(Settled::Ours) => return Ok(output),
            Ok(Settled::Superseded) => {
                let problem = format!("another attempt has replaced that of {}", output.run);
                Error::new(ErrorKind::Fenced, problem)
            }
            Err(error) => error,
        };
        if let (ErrorKind::Fenced, Some(file)) = (lost.kind, &output.file) {
            self.delete(&file.staged.as_str().into()).await?;
        }
        Err(lost)
    }

    /// Puts the output in place that the number tells of, and returns it, or a newer one's.
    pub(super) async fn settled_output(
        &self,
        swap: &dyn Swap,
        mut output: Output,
    ) -> Result<Option<Output>, Error> {
        loop {
            if self.settle_compared(swap, &output).await? == Settled::Ours {
                return Ok(Some(output));
            }
            match self.read_output(&output.table, &output.key).await? {
                Some(newer) => output = newer,
                None => return Ok(None),
            }
        }
    }

    /// Makes the number tell of `output`, unless it tells of a newer closing.
    async fn claim(&self, output: &Output) -> Result<(), Error> {
        let path = paths::output_number(&output.table, &output.key);
        loop {
            let found = self.read_versioned(&path).await?;
            let before = match &found {
                Some((bytes, _)) => Some(decode(bytes).doing(|| format!("read {path}"))?),
                None => None,
            };
            if next(before.as_ref(), output)? == Step::Settle {
                return Ok(());
            }
            let version = found.map(|(_, version)| version);
            if self.put_over(&path, version, encode(output)).await? == Written::Done {
                return Ok(());
            }
        }
    }

    async fn settle_compared(&self, swap: &dyn Swap, output: &Output) -> Result<Settled, Error> {
        let place = paths::output(&output.table, &output.key);
        // First, so that nobody copies an older output to where we are about to delete: a name
        // without an object has no version to tell before from after.
        self.clear_outrun(output).await?;
        loop {
            // In this order, or a pause in between lets the older replace the newer.
            let there = self.version(&place).await?;
            let number = self.read_output(&output.table, &output.key).await?;
            if number.as_ref() != Some(output) {
                return Ok(Settled::Superseded);
            }
            let written = match (&output.file, there.as_deref()) {
                (Some(file), there) => self.put_staged(swap, file, &place, there).await?,
                (None, Some(there)) => self.delete_if(swap, &place, there).await?,
                (None, None) => Written::Done,
            };
            match (written, &output.file) {
                (Written::Done, Some(file)) => {
                    self.delete(&file.staged.as_str().into()).await?;
                    return Ok(Settled::Ours);
                }
                (Written::Done, None) => return Ok(Settled::Ours),
                (Written::Refused, _) => {}
                (Written::Gone, _) => {
                    // A newer output has cleared it away, or nobody has.
                    let number = self.read_output(&output.table, &output.key).await?;
                    if number.as_ref() == Some(output) {
                        return Err(lost(&place));
                    }
                }
            }
        }
    }

    /// Copies the staged object to its place, if that still holds what `there` says.
    async fn put_staged(
        &self,
        swap: &dyn Swap,
        file: &OutputFile,
        place: &Path,
        there: Option<&str>,
    ) -> Result<Written, Error> {
        let staged = Path::from(file.staged.as_str());
        let call = || async {
            match swap.copy_over(&staged, place, there).await {
                Ok(()) => Ok(Some(Written::Done)),
                Err(object_store::Error::Precondition { .. }) => Ok(Some(Written::Refused)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Error::from(error)),
            }
        };
        let copied = self.retry().run(call).await.doing(|| format!("copy {staged} to {place}"))?;
        if let Some(copied) = copied {
            return Ok(copied);
        }
        // If it is not staged, it is in place: by us with the answer lost, or by another.
        let there = self.holds(place, file.bytes, &file.checksum).await?;
        Ok(if there { Written::Done } else { Written::Gone })
    }

    /// Deletes what was staged for closings that this output has outrun: their writers are refused
    /// by its number, however late they wake up.
    async fn clear_outrun(&self, output: &Output) -> Result<(), Error> {
        let Output { table, key, n, .. } = output;
        let staged = self.list(&paths::output_stage(table, key)).await?;
        let outrun = |path: &Path| paths::output_staged_for(path).is_none_or(|made| made < *n);
        for object in staged.iter().filter(|object| outrun(&object.location)) {
            self.delete(&object.location).await?;
        }
        Ok(())
    }

    /// Writes over exactly the object that `there` tells of; `None`: over none.
    async fn put_over(
        &self,
        path: &Path,
        there: Option<UpdateVersion>,
        bytes: Bytes,
    ) -> Result<Written, Error> {
        let call = || async {
            let mode = there.clone().map_or(PutMode::Create, PutMode::Update);
            match self.objects().put_opts(path, bytes.clone().into(), mode.into()).await {
                Ok(_) => Ok(Written::Done),
                Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => Ok(Written::Refused),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await.doing(|| format!("write {path}"))
    }

    async fn delete_if(&self, swap: &dyn Swap, path: &Path, there: &str) -> Result<Written, Error> {
        let call = || async {
            match swap.delete_if(path, there).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(Written::Done),
                Err(object_store::Error::Precondition { .. }) => Ok(Written::Refused),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await.doing(|| format!("delete {path}"))
    }

    /// Which version of an object there is; `None` if there is none.
    async fn version(&self, path: &Path) -> Result<Option<String>, Error> {
        let call = || async {
            match self.objects().head(path).await {
                Ok(meta) => Ok(Some(meta.version.unwrap_or_default())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Error::from(error)),
            }
        };
        self.retry().run(call).await.doing(|| format!("look for {path}"))
    }

    /// An object's bytes, and which version they are of.
    async fn read_versioned(&self, path: &Path) -> Result<Option<(Bytes, UpdateVersion)>, Error> {
        let call = || async {
            let got = match self.objects().get(path).await {
                Ok(got) => got,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(Error::from(error)),
            };
            let version =
                UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
            Ok(Some((got.bytes().await?, version)))
        };
        self.retry().run(call).await.doing(|| format!("read {path}"))
    }
}
