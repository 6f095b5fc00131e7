//! What reads of records meet, in one history of ten: the others are what they would be without.

use std::num::NonZeroU64;
use std::time::Duration;

use kcl_local::faults::Fault;

use super::Wanted;
use crate::seeds::Dice;

const EMPTY: &str = "empty page";
const SHARED: &str = "shared shard";
const SLOW: &str = "slow link";

/// The service answers without records now and then, other readers take part of what shards give, links are slow.
#[derive(Debug)]
pub struct Reading {
    dice: Dice,
    /// Per thousand reads.
    empty: u64,
    shared: u64,
    bytes_per_second: Option<NonZeroU64>,
}

impl Reading {
    /// What the reads of a seed's history meet, if they meet anything.
    pub fn drawn(seed: u64, wanted: &Wanted) -> Option<Self> {
        let mut dice = Dice::of(seed, "reading");
        let has_any = seed % 10 == 4;
        let mut rate = |kind: &str, most: &[u64]| {
            let drawn = dice.pick(most).copied().filter(|_| has_any).unwrap_or(0);
            let rate = wanted.rate(kind).unwrap_or(drawn);
            if wanted.lacks(kind) { 0 } else { rate }
        };
        let (empty, shared) = (rate(EMPTY, &[0, 100, 500]), rate(SHARED, &[0, 100, 300]));
        // Records take some 300 bytes each.
        let link = rate(SLOW, &[0, 4_000, 20_000]);
        let reading = Self {
            dice,
            empty,
            shared,
            bytes_per_second: NonZeroU64::new(link),
        };
        (empty > 0 || shared > 0 || link > 0).then_some(reading)
    }

    /// What a read meets that meets nothing else.
    pub(super) fn strike(&mut self) -> Option<(&'static str, Fault)> {
        let fault = if self.dice.happens(self.shared) {
            (SHARED, Fault::throttled())
        } else if self.dice.happens(self.empty) {
            let behind = self.dice.roll(60_000);
            (EMPTY, Fault::empty_page(Duration::from_millis(behind)))
        } else {
            (SLOW, Fault::none().over_link(self.bytes_per_second?))
        };
        Some(fault)
    }
}
