//! Asks a store whether it keeps what the commit protocol rests on, before anyone relies on it.
//!
//! A store is condemned for what it does, not for an answer that was lost: as in a commit, who is
//! refused reads back, and what gives no answer is tried again, under names of its own. All of it
//! happens in a folder under `_tidemill/`, which is emptied again; what a killed one has left there,
//! the next one removes.

use super::Lake;
use super::Turns;
use super::bucket::Bucket;
use super::paths;
use crate::clock::Clock;
use crate::error::Error;
use crate::model::finding::Finding;
use crate::model::time::Micros;
use futures::TryStreamExt;
use object_store::Error as StoreError;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::UpdateVersion;
use object_store::path::Path;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tracing::debug;

/// A store that is slower with one call is no store to commit to.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// A trial that got no answer is begun again, so often in all.
const ROUNDS: u32 = 3;
const ROUND_PAUSE: Duration = Duration::from_secs(1);
/// What lies in the folder of probes for so long was left by one that was killed.
const LEFT_AGE: Duration = Duration::from_hours(1);
/// The store's clock and ours may differ by so much; event-time bounds are minutes.
const SKEW_MAX: Duration = Duration::from_secs(10);

const NO_LAKE: &str = "this store can't hold a lake: two writers would both take their commit for \
     done; use a local folder or Cloud Storage itself (of its emulators, the one that comes with Tidemill)";

const UNANSWERED: &str =
    "run doctor again; if it stays so, look at the way to the store, and at its load";

/// What became of a trial: nothing to say, or what was seen instead.
type Seen = Result<Option<String>, StoreError>;

impl Lake {
    /// Tries all that we ask of the store.
    pub async fn examine(&self, clock: &Clock) -> Vec<Finding> {
        let folder = paths::probe();
        let probe = Probe { objects: &**self.objects(), folder, clock, round: 1 };
        let news = "a new object is seen at once, by readers and by lists";
        let mut found = vec![
            probe.told("a create refuses a name that is taken", Probe::creates).await,
            probe.told(news, Probe::shows).await,
            probe.told("a copy refuses a name that is taken", Probe::copies).await,
            probe.told("an object is replaced only as it was last read", Probe::replaces).await,
        ];
        if let Turns::Compare(bucket) = &self.turns {
            let what = "an object is copied over and deleted only as it was last read";
            found.push(probe.told(what, async |probe| probe.compares(bucket).await).await);
        }
        found.push(probe.skew().await);
        found.push(probe.told("what is deleted is gone at once", Probe::clears).await);
        found
    }
}

impl Lake {
    /// Where the bucket lies, `EU` or `EUROPE-WEST1`; `None` for a folder.
    pub async fn location(&self) -> Result<Option<String>, Error> {
        match &self.turns {
            Turns::Lock(_) => Ok(None),
            Turns::Compare(bucket) => Ok(Some(bucket.location().await?)),
        }
    }
}

struct Probe<'a> {
    objects: &'a dyn ObjectStore,
    folder: Path,
    clock: &'a Clock,
    /// How often the trial is begun: each has names of its own.
    round: u32,
}

