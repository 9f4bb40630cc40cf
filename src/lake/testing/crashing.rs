//! An object store in which one chosen call goes wrong, or that one and all that follow.

use crate::crash::Crash;
use crate::crash::Fate;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::CopyOptions;
use object_store::Error;
use object_store::GetOptions;
use object_store::GetResult;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::RenameOptions;
use object_store::Result;
use object_store::path::Path;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

#[derive(Debug)]
pub struct CrashingStore {
    inner: Arc<dyn ObjectStore>,
    crash: Crash,
    calls: AtomicUsize,
}

impl CrashingStore {
    pub fn over(inner: Arc<dyn ObjectStore>, crash: Crash) -> Arc<Self> {
        Arc::new(Self { inner, crash, calls: AtomicUsize::new(0) })
    }

    pub fn crashed(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.crash.at()
    }

    fn fate(&self) -> Fate {
        self.crash.fate(self.calls.fetch_add(1, Ordering::SeqCst))
    }

    async fn call<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fate() {
            Fate::Answered => run.await,
            Fate::Refused => Err(lost()),
            Fate::Unanswered => run.await.and_then(|_| Err(lost())),
        }
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
        write!(f, "CrashingStore({:?})", self.crash)
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
        self.call(self.inner.put_multipart_opts(at, opts)).await
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.call(self.inner.get_opts(at, opts)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        // One call for all of them: those of this layer delete one object at a time.
        match self.fate() {
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
        match self.fate() {
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
