//! In real time: processors that block the threads they run on, with work for the CPU or with calls that do not await.

use std::time::Duration;

use kcl_tests::{Behaviour, Running, World, WorldOptions};
use tokio::runtime::Builder;
use tokio::time::sleep;

const FAILOVER: Duration = Duration::from_secs(1);

/// For longer than the fail-over time, so that one call costs the lease if renewals wait for it.
const BLOCKED: Duration = Duration::from_millis(1500);

/// Blocks its thread with each batch.
fn blocking() -> Behaviour {
    Behaviour::before_batch(|_, _| {
        #[expect(clippy::disallowed_methods, reason = "what users do, and should not")]
        std::thread::sleep(BLOCKED);
        async { Ok(()) }
    })
}

/// A worker whose processors block beside one that is well and would take what it loses; each on a runtime of its own.
async fn blocks_its_runtime(mut runtime: Builder) {
    let world = World::new(WorldOptions {
        shards: 4,
        failover_time: FAILOVER,
        ..WorldOptions::default()
    })
    .await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let blocked = world.clone();
    let thread = std::thread::spawn(move || {
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let running: Running = blocked.start_with("blocked", blocking());
            let _ = stopped.await;
            running.stop().await;
        });
    });
    let well = world.start("well");
    world
        .until_processing(&[&well], &[2], Duration::from_secs(20))
        .await;
    for _ in 0..6 {
        world.put(40, 80).await;
        sleep(Duration::from_millis(500)).await;
    }
    world.until_checkpointed(Duration::from_secs(60)).await;
    assert_eq!(world.ledger.called("lease_lost"), vec![]);
    world.assert_exactly_once();
    world.ledger.assert_fenced();
    let by = |worker: &str| {
        world
            .ledger
            .deliveries()
            .iter()
            .filter(|d| d.worker == worker)
            .count()
    };
    assert!(by("blocked") > 0 && by("well") > 0, "both have worked");
    stop.send(()).unwrap();
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();
    well.stop().await;
}

#[tokio::test]
async fn processors_that_block_both_threads_of_their_runtime_cost_no_lease() {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2);
    blocks_its_runtime(runtime).await;
}

#[tokio::test]
async fn processors_that_block_the_only_thread_of_their_runtime_cost_no_lease() {
    blocks_its_runtime(Builder::new_current_thread()).await;
}