impl Probe<'_> {
    async fn told(&self, what: &str, trial: impl AsyncFn(&Self) -> Seen) -> Finding {
        self.tried(what, NO_LAKE, trial).await
    }

    async fn tried(&self, what: &str, remedy: &str, trial: impl AsyncFn(&Self) -> Seen) -> Finding {
        let mut round = 1;
        loop {
            let probe = Self { folder: self.folder.clone(), round, ..*self };
            match tokio::time::timeout(ANSWER_WAIT, trial(&probe)).await {
                Ok(Err(error)) if round < ROUNDS && may_pass(&error) => {
                    debug!(%error, round, "{what}: trying again");
                }
                answer => return judge(what, remedy, answer),
            }
            self.clock.sleep(ROUND_PAUSE).await;
            round += 1;
        }
    }

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

    async fn creates(&self) -> Seen {
        if !self.create("a", "first").await? {
            return Ok(Some("it refused a name that was free".into()));
        }
        if self.create("a", "second").await? {
            return Ok(Some("it took a second object under the same name".into()));
        }
        let holds = self.holds("a").await?;
        Ok((holds != "first").then(|| "it refused the second object, and yet holds it".into()))
    }

    async fn shows(&self) -> Seen {
        if !self.create("seen", "at once").await? || self.holds("seen").await? != "at once" {
            return Ok(Some("a reader saw something else".into()));
        }
        let listed: Vec<_> = self.objects.list(Some(&self.folder)).try_collect().await?;
        let path = self.path("seen");
        let listed = listed.iter().any(|meta| meta.location == path);
        Ok((!listed).then(|| "a list did not have it".into()))
    }

    async fn copies(&self) -> Seen {
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

    async fn replaces(&self) -> Seen {
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

    /// The two calls of which outputs in a bucket are made.
    async fn compares(&self, bucket: &Bucket) -> Seen {
        let (from, path) = (self.path("over"), self.path("compared"));
        self.create("over", "copied").await?;
        let stale = self.objects.put(&path, "one".into()).await?.version.unwrap_or_default();
        self.clock.sleep(Duration::from_millis(1_100)).await;
        self.objects.put(&path, "two".into()).await?;
        if refusal(bucket.copy_over(&from, &path, &stale).await)? {
            return Ok(Some("it copied over an object that had changed".into()));
        }
        if refusal(bucket.delete_generation(&path, &stale).await)? {
            return Ok(Some("it deleted an object that had changed".into()));
        }
        let holds = self.holds("compared").await?;
        Ok((holds != "two").then(|| "it refused, and changed it all the same".into()))
    }

    async fn skew(&self) -> Finding {
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

    /// Empties the folder, whatever came of the trials, and those that others have left.
    async fn clears(&self) -> Seen {
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

fn judge(what: &str, remedy: &str, answer: Result<Seen, Elapsed>) -> Finding {
    match answer {
        Ok(Ok(None)) => Finding::good(what),
        Ok(Ok(Some(seen))) => Finding::bad(what, remedy).seen(seen),
        Ok(Err(error)) => {
            let mut error = Error::from(error);
            error.remedy.get_or_insert_with(|| UNANSWERED.into());
            Finding::failed(what, &error)
        }
        Err(_) => Finding::bad(what, UNANSWERED)
            .seen(format!("no answer within {} s", ANSWER_WAIT.as_secs())),
    }
}

/// Whether it is worth asking again.
fn may_pass(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
            | StoreError::NotFound { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::NotSupported { .. }
    )
}

/// Whether it was done; `false` if the store refused because the name is taken.
fn refusal(answer: Result<(), StoreError>) -> Result<bool, StoreError> {
    match answer {
        Ok(()) => Ok(true),
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::Crash;
    use crate::lake::testing;
    use crate::lake::testing::CrashingStore;
    use crate::model::finding::Health;
    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::CopyMode;
    use object_store::CopyOptions;
    use object_store::GetOptions;
    use object_store::GetResult;
    use object_store::ListResult;
    use object_store::MultipartUpload;
    use object_store::ObjectMeta;
    use object_store::PutMultipartOptions;
    use object_store::PutOptions;
    use object_store::PutPayload;
    use object_store::PutResult;
    use object_store::Result;
    use object_store::memory::InMemory;
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
        let bad = [
            "a create refuses a name that is taken",
            "an object is replaced only as it was last read",
        ];
        check(true, false, &bad).await;
    }

    #[tokio::test]
    async fn a_bucket_is_well() {
        let Some(emulator) = testing::Emulator::start() else { return };
        let found = emulator.lake().await.examine(&Clock::system()).await;
        assert!(found.iter().all(|finding| finding.health == Health::Good), "{found:?}");
    }

    #[tokio::test]
    async fn a_folder_is_well() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(crate::lake::disk::Disk::open(dir.path()).unwrap());
        let lake = testing::over(disk, dir.path()).await;
        let found = lake.examine(&Clock::system()).await;
        assert!(found.iter().all(|finding| finding.health == Health::Good), "{found:?}");
    }
}
