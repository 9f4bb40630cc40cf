//! Finds the newest of objects that are numbered from 1 without gaps.
//!
//! By doubling and bisection over the numbers, so that a log of a million entries costs forty
//! look-ups and no listing. Numbers that are added meanwhile may or may not be found.

use super::Lake;
use crate::error::Error;
use object_store::path::Path;

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// The highest number seen; 0 if none.
    there: u64,
    /// The lowest number found missing.
    missing: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Look(u64),
    /// The newest; 0 if there is none.
    Newest(u64),
}

fn next(known: Known) -> Step {
    match known.missing {
        None => Step::Look(known.there.saturating_mul(2).max(1)),
        Some(missing) if known.there + 1 < missing => {
            Step::Look(known.there + (missing - known.there) / 2)
        }
        Some(_) => Step::Newest(known.there),
    }
}

impl Lake {
    /// The highest number whose object exists; 0 if there is none.
    pub(super) async fn newest(&self, path: impl Fn(u64) -> Path) -> Result<u64, Error> {
        let mut known = Known { there: 0, missing: None };
        loop {
            match next(known) {
                Step::Newest(number) => return Ok(number),
                Step::Look(number) => match self.size(&path(number)).await? {
                    Some(_) => known.there = number,
                    None => known.missing = Some(number),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(newest: u64) -> (u64, u32) {
        let mut known = Known { there: 0, missing: None };
        let mut looks = 0;
        loop {
            match next(known) {
                Step::Newest(found) => return (found, looks),
                Step::Look(number) if number <= newest => known.there = number,
                Step::Look(number) => known.missing = Some(number),
            }
            looks += 1;
        }
    }

    #[test]
    fn the_newest_is_found_whatever_it_is() {
        for newest in 0..2_000 {
            assert_eq!(search(newest).0, newest);
        }
    }

    #[test]
    fn a_million_entries_cost_forty_looks_and_none_costs_one() {
        assert_eq!(search(0).1, 1);
        assert!(search(1_000_000).1 <= 41, "{}", search(1_000_000).1);
    }
}
