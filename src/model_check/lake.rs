//! The lake of the model: objects, calls that are still under way, and what must hold of them.

use super::closer::{Closer, Mirror};
use super::promises;
use super::writer::Writer;
use crate::lake::paths::Place;
use crate::lake::testing::{TOPIC_ID, decisions, output, record_of};
use crate::model::commit::{File, Record};
use crate::model::hive::PartitionKey;
use crate::model::time::Micros;
use object_store::path::Path;
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet};

pub const HOUR: i64 = 3_600_000_000;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// A writer publishes its files before it owns the record.
    PublishFirst,
    /// A create takes the place of what is there.
    ReusedNumber,
    /// After a lost answer a writer goes on with other bytes, and takes its own record for them.
    OtherBytes,
    /// A writer begins without publishing the last record.
    NoRecovery,
    /// The sweeper takes what no record names yet.
    SweepEarly,
    /// Topic partitions without a record do not count.
    MissingMember,
    /// The closing is made before its last records are published.
    ClosingFirst,
    /// Closing n+1 lists only what closing n lacks.
    OnlyMissing,
    /// The store mirrors the closing that was wanted, not the one that is there.
    TheirsIsOurs,
}

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The event hour of each row, by topic partition and offset. Hour 0 is the one that closes.
    pub rows: &'static [&'static [u8]],
    pub writers: usize,
    pub closers: usize,
    /// Kills, lost answers and lost stores, all told.
    pub faults: u8,
    pub planted: Planted,
}

/// A record, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    pub topic_partition: u8,
    pub seq: u8,
    pub start: u8,
    pub end: u8,
    /// Which life of which writer made it.
    pub writer: (u8, u8),
}

/// A file: the rows of one hour of a record that may or may not come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    pub of: Entry,
    pub hour: u8,
}

/// Topic partition, number of the record, hour.
pub type Name = (u8, u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Stage(Object),
    Create(Entry),
    Copy(Object),
    Delete(Object),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Exists,
    Missing,
    /// It takes effect at any time from now on.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lake {
    pub records: BTreeMap<(u8, u8), Entry>,
    pub staged: BTreeSet<Object>,
    pub shown: BTreeMap<Name, Object>,
    /// Of hour 0, by their numbers from 1.
    pub closings: Vec<BTreeSet<Object>>,
    pub flying: BTreeSet<Call>,
    pub writers: Vec<Writer>,
    pub lives: Vec<u8>,
    pub closers: Vec<Closer>,
    pub mirror: Mirror,
    pub faults: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Begin { writer: usize, topic_partition: u8 },
    Roll { writer: usize, end: u8 },
    Write { writer: usize, lost: bool },
    Kill { writer: usize },
    Land(Call),
    Sweep(Object),
    Mirror { topic_partition: u8 },
    Close { closer: usize, lost: bool },
    KillCloser { closer: usize },
    LoseStore,
}

impl Action {
    pub fn is_fault(self) -> bool {
        match self {
            Self::Kill { .. } | Self::KillCloser { .. } | Self::LoseStore => true,
            Self::Write { lost, .. } | Self::Close { lost, .. } => lost,
            Self::Begin { .. }
            | Self::Roll { .. }
            | Self::Land(_)
            | Self::Sweep(_)
            | Self::Mirror { .. } => false,
        }
    }
}

impl Entry {
    pub fn files(self, bounds: &Bounds) -> Vec<Object> {
        let rows = &bounds.rows[usize::from(self.topic_partition)];
        let hours: BTreeSet<u8> =
            rows[usize::from(self.start)..usize::from(self.end)].iter().copied().collect();
        hours.into_iter().map(|hour| Object { of: self, hour }).collect()
    }

    /// The lake's own form of it, for the lake's own decisions.
    pub fn record(self, bounds: &Bounds) -> Record {
        let files = self.files(bounds).iter().map(|object| object.file(bounds)).collect();
        let mut record = record_of(self.seq.into(), self.start.into(), self.end.into(), files);
        record.topic_partition = self.topic_partition.into();
        record.writer = format!("{:?}", self.writer);
        record
    }

    pub fn place(self) -> Place {
        Place::new(&output(), TOPIC_ID, self.topic_partition.into())
    }
}

impl Object {
    pub fn name(self) -> Name {
        (self.of.topic_partition, self.of.seq, self.hour)
    }

    /// Topic partition and offset of each row.
    pub fn rows(&self, bounds: &Bounds) -> impl Iterator<Item = (u8, u8)> {
        let (at, hour) = (self.of.topic_partition, self.hour);
        let hours = bounds.rows[usize::from(at)];
        let offsets = self.of.start..self.of.end;
        offsets.filter(move |offset| hours[usize::from(*offset)] == hour).map(move |o| (at, o))
    }

    fn staged(self) -> String {
        let Self { of: Entry { seq, end, writer: (writer, life), .. }, hour } = self;
        format!("{}/{seq}-{writer}{life}{end}{hour}", self.of.place().stage())
    }

    fn file(self, bounds: &Bounds) -> File {
        let key = key(self.hour);
        let place = self.of.place();
        File {
            key: Some(key),
            staged: self.staged(),
            published: place
                .published(self.of.seq.into(), Some(&key), self.hour.into())
                .to_string(),
            bytes: 1,
            checksum: self.staged(),
            rows: self.rows(bounds).count() as u64,
            event_time_min: None,
            event_time_max: None,
        }
    }
}

pub fn key(hour: u8) -> PartitionKey {
    crate::model::hive::PartitionBy::utc(crate::model::hive::Grain::Hour)
        .key_of(Micros(i64::from(hour) * HOUR))
}

