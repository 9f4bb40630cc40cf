//! What the closer of a table works with, and how it leaves the table.

use super::frontier::Close;
use super::make::ActiveDag;
use crate::lake::Lake;
use crate::model::attempt::Failure;
use crate::model::commit::{Closing, Compact};
use crate::model::hive::PartitionKey;
use crate::model::problem::Problem;
use crate::model::time::Micros;
use crate::store::{Store, Tx};
use std::collections::BTreeMap;

/// What closing needs to reach.
#[derive(Clone, Copy)]
pub struct Closer<'a> {
    pub store: &'a Store,
    pub lake: &'a Lake,
    pub dags: &'a [ActiveDag],
    pub now: Micros,
}

/// The closing that the lake has now.
pub enum Taken {
    Ours(Closing),
    /// Made before, by an earlier life of this step, by another daemon or by an attempt.
    Theirs(Closing),
    /// An attempt makes it.
    AtWork,
    /// An attempt is to make it as soon as there is a slot.
    Wanted(Compact),
    /// An attempt has failed; the next one is to follow then.
    Failed {
        again: Micros,
        failure: Option<Failure>,
    },
}

/// What comes of closing a hive partition by hand.
pub enum Asked {
    /// The transaction is open for the request's outcome: neither is there without the other.
    Closed(Tx, Box<Closing>),
    /// An attempt sorts the rows first, or is to as soon as there is a slot.
    Waits(Option<Compact>),
}

/// How a look at a table has left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// When something is due even if its log has nothing new.
    pub wake: Option<Micros>,
    /// An attempt makes a closing, and its end is to be looked for.
    pub pending: bool,
    /// Closings that attempts are to make, in the order in which they get slots.
    pub wanted: Vec<Compact>,
    /// More is due than the turn has closed.
    pub more: bool,
    /// What could not be closed, and when it is tried again.
    pub retries: BTreeMap<PartitionKey, Micros>,
    /// Why, of those that this look has tried.
    pub problems: Vec<Problem>,
}

impl Looked {
    pub fn at_latest(&mut self, at: Micros) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// What has failed before, and has had no turn now or waits for an attempt, has not closed yet.
    pub fn still_fail(&mut self, before: Option<&Self>, left: &[&Close]) {
        let Some(before) = before else { return };
        for key in left.iter().map(|close| close.key) {
            if let Some(at) = before.retries.get(&key) {
                self.retries.entry(key).or_insert(*at);
            }
        }
    }

    pub fn retry(&mut self, key: PartitionKey, at: Micros) {
        self.retries.insert(key, at);
        self.at_latest(at);
    }
}
