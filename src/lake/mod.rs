//! The lake: files that plain readers see, and beside them the log that says which ones count.
//!
//! A lake is an object store and nothing else: writers agree by creating objects that must not
//! exist yet, so there is no server, no lock and no lease in the way of a commit. What a crash
//! leaves half done, the next one who passes by finishes.

mod bucket;
pub mod closings;
pub mod commit;
pub mod compaction;
pub mod create;
pub mod disk;
mod examine;
pub mod members;
mod numbers;
pub mod outputs;
pub mod paths;
mod retry;
pub mod schema;
pub mod tables;
pub mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use create::Created;

use crate::clock::Clock;
use crate::error::Doing;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::commit::FORMAT;
use crate::model::commit::LAKE_ID_DIGITS;
use crate::model::commit::LakeIdentity;
use crate::model::name::ProjectName;
use crate::model::settings::LakeUrl;
use bucket::Bucket;
use bucket::Patience;
use bytes::Bytes;
use disk::Disk;
use object_store::ObjectStore;
use retry::Retry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// How many calls to the store one operation has open at once.
const CALLS_MAX: usize = 16;

/// One lake of one project; a clone is another handle to it.
#[derive(Clone, Debug)]
pub struct Lake {
    objects: Arc<dyn ObjectStore>,
    turns: Turns,
    /// `gs://acme-lake/wiki`, or the folder.
    shown: String,
    id: String,
    retry: Retry,
}

/// How the writers of one object that is replaced keep out of each other's way.
#[derive(Clone, Debug)]
enum Turns {
    /// By locks, in this folder.
    Lock(PathBuf),
    /// By the generation that each replaces.
    Compare(Arc<Bucket>),
}

impl Lake {
    /// Opens the lake at `url`, and makes it if there is none.
    pub async fn open(url: &LakeUrl, project: &ProjectName, clock: Clock) -> Result<Self, Error> {
        let mut lake = Self::at(url, clock)?;
        let id = lake.once().identify(project).await;
        lake.id = id.map_err(|error| lake.told(error))?;
        Ok(lake)
    }

    /// Opens the lake at `url`; `None`, and nothing made, if there is none.
    pub async fn find(
        url: &LakeUrl,
        project: &ProjectName,
        clock: Clock,
    ) -> Result<Option<Self>, Error> {
        if let LakeUrl::Folder(folder) = url
            && !folder.exists()
        {
            return Ok(None);
        }
        let lake = Self::at(url, clock.clone())?;
        let identity = lake.once().read(&paths::lake_identity()).await;
        match identity.map_err(|error| lake.told(error))? {
            Some(_) => Self::open(url, project, clock).await.map(Some),
            None => Ok(None),
        }
    }

    /// A handle to what is the lake, or may become it: nothing is made, so the id may be empty.
    pub async fn look(url: &LakeUrl, project: &ProjectName, clock: Clock) -> Result<Self, Error> {
        let mut lake = Self::at(url, clock)?;
        let identity = match lake.once().read(&paths::lake_identity()).await {
            Ok(Some(bytes)) => owned(&bytes, project).map(|identity| identity.lake_id),
            Ok(None) => Ok(String::new()),
            Err(error) => Err(error),
        };
        lake.id = identity.map_err(|error| lake.told(error))?;
        Ok(lake)
    }

    /// A handle that knows no id yet.
    fn at(url: &LakeUrl, clock: Clock) -> Result<Self, Error> {
        let (retry, shown) = (Retry::new(clock), url.to_string());
        match url {
            LakeUrl::Folder(folder) => {
                let disk = Disk::open(folder).doing(|| format!("open the lake {shown}"))?;
                let turns = Turns::Lock(folder.clone());
                Ok(Self { objects: Arc::new(disk), turns, shown, id: String::new(), retry })
            }
            LakeUrl::Bucket(bucket) => {
                let bucket = Bucket::open(bucket, Patience::default());
                let bucket = Arc::new(bucket.doing(|| format!("open the lake {shown}"))?);
                let turns = Turns::Compare(bucket.clone());
                let retry = retry.in_bucket();
                Ok(Self { objects: bucket, turns, shown, id: String::new(), retry })
            }
        }
    }

    /// The same, without our own patience: who opens a lake is a person, and waits for a mistake
    /// in the settings to be told.
    fn once(&self) -> Self {
        let mut lake = self.clone();
        if matches!(self.turns, Turns::Compare(_)) {
            lake.retry.tries = 1;
        }
        lake
    }

    /// What we were doing when it failed, and what a bucket's owner can do.
    fn told(&self, error: Error) -> Error {
        let mut error = error.while_doing(format!("open the lake {}", self.shown));
        if matches!(self.turns, Turns::Compare(_)) && error.remedy.is_none() {
            error.remedy = match error.kind {
                ErrorKind::Data => Some("see that the bucket exists, and that `lake.url` names it".into()),
                ErrorKind::Unavailable => Some(
                    "see that the server answers as Cloud Storage does (of its emulators, the one that comes \
                     with Tidemill does), and that there are credentials: `lake.credentials`, \
                     `gcloud auth application-default login`, or the account of the machine"
                        .into(),
                ),
                ErrorKind::Input | ErrorKind::Fenced | ErrorKind::Bug => None,
            };
        }
        error
    }

    async fn identify(&self, project: &ProjectName) -> Result<String, Error> {
        let path = paths::lake_identity();
        let bytes = if let Some(bytes) = self.read(&path).await? {
            bytes
        } else {
            let lake_id = Uuid::new_v4().simple().to_string();
            let project = project.to_string();
            let ours = encode(&LakeIdentity { format: FORMAT, lake_id, project });
            match self.create(&path, ours.clone()).await? {
                Created::Ours => ours,
                Created::Theirs(theirs) => theirs,
            }
        };
        owned(&bytes, project).map(|identity| identity.lake_id)
    }

    /// What makes this lake differ from every other one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first four digits of the id: `7f3a`, a part of consumer groups.
    pub fn short_id(&self) -> &str {
        self.id.get(..LAKE_ID_DIGITS).unwrap_or(&self.id)
    }

    /// The objects themselves, named from the lake's root, for readers of files.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Where other programs find an object: `gs://acme-lake/wiki/agg/…`. `None` where nobody but this
    /// machine reads the lake.
    pub fn address(&self, published: &str) -> Option<String> {
        match &self.turns {
            Turns::Compare(bucket) => Some(format!("{bucket}/{published}")),
            Turns::Lock(_) => None,
        }
    }

    fn retry(&self) -> &Retry {
        &self.retry
    }
}

/// Who the lake is; refused if it is another project's.
fn owned(bytes: &[u8], project: &ProjectName) -> Result<LakeIdentity, Error> {
    let read = || format!("read {}", paths::lake_identity());
    let identity: LakeIdentity = decode(bytes).doing(read)?;
    if identity.project != project.as_str() {
        let owner = &identity.project;
        return Err(Error::new(ErrorKind::Input, format!("it belongs to project `{owner}`"))
            .remedy(format!("give project `{project}` another `lake.url`, or set `project = \"{owner}\"` in tidemill.toml")));
    }
    Ok(identity)
}

/// The bytes of an object that lasts for ever; the same value always gives the same ones.
fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("formats have text keys and finite numbers").into()
}

/// Reads such an object, and refuses a format that this version does not know.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: serde_json::Error| Error::new(ErrorKind::Data, error);
    let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format != FORMAT {
        let problem = format!("it has format {format}, and this Tidemill knows {FORMAT}");
        return Err(Error::new(ErrorKind::Input, problem).remedy("use a newer Tidemill"));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}
