//! How large batches are, and how long they wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_tests::{Behaviour, World};
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(60);

/// Notes how many records each batch has.
fn noting(sizes: &Arc<Mutex<Vec<usize>>>) -> Behaviour {
    let sizes = sizes.clone();
    Behaviour::before_batch(move |_, batch| {
        sizes.lock().unwrap().push(batch.len());
        async { Ok(()) }
    })
}

#[tokio::test(start_paused = true)]
async fn batches_are_no_larger_than_it_is_said() {
    let world = World::with_shards(1).await;
    world.put(5, 100).await;
    let sizes = Arc::default();
    let builder = world.builder("one", noting(&sizes));
    let worker = world.run("one", builder.max_batch_records(7));
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    world.assert_exactly_once();
    let sizes = sizes.lock().unwrap();
    assert!(sizes.iter().all(|size| (1..=7).contains(size)), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn records_that_trickle_in_are_gathered_and_a_stop_does_not_wait_for_more() {
    let world = World::with_shards(1).await;
    let sizes = Arc::default();
    let builder = world.builder("one", noting(&sizes));
    let window = Duration::from_secs(10);
    let worker = world.run("one", builder.batch_window(window));
    world.until_processing(&[&worker], &[1], LIMIT).await;
    for _ in 0..10 {
        world.put(1, 1).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.until_checkpointed(LIMIT).await;
    assert!(sizes.lock().unwrap().len() <= 2, "{sizes:?}");

    world.put(1, 1).await;
    sleep(Duration::from_secs(3)).await;
    let stopping = tokio::time::Instant::now();
    worker.stop().await;
    assert!(
        stopping.elapsed() < Duration::from_secs(3),
        "{:?}",
        stopping.elapsed()
    );
    let next = world.start("two");
    world.until_checkpointed(LIMIT).await;
    next.stop().await;
    world.assert_exactly_once();
}
