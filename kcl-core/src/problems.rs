//! What keeps a worker from one of its activities at present, for its status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The activities that fail, and why. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Problems {
    failing: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Problems {
    fn failing(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an activity went; a success of one says nothing of the others.
    pub(crate) fn note<T, E: ToString>(&self, activity: &'static str, result: &Result<T, E>) {
        match result {
            Ok(_) => self.forget(activity),
            Err(error) => drop(self.failing().insert(activity, error.to_string())),
        }
    }

    /// The activity is no longer this worker's.
    pub(crate) fn forget(&self, activity: &'static str) {
        self.failing().remove(activity);
    }

    /// Each of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.failing().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_that_works_hides_no_other_that_fails() {
        let problems = Problems::default();
        problems.note("audit", &Err::<(), _>("Kinesis cannot be reached"));
        problems.note::<_, String>("clean-up", &Ok(()));
        assert_eq!(problems.all(), ["Kinesis cannot be reached"]);
        problems.note::<_, String>("audit", &Ok(()));
        assert!(problems.all().is_empty());
    }
}
