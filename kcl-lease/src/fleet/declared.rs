//! What this worker says of its own work, and what is made of it when it says nothing more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::trouble::{Condition, Trouble};

/// So many looks in a row without a word mean that the runtime of the processors stands still: two fail-over times. Looks are
/// counted, not time: while the whole process stands still nobody looks.
pub(super) const SILENT_LOOKS: u32 = 2 * 3 * LOOKS_PER_REPORT;
/// The worker's row is looked after so often in the period in which an idle worker reports, a third of the fail-over time.
pub(super) const LOOKS_PER_REPORT: u32 = 4;

/// The worker's word on its trouble. It is spoken about every second by whoever runs the processors, in their runtime, and
/// told to the others by the fleet.
#[derive(Debug, Default)]
pub(super) struct Declared(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    trouble: Trouble,
    /// Looks since the last word; `None` for a worker that never spoke, and need not.
    silent_looks: Option<u32>,
    was_silent: bool,
}

impl Declared {
    /// Takes in the worker's word; whether it had been silent for so long that it was taken for blocked.
    pub(super) fn speak(&self, trouble: Trouble) -> bool {
        let mut inner = self.inner();
        inner.trouble = trouble;
        inner.silent_looks = Some(0);
        std::mem::take(&mut inner.was_silent)
    }

    /// What is to be told to the others now, and whether the worker's runtime is blocked.
    pub(super) fn look(&self) -> (Trouble, bool) {
        let mut inner = self.inner();
        inner.silent_looks = inner.silent_looks.map(|looks| looks.saturating_add(1));
        let is_blocked = inner.silent_looks.is_some_and(|looks| looks > SILENT_LOOKS);
        inner.was_silent |= is_blocked;
        let mut trouble = inner.trouble.clone();
        if is_blocked {
            trouble.condition = Condition::Unfit;
        }
        (trouble, is_blocked)
    }

    /// What is to be told to the others now, without a look.
    pub(super) fn trouble(&self) -> Trouble {
        let inner = self.inner();
        let mut trouble = inner.trouble.clone();
        if inner.was_silent {
            trouble.condition = Condition::Unfit;
        }
        trouble
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_says_nothing_more_is_taken_for_blocked_until_it_speaks() {
        let declared = Declared::default();
        assert!(!declared.speak(Trouble::default()));
        for _ in 0..SILENT_LOOKS {
            assert_eq!(declared.look(), (Trouble::default(), false));
        }
        let unfit = Trouble {
            condition: Condition::Unfit,
            ..Trouble::default()
        };
        assert_eq!(declared.look(), (unfit.clone(), true));
        assert_eq!(declared.trouble(), unfit);
        assert!(declared.speak(Trouble::default()), "it hears of it");
        assert_eq!(declared.look(), (Trouble::default(), false));
        assert!(!declared.speak(Trouble::default()), "once");
    }

    #[test]
    fn a_worker_that_never_speaks_need_not() {
        let declared = Declared::default();
        for _ in 0..1_000 {
            assert_eq!(declared.look(), (Trouble::default(), false));
        }
    }
}
