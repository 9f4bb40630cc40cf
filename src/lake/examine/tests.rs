use super::trials::LEFT_AGE;
use super::*;
use crate::crash::Crash;
use crate::lake::testing;
use crate::lake::testing::CrashingStore;
use crate::model::finding::Health;
use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;

/// A store that forgets the preconditions of some calls, as `fake-gcs-server` does of copies.
#[derive(Debug)]
struct Careless {
    inner: InMemory,
    of_puts: bool,
    of_copies: bool,
}

impl fmt::Display for Careless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Careless")
    }
}

#[async_trait]
impl ObjectStore for Careless {
    async fn put_opts(
        &self,
        at: &Path,
        bytes: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        if self.of_puts {
            opts.mode = PutMode::Overwrite;
        }
        self.inner.put_opts(at, bytes, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, opts).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, mut opts: CopyOptions) -> Result<()> {
        if self.of_copies {
            opts.mode = CopyMode::Overwrite;
        }
        self.inner.copy_opts(from, to, opts).await
    }
}

/// What is bad about a store, and what is left in it.
async fn check(of_puts: bool, of_copies: bool, bad: &[&str]) {
    let store = Arc::new(Careless { inner: InMemory::new(), of_puts, of_copies });
    let lake = testing::over(store, std::path::Path::new("/nowhere")).await;
    let found = lake.examine(&Clock::system()).await;
    let found = found.into_iter().filter(|finding| finding.health == Health::Bad);
    assert_eq!(found.map(|finding| finding.what).collect::<Vec<_>>(), bad);
    let left: Vec<_> = lake.objects().list(None).try_collect().await.unwrap();
    let left: Vec<_> = left.iter().map(|meta| meta.location.to_string()).collect();
    assert_eq!(left, ["_tidemill/lake.json"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_is_not_condemned() {
    for trouble in Crash::TROUBLES {
        for call in 0.. {
            let lake = testing::memory().await;
            let store = CrashingStore::over(lake.objects().clone(), trouble(call));
            let found = testing::through(&lake, store.clone()).examine(&Clock::system()).await;
            let well = found.iter().all(|finding| finding.health == Health::Good);
            assert!(well, "{:?}: {found:?}", trouble(call));
            if !store.crashed() {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_examination_left_the_next_one_removes_when_it_is_old() {
    let lake = testing::memory().await;
    let left = paths::probe().join("left");
    lake.objects().put(&left, "x".into()).await.unwrap();
    let there = async || lake.objects().head(&left).await.is_ok();
    lake.examine(&Clock::system()).await;
    assert!(there().await, "it may be at work");
    let later = Clock::starting_at(Clock::system().now() + 2 * LEFT_AGE);
    lake.examine(&later).await;
    assert!(!there().await);
}

#[tokio::test]
async fn a_store_that_keeps_its_word_is_well_and_left_clean() {
    check(false, false, &[]).await;
}

#[tokio::test]
async fn a_store_that_forgets_preconditions_of_copies_is_found() {
    check(false, true, &["a copy refuses a name that is taken"]).await;
}

#[tokio::test]
async fn a_store_that_forgets_preconditions_of_puts_is_found() {
    let bad =
        ["a create refuses a name that is taken", "an object is replaced only as it was last read"];
    check(true, false, &bad).await;
}
