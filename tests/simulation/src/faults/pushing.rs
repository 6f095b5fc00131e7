//! Workers that subscribe to shards in place of reading them, in the histories of some seeds, and what subscriptions meet.

use std::time::Duration;

use kcl_local::faults::{EventFault, Interruption};

use super::Wanted;
use super::wanted::FAN_OUT;
use crate::seeds::Dice;

/// Histories of a thousand in which workers subscribe.
const HISTORIES: u64 = 125;

/// How the subscriptions of a history go.
#[derive(Debug, Clone)]
pub struct Pushing {
    dice: Dice,
    /// Events of a thousand in whose place a subscription is interrupted.
    interrupted: u64,
    lifetime: Duration,
    /// Out of twelve workers so many subscribe.
    subscribers: u32,
}

impl Pushing {
    /// Those of a seed's history, if it has any.
    #[must_use]
    pub fn drawn(seed: u64, wanted: &Wanted) -> Option<Self> {
        let mut dice = Dice::of(seed, "fan-out");
        let is_in = dice.happens(HISTORIES);
        let lifetime = *dice.pick(&[8, 20, 300]).unwrap_or(&300);
        let interrupted = *dice.pick(&[0, 20, 100]).unwrap_or(&0);
        let subscribers = *dice.pick(&[6, 12]).unwrap_or(&12);
        wanted.has(FAN_OUT, is_in).then_some(Self {
            dice,
            interrupted,
            lifetime: Duration::from_secs(lifetime),
            subscribers,
        })
    }

    /// For how long a subscription lasts.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Whether this worker subscribes, and if so, whether it polls where that fails.
    #[must_use]
    pub fn of_worker(&self, who: &str) -> Option<bool> {
        let sum: u32 = who.bytes().map(|byte| u32::from(byte) * 7).sum();
        (sum % 12 < self.subscribers).then_some(sum.is_multiple_of(5))
    }

    /// What an event meets.
    pub(super) fn strike(&mut self) -> Option<(&'static str, EventFault)> {
        if !self.dice.happens(self.interrupted) {
            return None;
        }
        let (kind, how) = match self.dice.roll(5) {
            0 => ("subscription cut", Interruption::Cut),
            1 => ("subscription stalled", Interruption::Stall),
            2 => ("subscription ended", Interruption::End),
            3 => (
                "subscription taken over",
                Interruption::exception("ResourceInUseException"),
            ),
            _ => (
                "subscription failed",
                Interruption::exception("InternalFailureException"),
            ),
        };
        Some((kind, EventFault::interrupted(how)))
    }
}
