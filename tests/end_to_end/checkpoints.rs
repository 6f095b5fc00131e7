//! What a processor can do with its checkpointer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Begin, Checkpoint, CheckpointError, Checkpointer, PendingCheckpoint, ProcessorError, RecordBatch,
    RecordProcessor, ShardContext, async_trait,
};
use kcl_local::faults::{Fault, Loss, Rule};
use kcl_tests::{Running, World};
use tokio::time::{Instant, sleep};

/// Hands its checkpointer and its first batch to the test, and never checkpoints by itself.
#[derive(Clone, Default)]
struct Lent {
    context: Arc<Mutex<Option<ShardContext>>>,
    given: Arc<Mutex<Option<(RecordBatch, Checkpointer)>>>,
}

#[async_trait]
impl RecordProcessor for Lent {
    async fn initialize(&mut self, shard: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        *self.context.lock().expect("unpoisoned") = Some(shard.clone());
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.given
            .lock()
            .expect("unpoisoned")
            .get_or_insert((batch.clone(), checkpointer.clone()));
        Ok(())
    }
}

/// A stream of one shard with ten records.
async fn ten_records() -> World {
    let world = World::with_shards(1).await;
    world.put(1, 10).await;
    world
}

/// A worker that reads them, as far as its first batch.
async fn first_batch(world: &World, id: &str) -> (Lent, RecordBatch, Checkpointer, Running) {
    let lent = Lent::default();
    let processor = lent.clone();
    let worker = world.run(id, world.builder_of(id, move |_| processor.clone()));
    let given = || lent.given.lock().expect("unpoisoned").clone();
    let (batch, checkpointer) = world
        .until(Duration::from_secs(60), given, || "no batch arrived".to_owned())
        .await;
    // Until it counts as processed.
    sleep(Duration::from_millis(1)).await;
    (lent, batch, checkpointer, worker)
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_lies_between_the_last_one_and_the_last_delivered_record() {
    let world = ten_records().await;
    let (_, batch, checkpointer, _) = first_batch(&world, "one").await;
    let at = |index: usize| Checkpoint::At(batch.records()[index].position().clone());

    checkpointer
        .checkpoint_at(&batch.records()[4])
        .await
        .expect("delivered");
    assert_eq!(world.leases().await[0].checkpoint, at(4));
    let counter = world.leases().await[0].counter;
    checkpointer
        .checkpoint_at(&batch.records()[4])
        .await
        .expect("there already");
    assert_eq!(world.leases().await[0].counter, counter, "nothing is written");

    let backwards = checkpointer
        .checkpoint_at(&batch.records()[3])
        .await
        .expect_err("backwards");
    assert!(
        matches!(backwards, CheckpointError::OutOfRange(_)),
        "{backwards:?}"
    );
    let last = batch.records()[9].sequence_number();
    let ahead = checkpointer
        .checkpoint_at_sequence(last, 1)
        .await
        .expect_err("not delivered");
    assert!(
        ahead
            .to_string()
            .contains(&format!("from {} to {}", at(4), at(9))),
        "{ahead}"
    );

    checkpointer.checkpoint().await.expect("the end of the batch");
    assert_eq!(world.leases().await[0].checkpoint, at(9));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_the_table_does_not_take_at_once_is_repeated() {
    let world = ten_records().await;
    let faults = &world.servers.faults;
    let (_, batch, checkpointer, worker) = first_batch(&world, "one").await;
    // Each call is repeated three times by the SDK, too.
    for fault in [
        Fault::throttled(),
        Fault::internal_error(),
        Fault::drop_request(Loss::Reset),
    ] {
        let index = batch.len() - 1 - usize::from(fault == Fault::throttled());
        let rule = faults.add(Rule::on("UpdateItem").times(9).fault(fault));
        checkpointer
            .checkpoint_at(&batch.records()[index])
            .await
            .expect("in the end");
        faults.remove(rule);
    }
    // While it is repeated, renewals keep the lease; when those are refused as well, it is lost.
    let rule = faults.add(Rule::on("UpdateItem").fault(Fault::throttled()));
    world.put(1, 10).await;
    let began = Instant::now();
    let error = checkpointer.prepare(None).await.map(drop);
    assert!(error.is_ok(), "there is nothing to write");
    sleep(Duration::from_secs(1)).await;
    let error = checkpointer.checkpoint().await.expect_err("throttled for ever");
    assert!(
        matches!(
            error,
            CheckpointError::LeaseLost(_) | CheckpointError::Throttled(_)
        ),
        "{error:?}"
    );
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(5)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
    faults.remove(rule);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn once_the_lease_is_gone_every_checkpoint_says_so() {
    let world = ten_records().await;
    let (_, batch, checkpointer, worker) = first_batch(&world, "one").await;
    let prepared = checkpointer
        .prepare_at(&batch.records()[4], None)
        .await
        .expect("delivered");
    worker.stop().await;
    assert!(!checkpointer.is_lease_valid());
    for result in [
        checkpointer.checkpoint().await,
        checkpointer.checkpoint_at(&batch.records()[0]).await,
        checkpointer.prepare(None).await.map(drop),
        prepared.commit().await,
    ] {
        let error = result.expect_err("the worker has left");
        assert!(matches!(error, CheckpointError::LeaseLost(_)), "{error:?}");
    }
    let end = Checkpoint::At(batch.records()[9].position().clone());
    assert_eq!(
        world.leases().await[0].checkpoint,
        end,
        "what succeeded was checkpointed before"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_leaves_the_prepared_checkpoint_for_the_successor_who_starts_at_the_last_real_one() {
    let world = ten_records().await;
    let (_, batch, checkpointer, crashing) = first_batch(&world, "one").await;
    checkpointer
        .checkpoint_at(&batch.records()[1])
        .await
        .expect("delivered");
    let prepared = checkpointer
        .prepare_at(&batch.records()[4], Some("state".into()))
        .await
        .expect("delivered");
    crashing.kill().await;

    let (next, redelivered, its_checkpointer, _) = first_batch(&world, "two").await;
    let context = next
        .context
        .lock()
        .expect("unpoisoned")
        .clone()
        .expect("initialized");
    assert_eq!(
        context.start,
        Checkpoint::At(batch.records()[1].position().clone())
    );
    let pending = PendingCheckpoint::new(prepared.checkpoint().clone(), Some("state".into()));
    assert_eq!(context.pending_checkpoint, Some(pending));
    assert_eq!(
        redelivered.records()[0].position(),
        batch.records()[2].position(),
        "the checkpointed one is left out"
    );
    assert!(context.fencing_token > checkpointer.fencing_token());

    let committed = its_checkpointer.prepare(None).await.expect("delivered");
    committed.commit().await.expect("in range");
    assert_eq!(world.leases().await[0].pending_checkpoint, None);
    let stale = checkpointer
        .checkpoint()
        .await
        .expect_err("its lease belongs to another worker");
    assert!(matches!(stale, CheckpointError::LeaseLost(_)), "{stale:?}");
}
