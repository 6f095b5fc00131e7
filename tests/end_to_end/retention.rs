//! Records that are trimmed before they are read: reported, never skipped in silence.

use std::time::Duration;

use kcl_core::{Gap, InitialPosition};
use kcl_tests::World;
use tokio::time::sleep;

use crate::witness::{Notes, Seen, builder};

const BEYOND_RETENTION: Duration = Duration::from_secs(25 * 3600);

/// Processes with a fresh worker until `records` have arrived; the batches.
async fn consume(world: &World, id: &str, records: usize) -> Vec<Seen> {
    let notes = Notes::default();
    let builder = builder(world, id, &notes).initial_position(InitialPosition::TrimHorizon);
    let worker = world.run(id, builder);
    notes.until(records).await;
    worker.stop().await;
    notes.all()
}

fn gaps(seen: &[Seen]) -> Vec<&Gap> {
    seen.iter().filter_map(|seen| seen.gap.as_ref()).collect()
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
        seen[0].gap.is_some() && !seen[0].records.is_empty(),
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
    let of_the_parent: Vec<_> = seen.iter().filter(|seen| seen.shard.ends_with('0')).collect();
    assert_eq!(of_the_parent.len(), 1, "{seen:?}");
    assert!(of_the_parent[0].gap.is_some(), "{seen:?}");
}
