//! A daemon of the model: mirrors the log, decides by the product's own plan, publishes, closes.

use super::lake::{Action, Bounds, Entry, HOUR, Lake, Object, Planted, key};
use super::publication::{Publication, Went};
use crate::model::hive::{Grain, PartitionBy};
use crate::model::table::OpenPartition;
use crate::model::time::Micros;
use crate::scheduler::frontier;
use crate::scheduler::frontier::{Facts, Heard};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The state store, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// How far each log has been read.
    pub seqs: Vec<u8>,
    pub frontier: Option<i64>,
    /// The newest closing of hour 0.
    pub closed: Option<(u32, BTreeSet<Object>)>,
}

/// Closing `n`, and the frontier that it was decided by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Close {
    n: u32,
    files: BTreeSet<Object>,
    frontier: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Closer {
    Idle,
    Publishing(Close, Publication),
    Creating(Close),
    /// The closing is there; the transaction is not.
    Created(Close),
    Stopped,
}

impl Mirror {
    /// A new store takes over the newest closing of the lake.
    pub fn anew(lake: &Lake, bounds: &Bounds) -> Self {
        let n = u32::try_from(lake.closings.len()).unwrap();
        let closed = lake.closings.last().map(|last| (n, last.clone()));
        Self { seqs: vec![0; bounds.rows.len()], frontier: None, closed }
    }
}

pub fn actions(lake: &Lake, bounds: &Bounds, actions: &mut Vec<Action>) {
    if bounds.closers == 0 {
        return;
    }
    for (topic_partition, seq) in (0..).zip(&lake.mirror.seqs) {
        if lake.records.contains_key(&(topic_partition, seq + 1)) {
            actions.push(Action::Mirror { topic_partition });
        }
    }
    let decided = decide(lake, bounds).is_some();
    for (closer, at) in lake.closers.iter().enumerate() {
        match at {
            Closer::Idle if decided => actions.push(Action::Close { closer, lost: false }),
            Closer::Idle | Closer::Stopped => {}
            Closer::Publishing(..) | Closer::Creating(_) | Closer::Created(_) => {
                actions.push(Action::Close { closer, lost: false });
                if matches!(at, Closer::Publishing(_, publication) if publication.writes()) {
                    actions.push(Action::Close { closer, lost: true });
                }
                actions.push(Action::KillCloser { closer });
            }
        }
    }
    if lake.mirror != Mirror::anew(lake, bounds) {
        actions.push(Action::LoseStore);
    }
}

/// What the scheduler's plan says of hour 0 now.
fn decide(lake: &Lake, bounds: &Bounds) -> Option<Close> {
    let mirror = &lake.mirror;
    let closed = mirror.closed.as_ref();
    let files: BTreeSet<Object> = mirrored(lake).flat_map(|its| its.files(bounds)).collect();
    let files: BTreeSet<Object> = files.into_iter().filter(|file| file.hour == 0).collect();
    let missing = files.iter().filter(|file| closed.is_none_or(|(_, its)| !its.contains(file)));
    let missing: BTreeSet<Object> = missing.copied().collect();
    let open = OpenPartition {
        key: key(0),
        closings: closed.map_or(0, |(n, _)| *n),
        passed: closed.is_some(),
        first_seen: Micros(0),
        last_seen: Micros(0),
        files: missing.len() as u64,
        rows: 1,
        bytes: 1,
    };
    let facts = Facts {
        partition_by: PartitionBy::utc(Grain::Hour),
        close_after: Duration::ZERO,
        late_quiet: Duration::ZERO,
        heard: heard(lake, bounds),
        frontier: mirror.frontier.map(Micros),
        open: if missing.is_empty() { vec![] } else { vec![open] },
        begin: None,
        cuts: vec![],
    };
    let plan = frontier::plan(&facts, Micros(HOUR * 1_000));
    let close = plan.close.into_iter().next()?;
    let forgets = bounds.planted == Planted::OnlyMissing;
    let files = if forgets { missing } else { files };
    Some(Close { n: close.n, files, frontier: plan.frontier?.0 })
}

fn mirrored(lake: &Lake) -> impl Iterator<Item = &Entry> {
    let is_read = |its: &&Entry| its.seq <= lake.mirror.seqs[usize::from(its.topic_partition)];
    lake.records.values().filter(is_read)
}

/// A record's watermark is its topic partition's highest event time.
fn heard(lake: &Lake, bounds: &Bounds) -> Vec<Heard> {
    let of = |at: usize| {
        let last = mirrored(lake).filter(|its| usize::from(its.topic_partition) == at).last()?;
        let highest = bounds.rows[at][..usize::from(last.end)].iter().max()?;
        Some(Heard::Watermark(Micros(i64::from(*highest) * HOUR)))
    };
    let heard = (0..bounds.rows.len()).map(of);
    if bounds.planted == Planted::MissingMember {
        return heard.flatten().collect();
    }
    heard.map(|its| its.unwrap_or(Heard::Nothing)).collect()
}

impl Closer {
    pub fn step(self, lake: &mut Lake, lost: bool, bounds: &Bounds) -> Self {
        match self {
            Self::Idle => match decide(lake, bounds) {
                Some(close) if bounds.planted == Planted::ClosingFirst => Self::Creating(close),
                Some(close) => {
                    let publication = Publication::of(last_files(lake, &close, bounds));
                    Self::Publishing(close, publication)
                }
                None => Self::Idle,
            },
            Self::Publishing(close, mut publication) => {
                match publication.step(lake, lost, bounds) {
                    Went::On => Self::Publishing(close, publication),
                    Went::Done => Self::Creating(close),
                    Went::Wrong => Self::Stopped,
                }
            }
            Self::Creating(close) => Self::Created(create(lake, close, bounds)),
            Self::Created(close) => {
                // A transaction of another closer may have mirrored a newer one.
                if lake.mirror.closed.as_ref().is_none_or(|(n, _)| *n < close.n) {
                    lake.mirror.closed = Some((close.n, close.files));
                }
                lake.mirror.frontier = lake.mirror.frontier.max(Some(close.frontier));
                Self::Idle
            }
            Self::Stopped => self,
        }
    }
}

/// The files of the last record of each topic partition in the closing.
fn last_files(lake: &Lake, close: &Close, bounds: &Bounds) -> Vec<Object> {
    let mut last = BTreeMap::new();
    for file in &close.files {
        let seq = last.entry(file.of.topic_partition).or_insert(0);
        *seq = file.of.seq.max(*seq);
    }
    last.into_iter().flat_map(|number| lake.records[&number].files(bounds)).collect()
}

/// Creates the closing if its number is free; returns the one that is there.
fn create(lake: &mut Lake, close: Close, bounds: &Bounds) -> Close {
    match lake.closings.get(close.n as usize - 1) {
        Some(theirs) if bounds.planted != Planted::TheirsIsOurs => {
            Close { files: theirs.clone(), ..close }
        }
        Some(_) => close,
        None => {
            lake.closings.push(close.files.clone());
            close
        }
    }
}
