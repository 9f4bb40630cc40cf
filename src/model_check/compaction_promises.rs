//! What must hold of an hour that is published on close, and what is found where it is made wrong.

use super::compaction::{Action, Closed, Compactor, Lake, Planted, RECORDS, Search, Set};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;

const ONCE: &str = "no row is visible twice";
const NAMED: &str = "what is visible is what a closing names";
const KEPT: &str = "rows of a record are always where a record or a closing says";
const SHOWABLE: &str = "what a closing adds is staged or visible";
const SIGNED: &str = "`_SUCCESS` comes after all rows of the first closing";
const GROWS: &str = "a closing holds all that the one before it holds";
const QUIET: &str = "nobody calls a person";
const ENDS_WELL: &str = "in the end all rows are visible, and nothing is left staged";

pub fn all() -> Vec<Property<Search>> {
    vec![
        Property::always(ONCE, |_, lake: &Lake| {
            let mut seen = BTreeSet::new();
            lake.visible.values().flat_map(|set| &set.records).all(|row| seen.insert(row))
        }),
        Property::always(NAMED, |_, lake: &Lake| {
            let named = |set: &Set| lake.closed(set.n).is_some_and(|its| its.added == *set);
            lake.visible.values().all(named)
        }),
        Property::always(KEPT, |_, lake: &Lake| {
            (1..=lake.records).all(|record| {
                let holds = |closed: &&Closed| closed.added.records.contains(&record);
                let held = lake.closings.iter().filter(holds).any(|closed| {
                    lake.staged.contains(&closed.added)
                        || lake.visible.get(&closed.added.n) == Some(&closed.added)
                });
                held || lake.waiting.contains(&record)
            })
        }),
        Property::always(SHOWABLE, |_, lake: &Lake| {
            lake.closings.iter().all(|closed| {
                lake.staged.contains(&closed.added)
                    || lake.visible.get(&closed.added.n) == Some(&closed.added)
            })
        }),
        Property::always(SIGNED, |_, lake: &Lake| {
            !lake.signed || lake.closed(1).is_some_and(|first| lake.is_visible(first))
        }),
        Property::always(GROWS, |_, lake: &Lake| {
            lake.closings.windows(2).all(|pair| pair[0].records.is_subset(&pair[1].records))
        }),
        Property::always(QUIET, |_, lake: &Lake| !lake.compactors.contains(&Compactor::Stopped)),
        Property::always(ENDS_WELL, |search: &Search, lake: &Lake| {
            let mut actions = Vec::new();
            search.actions(lake, &mut actions);
            let moves = |action: Action| search.next_state(lake, action).is_some();
            actions.into_iter().any(moves) || is_complete(lake)
        }),
    ]
}

fn is_complete(lake: &Lake) -> bool {
    let shown = lake.visible.values().map(|set| set.records.len()).sum::<usize>();
    shown == usize::from(RECORDS)
        && lake.waiting.is_empty()
        && lake.staged.is_empty()
        && lake.signed
}

#[test]
fn an_hour_that_is_published_on_close_has_each_row_once_whatever_compactors_do() {
    let checker = Search { planted: Planted::Nothing }.checker().spawn_bfs().join();
    let found = checker.discoveries();
    let found: Vec<_> = found.iter().map(|(name, path)| format!("{name}: {path}")).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
}

/// Checks that a planted bug breaks the property.
#[track_caller]
fn check_found(planted: Planted, property: &'static str) {
    let property_of = HasDiscoveries::AnyOf([property].into());
    let checker = Search { planted }.checker().finish_when(property_of).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "{planted:?} was not found");
}

#[test]
fn sweeping_what_waits_for_its_closing_is_found() {
    check_found(Planted::SweepWaiting, KEPT);
}

#[test]
fn a_closing_of_a_set_that_is_not_staged_is_found() {
    check_found(Planted::CloseUnstaged, SHOWABLE);
}

#[test]
fn publishing_a_set_before_its_closing_is_found() {
    check_found(Planted::PublishFirst, NAMED);
}

#[test]
fn a_sign_of_completeness_before_the_rows_is_found() {
    check_found(Planted::SignFirst, SIGNED);
}

#[test]
fn clearing_what_was_sorted_before_the_closing_is_found() {
    check_found(Planted::ClearFirst, KEPT);
}

#[test]
fn sorting_all_rows_again_for_late_ones_is_found() {
    check_found(Planted::TakeAll, ONCE);
}

#[test]
fn sweeping_a_set_before_its_number_is_taken_is_found() {
    check_found(Planted::SweepSetEarly, SHOWABLE);
}
