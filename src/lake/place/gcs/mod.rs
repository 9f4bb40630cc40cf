//! A lake in a Cloud Storage bucket: what Tidemill relies on of it, and nothing else.
//!
//! Creates and copies are conditional, replaced objects are named by their generation, and copies over
//! an object, which the service can't make conditional, are refused here. Answers
//! can be lost and `object_store` repeats even a create after a 5xx; so whoever is refused reads
//! back, which the callers in this layer do.

use super::Swap;
use crate::error::{Error, ErrorKind};
use crate::model::settings::LakeBucket;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::client::{
    HttpClient, HttpConnector, HttpRequest, HttpRequestBody, HttpResponse, ReqwestConnector,
};
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, CopyMode, CopyOptions, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result, RetryConfig, StaticCredentialProvider, UploadPart,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The generation of an object that does not exist.
const NOTHING: &str = "0";

const GOOGLE: &str = "https://storage.googleapis.com";

/// Bytes on their way at once: two files of the default roll. More would only wait for the line,
/// and be cut off by [`Patience::answer_max`] there.
const UPLOAD_BYTES_MAX: usize = 256 << 20;
/// The budget is counted in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// How long an answer is waited for, and how often `object_store` asks again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one whole call: a file of 128 MiB takes so long at 20 Mbit/s.
    pub answer_max: Duration,
    pub retries_max: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer_max: Duration::from_secs(60), retries_max: 5 }
    }
}

/// A bucket, or the part of it below a prefix, as an object store.
#[derive(Debug)]
pub struct Bucket {
    shown: String,
    objects: Arc<dyn ObjectStore>,
    uploads: Semaphore,
    calls: Calls,
}

/// What a call of our own needs: `object_store` has no conditional delete, and takes one mode of
/// copying for the other.
#[derive(Debug)]
struct Calls {
    client: HttpClient,
    credentials: GcpCredentialProvider,
    /// `https://storage.googleapis.com/`
    root: String,
    /// `acme-lake/wiki%2F`: bucket and prefix, as part of a URL.
    place: String,
    bucket: String,
}

impl Bucket {
    /// Asks nothing of the service yet.
    pub fn open(bucket: &LakeBucket, patience: Patience) -> std::result::Result<Self, Error> {
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(patience.answer_max);
        let store = builder(bucket)
            .with_bucket_name(&bucket.name)
            .with_client_options(options.clone())
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(200),
                    max_backoff: Duration::from_secs(8),
                    base: 2.0,
                },
                max_retries: patience.retries_max,
                retry_timeout: Duration::from_secs(20),
            })
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Input, error).remedy(
                    "let `lake.credentials` name the key file of a service account, or run \
                     `gcloud auth application-default login`",
                )
            })?;
        let calls = Calls {
            client: ReqwestConnector::default().connect(&options)?,
            credentials: store.credentials().clone(),
            root: format!("{}/", bucket.endpoint.as_deref().unwrap_or(GOOGLE)),
            place: match bucket.prefix.as_str() {
                "" => format!("{}/", bucket.name),
                prefix => format!("{}/{}", bucket.name, encoded(&format!("{prefix}/"))),
            },
            bucket: bucket.name.clone(),
        };
        let objects: Arc<dyn ObjectStore> = match bucket.prefix.as_str() {
            "" => Arc::new(store),
            prefix => Arc::new(PrefixStore::new(store, prefix)),
        };
        let uploads = Semaphore::new(UPLOAD_BYTES_MAX / PIECE_BYTES);
        Ok(Self { shown: bucket.to_string(), objects, uploads, calls })
    }
}

#[async_trait]
impl Swap for Bucket {
    /// Not by `object_store`, whose 0.13 overwrites when it is asked to create, and the other way
    /// round (apache/arrow-rs-object-store#712): with the mend neither mode would mean the same.
    async fn copy_over(&self, from: &Path, to: &Path, over: Option<&str>) -> Result<()> {
        let source = format!("{}{}", self.calls.place, encoded(from.as_ref()));
        let generation = over.unwrap_or(NOTHING);
        let headers =
            [("x-goog-copy-source", source.as_str()), ("x-goog-if-generation-match", generation)];
        let status = self.calls.call("PUT", to, &headers).await?;
        refused(status, to).map_or(Ok(()), Err)
    }

    async fn delete_if(&self, path: &Path, version: &str) -> Result<()> {
        let condition = [("x-goog-if-generation-match", version)];
        let status = self.calls.call("DELETE", path, &condition).await?;
        refused(status, path).map_or(Ok(()), Err)
    }

    async fn location(&self) -> Result<String> {
        let Calls { root, bucket, .. } = &self.calls;
        let url = format!("{root}storage/v1/b/{bucket}?fields=location");
        let answer = self.calls.execute("GET", &url, &[]).await?;
        if let Some(error) = refused(answer.status().as_u16(), &Path::from(bucket.as_str())) {
            return Err(error);
        }
        let body = answer.into_body().bytes().await.map_err(broken)?;
        let told: serde_json::Value = serde_json::from_slice(&body).map_err(broken)?;
        Ok(told["location"].as_str().unwrap_or_default().to_uppercase())
    }
}

