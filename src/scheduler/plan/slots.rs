//! Who gets the free slots: the only place that counts them.

/// The slots, as far as attempts that are open hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// `limits.parallelism`.
    pub of: u32,
    /// Held by tasks.
    pub tasks: u32,
    /// Held by attempts that make a closing.
    pub closings: u32,
    /// Who gets the next one where both hold as many.
    pub next: Holder,
}

/// Who a slot is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    #[default]
    Closing,
    Task,
}

impl Slots {
    /// Gives the free slots to tasks and closings that wait; returns how many of each get one.
    ///
    /// Whoever holds fewer comes first: a backlog of one keeps the other from no more than half.
    pub fn give(&mut self, tasks: usize, closings: usize) -> (usize, usize) {
        let (mut to_tasks, mut to_closings) = (0, 0);
        while self.is_free() {
            let holder = match (to_tasks < tasks, to_closings < closings) {
                (false, false) => break,
                (true, false) => Holder::Task,
                (false, true) => Holder::Closing,
                (true, true) if self.tasks < self.closings => Holder::Task,
                (true, true) if self.tasks > self.closings => Holder::Closing,
                (true, true) => self.next,
            };
            match holder {
                Holder::Task => {
                    (to_tasks, self.tasks, self.next) =
                        (to_tasks + 1, self.tasks + 1, Holder::Closing);
                }
                Holder::Closing => {
                    (to_closings, self.closings, self.next) =
                        (to_closings + 1, self.closings + 1, Holder::Task);
                }
            }
        }
        (to_tasks, to_closings)
    }

    /// Those that attempts hold.
    pub fn held(&self) -> u32 {
        self.tasks.saturating_add(self.closings)
    }

    pub fn is_free(&self) -> bool {
        self.held() < self.of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_closings_share_the_slots() {
        check((4, 0, 0), (9, 9), (2, 2));
        check((4, 0, 3), (9, 9), (1, 0));
        check((4, 3, 0), (9, 9), (0, 1));
    }

    #[test]
    fn what_one_does_not_need_the_other_gets() {
        check((4, 0, 0), (9, 0), (4, 0));
        check((4, 0, 0), (1, 9), (1, 3));
        check((4, 2, 3), (9, 9), (0, 0));
    }

    #[test]
    fn a_single_slot_is_given_in_turn() {
        let mut slots = Slots { of: 1, ..Slots::default() };
        let mut given = Vec::new();
        for _ in 0..4 {
            given.push(slots.give(9, 9));
            slots = Slots { tasks: 0, closings: 0, ..slots };
        }
        assert_eq!(given, [(0, 1), (1, 0), (0, 1), (1, 0)]);
    }

    #[track_caller]
    fn check(
        (of, tasks, closings): (u32, u32, u32),
        wait: (usize, usize),
        expected: (usize, usize),
    ) {
        let mut slots = Slots { of, tasks, closings, ..Slots::default() };
        assert_eq!(slots.give(wait.0, wait.1), expected);
    }
}
