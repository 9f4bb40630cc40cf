//! Whether a task may start, by how those before it stand. A rule counts states and knows no names.

use crate::model::task::TaskState;

/// How many of the tasks before a task stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    succeeded: usize,
    failed: usize,
    skipped: usize,
    /// Not over yet.
    open: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    AllSuccess,
}

/// What a rule makes of a task that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Start,
    Wait,
    /// It never starts.
    UpstreamFailed,
    /// Nor does it, and that is no failure.
    Skip,
}

impl Counts {
    /// `None`: a task that has no row yet.
    pub fn of(states: impl Iterator<Item = Option<TaskState>>) -> Self {
        let mut counts = Self::default();
        for state in states {
            let count = match state {
                Some(TaskState::Succeeded) => &mut counts.succeeded,
                Some(TaskState::Failed | TaskState::UpstreamFailed) => &mut counts.failed,
                Some(TaskState::Skipped) => &mut counts.skipped,
                Some(TaskState::Waiting | TaskState::Running) | None => &mut counts.open,
            };
            *count += 1;
        }
        counts
    }
}

impl Rule {
    pub fn of(self, counts: Counts) -> Ruling {
        let Counts { succeeded: _, failed, skipped, open } = counts;
        match self {
            Self::AllSuccess if failed > 0 => Ruling::UpstreamFailed,
            Self::AllSuccess if skipped > 0 => Ruling::Skip,
            Self::AllSuccess if open > 0 => Ruling::Wait,
            Self::AllSuccess => Ruling::Start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_success_starts_only_after_successes() {
        use TaskState::{Failed, Running, Skipped, Succeeded, UpstreamFailed};
        let check = |states: &[TaskState], expected| {
            let counts = Counts::of(states.iter().copied().map(Some));
            assert_eq!(Rule::AllSuccess.of(counts), expected, "{states:?}");
        };
        check(&[], Ruling::Start);
        check(&[Succeeded, Succeeded], Ruling::Start);
        check(&[Succeeded, Running], Ruling::Wait);
        check(&[Failed, Running], Ruling::UpstreamFailed);
        check(&[Succeeded, UpstreamFailed], Ruling::UpstreamFailed);
        check(&[Succeeded, Skipped], Ruling::Skip);
        assert_eq!(Rule::AllSuccess.of(Counts::of([None].into_iter())), Ruling::Wait);
    }
}
