//! Which records and closings there must be, by all that mentions them, and which are lost. Pure.
//!
//! Both are counted from 1 without gaps, so a later one mentions those before it. So do the names of
//! visible files, which appear after their record or closing, and the state store, which mirrors both.

use super::super::paths;
use super::super::paths::Place;
use crate::model::commit::RecordId;
use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Another program may have written any number: no more than so many are looked for below it.
const GAP_MAX: usize = 100;

/// What the state store mirrors of a table, read before the lake is; the lake must have all of it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The newest record of each topic partition.
    pub records: Vec<RecordId>,
    /// The number of each hive partition's newest closing.
    pub closings: Vec<(PartitionKey, u32)>,
}

/// The numbers that are known, of each log and of each hive partition.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub records: BTreeMap<Place, BTreeSet<u64>>,
    pub closings: BTreeMap<PartitionKey, BTreeSet<u64>>,
}

impl Heard {
    /// What is known before the logs and the closings are listed.
    pub fn of<'a>(
        table: &TableName,
        known: &Known,
        visible: impl Iterator<Item = &'a String>,
    ) -> Self {
        let mut heard = Self::default();
        for RecordId { topic_id, topic_partition, seq } in &known.records {
            let place = Place::new(table, topic_id, *topic_partition);
            heard.records.entry(place).or_default().insert(*seq);
        }
        for (key, n) in &known.closings {
            heard.closings.entry(*key).or_default().insert((*n).into());
        }
        for name in visible {
            let path = Path::from(name.as_str());
            if let Some((place, seq)) = paths::published_by(table, &path) {
                heard.records.entry(place).or_default().insert(seq);
            } else if let Some((key, n)) = paths::sorted_by(table, &path) {
                heard.closings.entry(key).or_default().insert(n);
            }
        }
        heard
    }
}

/// The numbers to look at: a listing beside a writer may lack some that are there.
pub(super) fn to_look_at(heard: &BTreeSet<u64>) -> Vec<u64> {
    let mut all = Vec::with_capacity(heard.len());
    let mut before = 0;
    for &number in heard {
        all.extend((before + 1..number).take(GAP_MAX));
        all.push(number);
        before = number;
    }
    all
}

/// What is missing up to `last`, where `there` are those that exist, in order.
pub(super) fn gaps(there: &[u64], last: u64) -> Vec<RangeInclusive<u64>> {
    let mut gaps = Vec::new();
    let mut next = 1;
    for &number in there {
        if next < number {
            gaps.push(next..=number - 1);
        }
        next = number + 1;
    }
    if next <= last {
        gaps.push(next..=last);
    }
    gaps
}

/// The numbers that are missing or broken.
#[derive(Debug)]
pub(super) struct Lost<K>(Vec<(K, RangeInclusive<u64>)>);

impl<K> Default for Lost<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Lost<K> {
    pub fn add(&mut self, of: K, numbers: RangeInclusive<u64>) {
        self.0.push((of, numbers));
    }

    pub fn has(&self, of: &K, number: u64) -> bool {
        self.0.iter().any(|(its, numbers)| its == of && numbers.contains(&number))
    }

    pub fn has_any(&self, of: &K) -> bool {
        self.0.iter().any(|(its, _)| its == of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_number_is_looked_for_and_not_without_end() {
        assert_eq!(to_look_at(&[2, 3, 6].into()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(to_look_at(&[u64::MAX].into()).len(), GAP_MAX + 1);
    }

    #[test]
    fn gaps_are_told_from_first_to_last() {
        assert_eq!(gaps(&[1, 2], 2), []);
        assert_eq!(gaps(&[2, 3, 6], 8), [1..=1, 4..=5, 7..=8]);
        assert_eq!(gaps(&[], 3), [1..=3]);
    }
}
