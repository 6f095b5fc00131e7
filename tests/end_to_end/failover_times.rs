//! The fail-over time is changed in a rolling deploy: for a while some workers have one, some another.

use std::time::Duration;

use kcl_core::WorkerHandle;
use kcl_tests::{Behaviour, Running, World};
use tokio::time::sleep;

fn start(world: &World, name: &str, failover_seconds: u64) -> Running {
    let builder = world.builder(name, Behaviour::default());
    world.run(name, builder.failover_time(Duration::from_secs(failover_seconds)))
}

fn codes(handle: &WorkerHandle) -> Vec<&'static str> {
    handle
        .status()
        .problems
        .iter()
        .map(|problem| problem.code)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn workers_of_different_fail_over_times_keep_their_leases_and_say_that_they_differ() {
    for (leader, joiner) in [(3, 30), (30, 3)] {
        let world = World::with_shards(6).await;
        let first = start(&world, "w1", leader);
        world
            .until_processing(&[&first], &[6], Duration::from_secs(10))
            .await;
        let second = start(&world, "w2", joiner);
        world
            .until_processing(&[&first, &second], &[3, 3], Duration::from_secs(60))
            .await;
        for _ in 0..120 {
            world.put(60, 60).await;
            sleep(Duration::from_secs(1)).await;
        }
        world.until_drained(Duration::from_secs(5)).await;
        assert_eq!(world.ledger.called("lease_lost"), vec![], "leader {leader} s");
        world.assert_exactly_once();
        for worker in [&first, &second] {
            assert_eq!(codes(&worker.handle), ["failover-times-differ"]);
        }
        second.stop().await;
        first
            .until(Duration::from_secs(60), |status| status.problems.is_empty())
            .await;
        first.stop().await;
    }
}
