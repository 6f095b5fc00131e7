//! Failure policies by which nothing is given up: what fails for long is cut, released to another worker, or stops its worker. In the
//! histories of some seeds.

use std::num::NonZeroU32;
use std::time::Duration;

use kcl_core::{Decision, FailedRecords, FailurePolicy, LastResort, WorkerBuilder};

use crate::faults::{POLICIES, Wanted};
use crate::seeds::Dice;

/// Histories of a thousand that have one.
const HISTORIES: u64 = 150;

/// What every worker of a history is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When records have failed often and long enough.
    pub then: LastResort,
    /// Whether batches that fail are cut.
    pub bisects: bool,
    /// Whether the application's handler decides, in place of the policy.
    pub is_by_handler: bool,
}

impl Policy {
    /// What failed so often, and for so long, has done so for long enough.
    pub const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
    /// See there.
    pub const TIME: Duration = Duration::from_secs(2);
    /// What keeps failing does so less often where workers stop for it: of a thousand times.
    pub const OFTEN_ENOUGH: u64 = 400;

    /// That of a seed's history, if it has one.
    #[must_use]
    pub fn drawn(seed: u64, wanted: &Wanted) -> Option<Self> {
        let mut dice = Dice::of(seed, "failure policy");
        let is_in = wanted.has(POLICIES, dice.happens(HISTORIES));
        let then = match dice.roll(4) {
            0 => LastResort::Repeat,
            1 => LastResort::Release,
            _ => LastResort::Stop,
        };
        let policy = Self {
            then,
            bisects: then == LastResort::Repeat || dice.happens(300),
            is_by_handler: dice.happens(300),
        };
        is_in.then_some(policy)
    }

    /// Whether a worker stops for what keeps failing.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.then == LastResort::Stop
    }

    pub(crate) fn applied_to(self, builder: WorkerBuilder) -> WorkerBuilder {
        let policy = FailurePolicy::after(Self::ATTEMPTS, Self::TIME).bisect(self.bisects);
        if !self.is_by_handler {
            return builder.failure_policy(policy.then(self.then));
        }
        builder
            .failure_policy(policy)
            .on_failure(move |failed: &FailedRecords<'_>| {
                let is_over = failed.attempts >= Self::ATTEMPTS.get() && failed.age >= Self::TIME;
                match self.then {
                    _ if !is_over => None,
                    LastResort::Release => Some(Decision::Release),
                    LastResort::Stop => Some(Decision::Stop),
                    _ => None,
                }
            })
    }
}
