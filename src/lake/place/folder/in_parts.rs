//! An object that comes in parts: written in scratch, and named when it is whole.

use super::{Writes, failed};
use async_trait::async_trait;
use futures::FutureExt;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

#[derive(Debug)]
pub(super) struct InParts {
    pub writes: Arc<Writes>,
    pub file: Arc<File>,
    /// Where it is written, and what it is named when it is whole.
    pub path: PathBuf,
    pub to: PathBuf,
    /// Where the next part begins: parts may be written in any order.
    pub end: u64,
}

#[async_trait]
impl MultipartUpload for InParts {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let at = self.end;
        self.end += payload.content_length() as u64;
        let (file, to) = (self.file.clone(), self.to.clone());
        let write = move || write_at(&file, &payload, at).map_err(|error| failed(&to, error));
        async { tokio::task::spawn_blocking(write).await? }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (writes, file) = (self.writes.clone(), self.file.clone());
        let (path, to) = (self.path.clone(), self.to.clone());
        let name = move || {
            file.sync_all().map_err(|error| failed(&to, error))?;
            writes.name(&to, || fs::rename(&path, &to))
        };
        tokio::task::spawn_blocking(name).await??;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn write_at(file: &File, payload: &PutPayload, mut at: u64) -> io::Result<()> {
    for piece in payload {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}
