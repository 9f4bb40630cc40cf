//! How long to wait before something is tried again: twice as long each time, up to a limit.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    /// No pause is longer.
    pub most: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// The pause after so many tries, counted from 1.
    pub fn after(self, tries: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
        self.first.checked_mul(doubled).unwrap_or(self.most).min(self.most)
    }

    /// Pauses one after the other, from the first on.
    pub const fn pauses(self) -> Pauses {
        Pauses { backoff: self, tries: 0 }
    }

    /// The same for many who began at once: each waits half as long to half as long again.
    pub fn jittered_after(self, tries: u32) -> Duration {
        self.after(tries).mul_f64(rand::random_range(0.5..1.5))
    }
}

/// Pauses of one who waits.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    backoff: Backoff,
    tries: u32,
}

impl Pauses {
    /// The next pause.
    pub fn longer(&mut self) -> Duration {
        self.tries = self.tries.saturating_add(1);
        self.backoff.after(self.tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));

    #[test]
    fn each_pause_is_twice_the_last_until_the_longest() {
        let pauses = [1, 2, 3, 4, 5, 6].map(|tries| BACKOFF.after(tries).as_secs());
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        let mut pauses = BACKOFF.pauses();
        assert_eq!([pauses.longer(), pauses.longer()].map(|pause| pause.as_secs()), [5, 10]);
    }

    #[test]
    fn any_number_of_tries_has_a_pause() {
        assert_eq!(BACKOFF.after(0), BACKOFF.first);
        assert_eq!(BACKOFF.after(u32::MAX), BACKOFF.most);
        let long = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(long.after(2), Duration::MAX);
    }
}
