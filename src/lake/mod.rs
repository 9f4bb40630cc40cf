//! The lake: files that plain readers see, and beside them the log that says which ones count.
//!
//! A lake is an object store and nothing else: writers agree by creating objects that must not
//! exist yet, so there is no server, no lock and no lease in the way of a commit. What a crash
//! leaves half done, the next one who passes by finishes.

pub mod closings;
pub mod commit;
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
use crate::model::commit::LakeIdentity;
use crate::model::name::ProjectName;
use crate::model::settings::LakeUrl;
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

/// Digits of the lake's id that people and consumer groups see.
const ID_DIGITS: usize = 4;

/// One lake of one project; a clone is another handle to it.
#[derive(Clone, Debug)]
pub struct Lake {
    objects: Arc<dyn ObjectStore>,
    /// Where lock files lie.
    folder: PathBuf,
    id: String,
    retry: Retry,
}

impl Lake {
    /// Opens the lake at `url`, and makes it if there is none.
    pub async fn open(url: &LakeUrl, project: &ProjectName, clock: Clock) -> Result<Self, Error> {
        let LakeUrl::Folder(folder) = url;
        let doing = || format!("open the lake {}", folder.display());
        let disk = Disk::open(folder).doing(doing)?;
        Self::over(Arc::new(disk), folder.clone(), project, Retry::new(clock)).await.doing(doing)
    }

    async fn over(
        objects: Arc<dyn ObjectStore>,
        folder: PathBuf,
        project: &ProjectName,
        retry: Retry,
    ) -> Result<Self, Error> {
        let mut lake = Self { objects, folder, id: String::new(), retry };
        lake.id = lake.identify(project).await?;
        Ok(lake)
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
        let identity: LakeIdentity = decode(&bytes).doing(|| format!("read {path}"))?;
        if identity.project != project.as_str() {
            let owner = &identity.project;
            return Err(Error::new(ErrorKind::Input, format!("it belongs to project `{owner}`"))
                .remedy(format!("give project `{project}` another `lake.url`, or set `project = \"{owner}\"` in tidemill.toml")));
        }
        Ok(identity.lake_id)
    }

    /// What makes this lake differ from every other one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first four digits of the id: `7f3a`, a part of consumer groups.
    pub fn short_id(&self) -> &str {
        self.id.get(..ID_DIGITS).unwrap_or(&self.id)
    }

    /// The objects themselves, named from the lake's root, for readers of files.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Where others find an object, by a URL; `None` where it lies on this machine alone.
    pub fn address(&self, _published: &str) -> Option<String> {
        None
    }

    fn retry(&self) -> &Retry {
        &self.retry
    }
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
