//! Lakes, records and faults for the tests of this layer.

mod crashing;
pub mod decisions;
mod emulator;
mod requests;
mod stepped;

pub use crate::model::file::testing::local_file;
pub use crashing::CrashingStore;
pub use emulator::Emulator;
pub use requests::trouble_at_every_request;
pub use stepped::{Fault, SteppedStore};

use super::Lake;
use super::paths::Place;
use super::place::Turns;
use super::place::folder::Folder;
use super::retry::Retry;
use crate::clock::Clock;
use crate::crash::Crash;
use crate::error::{Error, ErrorKind};
use crate::model::commit::{ClosedFile, Closing, Counts, FORMAT, File, Publish, Record};
use crate::model::hive::{Grain, PartitionBy, PartitionKey};
use crate::model::name::TableName;
use crate::model::time::Micros;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const TOPIC_ID: &str = "0123456789abcdef0123456789abcdef";

pub fn output() -> TableName {
    "raw.recentchange".parse().unwrap()
}

pub fn key() -> PartitionKey {
    "2026-11-20T05".parse().unwrap()
}

pub fn place() -> Place {
    Place::new(&output(), TOPIC_ID, 3)
}

/// A lake whose calls are tried once, so that a test sees each fault.
pub async fn over(objects: Arc<dyn ObjectStore>, folder: &Path) -> Lake {
    let retry = Retry { clock: Clock::system(), tries: 1, pause: Duration::ZERO };
    with_turns(objects, Turns::Lock(folder.to_owned()), retry).await
}

async fn with_turns(objects: Arc<dyn ObjectStore>, turns: Turns, retry: Retry) -> Lake {
    let mut lake = Lake { objects, turns, shown: "here".into(), id: String::new(), retry };
    lake.id = lake.identify(&"wiki".parse().unwrap()).await.unwrap();
    lake
}

pub async fn memory() -> Lake {
    over(Arc::new(InMemory::new()), Path::new("/nowhere")).await
}

/// The same lake, by way of another store.
pub fn through(lake: &Lake, objects: Arc<dyn ObjectStore>) -> Lake {
    Lake { objects, ..lake.clone() }
}

/// The same lake, by way of another store, with the patience to ask it again.
pub fn patient_through(lake: &Lake, objects: Arc<dyn ObjectStore>) -> Lake {
    let retry = Retry { tries: 3, ..lake.retry.clone() };
    Lake { objects, retry, ..lake.clone() }
}

/// Runs `work` with trouble at its first call to the store, then at its second, until there is no
/// call left; each time `after` tells on a sound handle what must be true.
///
/// Killed there it must say so; and where a call only fails, or only its answer is lost, asking
/// again must be enough.
pub async fn crash_at_every_call<S: Clone>(
    make: impl AsyncFn() -> (Lake, S),
    work: impl AsyncFn(Lake, S) -> Result<(), Error>,
    after: impl AsyncFn(Lake, S),
) {
    for crash in Crash::KILLS.into_iter().chain(Crash::TROUBLES) {
        for call in 0.. {
            let crash = crash(call);
            let (lake, state) = make().await;
            let store = CrashingStore::over(lake.objects().clone(), crash);
            let is_kill = matches!(crash, Crash::Before(_) | Crash::After(_));
            let reach = if is_kill { through } else { patient_through };
            let outcome = work(reach(&lake, store.clone()), state.clone()).await;
            if !store.crashed() {
                outcome.expect("without a crash it must work");
                assert_ne!(call, 0, "a crash must be reached");
                break;
            }
            match (is_kill, outcome) {
                (true, Ok(())) => panic!("{crash:?} is swallowed"),
                (true, Err(error)) => {
                    assert_eq!(error.kind, ErrorKind::Unavailable, "{crash:?}: {error}");
                }
                (false, outcome) => outcome.unwrap_or_else(|error| panic!("{crash:?}: {error}")),
            }
            after(lake, state).await;
        }
    }
}

pub async fn on_disk(folder: &Path) -> Lake {
    over(Arc::new(Folder::open(folder).unwrap()), folder).await
}

/// A record of ten rows in one file.
pub fn record(seq: u64, start: i64) -> Record {
    let file = File {
        key: Some(key()),
        staged: place().staged(seq).to_string(),
        published: place().published(seq, Some(&key()), 0).to_string(),
        bytes: 3,
        checksum: "not the one".into(),
        rows: 10,
        event_time_min: Some(Micros(1)),
        event_time_max: Some(Micros(2)),
    };
    record_of(seq, start, start + 10, vec![file])
}

pub fn record_of(seq: u64, start: i64, end: i64, files: Vec<File>) -> Record {
    let landed = files.iter().map(|file| file.rows).sum();
    Record {
        format: FORMAT,
        seq,
        output: output(),
        topic: "wikimedia.recentchange".parse().unwrap(),
        topic_id: TOPIC_ID.into(),
        topic_partition: 3,
        start,
        end,
        schema: 1,
        partition_by: PartitionBy::utc(Grain::Hour),
        publish: Publish::OnCommit,
        files,
        quarantine: None,
        watermark: None,
        marked: false,
        behind: false,
        cut: false,
        counts: Counts { read: landed, landed, ..Counts::default() },
        reasons: [].into(),
        job: "job".into(),
        writer: "writer".into(),
    }
}

/// A closing of files of ten rows each.
pub fn closing(n: u32, published: &[&str]) -> Closing {
    let file = |published: &&str| ClosedFile {
        published: (*published).to_owned(),
        topic_id: TOPIC_ID.into(),
        topic_partition: 3,
        seq: 1,
        rows: 10,
        bytes: 3,
        checksum: "not the one".into(),
        event_time_min: None,
        event_time_max: None,
    };
    Closing {
        format: FORMAT,
        table: output(),
        key: key(),
        n,
        partial: false,
        files: published.iter().map(file).collect(),
        rows: 10 * published.len() as u64,
        frontier: Micros(0),
        made_from: None,
        compaction: None,
    }
}
