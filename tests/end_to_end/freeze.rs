//! In real time: a worker whose whole runtime stands still, timers included, as a process does that is stopped and resumed.

use std::sync::mpsc;
use std::time::Duration;

use kcl_tests::{World, WorldOptions, eventually};
use tokio::time::{Instant, sleep};

const FAILOVER: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_process_frozen_for_longer_than_the_fail_over_time_delivers_nothing_for_shards_that_it_lost() {
    let world = World::new(WorldOptions {
        shards: 4,
        failover_time: FAILOVER,
        ..WorldOptions::default()
    })
    .await;
    let (freeze, frozen) = mpsc::channel::<mpsc::Receiver<()>>();
    let sleeper = world.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let running = sleeper.start("sleeper");
            loop {
                match frozen.try_recv() {
                    // Blocks the only thread of this runtime until it is thawed.
                    Ok(thawed) => drop(thawed.recv()),
                    Err(mpsc::TryRecvError::Empty) => sleep(Duration::from_millis(10)).await,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
            running.stop().await;
        });
    });
    world.put(40, 400).await;
    world.until_drained(Duration::from_secs(10)).await;

    let (thaw, thawed) = mpsc::channel();
    freeze.send(thawed).unwrap();
    let other = world.start("other");
    let frozen_at = Instant::now();
    while frozen_at.elapsed() < 3 * FAILOVER {
        world.put(40, 100).await;
        sleep(Duration::from_millis(100)).await;
    }
    world.until_drained(Duration::from_secs(10)).await;
    let tokens = |worker: &str| {
        let deliveries = world.ledger.deliveries();
        deliveries
            .iter()
            .filter(|d| d.worker == worker)
            .map(|d| d.token)
            .max()
            .unwrap_or(0)
    };
    assert!(tokens("other") > tokens("sleeper"), "the other worker took over");

    thaw.send(()).unwrap();
    for _ in 0..30 {
        world.put(40, 100).await;
        sleep(Duration::from_millis(100)).await;
    }
    world.until_drained(Duration::from_secs(10)).await;
    world.assert_nothing_lost();
    world.ledger.assert_fenced();
    let back = || {
        world
            .ledger
            .first_since(Instant::now() - FAILOVER, |d| d.worker == "sleeper")
    };
    eventually(Duration::from_secs(10), back, || {
        "the thawed worker got no shard back".into()
    })
    .await;
    drop(freeze);
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();
    other.stop().await;
}
