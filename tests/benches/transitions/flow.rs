//! Which worker processes which shard, since when, and what came twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use kcl_core::{Checkpointer, ProcessorError, RecordBatch, RecordProcessor, async_trait};
use tokio::time::Instant;

/// Who has processed a shard, and how far. Records are numbered within their shard.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) worker: String,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

#[derive(Debug, Default)]
struct Shard {
    stretches: Vec<Stretch>,
    next: u64,
}

#[derive(Debug, Default)]
struct State {
    shards: BTreeMap<String, Shard>,
    twice: u64,
}

/// What reached processors. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow(Arc<Mutex<State>>);

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }

    fn arrived(&self, shard: &str, worker: &str, numbers: impl Iterator<Item = u64>) {
        let now = Instant::now();
        let mut state = self.state();
        let shard = state.shards.entry(shard.to_owned()).or_default();
        let mut twice = 0;
        for number in numbers {
            assert!(number <= shard.next, "a record was lost before {number}");
            twice += u64::from(number < shard.next);
            shard.next = shard.next.max(number + 1);
        }
        match shard.stretches.last_mut() {
            Some(stretch) if stretch.worker == worker => stretch.last = now,
            _ => shard.stretches.push(Stretch {
                worker: worker.to_owned(),
                first: now,
                last: now,
            }),
        }
        state.twice += twice;
    }

    /// When a worker other than `from` was first given records of this shard since then.
    pub(crate) fn taken(&self, shard: &str, from: &str, since: Instant) -> Option<Instant> {
        let state = self.state();
        let mut stretches = state.shards.get(shard)?.stretches.iter();
        let next = stretches.find(|stretch| stretch.worker != from && stretch.first >= since)?;
        Some(next.first)
    }

    /// The last who processed each shard, and who did before.
    pub(crate) fn last(&self) -> BTreeMap<String, (Option<Stretch>, Stretch)> {
        let state = self.state();
        let last = |shard: &Shard| {
            let mut newest = shard.stretches.iter().rev();
            let last = newest.next()?.clone();
            Some((newest.next().cloned(), last))
        };
        let each = state.shards.iter();
        each.filter_map(|(name, shard)| Some((name.clone(), last(shard)?)))
            .collect()
    }

    /// Who has processed a shard, one after the other.
    pub(crate) fn stretches(&self, shard: &str) -> Vec<Stretch> {
        let state = self.state();
        let shard = state.shards.get(shard);
        shard.map_or_else(Vec::new, |shard| shard.stretches.clone())
    }

    /// Records that came again.
    pub(crate) fn twice(&self) -> u64 {
        self.state().twice
    }
}

/// Notes what arrives, and checkpoints it.
#[derive(Debug)]
pub(crate) struct Noting {
    pub(crate) flow: Flow,
    pub(crate) worker: String,
    pub(crate) shard: String,
}

#[async_trait]
impl RecordProcessor for Noting {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let numbers = batch.iter().filter_map(|record| {
            let text = std::str::from_utf8(record.data()).expect("text");
            let (shard, number) = text.split_once(' ').expect("a shard and a number");
            (shard == self.shard).then(|| number.parse().expect("a number"))
        });
        self.flow.arrived(&self.shard, &self.worker, numbers);
        Ok(checkpointer.checkpoint().await?)
    }
}
