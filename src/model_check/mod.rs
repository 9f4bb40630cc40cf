//! Every interleaving of a few processes within small bounds, searched by `stateright`.
//!
//! The decisions are the product's own functions; only the loops around them are told again here,
//! one call to a store a step. Any process may rest for ever between two steps (a zombie), be killed,
//! or send a call whose answer is lost and which takes effect at any later time. Bugs planted in the
//! loops must be found, or the search would prove nothing.

mod closer;
mod compaction;
mod compaction_promises;
mod lake;
mod loads;
mod promises;
mod publication;
mod writer;

use lake::{Bounds, Planted, Search};
use stateright::{Checker, Model};

/// One topic partition, two hours, so that a record may have two files; two writers at once. More
/// faults or rows find nothing else, and take minutes.
const COMMITS: Bounds =
    Bounds { rows: &[&[0, 1]], writers: 2, closers: 0, faults: 1, planted: Planted::Nothing };

/// Two topic partitions, of which one has a late row.
const CLOSINGS: Bounds = Bounds {
    rows: &[&[0, 1, 0], &[0, 1]],
    writers: 1,
    closers: 1,
    faults: 1,
    planted: Planted::Nothing,
};

#[track_caller]
fn check_holds(bounds: Bounds) {
    let checker = Search(bounds).checker().spawn_bfs().join();
    let found = checker.discoveries();
    let found: Vec<_> = found.iter().map(|(name, path)| format!("{name}: {path}")).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checker.unique_state_count() > 10_000, "the bounds are too small to prove anything");
}

/// Checks that a planted bug breaks the property.
#[track_caller]
fn check_found(bounds: Bounds, planted: Planted, property: &'static str) {
    let checker = Search(Bounds { planted, ..bounds }).checker();
    let property_of = stateright::HasDiscoveries::AnyOf([property].into());
    let checker = checker.finish_when(property_of).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "{planted:?} was not found");
}

#[test]
fn each_offset_lands_once_whatever_writers_do() {
    check_holds(COMMITS);
}

#[test]
fn each_closing_has_its_rows_whatever_the_daemons_do() {
    check_holds(CLOSINGS);
}

#[test]
fn publishing_before_the_record_is_found() {
    check_found(COMMITS, Planted::PublishFirst, promises::ONCE);
}

#[test]
fn a_number_that_is_used_again_is_found() {
    check_found(COMMITS, Planted::ReusedNumber, promises::NAMED);
}

#[test]
fn other_bytes_after_a_lost_answer_are_found() {
    check_found(COMMITS, Planted::OtherBytes, promises::NAMED);
}

#[test]
fn a_record_after_one_that_is_not_published_is_found() {
    check_found(COMMITS, Planted::NoRecovery, promises::PUBLISHED);
}

#[test]
fn sweeping_before_the_number_is_taken_is_found() {
    check_found(COMMITS, Planted::SweepEarly, promises::KEPT);
}

#[test]
fn a_closing_without_a_member_that_was_not_heard_is_found() {
    check_found(CLOSINGS, Planted::MissingMember, promises::IN_TIME);
}

#[test]
fn a_closing_on_records_that_are_not_published_is_found() {
    check_found(CLOSINGS, Planted::ClosingFirst, promises::SHOWN);
}

#[test]
fn a_closing_that_forgets_the_one_before_is_found() {
    check_found(CLOSINGS, Planted::OnlyMissing, promises::GROWS);
}

#[test]
fn taking_the_closing_of_another_for_ours_is_found() {
    check_found(CLOSINGS, Planted::TheirsIsOurs, promises::ENDS_WELL);
}
