//! Hours that are published on close: two compactions at once, a sweeper, kills, lost answers.
//!
//! Records come and wait with their staged files; a compactor gathers those that the newest closing
//! lacks, stages one sorted set, creates the closing, publishes, signs, clears. Whoever finds a closing
//! that is not finished goes on behind its creation.

// Over 400 lines: the actors of one state machine.

use super::compaction_promises;
use crate::lake::Created;
use crate::lake::testing::decisions::{
    CreateHeard, CreateStep, PublishHeard, PublishStep, create_next, publish_next, unnamed,
};
use crate::lake::testing::{TOPIC_ID, closing as any_closing, record_of};
use crate::model::commit::{Closing, Compacted, Compaction, File};
use bytes::Bytes;
use object_store::path::Path;
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet};

/// A closing and one more for late rows.
pub const RECORDS: u8 = 2;
const COMPACTORS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The sweeper takes staged files that no closing holds.
    SweepWaiting,
    /// The closing is created before its set is staged.
    CloseUnstaged,
    /// The set is published before the closing names it.
    PublishFirst,
    /// `_SUCCESS` comes before the set is visible.
    SignFirst,
    /// What was sorted is cleared before the closing exists.
    ClearFirst,
    /// Closing n+1 sorts all records again.
    TakeAll,
    /// The sweeper takes a set before its number is taken.
    SweepSetEarly,
}

/// A sorted set of records, staged by one life of a compactor for closing `n`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set {
    pub n: u8,
    pub by: (u8, u8),
    pub records: BTreeSet<u8>,
}

/// A closing: the set that it adds, and all records that it and those before it hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Closed {
    pub added: Set,
    pub records: BTreeSet<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Create(Closed),
    Copy(Set),
    Unstage(Set),
    Sign,
    Clear(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Exists,
    Missing,
    /// It takes effect at any time from now on.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Compactor {
    Idle,
    Staging(Closed),
    /// Planted.
    Hasty(Closed, PublishHeard),
    Creating(Closed, CreateHeard),
    Publishing(Closed, PublishHeard),
    Signing(Closed),
    Clearing(Closed),
    /// Calls a person.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lake {
    /// Records 1 to this one are committed.
    pub records: u8,
    /// Whose own files are still staged.
    pub waiting: BTreeSet<u8>,
    pub staged: BTreeSet<Set>,
    pub visible: BTreeMap<u8, Set>,
    pub signed: bool,
    pub closings: Vec<Closed>,
    pub flying: BTreeSet<Call>,
    pub compactors: Vec<Compactor>,
    pub lives: Vec<u8>,
    pub faults: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Commit,
    Begin(usize),
    Step { compactor: usize, lost: bool },
    Kill(usize),
    Land(Call),
    SweepSet(Set),
    Retire(u8),
}

pub struct Search {
    pub planted: Planted,
}

impl Closed {
    fn bytes(&self) -> Bytes {
        format!("{self:?}").into()
    }

    /// The lake's own form of it, for the lake's own decisions.
    fn closing(&self) -> Closing {
        let added = File {
            key: None,
            staged: self.added.path().to_string(),
            published: String::new(),
            bytes: 1,
            checksum: String::new(),
            rows: 1,
            event_time_min: None,
            event_time_max: None,
        };
        let seqs = self.records.iter().map(|seq| u64::from(*seq)).collect();
        let (topic_id, topic_partition) = (TOPIC_ID.to_owned(), 3);
        let records = vec![Compacted { topic_id, topic_partition, seqs, rows: 1 }];
        let compaction = Some(Compaction { complete: true, added: vec![added], records });
        Closing { compaction, ..any_closing(self.added.n.into(), &[]) }
    }
}

impl Set {
    fn path(&self) -> Path {
        format!("{self:?}").into()
    }
}

impl Lake {
    fn new() -> Self {
        Self {
            records: 0,
            waiting: BTreeSet::new(),
            staged: BTreeSet::new(),
            visible: BTreeMap::new(),
            signed: false,
            closings: Vec::new(),
            flying: BTreeSet::new(),
            compactors: vec![Compactor::Idle; COMPACTORS],
            lives: vec![0; COMPACTORS],
            faults: 1,
        }
    }

    pub fn closed(&self, n: u8) -> Option<&Closed> {
        self.closings.get(usize::from(n) - 1)
    }

    pub fn is_visible(&self, closed: &Closed) -> bool {
        (1..=closed.added.n)
            .all(|n| self.closed(n).is_some_and(|its| self.visible.get(&n) == Some(&its.added)))
    }

    /// Whether a step after the closing is missing: whoever looks, or the sweeper, goes on there.
    fn is_unfinished(&self, closed: &Closed) -> bool {
        !self.is_visible(closed) || !self.signed || self.staged.contains(&closed.added)
    }

    fn call(&mut self, call: Call, lost: bool) -> Answer {
        if lost {
            self.faults -= 1;
            self.flying.insert(call);
            return Answer::None;
        }
        self.land(call)
    }

