//! Uploads a file that lies on this machine, of any size, without holding it in memory.
//!
//! A small one goes in one call, a larger one in parts, one part at a time. An upload in parts takes no
//! condition, in no store; so it only ever makes a staged object, whose name nobody else uses and
//! where no reader looks. It is whole or not there: what was begun and never completed is no object.

use super::Lake;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::file::LocalFile;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Of a file that is uploaded, so much is in memory; Cloud Storage takes no smaller parts than 5 MiB.
/// Tests have small files.
const PART_BYTES: usize = if cfg!(test) { 1 << 10 } else { 16 << 20 };

impl Lake {
    /// Makes `staged` an object of these bytes, durably; safe to repeat.
    pub(super) async fn upload(&self, staged: &Path, file: &LocalFile) -> Result<(), Error> {
        let call = || self.try_upload(staged, file);
        self.retry().run(call).await.doing(|| format!("stage {staged}"))
    }

    async fn try_upload(&self, staged: &Path, file: &LocalFile) -> Result<(), Error> {
        let mut parts = Parts::of(file).await?;
        if file.bytes <= PART_BYTES as u64 {
            let whole = parts.next().await?.unwrap_or_default();
            parts.check_end()?;
            self.objects().put(staged, whole.into()).await?;
            return Ok(());
        }
        let mut upload = self.objects().put_multipart(staged).await?;
        let uploaded = upload_parts(upload.as_mut(), parts).await;
        if uploaded.is_err() {
            // What can't be told now to forget the parts, a rule of the bucket does.
            let _ = upload.abort().await;
        }
        uploaded
    }
}

async fn upload_parts(upload: &mut dyn MultipartUpload, mut parts: Parts<'_>) -> Result<(), Error> {
    while let Some(part) = parts.next().await? {
        upload.put_part(part.into()).await?;
    }
    parts.check_end()?;
    upload.complete().await?;
    Ok(())
}

/// A file, part by part.
struct Parts<'a> {
    file: &'a LocalFile,
    reader: File,
    read_bytes: u64,
}

impl<'a> Parts<'a> {
    async fn of(file: &'a LocalFile) -> Result<Self, Error> {
        let reader = File::open(&file.path).await.map_err(|err| unreadable(file, err))?;
        Ok(Self { file, reader, read_bytes: 0 })
    }

    /// `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let mut part = Vec::with_capacity(PART_BYTES);
        let mut reader = (&mut self.reader).take(PART_BYTES as u64);
        reader.read_to_end(&mut part).await.map_err(|err| unreadable(self.file, err))?;
        self.read_bytes += part.len() as u64;
        Ok((!part.is_empty()).then(|| part.into()))
    }

    /// An error unless all of the file was read, and no more than was written.
    fn check_end(&self) -> Result<(), Error> {
        let LocalFile { path, bytes, .. } = self.file;
        if self.read_bytes == *bytes {
            return Ok(());
        }
        let problem =
            format!("{} has {} bytes instead of {bytes}", path.display(), self.read_bytes);
        Err(Error::new(ErrorKind::Data, problem)
            .remedy("nothing but Tidemill may write in the folder of an attempt"))
    }
}

fn unreadable(file: &LocalFile, err: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, err).while_doing(format!("read {}", file.path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{local_file, memory};
    use super::*;

    #[tokio::test]
    async fn a_file_of_any_size_becomes_the_same_object() {
        let lake = memory().await;
        for size in [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES] {
            let text = "x".repeat(size);
            let staged = format!("stage/{size}").into();
            lake.upload(&staged, &local_file(&text)).await.unwrap();
            assert_eq!(lake.read(&staged).await.unwrap().unwrap(), text, "{size} bytes");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_as_it_was_written_becomes_no_object() {
        let lake = memory().await;
        for size in [10, 2 * PART_BYTES] {
            let cut = LocalFile { bytes: size as u64 + 1, ..local_file("x".repeat(size)) };
            let error = lake.upload(&"stage/cut".into(), &cut).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Data, "{error}");
            assert_eq!(lake.read(&"stage/cut".into()).await.unwrap(), None);
        }
    }
}
