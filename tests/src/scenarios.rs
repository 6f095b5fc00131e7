//! What must hold wherever Kinesis and DynamoDB are.

use std::time::Duration;

use tokio::time::Instant;

use crate::servers::Servers;
use crate::world::World;

/// The id of the shard that was made as so many-th, from 0.
pub fn shard(index: usize) -> String {
    format!("shardId-{index:012}")
}

/// Asserts that no record of `child` was delivered before `parent` ended.
pub fn assert_after(world: &World<impl Servers>, parent: &str, child: &str) {
    let ended = world
        .ledger
        .deliveries_before("shard_ended", parent)
        .unwrap_or_else(|| panic!("{parent} did not end"));
    let first = world.ledger.deliveries().iter().position(|d| d.shard == child);
    assert!(
        first.is_none_or(|first| first >= ended),
        "{child} was read before {parent} ended"
    );
}

/// A worker processes what is there, and the next one what came afterwards. Any number of shards.
pub async fn a_second_start_goes_on_where_the_first_stopped(world: World<impl Servers>) {
    world.put(20, 400).await;
    let first = world.start("w1");
    world.until_drained(Duration::from_secs(5)).await;
    first.stop().await;
    world.put(20, 400).await;
    let second = world.start("w2");
    world.until_drained(Duration::from_secs(2)).await;
    second.stop().await;
    world.assert_exactly_once();
    let leases = world.leases().await;
    assert!(leases.iter().all(|lease| lease.owner.is_none()), "{leases:?}");
}

/// Two workers share the two shards of a stream; the one that stays has both once the other has stopped.
pub async fn two_workers_share_a_stream_and_hand_it_on(world: World<impl Servers>) {
    world.put(20, 200).await;
    let (first, second) = (world.start("w1"), world.start("w2"));
    world.until_drained(Duration::from_secs(10)).await;
    world
        .until_processing(&[&first, &second], &[1, 1], Duration::from_secs(10))
        .await;
    world.put(20, 200).await;
    world.until_drained(Duration::from_secs(5)).await;
    first.stop().await;
    world.put(20, 200).await;
    world.until_drained(Duration::from_secs(5)).await;
    second.stop().await;
    world.assert_exactly_once();
    assert_eq!(world.ledger.called("lease_lost"), vec![], "nobody lost anything");
}

/// Two workers share four shards; one is killed, and the other takes its shards when their leases have expired.
pub async fn a_killed_worker_is_replaced_by_its_peer(world: World<impl Servers>) {
    let (first, second) = (world.start("w1"), world.start("w2"));
    world
        .until_processing(&[&first, &second], &[2, 2], Duration::from_secs(10))
        .await;
    world.put(40, 200).await;
    world.until_drained(Duration::from_secs(5)).await;
    first.kill().await;
    world.put(40, 200).await;
    world
        .until_drained(world.failover_time() + Duration::from_secs(5))
        .await;
    world
        .until_processing(&[&second], &[4], Duration::from_secs(5))
        .await;
    second.stop().await;
    world.assert_nothing_lost();
    world.ledger.assert_fenced();
}

/// Nobody is there when the only worker is killed; the next one has to wait for the leases to expire.
pub async fn a_lone_worker_that_is_killed_is_followed_by_a_new_one(world: World<impl Servers>) {
    world.put(20, 200).await;
    let first = world.start("w1");
    world.until_checkpointed(Duration::from_secs(5)).await;
    first.kill().await;
    let killed_at = Instant::now();
    world.put(20, 200).await;
    let second = world.start("w2");
    world
        .until_drained(world.failover_time() + Duration::from_secs(3))
        .await;
    assert!(
        killed_at.elapsed() > world.failover_time().mul_f64(0.6),
        "its leases were not free before"
    );
    second.stop().await;
    world.assert_exactly_once();
}

/// One of two shards is split under two workers.
pub async fn a_split_is_followed_by_both_children(world: World<impl Servers>) {
    let workers = [world.start("w1"), world.start("w2")];
    world.put(40, 400).await;
    world.until_drained(Duration::from_secs(10)).await;
    world.split(&shard(0)).await;
    let split_at = Instant::now();
    world.put(40, 400).await;
    let flows = || {
        let first = |index| world.ledger.first_since(split_at, |d| d.shard == shard(index));
        first(2).zip(first(3)).map(|_| ())
    };
    let not_read = || "the children are not read".to_owned();
    world.until(Duration::from_secs(4), flows, not_read).await;
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_exactly_once();
    assert_after(&world, &shard(0), &shard(2));
    assert_after(&world, &shard(0), &shard(3));
    let leases = world.leases().await;
    if let Some(ended) = leases.into_iter().find(|lease| lease.key.as_str() == shard(0)) {
        assert!(ended.has_ended());
        assert_eq!(ended.children, [shard(2), shard(3)].into());
    }
    for worker in workers {
        worker.stop().await;
    }
}

/// Two shards were merged before anybody read them.
pub async fn a_merged_shard_waits_for_both_parents(world: World<impl Servers>) {
    world.put(40, 400).await;
    world.merge(&shard(0), &shard(1)).await;
    world.put(40, 400).await;
    let workers = [world.start("w1"), world.start("w2")];
    world.until_drained(Duration::from_secs(20)).await;
    world.assert_exactly_once();
    assert_after(&world, &shard(0), &shard(2));
    assert_after(&world, &shard(1), &shard(2));
    for worker in workers {
        worker.stop().await;
    }
}
