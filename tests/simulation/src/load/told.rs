//! Loads that a script makes up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::{Load, LoadError, LoadSource, async_trait};

use super::Processed;
use crate::history::Name;

/// What workers say of their loads because a script wants so, all in percent. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Told {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By life: its load without any shard.
    bases: BTreeMap<Name, f64>,
    /// Lives whose first look shows nothing: it takes two to measure a machine.
    blank: BTreeSet<Name>,
    /// What a shard adds.
    weights: BTreeMap<Name, f64>,
}

impl Told {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no worker tells of its load.
    pub fn is_empty(&self) -> bool {
        self.state().bases.is_empty()
    }

    /// From now on a worker's life is so busy without any shard.
    pub fn set_base(&self, who: &str, percent: f64) {
        self.state().bases.insert(who.into(), percent);
    }

    /// The first look at the load of a worker's life will show nothing.
    pub fn set_blank_at_first(&self, who: &str) {
        self.state().blank.insert(who.into());
    }

    /// From now on whoever processes a shard is so much busier; nothing, as long as nothing is said.
    pub fn set_weight(&self, shard: &Name, percent: f64) {
        self.state().weights.insert(shard.clone(), percent);
    }

    /// What a worker's life is configured with, if anything was said of it.
    pub fn load_of(&self, who: &Name, processed: &Processed) -> Option<Load> {
        let is_told = self.state().bases.contains_key(who);
        is_told.then(|| {
            Load::from_source(Gauge {
                who: who.clone(),
                told: self.clone(),
                processed: processed.clone(),
            })
        })
    }

    fn percent(&self, who: &Name, shards: &[Name]) -> f64 {
        let mut state = self.state();
        if state.blank.remove(who) {
            return 0.0;
        }
        let base = state.bases.get(who).copied().unwrap_or(0.0);
        let weights = shards.iter().filter_map(|shard| state.weights.get(shard));
        (base + weights.sum::<f64>()).min(100.0)
    }
}

/// Shows one life's load.
struct Gauge {
    who: Name,
    told: Told,
    processed: Processed,
}

#[async_trait]
impl LoadSource for Gauge {
    async fn sample(&self) -> Result<f64, LoadError> {
        Ok(self.told.percent(&self.who, &self.processed.by(&self.who)))
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge")
            .field("who", &self.who)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_life_is_as_busy_as_was_said_of_it_and_its_shards() {
        let (told, processed) = (Told::default(), Processed::default());
        let (who, shard) = (Name::from("a"), Name::from("shard"));
        assert!(told.load_of(&who, &processed).is_none());
        told.set_base("a", 7.0);
        told.set_weight(&shard, 50.0);
        let Some(Load::Source(gauge)) = told.load_of(&who, &processed) else {
            panic!("it reports");
        };
        assert_eq!(gauge.sample().await.expect("told"), 7.0);
        processed.begin(&who, &shard);
        assert_eq!(gauge.sample().await.expect("told"), 57.0);
        processed.end(&who, &shard);
        assert_eq!(gauge.sample().await.expect("told"), 7.0);
    }
}
