//! Making the files of a record visible, one call at a time; writers and closers do the same.

use super::lake::{Answer, Bounds, Call, Lake, Object};
use crate::lake::testing::decisions::{
    PublishHeard as Heard, PublishStep as Step, publish_next as next,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Publication {
    left: Vec<Object>,
    heard: Heard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    On,
    Done,
    /// A person must look.
    Wrong,
}

impl Publication {
    pub fn of(left: Vec<Object>) -> Self {
        Self { left, heard: Heard::Nothing }
    }

    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether the next call changes anything, so that losing its answer matters.
    pub fn writes(&self) -> bool {
        matches!(next(self.heard), Step::Copy | Step::DeleteStaged) && !self.is_done()
    }

    pub fn step(&mut self, lake: &mut Lake, lost: bool, bounds: &Bounds) -> Went {
        let Some(file) = self.left.first().copied() else { return Went::Done };
        self.heard = match next(self.heard) {
            Step::Copy => match lake.call(Call::Copy(file), lost, bounds) {
                Answer::Done => Heard::Copied,
                Answer::Exists => Heard::Taken,
                Answer::Missing => Heard::SourceGone,
                Answer::None => Heard::Nothing,
            },
            Step::Compare => Heard::Compared { same: lake.shown.get(&file.name()) == Some(&file) },
            Step::LookForFinal => Heard::Final { there: lake.shown.contains_key(&file.name()) },
            Step::AskClosing => {
                let newest = lake.closings.last();
                Heard::Closing { lists: newest.is_some_and(|newest| newest.contains(&file)) }
            }
            Step::DeleteStaged => match lake.call(Call::Delete(file), lost, bounds) {
                Answer::None => self.heard,
                Answer::Done | Answer::Exists | Answer::Missing => Heard::StagedDeleted,
            },
            Step::Done | Step::Clash | Step::Lost => self.heard,
        };
        match next(self.heard) {
            Step::Done => {
                self.left.remove(0);
                self.heard = Heard::Nothing;
                if self.is_done() { Went::Done } else { Went::On }
            }
            Step::Clash | Step::Lost => Went::Wrong,
            Step::Copy
            | Step::Compare
            | Step::LookForFinal
            | Step::AskClosing
            | Step::DeleteStaged => Went::On,
        }
    }
}
