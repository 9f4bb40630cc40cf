//! Random numbers that stay the same for ever: a feed restarted by a newer release goes on with the
//! same events.

/// `SplitMix64`, as published by Steele, Lea and Flood (2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of event `number` in the world of `seed`.
    pub fn of(seed: u64, number: u64) -> Self {
        Self(mix(seed ^ 0x7469_6465_6d69_6c6c).wrapping_add(mix(number)))
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.roll()) * u128::from(end)) >> 64)
            .expect("a 64-bit number times a 64-bit number has 64 upper bits")
    }

    /// Low numbers more often than high ones, like edits by user or by page.
    pub fn skewed(&mut self, end: u64) -> u64 {
        let low = self.below(end).min(self.below(end)).min(self.below(end));
        self.below(low + 1)
    }

    /// True in `share` of 10,000 cases.
    pub fn chance(&mut self, share: u64) -> bool {
        self.below(10_000) < share
    }

    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or(0)]
    }
}

/// A bijection of 64 bits: distinct numbers stay distinct.
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A UUID of version 4 in looks; distinct for distinct numbers of one seed.
pub fn uuid(seed: u64, number: u64) -> String {
    let own = mix(number.wrapping_add(mix(seed)));
    let rest = mix(own ^ seed);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        own >> 32,
        (own >> 16) & 0xffff,
        own & 0xfff,
        0x8000 | ((own >> 12 & 0xf) << 10) | (rest >> 54),
        rest & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_numbers_never_change() {
        let mut dice = Dice::of(7, 0);
        assert_eq!([dice.below(1000), dice.below(1000), dice.below(1000)], [42, 945, 183]);
        assert_eq!(uuid(7, 0), "b78b9f38-a670-4787-bbe4-abb3583dd4b2");
    }

    #[test]
    fn ids_differ() {
        let ids: HashSet<_> = (0..50_000).map(|number| uuid(7, number)).collect();
        assert_eq!(ids.len(), 50_000);
    }
}
