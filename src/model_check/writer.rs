//! A writer of the model: recover, roll, stage, append, publish.

use super::lake::{Action, Answer, Bounds, Call, Entry, Lake, Planted};
use super::publication::{Publication, Went};
use crate::lake::Created;
use crate::lake::testing::decisions::{
    CreateHeard as Heard, CreateStep as Step, create_next as next, follows,
};
use bytes::Bytes;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    Away,
    Ready {
        topic_partition: u8,
        last: Option<Entry>,
        /// Planted: what was earlier before, whose answer was lost.
        earlier: Option<Entry>,
    },
    Staging {
        last: Option<Entry>,
        entry: Entry,
        staged: usize,
        earlier: Option<Entry>,
    },
    /// Planted: the files of a record that does not exist yet.
    Hasty {
        last: Option<Entry>,
        entry: Entry,
        publication: Publication,
    },
    Creating {
        last: Option<Entry>,
        entry: Entry,
        heard: Heard,
        earlier: Option<Entry>,
    },
    Publishing {
        entry: Entry,
        publication: Publication,
    },
    /// Calls a person.
    Stopped,
}

impl Writer {
    pub fn begin(lake: &Lake, topic_partition: u8, bounds: &Bounds) -> Self {
        match lake.last(topic_partition) {
            Some(entry) if bounds.planted != Planted::NoRecovery => {
                Self::Publishing { entry, publication: Publication::of(entry.files(bounds)) }
            }
            last => Self::Ready { topic_partition, last, earlier: None },
        }
    }

    pub fn actions(&self, writer: usize, lake: &Lake, bounds: &Bounds, actions: &mut Vec<Action>) {
        match self {
            Self::Away | Self::Stopped => return,
            Self::Ready { topic_partition, last, .. } => {
                let rows = bounds.rows[usize::from(*topic_partition)].len();
                let rows = u8::try_from(rows).unwrap();
                let start = last.map_or(0, |last| last.end);
                // The shortest record and the longest.
                let ends = BTreeSet::from([start + 1, rows]);
                let ends = ends.into_iter().filter(|end| start < *end && *end <= rows);
                actions.extend(ends.map(|end| Action::Roll { writer, end }));
            }
            Self::Staging { .. }
            | Self::Hasty { .. }
            | Self::Creating { .. }
            | Self::Publishing { .. } => {
                actions.push(Action::Write { writer, lost: false });
                if lake.faults > 0 && self.writes() {
                    actions.push(Action::Write { writer, lost: true });
                }
            }
        }
        actions.push(Action::Kill { writer });
    }

    fn writes(&self) -> bool {
        match self {
            Self::Creating { entry, heard, .. } => {
                next(&bytes(*entry), heard.clone()) == Step::Create
            }
            Self::Publishing { publication, .. } | Self::Hasty { publication, .. } => {
                publication.writes()
            }
            // A staged object whose answer was lost is garbage like any other: the next try has
            // another name, so to lose it is to be killed.
            Self::Away | Self::Ready { .. } | Self::Staging { .. } | Self::Stopped => false,
        }
    }

    /// Closes the files of everything up to offset `end`.
    pub fn roll(self, writer: usize, end: u8, lake: &Lake) -> Self {
        let Self::Ready { topic_partition, last, earlier } = self else { return self };
        let writer = (u8::try_from(writer).unwrap(), lake.lives[writer]);
        let (seq, start) = last.map_or((1, 0), |last| (last.seq + 1, last.end));
        let entry = Entry { topic_partition, seq, start, end, writer };
        Self::Staging { last, entry, staged: 0, earlier }
    }

    pub fn step(self, lake: &mut Lake, lost: bool, bounds: &Bounds) -> Self {
        match self {
            Self::Staging { last, entry, staged, earlier } => {
                let files = entry.files(bounds);
                lake.call(Call::Stage(files[staged]), lost, bounds);
                if staged + 1 < files.len() {
                    return Self::Staging { last, entry, staged: staged + 1, earlier };
                }
                if bounds.planted == Planted::PublishFirst {
                    return Self::Hasty { last, entry, publication: Publication::of(files) };
                }
                Self::create(last, entry, earlier, bounds)
            }
            Self::Hasty { last, entry, mut publication } => {
                match publication.step(lake, lost, bounds) {
                    Went::On => Self::Hasty { last, entry, publication },
                    Went::Done => Self::create(last, entry, None, bounds),
                    Went::Wrong => Self::Stopped,
                }
            }
            Self::Creating { last, entry, heard, earlier } => {
                Self::creating(lake, lost, bounds, (last, entry, earlier), heard)
            }
            Self::Publishing { entry, publication } => {
                publish(lake, lost, bounds, entry, publication)
            }
            Self::Away | Self::Ready { .. } | Self::Stopped => self,
        }
    }

    /// Begins to append, if that breaks no rule.
    fn create(last: Option<Entry>, entry: Entry, earlier: Option<Entry>, bounds: &Bounds) -> Self {
        let before = last.map(|last| last.record(bounds));
        match follows(&entry.place(), before.as_ref(), &entry.record(bounds)) {
            Ok(()) => Self::Creating { last, entry, heard: Heard::Nothing, earlier },
            Err(_) => Self::Stopped,
        }
    }

    fn creating(
        lake: &mut Lake,
        lost: bool,
        bounds: &Bounds,
        (before, entry, earlier): (Option<Entry>, Entry, Option<Entry>),
        heard: Heard,
    ) -> Self {
        let ours = bytes(entry);
        let heard = match next(&ours, heard.clone()) {
            Step::Create => match lake.call(Call::Create(entry), lost, bounds) {
                Answer::Done => Heard::Created,
                Answer::Exists | Answer::Missing => Heard::Refused,
                Answer::None if bounds.planted == Planted::OtherBytes => {
                    let topic_partition = entry.topic_partition;
                    return Self::Ready { topic_partition, last: before, earlier: Some(entry) };
                }
                Answer::None => Heard::Nothing,
            },
            Step::ReadBack => {
                let there = &lake.records[&(entry.topic_partition, entry.seq)];
                if earlier.is_some_and(|earlier| earlier == *there) {
                    Heard::Holds(ours.clone())
                } else {
                    Heard::Holds(bytes(*there))
                }
            }
            Step::Done(_) => heard,
        };
        match next(&ours, heard.clone()) {
            Step::Done(Created::Ours) => {
                Self::Publishing { entry, publication: Publication::of(entry.files(bounds)) }
            }
            // It begins again at the end of the log.
            Step::Done(Created::Theirs(_)) => Self::Away,
            Step::Create | Step::ReadBack => Self::Creating { last: before, entry, heard, earlier },
        }
    }
}

fn publish(
    lake: &mut Lake,
    lost: bool,
    bounds: &Bounds,
    entry: Entry,
    mut publication: Publication,
) -> Writer {
    match publication.step(lake, lost, bounds) {
        Went::On => Writer::Publishing { entry, publication },
        Went::Wrong => Writer::Stopped,
        Went::Done => {
            let topic_partition = entry.topic_partition;
            let rows = bounds.rows[usize::from(topic_partition)].len();
            if usize::from(entry.end) == rows {
                return Writer::Away;
            }
            Writer::Ready { topic_partition, last: Some(entry), earlier: None }
        }
    }
}

fn bytes(entry: Entry) -> Bytes {
    format!("{entry:?}").into()
}
