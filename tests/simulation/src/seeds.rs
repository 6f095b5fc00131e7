//! Chance: one root seed, and one stream of numbers for each part of a world.

/// A generator of pseudo-random numbers (SplitMix64). The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The numbers of one part of the world, named by `purpose`, under a root seed.
    pub fn of(seed: u64, purpose: &str) -> Self {
        let mut dice = Self { state: seed };
        for byte in purpose.bytes() {
            dice.state = dice.next() ^ u64::from(byte);
        }
        dice
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless sequence is no iterator to be exhausted"
    )]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `sides`, which is not zero.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll(high - low + 1)
    }

    /// Whether an event of this probability, in thousandths, happens.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.roll(1000) < per_mille
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = self.roll(items.len().max(1) as u64);
        items.get(usize::try_from(index).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_world_have_their_own_numbers_and_the_same_part_always_the_same() {
        let draw = |seed, purpose| Dice::of(seed, purpose).next();
        assert_eq!(draw(1, "faults"), draw(1, "faults"));
        assert_ne!(draw(1, "faults"), draw(1, "workload"));
        assert_ne!(draw(1, "faults"), draw(2, "faults"));
    }
}
