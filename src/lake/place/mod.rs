//! Places where a lake can be: each an object store that keeps a contract.
//!
//! Of every place is asked: a create and a copy refuse a name that is taken, what was answered is
//! durable and seen at once, an object that comes in parts is there when it is whole. Where an object
//! is *replaced*, writers take turns in one of two ways, [`Turns`]. `lake examine` asks a place all of
//! it before anyone relies on it, and `conformance` asks each place that is built in.

pub(super) mod folder;
pub(super) mod gcs;

#[cfg(test)]
mod conformance;

use super::retry::Retry;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::model::settings::LakeUrl;
use async_trait::async_trait;
use folder::Folder;
use gcs::{Bucket, Patience};
use object_store::path::Path;
use object_store::{ObjectStore, Result};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A place that is open.
pub(super) struct Place {
    pub objects: Arc<dyn ObjectStore>,
    pub turns: Turns,
    /// How patiently it is asked.
    pub retry: Retry,
}

/// How the writers of one object that is replaced keep out of each other's way.
#[derive(Clone, Debug)]
pub(super) enum Turns {
    /// By locks, in this folder.
    Lock(PathBuf),
    /// By the version that each replaces.
    Swap(Arc<dyn Swap>),
}

/// Compare and set: an object is replaced only if it is still of the version that was read.
///
/// A version is what the store's own answers call so (`ObjectMeta::version`). Refused, it changes
/// nothing and fails with `Precondition`.
#[async_trait]
pub(super) trait Swap: fmt::Debug + Send + Sync {
    /// Copies an object over exactly that version of another, or over none; `NotFound` if there is
    /// nothing to copy.
    async fn copy_over(&self, from: &Path, to: &Path, over: Option<&str>) -> Result<()>;

    /// Deletes the object if it is still of this version; `NotFound` if it is gone.
    async fn delete_if(&self, path: &Path, version: &str) -> Result<()>;

    /// Where its data lies, as the provider calls it: `EU`, `EUROPE-WEST1`.
    async fn location(&self) -> Result<String>;
}

impl Place {
    /// Opens the place at `url`, and makes a folder if there is none.
    pub fn open(url: &LakeUrl, clock: Clock) -> std::result::Result<Self, Error> {
        let retry = Retry::new(clock);
        Ok(match url {
            LakeUrl::Folder(folder) => {
                let objects = Arc::new(Folder::open(folder)?);
                Self { objects, turns: Turns::Lock(folder.clone()), retry }
            }
            LakeUrl::Bucket(bucket) => {
                let bucket = Arc::new(Bucket::open(bucket, Patience::default())?);
                Self {
                    turns: Turns::Swap(bucket.clone()),
                    objects: bucket,
                    retry: retry.over_a_network(),
                }
            }
        })
    }
}

impl Turns {
    /// What a person can do about a place that can't be opened, where the error does not say it.
    pub fn remedy(&self, kind: ErrorKind) -> Option<&'static str> {
        match (self, kind) {
            (Self::Swap(_), ErrorKind::Data) => {
                Some("see that the bucket exists, and that `lake.url` names it")
            }
            (Self::Swap(_), ErrorKind::Unavailable) => Some(
                "see that the server answers as Cloud Storage does (of its emulators, the one that comes \
                 with Tidemill does), and that there are credentials: `lake.credentials`, \
                 `gcloud auth application-default login`, or the account of the machine",
            ),
            (Self::Lock(_), _)
            | (Self::Swap(_), ErrorKind::Input | ErrorKind::Fenced | ErrorKind::Bug) => None,
        }
    }
}
