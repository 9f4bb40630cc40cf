//! An object store in which each call waits to be polled once more before it takes effect, and
//! once more before it answers: who polls decides how writers interleave, with no clock or thread.

use super::crashing::lost;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// What happens to the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives.
    Before,
    /// It takes effect, and the answer is lost.
    After,
}

/// One writer's view of a store that it shares.
#[derive(Clone, Debug)]
pub struct SteppedStore {
    pub inner: Arc<dyn ObjectStore>,
    pub fault: Arc<Mutex<Option<Fault>>>,
    /// Planted: a create takes the place of what is there.
    pub forgetful: bool,
}

impl SteppedStore {
    async fn call<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        step().await;
        let fault = self.fault.lock().unwrap().take();
        if fault == Some(Fault::Before) {
            return Err(lost());
        }
        let answer = run.await;
        step().await;
        if fault == Some(Fault::After) { answer.and_then(|_| Err(lost())) } else { answer }
    }
}

async fn step() {
    let mut polled = false;
    std::future::poll_fn(|context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        // Streams of calls poll only those that ask for it.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl fmt::Display for SteppedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SteppedStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for SteppedStore {
    async fn put_opts(
        &self,
        at: &Path,
        bytes: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        if self.forgetful {
            opts.mode = PutMode::Overwrite;
        }
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
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                store.call(store.inner.delete(&path)).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> Result<()> {
        self.call(self.inner.copy_opts(from, to, opts)).await
    }
}
