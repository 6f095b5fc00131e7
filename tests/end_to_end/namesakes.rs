//! Two living processes that were given the same worker id.

use std::time::Duration;

use kcl_core::Error;
use kcl_tests::{Running, World};
use tokio::time::sleep;

/// A worker with records flowing through it for a while.
async fn at_work(world: &World) -> Running {
    let first = world.start("pod-0");
    world
        .until_processing(&[&first], &[4], Duration::from_secs(5))
        .await;
    world.put(40, 400).await;
    world.until_checkpointed(Duration::from_secs(5)).await;
    first
}

#[tokio::test(start_paused = true)]
async fn the_first_ends_with_an_error_and_the_second_goes_on() {
    let world = World::with_shards(4).await;
    let first = at_work(&world).await;
    let status = first.handle.clone();
    let second = world.start("pod-0");
    let ended = first.ended().await.expect_err("it cannot go on");
    assert!(matches!(ended, Error::Superseded { .. }), "{ended}");
    assert!(ended.to_string().contains("pod-0"), "{ended}");
    assert_eq!(status.status().leases_held, 0);
    world
        .until_processing(&[&second], &[4], Duration::from_secs(5))
        .await;
    world.ledger.forget_puts();
    for _ in 0..20 {
        world.put(40, 40).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.until_drained(Duration::from_secs(5)).await;
    assert_eq!(second.handle.status().problems, []);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_are_processed_twice_for_a_moment_at_most() {
    let world = World::with_shards(4).await;
    let first = at_work(&world).await;
    let second = world.start("pod-0");
    for _ in 0..20 {
        world.put(40, 40).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_nothing_lost();
    let twice = world.ledger.tally().duplicates;
    assert!(twice <= 4 * 40, "{twice} of 1,200 records were processed twice");
    drop(first);
    second.stop().await;
}
