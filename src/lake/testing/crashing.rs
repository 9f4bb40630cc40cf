//! An object store that crashes at a chosen call, and answers nothing from then on.

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

/// Which call crashes, counted from 0, and whether it takes effect first.
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    Before(usize),
    After(usize),
}

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
        let (Crash::Before(at) | Crash::After(at)) = self.crash;
        self.calls.load(Ordering::SeqCst) > at
    }

    async fn call<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.crash {
            Crash::Before(at) if call >= at => Err(lost()),
            Crash::After(at) if call > at => Err(lost()),
            Crash::After(at) if call == at => run.await.and_then(|_| Err(lost())),
            Crash::Before(_) | Crash::After(_) => run.await,
        }
    }
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
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let failed = || futures::stream::once(futures::future::err(lost())).boxed();
        match self.crash {
            Crash::Before(at) if call >= at => failed(),
            Crash::After(at) if call > at => failed(),
            Crash::After(at) if call == at => self
                .inner
                .delete_stream(paths)
                .map(|deleted| deleted.and_then(|_| Err(lost())))
                .boxed(),
            Crash::Before(_) | Crash::After(_) => self.inner.delete_stream(paths),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let (Crash::Before(at) | Crash::After(at)) = self.crash;
        if call >= at {
            return futures::stream::once(futures::future::err(lost())).boxed();
        }
        self.inner.list(prefix)
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
