//! What must hold of the lake, whatever happens.

use super::closer::Closer;
use super::lake::{Lake, Object, Search};
use super::writer::Writer;
use stateright::{Model, Property};
use std::collections::BTreeSet;

pub const ONCE: &str = "no offset is visible twice";
pub const NAMED: &str = "what is visible is what a record names";
pub const CHAIN: &str = "records follow each other without a gap";
pub const PUBLISHED: &str = "a record is published before the next one exists";
pub const KEPT: &str = "rows of a record are always somewhere";
pub const QUIET: &str = "nobody calls a person";
pub const SHOWN: &str = "what a closing lists is visible";
pub const IN_TIME: &str = "the first closing lists all rows that came in time";
pub const GROWS: &str = "a closing lists all that the one before it lists";
pub const ENDS_WELL: &str =
    "in the end all rows are visible and closed, and nothing is left staged";

pub fn all() -> Vec<Property<Search>> {
    vec![
        Property::always(ONCE, |search: &Search, lake: &Lake| {
            let mut seen = BTreeSet::new();
            lake.shown.values().flat_map(|file| file.rows(&search.0)).all(|row| seen.insert(row))
        }),
        Property::always(NAMED, |_, lake: &Lake| {
            lake.shown.values().all(|file| lake.records.values().any(|its| *its == file.of))
        }),
        Property::always(CHAIN, |_, lake: &Lake| {
            lake.records.values().all(|entry| {
                let before = entry.seq.checked_sub(1).map(|seq| (entry.topic_partition, seq));
                let before = before.and_then(|number| lake.records.get(&number));
                before.map_or(entry.seq == 1 && entry.start == 0, |its| its.end == entry.start)
            })
        }),
        Property::always(PUBLISHED, |search: &Search, lake: &Lake| {
            lake.records.values().all(|entry| {
                let next = (entry.topic_partition, entry.seq + 1);
                let shown = |file: &Object| lake.shown.get(&file.name()) == Some(file);
                !lake.records.contains_key(&next) || entry.files(&search.0).iter().all(shown)
            })
        }),
        Property::always(KEPT, |search: &Search, lake: &Lake| {
            let kept = |file: &Object| {
                lake.staged.contains(file) || lake.shown.get(&file.name()) == Some(file)
            };
            lake.records.values().flat_map(|its| its.files(&search.0)).all(|file| kept(&file))
        }),
        Property::always(QUIET, |_, lake: &Lake| {
            !lake.writers.iter().any(|writer| matches!(writer, Writer::Stopped))
                && !lake.closers.contains(&Closer::Stopped)
        }),
        Property::always(SHOWN, |_, lake: &Lake| {
            let listed = lake.closings.iter().flatten();
            listed.into_iter().all(|file| lake.shown.get(&file.name()) == Some(file))
        }),
        Property::always(IN_TIME, |search: &Search, lake: &Lake| {
            lake.closings.first().is_none_or(|first| {
                let listed: BTreeSet<_> =
                    first.iter().flat_map(|file| file.rows(&search.0)).collect();
                // The first row of each topic partition lies in hour 0, the next one in hour 1.
                (0..search.0.rows.len())
                    .all(|at| u8::try_from(at).is_ok_and(|at| listed.contains(&(at, 0))))
            })
        }),
        Property::always(GROWS, |_, lake: &Lake| {
            lake.closings.windows(2).all(|pair| pair[0].is_subset(&pair[1]))
        }),
        Property::always(ENDS_WELL, |search: &Search, lake: &Lake| {
            let mut actions = Vec::new();
            search.actions(lake, &mut actions);
            actions.iter().any(|action| !action.is_fault()) || search.is_complete(lake)
        }),
    ]
}

impl Search {
    fn is_complete(&self, lake: &Lake) -> bool {
        let bounds = &self.0;
        let rows: usize = bounds.rows.iter().map(|rows| rows.len()).sum();
        let shown: BTreeSet<_> = lake.shown.values().flat_map(|file| file.rows(bounds)).collect();
        let of_hour: BTreeSet<_> = lake.shown.values().filter(|file| file.hour == 0).collect();
        let closed = lake.closings.last().is_some_and(|last| last.iter().eq(of_hour));
        shown.len() == rows && lake.staged.is_empty() && (closed || bounds.closers == 0)
    }
}
