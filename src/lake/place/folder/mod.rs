//! A lake on local disk: what `object_store` promises of a bucket, kept by a folder.
//!
//! An object is written in full beside the tables, synced, and only then linked or renamed to its
//! name, whose folder is synced before the call returns. So no name ever shows half an object, and
//! what was answered survives a power cut. A copy is a link: objects never change in place.

mod in_parts;
mod scratch;

use super::super::paths;
use crate::error::{Error, ErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use in_parts::InParts;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result,
};
use scratch::Scratch;
use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, fs, io};

/// A folder as an object store.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Reading and listing need no care.
    reads: Arc<LocalFileSystem>,
    writes: Arc<Writes>,
}

#[derive(Debug)]
struct Writes {
    root: PathBuf,
    scratch: Scratch,
    /// Folders whose own names are known to be on disk.
    folders: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    /// Opens a folder, and makes it if there is none.
    pub fn open(root: &FilePath) -> std::result::Result<Self, Error> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
                Error::new(ErrorKind::Input, error)
                    .remedy("let `lake.url` name a folder that this account may write")
            }
            _ => Error::new(ErrorKind::Unavailable, error).remedy(
                "let `lake.url` name a folder that can be created, on a disk that is mounted",
            ),
        };
        fs::create_dir_all(root).map_err(refused)?;
        let root = root.canonicalize().map_err(refused)?;
        let reads = Arc::new(LocalFileSystem::new_with_prefix(&root)?);
        let scratch = Scratch::within(root.join(paths::LOCAL).join("scratch"));
        Ok(Self { reads, writes: Arc::new(Writes { root, scratch, folders: Mutex::default() }) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Writes) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writes = self.writes.clone();
        tokio::task::spawn_blocking(move || work(&writes)).await?
    }

    fn file(&self, location: &Path) -> Result<PathBuf> {
        self.reads.path_to_filesystem(location)
    }
}

impl Writes {
    fn put(&self, to: &FilePath, payload: &PutPayload, mode: PutMode) -> Result<()> {
        let written = self.scratch.write(payload).map_err(|error| failed(to, error))?;
        let outcome = match mode {
            PutMode::Create => self.name(to, || fs::hard_link(&written, to)),
            PutMode::Overwrite => self.name(to, || fs::rename(&written, to)),
            PutMode::Update(_) => Err(unsupported("put with a version")),
        };
        if !matches!((&outcome, mode), (Ok(()), PutMode::Overwrite)) {
            // What stays behind costs space until the next process sweeps, nothing else.
            let _ = fs::remove_file(&written);
        }
        outcome
    }

    /// Gives a file its name by `link`, which fails if the name's folder is missing, and makes the
    /// name durable.
    fn name(&self, to: &FilePath, link: impl Fn() -> io::Result<()>) -> Result<()> {
        let folder = to.parent().unwrap_or(&self.root);
        self.make(folder).map_err(|error| failed(folder, error))?;
        let linked = match link() {
            // Somebody removed the empty folder that we knew.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => {
                self.known().remove(folder);
                self.make(folder).map_err(|error| failed(folder, error))?;
                link()
            }
            linked => linked,
        };
        // A refusal is an answer about the other one's object: it, too, must stay.
        if linked
            .as_ref()
            .map_or_else(|error| error.kind() == io::ErrorKind::AlreadyExists, |()| true)
        {
            sync(folder).map_err(|error| failed(folder, error))?;
        }
        linked.map_err(|error| failed(to, error))
    }

    /// Makes a folder and those above it, durably.
    fn make(&self, folder: &FilePath) -> io::Result<()> {
        if self.known().contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        // Another process may have made one of them and died before it was durable, so all of
        // them are synced, once a process.
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            sync(above)?;
        }
        self.known().insert(folder.to_owned());
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &FilePath, error: io::Error) -> object_store::Error {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source: error.into() },
        io::ErrorKind::AlreadyExists => {
            object_store::Error::AlreadyExists { path, source: error.into() }
        }
        io::ErrorKind::PermissionDenied => {
            object_store::Error::PermissionDenied { path, source: error.into() }
        }
        _ => object_store::Error::Generic {
            store: "disk",
            source: format!("{path}: {error}").into(),
        },
    }
}

fn unsupported(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "the lake on disk".to_owned(),
    }
}

fn is_ours_alone(location: &Path) -> bool {
    location.prefix_matches(&paths::LOCAL.into())
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.writes.root.display())
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let to = self.file(location)?;
        self.blocking(move |writes| writes.put(&to, &payload, options.mode)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let to = self.file(location)?;
        let begun = self.blocking(move |writes| {
            let (file, path) = writes.scratch.begin().map_err(|error| failed(&to, error))?;
            Ok((file, path, to))
        });
        let (file, path, to) = begun.await?;
        Ok(Box::new(InParts {
            writes: self.writes.clone(),
            file: Arc::new(file),
            path,
            to,
            end: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.reads.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        // Not synced: what a power cut brings back is garbage again, and found as such.
        self.reads.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let seen = |meta: &ObjectMeta| futures::future::ready(!is_ours_alone(&meta.location));
        self.reads.list(prefix).try_filter(seen).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.reads.list_with_delimiter(prefix).await?;
        found.objects.retain(|meta| !is_ours_alone(&meta.location));
        found.common_prefixes.retain(|folder| !is_ours_alone(folder));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (self.file(from)?, self.file(to)?);
        match options.mode {
            CopyMode::Create => {
                self.blocking(move |writes| writes.name(&to, || fs::hard_link(&from, &to))).await
            }
            CopyMode::Overwrite => Err(unsupported("copy over an object")),
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (from, to) = (self.file(from)?, self.file(to)?);
        match options.target_mode {
            RenameTargetMode::Overwrite => {
                self.blocking(move |writes| writes.name(&to, || fs::rename(&from, &to))).await
            }
            RenameTargetMode::Create => Err(unsupported("rename to a new object")),
        }
    }
}

#[cfg(test)]
mod tests;
