//! `object_store`'s own conformance suite: every function of it that holds for the real service.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod started;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, StaticCredentialProvider, UpdateVersion, integration,
};
use started::Emulator;
use std::fmt;
use std::sync::Arc;

fn client(emulator: &Emulator, bucket: &str) -> GoogleCloudStorage {
    let anybody = GcpCredential { bearer: "anybody".to_owned() };
    GoogleCloudStorageBuilder::new()
        .with_base_url(&emulator.address)
        .with_bucket_name(bucket)
        .with_credentials(Arc::new(StaticCredentialProvider::new(anybody)))
        .build()
        .unwrap()
}

/// The calls that `object_store` makes against the real service, in its own order.
#[tokio::test]
async fn it_passes_the_suite_of_object_store() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let client = client(&emulator, "lake");
    let store = Mended(client.clone());
    integration::put_get_delete_list(&store).await;
    integration::list_with_offset_exclusivity(&store).await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::rename_and_copy(&store).await;
    integration::copy_if_not_exists(&store).await;
    integration::copy_rename_nonexistent_object(&store).await;
    integration::stream_get(&store).await;
    integration::multipart(&store, &client).await;
    integration::multipart_race_condition(&store, true).await;
    integration::multipart_out_of_order(&store).await;
    integration::list_paginated(&store, &client).await;
    integration::get_opts(&store).await;
    integration::put_opts(&store, true).await;
    integration::put_get_attributes(&store).await;
}

/// `object_store` 0.13.2 asks the service to create when it is told to overwrite a copy's target, and
/// the other way round. This turns the mode round once more, as long as the next test holds.
#[derive(Clone, Debug)]
struct Mended(GoogleCloudStorage);

#[tokio::test]
async fn the_client_still_mixes_up_the_modes_of_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let store = client(&emulator, "lake");
    let (from, to) = (Path::from("from"), Path::from("to"));
    store.put(&from, "new".into()).await.unwrap();
    store.put(&to, "old".into()).await.unwrap();
    let error = store.copy(&from, &to).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "mended: take `Mended` away: {error}");
    store.copy_if_not_exists(&from, &to).await.unwrap();
    assert_eq!(store.get(&to).await.unwrap().bytes().await.unwrap(), "new");
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Mended {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(at, bytes, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, opts).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            CopyMode::Create => CopyMode::Overwrite,
            CopyMode::Overwrite => CopyMode::Create,
        };
        self.0.copy_opts(from, to, CopyOptions { mode, ..options }).await
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let store = client(&emulator, "nowhere");
    let error = integration::get_nonexistent_object(&store, None).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let error = store.put(&Path::from("a"), "a".into()).await.unwrap_err();
    assert!(error.to_string().contains("404 Not Found"), "{error}");
}

#[tokio::test]
async fn a_killed_emulator_forgets_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let path = Path::from("t/a");
    let put = client(&emulator, "lake").put(&path, "first".into()).await.unwrap();
    drop(emulator);
    let emulator = Emulator::start(folder.path());
    let store = client(&emulator, "lake");
    let error = store.put_opts(&path, "second".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    let version = UpdateVersion { e_tag: put.e_tag, version: put.version };
    store.put_opts(&path, "second".into(), PutMode::Update(version).into()).await.unwrap();
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, "second");
}