fn refused(status: u16, path: &Path) -> Option<object_store::Error> {
    let (path, source) = (path.to_string(), format!("HTTP status {status}").into());
    Some(match status {
        200..=299 => return None,
        401 => object_store::Error::Unauthenticated { path, source },
        403 => object_store::Error::PermissionDenied { path, source },
        404 => object_store::Error::NotFound { path, source },
        412 => object_store::Error::Precondition { path, source },
        _ => object_store::Error::Generic { store: "bucket", source },
    })
}

/// A refusal that waiting does not mend: of a listing `object_store` 0.13 tells it in its text alone,
/// and else it would pass for an outage.
fn listing_refused(folder: &Path, error: object_store::Error) -> object_store::Error {
    match status_in_text(&error) {
        Some(status @ (401 | 403 | 404)) => refused(status, folder).unwrap_or(error),
        _ => error,
    }
}

/// The status of an answer that an error names in its text alone.
fn status_in_text(error: &object_store::Error) -> Option<u16> {
    let object_store::Error::Generic { .. } = error else { return None };
    let told = error.to_string();
    told.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// An upload in parts, whose end tells a refusal as `object_store` tells others.
#[derive(Debug)]
struct Upload {
    parts: Box<dyn MultipartUpload>,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        // Not 404: the answer to a first try may have been lost, and another upload will do.
        self.parts.complete().await.map_err(|error| match status_in_text(&error) {
            Some(status @ (401 | 403)) => refused(status, &self.location).unwrap_or(error),
            _ => error,
        })
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.abort().await
    }
}

/// Plain `http` is an emulator: no token goes over it, and none is looked for.
fn builder(bucket: &LakeBucket) -> GoogleCloudStorageBuilder {
    let endpoint = bucket.endpoint.as_deref();
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        let nobody = GcpCredential { bearer: "emulator".to_owned() };
        return GoogleCloudStorageBuilder::new()
            .with_base_url(endpoint.unwrap_or(GOOGLE))
            .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    let builder = match &bucket.credentials {
        Some(file) => {
            GoogleCloudStorageBuilder::new().with_application_credentials(file.to_string_lossy())
        }
        // Application default credentials begin with the environment.
        None => GoogleCloudStorageBuilder::from_env(),
    };
    builder.with_base_url(endpoint.unwrap_or(GOOGLE))
}

impl Calls {
    /// The status of the answer.
    async fn call(
        &self,
        method: &str,
        path: &Path,
        headers: &[(&'static str, &str)],
    ) -> Result<u16> {
        let url = format!("{}{}{}", self.root, self.place, encoded(path.as_ref()));
        Ok(self.execute(method, &url, headers).await?.status().as_u16())
    }

    async fn execute(
        &self,
        method: &str,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<HttpResponse> {
        let token = self.credentials.get_credential().await?;
        let bearer = format!("Bearer {}", token.bearer);
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.parse().map_err(broken)?;
        *request.uri_mut() = url.parse().map_err(broken)?;
        let always: [(&'static str, &str); 2] =
            [("authorization", bearer.as_str()), ("content-length", "0")];
        for (name, value) in always.iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().map_err(broken)?);
        }
        self.client.execute(request).await.map_err(broken)
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "bucket", source: Box::new(error) }
}

/// As part of a URL, slashes too.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

fn unsupported(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "the lake in a bucket".to_owned(),
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let pieces = payload.content_length().clamp(1, UPLOAD_BYTES_MAX).div_ceil(PIECE_BYTES);
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        let _room = self.uploads.acquire_many(pieces).await.map_err(|closed| {
            object_store::Error::Generic { store: "bucket", source: Box::new(closed) }
        })?;
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // It takes no condition: it is for staged objects, whose names nobody else uses. A process
        // sends one part at a time, so it needs no room of its own.
        let parts = self.objects.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { parts, location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.objects.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.cloned().unwrap_or_default();
        self.objects.list(prefix).map_err(move |error| listing_refused(&folder, error)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        let listed = self.objects.list_with_delimiter(prefix).await;
        listed.map_err(|error| listing_refused(&folder, error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match options.mode {
            CopyMode::Create => match self.copy_over(from, to, None).await {
                Err(object_store::Error::Precondition { path, source }) => {
                    Err(object_store::Error::AlreadyExists { path, source })
                }
                copied => copied,
            },
            CopyMode::Overwrite => Err(unsupported("copy over an object")),
        }
    }

    async fn rename_opts(&self, _: &Path, _: &Path, _: RenameOptions) -> Result<()> {
        Err(unsupported("rename"))
    }
}

#[cfg(test)]
mod tests;
