//! An object store in which one chosen call goes wrong, or that one and all that follow.

use crate::crash::{Crash, Fate};
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub struct CrashingStore {
    inner: Arc<dyn ObjectStore>,
    calls: Calls,
}

/// What becomes of each call, in the order in which they are made; a clone counts on.
#[derive(Clone, Debug)]
struct Calls {
    crash: Crash,
    made: Arc<AtomicUsize>,
}

impl Calls {
    fn fate(&self) -> Fate {
        self.crash.fate(self.made.fetch_add(1, Ordering::SeqCst))
    }

    async fn call<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fate() {
            Fate::Answered => run.await,
            Fate::Refused => Err(lost()),
            Fate::Unanswered => run.await.and_then(|_| Err(lost())),
        }
    }
}

/// Each part of an upload, its end and its being given up are calls, too.
#[derive(Debug)]
struct CrashingUpload {
    inner: Box<dyn MultipartUpload>,
    calls: Calls,
}

#[async_trait]
impl MultipartUpload for CrashingUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (calls, part) = (self.calls.clone(), self.inner.put_part(payload));
        async move { calls.call(part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.calls.call(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.calls.call(self.inner.abort()).await
    }
}

impl CrashingStore {
    pub fn over(inner: Arc<dyn ObjectStore>, crash: Crash) -> Arc<Self> {
        Arc::new(Self { inner, calls: Calls { crash, made: Arc::default() } })
    }

    pub fn crashed(&self) -> bool {
        self.calls.made.load(Ordering::SeqCst) > self.calls.crash.at()
    }

    async fn call<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        self.calls.call(run).await
    }
}

fn broken<T: Send + 'static>() -> BoxStream<'static, Result<T>> {
    futures::stream::once(futures::future::err(lost())).boxed()
}

pub(super) fn lost() -> Error {
    Error::Generic { store: "crashing", source: "connection lost".into() }
}

impl fmt::Display for CrashingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashingStore({:?})", self.calls.crash)
    }
}

#[async_trait]
impl ObjectStore for CrashingStore {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.call(self.inner.put_opts(at, bytes, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.call(self.inner.put_multipart_opts(at, opts)).await?;
        Ok(Box::new(CrashingUpload { inner, calls: self.calls.clone() }))
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.call(self.inner.get_opts(at, opts)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        // One call for all of them: those of this layer delete one object at a time.
        match self.calls.fate() {
            Fate::Answered => self.inner.delete_stream(paths),
            Fate::Refused => broken(),
            Fate::Unanswered => self
                .inner
                .delete_stream(paths)
                .map(|deleted| deleted.and_then(|_| Err(lost())))
                .boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.calls.fate() {
            Fate::Answered => self.inner.list(prefix),
            Fate::Refused => broken(),
            // It breaks off after a page.
            Fate::Unanswered => self.inner.list(prefix).take(1).chain(broken()).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> Result<()> {
        self.call(self.inner.copy_opts(from, to, opts)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, opts: RenameOptions) -> Result<()> {
        self.call(self.inner.rename_opts(from, to, opts)).await
    }
}