    fn land(&mut self, call: Call) -> Answer {
        match call {
            Call::Create(closed) => {
                if usize::from(closed.added.n) <= self.closings.len() {
                    return Answer::Exists;
                }
                self.closings.push(closed);
            }
            Call::Copy(set) if !self.staged.contains(&set) => return Answer::Missing,
            Call::Copy(set) => {
                if self.visible.contains_key(&set.n) {
                    return Answer::Exists;
                }
                self.visible.insert(set.n, set);
            }
            Call::Unstage(set) => {
                self.staged.remove(&set);
            }
            Call::Sign => self.signed = true,
            Call::Clear(record) => {
                self.waiting.remove(&record);
            }
        }
        Answer::Done
    }

    /// What a compactor that begins now does: finish the newest closing, or make the next one.
    fn begin(&self, compactor: usize, planted: Planted) -> Compactor {
        let newest = self.closings.last();
        if let Some(closed) = self.closings.iter().find(|closed| self.is_unfinished(closed)) {
            return Compactor::Publishing(closed.clone(), PublishHeard::Nothing);
        }
        let all: BTreeSet<u8> = (1..=self.records).collect();
        let held = newest.map_or_else(BTreeSet::new, |newest| newest.records.clone());
        let missing: BTreeSet<u8> = all.difference(&held).copied().collect();
        if missing.is_empty() {
            return Compactor::Idle;
        }
        let by = (u8::try_from(compactor).unwrap(), self.lives[compactor]);
        let n = u8::try_from(self.closings.len()).unwrap() + 1;
        let records = if planted == Planted::TakeAll { all.clone() } else { missing };
        Compactor::Staging(Closed { added: Set { n, by, records }, records: all })
    }

    fn is_garbage(&self, set: &Set, planted: Planted) -> bool {
        match self.closed(set.n) {
            Some(closed) => !unnamed(&closed.closing(), vec![set.path()]).is_empty(),
            None => planted == Planted::SweepSetEarly,
        }
    }

    fn may_retire(&self, record: u8, planted: Planted) -> bool {
        if planted == Planted::SweepWaiting {
            return true;
        }
        let its = record_of(record.into(), 0, 0, vec![]);
        let newest = self.closings.last();
        newest.is_some_and(|newest| {
            newest.closing().has_compacted(&its.id()) && self.is_visible(newest)
        })
    }
}

impl Compactor {
    fn writes(&self) -> bool {
        match self {
            Self::Creating(closed, heard) => {
                create_next(&closed.bytes(), heard.clone()) == CreateStep::Create
            }
            Self::Publishing(_, heard) | Self::Hasty(_, heard) => {
                matches!(publish_next(*heard), PublishStep::Copy | PublishStep::DeleteStaged)
            }
            Self::Signing(_) | Self::Clearing(_) => true,
            Self::Idle | Self::Staging(_) | Self::Stopped => false,
        }
    }

    fn step(self, lake: &mut Lake, lost: bool, planted: Planted) -> Self {
        match self {
            Self::Staging(closed) => {
                // A compactor that lags behind finds its sources gone only if another has closed.
                let there = closed.added.records.iter().all(|its| lake.waiting.contains(its));
                if !there && planted != Planted::TakeAll {
                    return Self::Idle;
                }
                if planted != Planted::CloseUnstaged {
                    lake.staged.insert(closed.added.clone());
                }
                match planted {
                    Planted::PublishFirst => Self::Hasty(closed, PublishHeard::Nothing),
                    Planted::ClearFirst => {
                        lake.waiting.retain(|its| !closed.added.records.contains(its));
                        Self::Creating(closed, CreateHeard::Nothing)
                    }
                    _ => Self::Creating(closed, CreateHeard::Nothing),
                }
            }
            Self::Hasty(closed, heard) => match publish(lake, lost, &closed, heard) {
                Ok(heard) => Self::Hasty(closed, heard),
                Err(true) => Self::Creating(closed, CreateHeard::Nothing),
                Err(false) => Self::Stopped,
            },
            Self::Creating(closed, heard) => create(lake, lost, closed, heard, planted),
            Self::Publishing(closed, heard) => match publish(lake, lost, &closed, heard) {
                Ok(heard) => Self::Publishing(closed, heard),
                Err(true) if planted == Planted::SignFirst => Self::Clearing(closed),
                Err(true) => Self::Signing(closed),
                Err(false) => Self::Stopped,
            },
            Self::Signing(closed) => match lake.call(Call::Sign, lost) {
                Answer::None => Self::Signing(closed),
                _ if planted == Planted::SignFirst => {
                    Self::Publishing(closed, PublishHeard::Nothing)
                }
                _ => Self::Clearing(closed),
            },
            Self::Clearing(closed) => {
                let left = closed.added.records.intersection(&lake.waiting).next().copied();
                match left {
                    Some(record) if lake.is_visible(&closed) => {
                        lake.call(Call::Clear(record), lost);
                        Self::Clearing(closed)
                    }
                    Some(_) | None => Self::Idle,
                }
            }
            Self::Idle | Self::Stopped => self,
        }
    }
}

