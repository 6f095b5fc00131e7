//! Problems of single shards that concern the whole worker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use kcl_lease::Health;

use crate::config::ShardId;

/// Which shards have which problem, told as one problem of the worker for each code. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardProblems {
    health: Health,
    shards: Arc<Mutex<BTreeMap<&'static str, BTreeSet<ShardId>>>>,
}

impl ShardProblems {
    /// Problems that show in `health`.
    pub(crate) fn new(health: Health) -> Self {
        Self {
            health,
            shards: Arc::default(),
        }
    }

    /// A shard has a problem of this code; `text` says what it is and what to do.
    pub(crate) fn raise(&self, code: &'static str, shard: &ShardId, text: &str) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let affected = shards.entry(code).or_default();
        affected.insert(shard.clone());
        let others = match affected.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more shards)"),
        };
        self.health.raise(code, format!("shard {shard}{others}: {text}"));
    }

    /// Whether a shard has a problem of this code.
    pub(crate) fn has(&self, code: &str, shard: &ShardId) -> bool {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.get(code).is_some_and(|affected| affected.contains(shard))
    }

    /// A shard has no problem any more, or is no longer read here.
    pub(crate) fn settle(&self, shard: &ShardId) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.retain(|code, affected| {
            if affected.remove(shard) && affected.is_empty() {
                self.health.settle(code);
            }
            !affected.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_is_over_when_the_last_shard_has_it_no_more() {
        let health = Health::default();
        let problems = ShardProblems::new(health.clone());
        let (one, other) = (ShardId::from("one"), ShardId::from("other"));
        problems.raise("a", &one, "why");
        problems.raise("a", &other, "why");
        problems.raise("b", &other, "else");
        let texts: Vec<_> = health.list().into_iter().map(|problem| problem.text).collect();
        assert_eq!(
            texts,
            ["shard other (and 1 more shards): why", "shard other: else"]
        );
        problems.settle(&other);
        assert!(health.has("a") && !health.has("b"));
        problems.settle(&one);
        problems.settle(&one);
        assert!(health.list().is_empty());
    }
}
