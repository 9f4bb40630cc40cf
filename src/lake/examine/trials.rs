//! The trials: each does one thing that the commit protocol does, and says what it saw instead.

use super::super::paths;
use super::super::place::Swap;
use super::{Probe, Seen};
use crate::model::finding::Finding;
use crate::model::time::Micros;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, UpdateVersion};
use std::time::Duration;

/// What lies in the folder of probes for so long was left by one that was killed.
pub(super) const LEFT_AGE: Duration = Duration::from_hours(1);
/// The store's clock and ours may differ by so much; event-time bounds are minutes.
const SKEW_MAX: Duration = Duration::from_secs(10);

impl Probe<'_> {
    fn path(&self, name: &str) -> Path {
        self.folder.clone().join(self.round.to_string()).join(name)
    }

    async fn holds(&self, name: &str) -> Result<String, StoreError> {
        let bytes = self.objects.get(&self.path(name)).await?.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn create(&self, name: &str, text: &'static str) -> Result<bool, StoreError> {
        let (path, mode) = (self.path(name), PutMode::Create.into());
        let created = refusal(self.objects.put_opts(&path, text.into(), mode).await.map(drop))?;
        // The answer to a success may have been lost, and its repetition been refused.
        Ok(created || self.holds(name).await? == text)
    }

    pub(super) async fn creates(&self) -> Seen {
        if !self.create("a", "first").await? {
            return Ok(Some("it refused a name that was free".into()));
        }
        if self.create("a", "second").await? {
            return Ok(Some("it took a second object under the same name".into()));
        }
        let holds = self.holds("a").await?;
        Ok((holds != "first").then(|| "it refused the second object, and yet holds it".into()))
    }

    pub(super) async fn shows(&self) -> Seen {
        if !self.create("seen", "at once").await? || self.holds("seen").await? != "at once" {
            return Ok(Some("a reader saw something else".into()));
        }
        let listed: Vec<_> = self.objects.list(Some(&self.folder)).try_collect().await?;
        let path = self.path("seen");
        let listed = listed.iter().any(|meta| meta.location == path);
        Ok((!listed).then(|| "a list did not have it".into()))
    }

    pub(super) async fn copies(&self) -> Seen {
        let (from, to, taken) = (self.path("from"), self.path("to"), self.path("taken"));
        self.create("from", "copied").await?;
        self.create("taken", "kept").await?;
        let copied = refusal(self.objects.copy_if_not_exists(&from, &to).await)?;
        match self.holds("to").await {
            Ok(holds) if holds == "copied" => {}
            Ok(_) => return Ok(Some("the copy holds something else".into())),
            Err(StoreError::NotFound { .. }) if !copied => {
                return Ok(Some("it refused a name that was free".into()));
            }
            Err(error) => return Err(error),
        }
        let copied = refusal(self.objects.copy_if_not_exists(&from, &taken).await)?;
        if self.holds("taken").await? != "kept" {
            return Ok(Some("it overwrote the object that had the name".into()));
        }
        Ok(copied.then(|| "it said that it copied, and did not".into()))
    }

    pub(super) async fn replaces(&self) -> Seen {
        let path = self.path("replaced");
        let first = self.objects.put(&path, "one".into()).await?;
        // Cloud Storage takes one write a second to a name.
        self.clock.sleep(Duration::from_millis(1_100)).await;
        let stale = UpdateVersion { e_tag: first.e_tag, version: first.version };
        self.objects.put(&path, "two".into()).await?;
        let update = PutMode::Update(stale).into();
        match self.objects.put_opts(&path, "three".into(), update).await {
            Ok(_) => Ok(Some("it replaced an object that had changed".into())),
            // A folder has a lock instead.
            Err(StoreError::Precondition { .. } | StoreError::NotImplemented { .. }) => {
                let holds = self.holds("replaced").await?;
                Ok((holds != "two").then(|| "it refused, and replaced it all the same".into()))
            }
            Err(error) => Err(error),
        }
    }

    /// The two calls of which outputs are made where there is no lock.
    pub(super) async fn swaps(&self, swap: &dyn Swap) -> Seen {
        let (from, path) = (self.path("over"), self.path("compared"));
        self.create("over", "copied").await?;
        let stale = self.objects.put(&path, "one".into()).await?.version.unwrap_or_default();
        self.clock.sleep(Duration::from_millis(1_100)).await;
        self.objects.put(&path, "two".into()).await?;
        if refusal(swap.copy_over(&from, &path, Some(&stale)).await)? {
            return Ok(Some("it copied over an object that had changed".into()));
        }
        if refusal(swap.delete_if(&path, &stale).await)? {
            return Ok(Some("it deleted an object that had changed".into()));
        }
        let holds = self.holds("compared").await?;
        Ok((holds != "two").then(|| "it refused, and changed it all the same".into()))
    }

    pub(super) async fn skew(&self) -> Finding {
        let what = "the store's clock and this machine's agree";
        let remedy = "keep both by NTP: event times are compared with them";
        self.tried(what, remedy, Self::differs).await
    }

    async fn differs(&self) -> Seen {
        let name = self.path("clock");
        let before = Micros::from(self.clock.now());
        self.objects.put(&name, "now".into()).await?;
        let meta = self.objects.head(&name).await?;
        let theirs = Micros(meta.last_modified.timestamp_micros());
        let after = Micros::from(self.clock.now());
        let off = before.since(theirs).max(theirs.since(after));
        let differ = || format!("they differ by {} s", off.as_secs());
        Ok((off > SKEW_MAX).then(differ))
    }

    /// How a large file is staged.
    pub(super) async fn joins(&self) -> Seen {
        let path = self.path("joined");
        let mut upload = self.objects.put_multipart(&path).await?;
        upload.put_part("whole".into()).await?;
        match self.objects.head(&path).await {
            Err(StoreError::NotFound { .. }) => {}
            Ok(_) => return Ok(Some("it was there before it was whole".into())),
            Err(error) => return Err(error),
        }
        upload.complete().await?;
        let holds = self.holds("joined").await?;
        Ok((holds != "whole").then(|| "it holds something else".into()))
    }

    /// Empties the folder, whatever came of the trials, and those that others have left.
    pub(super) async fn clears(&self) -> Seen {
        let now = Micros::from(self.clock.now());
        let listed: Vec<_> = self.objects.list(Some(&paths::probes())).try_collect().await?;
        let old = |at: Micros| now.since(at) > LEFT_AGE;
        let dead = listed.iter().filter(|meta| {
            meta.location.prefix_matches(&self.folder)
                || old(Micros(meta.last_modified.timestamp_micros()))
        });
        let dead: Vec<_> = dead.map(|meta| &meta.location).collect();
        for path in &dead {
            match self.objects.delete(path).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for path in dead {
            match self.objects.head(path).await {
                Err(StoreError::NotFound { .. }) => {}
                Ok(_) => return Ok(Some(format!("{path} is still there"))),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Whether it was done; `false` if the store refused because the name is taken.
fn refusal(answer: Result<(), StoreError>) -> Result<bool, StoreError> {
    match answer {
        Ok(()) => Ok(true),
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
