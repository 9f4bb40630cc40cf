//! The lake: files that plain readers see, and beside them the log that says which ones count.
//!
//! A lake is an object store and nothing else: writers agree by creating objects that must not
//! exist yet, so there is no server, no lock and no lease in the way of a commit. What a crash
//! leaves half done, the next one who passes by finishes.

pub mod closings;
pub mod commit;
pub mod compaction;
pub mod create;
mod examine;
pub mod members;
mod numbers;
pub mod outputs;
pub mod paths;
mod place;
mod retry;
pub mod schema;
pub mod tables;
mod upload;
pub mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use create::Created;

use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::commit::{FORMAT, LAKE_ID_DIGITS, LakeIdentity};
use crate::model::name::ProjectName;
use crate::model::settings::LakeUrl;
use crate::model::stored::decode;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use place::{Place, Turns};
use retry::Retry;
use serde::Serialize;
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
        let shown = url.to_string();
        let place = Place::open(url, clock).doing(|| format!("open the lake {shown}"))?;
        let Place { objects, turns, retry } = place;
        Ok(Self { objects, turns, shown, id: String::new(), retry })
    }

    /// The same, without our own patience: a person waits, and wants to hear of a wrong setting at once.
    fn once(&self) -> Self {
        let mut lake = self.clone();
        if matches!(self.turns, Turns::Swap(_)) {
            lake.retry.tries = 1;
        }
        lake
    }

    /// What we were doing when it failed, and what a person can do about it.
    fn told(&self, error: Error) -> Error {
        let mut error = error.while_doing(format!("open the lake {}", self.shown));
        if error.remedy.is_none() {
            error.remedy = self.turns.remedy(error.kind).map(str::to_owned);
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
            Turns::Swap(_) => Some(format!("{}/{published}", self.shown)),
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

/// Waits for calls, so many at once, and gives their answers in their order.
///
/// They are made beforehand: a closure that is held across `await` hides that the future which makes
/// them may change threads.
pub(crate) async fn at_once<T>(
    most: usize,
    calls: Vec<impl Future<Output = Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    futures::stream::iter(calls).buffered(most).try_collect().await
}

/// The bytes of an object that lasts for ever; the same value always gives the same ones.
fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("formats have text keys and finite numbers").into()
}
