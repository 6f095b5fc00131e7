//! How long silent workers keep their leases: all of a fleet equally long, or, in the histories of some seeds, some longer than the
//! others, as in a deploy that changes it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::faults::{TWO_FAILOVER_TIMES, Wanted};
use crate::seeds::Dice;

/// The times of one fleet. Clones share their dice.
#[derive(Clone)]
pub struct Failovers {
    times: Vec<Duration>,
    dice: Arc<Mutex<Dice>>,
}

impl Failovers {
    /// The times of a seed's fleet: this one, and perhaps another.
    #[must_use]
    pub fn drawn(seed: u64, wanted: &Wanted, usual: Duration) -> Self {
        let mut dice = Dice::of(seed, "fail-over times");
        let mut times = vec![usual];
        if wanted.has(TWO_FAILOVER_TIMES, seed % 10 == 3) {
            let factors = [1.25, 2.0, 3.0];
            let factor = *dice.pick(&factors).unwrap_or(&2.0);
            times.push(usual.mul_f64(factor));
        }
        Self {
            times,
            dice: Arc::new(Mutex::new(dice)),
        }
    }

    /// The longest of all.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.times.iter().copied().max().unwrap_or_default()
    }

    /// That of the next worker.
    #[must_use]
    pub fn draw(&self) -> Duration {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.pick(&self.times).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Failovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failovers")
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
