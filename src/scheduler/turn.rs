//! How much of a backlog one step works off, so that closings, runs, attempts and requests take turns.
//!
//! A step that closed everything that is due would keep each task from its slot, and each person from
//! an answer, for as long as that takes. What is left over is looked at again at once, after the others.

/// Closings of one turn. They take less than a second, also where the lake is slow.
pub const CLOSINGS: usize = 16;

/// Runs of ranges of coarser schedules: each reads the outputs that it would replace.
pub const RANGES: usize = 64;

/// What a step may still do of one kind of work.
#[derive(Debug)]
pub struct Turn {
    left: usize,
    over: bool,
}

impl Turn {
    pub fn of(most: usize) -> Self {
        Self { left: most, over: false }
    }

    /// How many of `wanted` pieces of work may be done now.
    pub fn take(&mut self, wanted: usize) -> usize {
        let taken = wanted.min(self.left);
        self.left -= taken;
        self.over |= taken < wanted;
        taken
    }

    /// Whether work was left over.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether nothing more may be done.
    pub fn is_used_up(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_when_more_is_wanted_than_it_has() {
        let mut turn = Turn::of(3);
        assert_eq!((turn.take(2), turn.take(1), turn.is_over()), (2, 1, false));
        assert_eq!((turn.take(0), turn.is_over()), (0, false));
        assert_eq!((turn.take(1), turn.is_over()), (0, true));
    }
}
