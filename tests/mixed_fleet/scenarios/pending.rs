//! Checkpoints that were prepared and never made.

use std::sync::{Arc, Mutex};

use kcl_core::{
    Begin, Checkpointer, PendingCheckpoint, ProcessorError, RecordBatch, RecordProcessor, ShardContext,
    async_trait,
};

use crate::fleet::{CURRENT, MixedFleet, PATIENCE};

/// What a processor of ours found and left.
#[derive(Debug, Default)]
struct Notes {
    found: Option<PendingCheckpoint>,
    prepared: Option<String>,
}

/// Prepares a checkpoint after each batch and never makes one.
struct Preparer(Arc<Mutex<Notes>>);

#[async_trait]
impl RecordProcessor for Preparer {
    async fn initialize(&mut self, shard: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        self.0.lock().unwrap().found = shard.pending_checkpoint.clone();
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let _never_made = checkpointer.prepare(Some("rust1".into())).await?;
        let last = batch
            .records()
            .last()
            .map(|record| record.sequence_number().to_string());
        self.0.lock().unwrap().prepared = last;
        Ok(())
    }
}

/// A Java worker prepares a checkpoint and is killed; ours is told of it, prepares another and is killed; the next Java
/// worker is told of that.
pub(crate) async fn prepared_checkpoints_cross_over(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 1).await;
    fleet.world.put(1, 5).await;
    let mut options = fleet.java_options(CURRENT);
    options.settings.insert("prepares", "true".to_owned());
    let java = fleet.java_with("java1", &options);
    let said = |word: &str, java: &crate::java::JavaWorker| {
        java.lines().into_iter().rfind(|line| line.starts_with(word))
    };
    let prepared = fleet
        .until(PATIENCE, "java1 prepared", async || said("prepared", &java))
        .await;
    java.kill();

    let notes = Arc::new(Mutex::new(Notes::default()));
    let shared = Arc::clone(&notes);
    let builder = fleet
        .world
        .builder_of("rust1", move |_| Preparer(Arc::clone(&shared)));
    let running = fleet.world.run("rust1", builder.aws_config(&fleet.aws("rust1")));
    let ours = fleet
        .until(PATIENCE, "rust1 prepared", async || {
            notes.lock().unwrap().prepared.clone()
        })
        .await;
    let found = notes.lock().unwrap().found.clone().expect("it was told");
    assert!(
        prepared.ends_with(&format!(" {}", found.checkpoint)),
        "{prepared}, {found:?}"
    );
    assert_eq!(found.state.as_deref(), Some(b"java1".as_slice()));
    running.kill().await;

    let java = fleet.java("java2");
    let pending = fleet
        .until(PATIENCE * 2, "java2 was told", async || said("pending", &java))
        .await;
    assert_eq!(pending, format!("pending shardId-000000000000 {ours} rust1"));
    fleet.world.until_drained(PATIENCE).await;
    java.stop().await;
}