impl Lake {
    fn new(bounds: &Bounds) -> Self {
        Self {
            records: BTreeMap::new(),
            staged: BTreeSet::new(),
            shown: BTreeMap::new(),
            closings: Vec::new(),
            flying: BTreeSet::new(),
            writers: vec![Writer::Away; bounds.writers],
            lives: vec![0; bounds.writers],
            closers: vec![Closer::Idle; bounds.closers],
            mirror: Mirror { seqs: vec![0; bounds.rows.len()], frontier: None, closed: None },
            faults: bounds.faults,
        }
    }

    pub fn last(&self, topic_partition: u8) -> Option<Entry> {
        let its = self.records.range((topic_partition, 0)..=(topic_partition, u8::MAX));
        its.last().map(|(_, entry)| *entry)
    }

    /// Sends a call; its answer may be lost.
    pub fn call(&mut self, call: Call, lost: bool, bounds: &Bounds) -> Answer {
        if lost {
            self.faults -= 1;
            self.flying.insert(call);
            return Answer::None;
        }
        self.land(call, bounds)
    }

    fn land(&mut self, call: Call, bounds: &Bounds) -> Answer {
        match call {
            Call::Stage(object) => {
                self.staged.insert(object);
            }
            Call::Create(entry) => {
                let number = (entry.topic_partition, entry.seq);
                let forgets = bounds.planted == Planted::ReusedNumber;
                if self.records.contains_key(&number) && !forgets {
                    return Answer::Exists;
                }
                self.records.insert(number, entry);
            }
            Call::Copy(object) if !self.staged.contains(&object) => return Answer::Missing,
            Call::Copy(object) => {
                if self.shown.contains_key(&object.name()) {
                    return Answer::Exists;
                }
                self.shown.insert(object.name(), object);
            }
            Call::Delete(object) => {
                self.staged.remove(&object);
            }
        }
        Answer::Done
    }

    fn is_garbage(&self, object: Object, bounds: &Bounds) -> bool {
        match self.records.get(&(object.of.topic_partition, object.of.seq)) {
            Some(record) => {
                let path = Path::from(object.staged());
                !decisions::garbage(&record.record(bounds), vec![path]).is_empty()
            }
            None => bounds.planted == Planted::SweepEarly,
        }
    }

    /// Whether the topic partition still wants a writer.
    fn wants_writer(&self, topic_partition: u8, bounds: &Bounds) -> bool {
        let rows = bounds.rows[usize::from(topic_partition)].len();
        self.last(topic_partition).is_none_or(|last| {
            usize::from(last.end) < rows
                || last.files(bounds).iter().any(|file| {
                    self.staged.contains(file) || !self.shown.contains_key(&file.name())
                })
        })
    }
}

/// Searches everything within the bounds.
#[derive(Clone, Copy, Debug)]
pub struct Search(pub Bounds);

impl Model for Search {
    type State = Lake;
    type Action = Action;

    fn init_states(&self) -> Vec<Lake> {
        vec![Lake::new(&self.0)]
    }

    fn actions(&self, lake: &Lake, actions: &mut Vec<Action>) {
        let bounds = &self.0;
        for (at, writer) in lake.writers.iter().enumerate() {
            writer.actions(at, lake, bounds, actions);
            if *writer == Writer::Away {
                let wanted = (0..bounds.rows.len()).filter_map(|at| u8::try_from(at).ok());
                let wanted = wanted.filter(|at| lake.wants_writer(*at, bounds));
                actions.extend(
                    wanted.map(|topic_partition| Action::Begin { writer: at, topic_partition }),
                );
            }
        }
        actions.extend(lake.flying.iter().map(|call| Action::Land(*call)));
        let garbage = lake.staged.iter().filter(|object| lake.is_garbage(**object, bounds));
        actions.extend(garbage.map(|object| Action::Sweep(*object)));
        super::closer::actions(lake, bounds, actions);
        if lake.faults == 0 {
            actions.retain(|action| !action.is_fault());
        }
    }

    fn next_state(&self, before: &Lake, action: Action) -> Option<Lake> {
        let bounds = &self.0;
        let mut lake = before.clone();
        match action {
            Action::Begin { writer, topic_partition } => {
                lake.writers[writer] = Writer::begin(&lake, topic_partition, bounds);
            }
            Action::Roll { writer, end } => {
                lake.writers[writer] = lake.writers[writer].clone().roll(writer, end, &lake);
            }
            Action::Write { writer, lost } => {
                let at = lake.writers[writer].clone();
                lake.writers[writer] = at.step(&mut lake, lost, bounds);
            }
            Action::Kill { writer } => {
                lake.faults -= 1;
                lake.lives[writer] += 1;
                lake.writers[writer] = Writer::Away;
            }
            Action::Land(call) => {
                lake.flying.remove(&call);
                lake.land(call, bounds);
            }
            Action::Sweep(object) => {
                lake.staged.remove(&object);
            }
            Action::Mirror { topic_partition } => {
                lake.mirror.seqs[usize::from(topic_partition)] += 1;
            }
            Action::Close { closer, lost } => {
                let at = lake.closers[closer].clone();
                lake.closers[closer] = at.step(&mut lake, lost, bounds);
            }
            Action::KillCloser { closer } => {
                lake.faults -= 1;
                lake.closers[closer] = Closer::Idle;
            }
            Action::LoseStore => {
                lake.faults -= 1;
                lake.mirror = Mirror::anew(&lake, bounds);
                lake.closers.fill(Closer::Idle);
            }
        }
        (lake != *before).then_some(lake)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}
