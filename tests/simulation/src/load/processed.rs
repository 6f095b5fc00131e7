//! Which shards keep which workers busy.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::history::Name;

/// Lives of workers, and the shards that they process. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Processed {
    pairs: Arc<Mutex<BTreeSet<(Name, Name)>>>,
}

impl Processed {
    fn pairs(&self) -> MutexGuard<'_, BTreeSet<(Name, Name)>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker begins with a shard.
    pub fn begin(&self, who: &Name, shard: &Name) {
        self.pairs().insert((who.clone(), shard.clone()));
    }

    /// A worker ends with a shard.
    pub fn end(&self, who: &Name, shard: &Name) {
        self.pairs().remove(&(who.clone(), shard.clone()));
    }

    /// The shards that a worker processes.
    #[must_use]
    pub fn by(&self, who: &Name) -> Vec<Name> {
        let pairs = self.pairs();
        let its = pairs.iter().filter(|(life, _)| life == who);
        its.map(|(_, shard)| shard.clone()).collect()
    }
}
