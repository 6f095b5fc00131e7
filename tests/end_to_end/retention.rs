//! Records that are trimmed before they are read: reported, never skipped in silence.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Environment, Gap, ProcessorError, RecordBatch, RecordProcessor, ShardContext, Worker,
    async_trait,
};
use kcl_tests::{World, eventually};
use tokio::time::sleep;

const BEYOND_RETENTION: Duration = Duration::from_secs(25 * 3600);

/// A batch as its processor sees it: shard, number of records, and what is said to be missing before it.
type Seen = (String, usize, Option<Gap>);

struct Witness {
    shard: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[async_trait]
impl RecordProcessor for Witness {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let seen = (self.shard.clone(), batch.len(), batch.gap().cloned());
        self.seen.lock().unwrap().push(seen);
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

/// Processes with a fresh worker until `records` have arrived; the batches.
async fn consume(world: &World, id: &str, records: usize) -> Vec<Seen> {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let witness = Arc::clone(&seen);
    let clock = world.servers.backend.clock().clone();
    let worker = Worker::builder("app", "clicks", move |shard: &ShardContext| Witness {
        shard: shard.shard_id.to_string(),
        seen: Arc::clone(&witness),
    })
    .aws_config(&world.servers.backend.sdk_config_named(id))
    .worker_id(id)
    .environment(Environment::seeded(7, move || clock.now()))
    .build()
    .unwrap();
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let arrived = || {
        let batches = seen.lock().unwrap();
        (batches.iter().map(|(_, count, _)| count).sum::<usize>() >= records).then_some(())
    };
    eventually(Duration::from_secs(60), arrived, || {
        format!("{:?}", seen.lock().unwrap())
    })
    .await;
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    seen.lock().unwrap().clone()
}

fn gaps(seen: &[Seen]) -> Vec<&Gap> {
    seen.iter().filter_map(|(_, _, gap)| gap.as_ref()).collect()
}

#[tokio::test(start_paused = true)]
async fn records_trimmed_while_no_worker_ran_are_reported_with_the_first_batch_behind_them() {
    let world = World::with_shards(1).await;
    world.put(5, 50).await;
    assert!(gaps(&consume(&world, "w1", 50).await).is_empty());
    world.put(5, 30).await;
    let in_time = consume(&world, "w2", 30).await;
    assert!(gaps(&in_time).is_empty(), "{in_time:?}");
    world.put(5, 20).await;
    sleep(BEYOND_RETENTION).await;
    world.put(5, 10).await;
    let seen = consume(&world, "w3", 10).await;
    let [gap] = gaps(&seen)[..] else {
        panic!("one gap, once: {seen:?}")
    };
    assert!(gap.after.is_some());
    assert!(
        seen[0].2.is_some() && seen[0].1 > 0,
        "with the first records: {seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_that_is_gone_is_reported_at_its_end_and_its_children_are_processed() {
    let world = World::with_shards(1).await;
    world.put(5, 50).await;
    consume(&world, "w1", 50).await;
    world.put(5, 20).await;
    world.split("shardId-000000000000").await;
    sleep(BEYOND_RETENTION).await;
    world.put(5, 10).await;
    let seen = consume(&world, "w2", 10).await;
    let of_the_parent: Vec<_> = seen.iter().filter(|(shard, _, _)| shard.ends_with('0')).collect();
    assert_eq!(of_the_parent.len(), 1, "{seen:?}");
    assert!(of_the_parent[0].2.is_some(), "{seen:?}");
}
