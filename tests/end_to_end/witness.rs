//! A processor that notes what it is given: records, gaps and ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Checkpoint, Checkpointer, Gap, InitialPosition, ProcessorError, RecordBatch, RecordProcessor,
    WorkerBuilder, async_trait,
};
use kcl_lease::{Lease, LeaseKey, LeaseStore};
use kcl_tests::{World, eventually};

/// A batch as its processor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) shard: String,
    /// Their positions: sequence numbers, and `:` and the sub-sequence number if that is not 0.
    pub(crate) records: Vec<String>,
    pub(crate) gap: Option<Gap>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Notes(Arc<Mutex<Vec<Seen>>>);

struct Witness {
    shard: String,
    notes: Notes,
}

#[async_trait]
impl RecordProcessor for Witness {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.notes.0.lock().unwrap().push(Seen {
            shard: self.shard.clone(),
            records: batch.iter().map(|record| record.position().to_string()).collect(),
            gap: batch.gap().cloned(),
        });
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

impl Notes {
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    /// The positions, in the order of their delivery.
    pub(crate) fn records(&self) -> Vec<String> {
        self.all().into_iter().flat_map(|seen| seen.records).collect()
    }

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.all().into_iter().filter_map(|seen| seen.gap).collect()
    }

    /// Waits until so many records were delivered.
    pub(crate) async fn until(&self, records: usize) {
        eventually(
            Duration::from_secs(120),
            || (self.records().len() >= records).then_some(()),
            || format!("{:#?}", self.all()),
        )
        .await;
    }
}

/// A worker that begins at the latest record where nothing else is known.
pub(crate) fn builder(world: &World, id: &str, notes: &Notes) -> WorkerBuilder {
    let notes = notes.clone();
    let builder = world.builder_of(id, move |shard| Witness {
        shard: shard.shard_id.to_string(),
        notes: notes.clone(),
    });
    builder.initial_position(InitialPosition::Latest)
}

/// The lease of a shard.
pub(crate) async fn lease(world: &World, shard: &str) -> Lease {
    let leases = world.leases().await;
    let lease = leases
        .into_iter()
        .find(|lease| lease.key == LeaseKey::from(shard));
    lease.expect("a lease")
}

/// Sets a shard's checkpoint by hand, while no worker runs.
pub(crate) async fn set_checkpoint(world: &World, shard: &str, checkpoint: Checkpoint) {
    let (store, mut lease) = (world.store(), lease(world, shard).await);
    assert!(store.delete(&lease).await.expect("deleted"));
    (lease.checkpoint, lease.owner) = (checkpoint, None);
    assert!(store.create(&lease).await.expect("created"));
}