/// One call of the publication; `Err(true)` when it is done, `Err(false)` when a person must look.
fn publish(
    lake: &mut Lake,
    lost: bool,
    closed: &Closed,
    heard: PublishHeard,
) -> Result<PublishHeard, bool> {
    let set = &closed.added;
    let heard = match publish_next(heard) {
        PublishStep::Copy => match lake.call(Call::Copy(set.clone()), lost) {
            Answer::Done => PublishHeard::Copied,
            Answer::Exists => PublishHeard::Taken,
            Answer::Missing => PublishHeard::SourceGone,
            Answer::None => PublishHeard::Nothing,
        },
        PublishStep::Compare => {
            PublishHeard::Compared { same: lake.visible.get(&set.n) == Some(set) }
        }
        PublishStep::LookForFinal => {
            PublishHeard::Final { there: lake.visible.contains_key(&set.n) }
        }
        PublishStep::AskClosing => {
            PublishHeard::Closing { lists: usize::from(set.n) < lake.closings.len() }
        }
        PublishStep::DeleteStaged => match lake.call(Call::Unstage(set.clone()), lost) {
            Answer::None => heard,
            Answer::Done | Answer::Exists | Answer::Missing => PublishHeard::StagedDeleted,
        },
        PublishStep::Done | PublishStep::Clash | PublishStep::Lost => heard,
    };
    match publish_next(heard) {
        PublishStep::Done => Err(true),
        PublishStep::Clash | PublishStep::Lost => Err(false),
        _ => Ok(heard),
    }
}

fn create(
    lake: &mut Lake,
    lost: bool,
    closed: Closed,
    heard: CreateHeard,
    planted: Planted,
) -> Compactor {
    let ours = closed.bytes();
    let theirs = |lake: &Lake| lake.closed(closed.added.n).cloned();
    let heard = match create_next(&ours, heard.clone()) {
        CreateStep::Create => match lake.call(Call::Create(closed.clone()), lost) {
            Answer::Done => CreateHeard::Created,
            Answer::Exists | Answer::Missing => CreateHeard::Refused,
            Answer::None => CreateHeard::Nothing,
        },
        CreateStep::ReadBack => CreateHeard::Holds(theirs(lake).unwrap().bytes()),
        CreateStep::Done(_) => heard,
    };
    let made = match create_next(&ours, heard.clone()) {
        CreateStep::Done(Created::Ours) => closed,
        CreateStep::Done(Created::Theirs(_)) => theirs(lake).unwrap(),
        CreateStep::Create | CreateStep::ReadBack => return Compactor::Creating(closed, heard),
    };
    if planted == Planted::SignFirst {
        return Compactor::Signing(made);
    }
    Compactor::Publishing(made, PublishHeard::Nothing)
}

impl Model for Search {
    type State = Lake;
    type Action = Action;

    fn init_states(&self) -> Vec<Lake> {
        vec![Lake::new()]
    }

    fn actions(&self, lake: &Lake, actions: &mut Vec<Action>) {
        if lake.records < RECORDS {
            actions.push(Action::Commit);
        }
        for (at, compactor) in lake.compactors.iter().enumerate() {
            match compactor {
                Compactor::Stopped => {}
                Compactor::Idle => actions.push(Action::Begin(at)),
                _ => {
                    actions.push(Action::Step { compactor: at, lost: false });
                    if lake.faults > 0 {
                        actions.push(Action::Kill(at));
                        if compactor.writes() {
                            actions.push(Action::Step { compactor: at, lost: true });
                        }
                    }
                }
            }
        }
        actions.extend(lake.flying.iter().cloned().map(Action::Land));
        let garbage = lake.staged.iter().filter(|set| lake.is_garbage(set, self.planted));
        actions.extend(garbage.cloned().map(Action::SweepSet));
        let over = lake.waiting.iter().filter(|its| lake.may_retire(**its, self.planted));
        actions.extend(over.copied().map(Action::Retire));
    }

    fn next_state(&self, before: &Lake, action: Action) -> Option<Lake> {
        let mut lake = before.clone();
        match action {
            Action::Commit => {
                lake.records += 1;
                lake.waiting.insert(lake.records);
            }
            Action::Begin(at) => lake.compactors[at] = lake.begin(at, self.planted),
            Action::Step { compactor, lost } => {
                let at = lake.compactors[compactor].clone();
                lake.compactors[compactor] = at.step(&mut lake, lost, self.planted);
            }
            Action::Kill(at) => {
                lake.faults -= 1;
                lake.lives[at] += 1;
                lake.compactors[at] = Compactor::Idle;
            }
            Action::Land(call) => {
                lake.flying.remove(&call);
                lake.land(call);
            }
            Action::SweepSet(set) => {
                lake.staged.remove(&set);
            }
            Action::Retire(record) => {
                lake.waiting.remove(&record);
            }
        }
        (lake != *before).then_some(lake)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        compaction_promises::all()
    }
}
