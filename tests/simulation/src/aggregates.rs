//! Many user records in one record of Kinesis, as the Kinesis Producer Library puts them: in the histories of some seeds.

use crate::faults::{AGGREGATES, Network, Wanted};
use crate::seeds::Dice;

/// Histories of a thousand that have aggregates.
const HISTORIES: u64 = 100;
/// Puts of a thousand that put records together.
const TOGETHER: u64 = 600;
/// Those of a thousand of them that put records of two shards together, as a producer does that has not heard of a split.
const MIXED: u64 = 200;
/// Records of a thousand that have the key of the one before.
const IN_ROW: u64 = 400;

/// What the producer of a history does.
#[derive(Debug, Clone)]
pub struct Aggregates {
    dice: Dice,
    batch: u32,
    network: Network,
}

impl Aggregates {
    /// Those of a seed's history, if it has any; the network counts them.
    #[must_use]
    pub fn drawn(seed: u64, wanted: &Wanted, network: &Network) -> Option<Self> {
        let mut dice = Dice::of(seed, "aggregates");
        let is_in = dice.happens(HISTORIES);
        let batch = *dice.pick(&[5, 20, 10_000]).unwrap_or(&10_000);
        wanted.has(AGGREGATES, is_in).then(|| Self {
            dice,
            batch,
            network: network.clone(),
        })
    }

    /// The most records of a batch: small ones begin and end inside aggregates.
    #[must_use]
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// The hash key that all records of a key have, where it is not that of the key.
    #[must_use]
    pub fn hash_key(key: u64) -> Option<u128> {
        let mut dice = Dice::of(key, "hash key");
        let half = |dice: &mut Dice| u128::from(dice.next());
        (key % 4 == 1).then(|| half(&mut dice) << 64 | half(&mut dice))
    }

    /// Whether the records of the next put are put together.
    pub(crate) fn are_next(&mut self) -> bool {
        self.dice.happens(TOGETHER)
    }

    /// Whether the next record has the key of the one before.
    pub(crate) fn repeats(&mut self) -> bool {
        self.dice.happens(IN_ROW)
    }

    /// How the shards, in the order of their hash keys, are taken for one by twos, if they are: all, or all but the first.
    pub(crate) fn mixes(&mut self) -> Option<usize> {
        let (is_mixed, is_odd) = (self.dice.happens(MIXED), self.dice.happens(500));
        is_mixed.then_some(usize::from(is_odd))
    }

    pub(crate) fn count(&self, user_records: usize) {
        if user_records > 1 {
            self.network.count("aggregate");
        }
    }

    pub(crate) fn count_misplaced(&self) {
        self.network.count("user record of another shard");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Rates;

    fn has(seed: u64, wanted: &Wanted) -> bool {
        let network = Network::new(Dice::of(seed, "requests"), Rates::none(), wanted.clone());
        Aggregates::drawn(seed, wanted, &network).is_some()
    }

    #[test]
    fn a_tenth_of_all_histories_has_aggregates_or_those_in_which_they_are_wanted() {
        let share = |wanted: &Wanted| (0..1_000).filter(|seed| has(*seed, wanted)).count();
        let usual = share(&Wanted::default());
        assert!((70..130).contains(&usual), "{usual}");
        let only = |kind: &str| Wanted {
            only: vec![kind.to_owned()],
            ..Wanted::default()
        };
        assert_eq!(share(&only(AGGREGATES)), 1_000);
        assert_eq!(share(&only("kill")), 0);
        let without = Wanted {
            without: vec![AGGREGATES.to_owned()],
            ..Wanted::default()
        };
        assert_eq!(share(&without), 0);
    }
}
