//! Remembers which ids went by, to leave out a source's repeats.

use std::collections::{HashSet, VecDeque};

/// How many ids are remembered: half an hour of Wikimedia, where repeats come seconds apart.
pub const RECENT_MAX: usize = 65_536;

/// The newest ids of the source, and those that the topic already held from another feed.
///
/// What is forgotten depends on the source alone, so that a second reading leaves out the same.
#[derive(Clone, Debug)]
pub struct Recent {
    ids: HashSet<String>,
    order: VecDeque<String>,
    max: usize,
    held: HashSet<String>,
}

impl Recent {
    pub fn new(max: usize) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), max, held: HashSet::new() }
    }

    /// Takes note of an id that the topic holds already.
    pub fn hold(&mut self, id: String) {
        self.held.insert(id);
    }

    /// Whether `id` was not seen lately; it has been now.
    pub fn is_new(&mut self, id: String) -> bool {
        if self.held.contains(&id) || !self.ids.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_told_until_it_is_forgotten() {
        let mut recent = Recent::new(2);
        let news = ["a", "a", "b", "c", "a"].map(|id| recent.is_new(id.to_owned()));
        assert_eq!(news, [true, false, true, true, true]);
    }

    #[test]
    fn what_the_topic_holds_is_never_new() {
        let mut recent = Recent::new(1);
        recent.hold("a".to_owned());
        let news = ["b", "c", "a"].map(|id| recent.is_new(id.to_owned()));
        assert_eq!(news, [true, true, false]);
    }
}
