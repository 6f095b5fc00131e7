//! How a worker stops: in time, with its leases handed on, and saying what became of them.

use std::time::Duration;

use kcl_core::{Fate, WorkerBuilder};
use kcl_local::faults::{Call, Fault, Loss, Rule};
use kcl_local::wire::Service;
use kcl_tests::{Behaviour, Reaction, Running, World};
use tokio::time::{Instant, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

/// A processor that works for a minute.
fn busy() -> Behaviour {
    Behaviour::scripted(|_, _| Reaction::Work(MINUTE))
}

/// A worker whose processor is busy with the only record, beside one that waits for shards.
async fn busy_and_waiting(world: &World, options: fn(WorkerBuilder) -> WorkerBuilder) -> (Running, Running) {
    world.put(1, 1).await;
    let one = world.run("one", options(world.builder("one", busy())));
    world.until_called("process_records", 1, MINUTE).await;
    let two = world.run("two", options(world.builder("two", Behaviour::default())));
    sleep(Duration::from_secs(5)).await;
    (one, two)
}

#[tokio::test(start_paused = true)]
async fn by_default_a_busy_processor_s_lease_goes_on_well_before_the_kill_of_an_orchestrator() {
    let world = World::with_shards(1).await;
    let (one, two) = busy_and_waiting(&world, |builder| builder).await;
    let stopping = Instant::now();
    let stopped = one.stop().await;
    assert!(
        stopping.elapsed() <= Duration::from_secs(20),
        "{:?}",
        stopping.elapsed()
    );
    let shard = &stopped.shards[0];
    assert_eq!(shard.fate, Fate::HandedOn { to: "two".to_owned() });
    assert!(
        shard.is_busy && !stopped.is_orderly() && !stopped.is_cut_short,
        "{stopped:?}"
    );
    world.until_drained(Duration::from_secs(2)).await;
    world.assert_exactly_once();
    // The call was not cancelled: it does its work to the end, and learns that it is in vain.
    sleep(MINUTE).await;
    assert_eq!(world.ledger.deliveries().len(), 2);
    assert_eq!(world.ledger.calls("lease_lost"), 1);
    two.kill().await;
}

#[tokio::test(start_paused = true)]
async fn one_option_fits_a_stop_into_the_ten_seconds_of_docker() {
    let world = World::with_shards(1).await;
    let options = |builder: WorkerBuilder| builder.stop_timeout(Duration::from_secs(8));
    let (one, two) = busy_and_waiting(&world, options).await;
    timeout(Duration::from_secs(8), one.stop())
        .await
        .expect("in time");
    world.until_drained(Duration::from_secs(1)).await;
    world.assert_exactly_once();
    two.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_what_became_of_each_shard() {
    let world = World::with_shards(2).await;
    world.put(20, 20).await;
    let worker = world.start("one");
    world.until_drained(MINUTE).await;
    let stopped = worker.stop().await;
    world.assert_exactly_once();
    assert!(stopped.is_orderly() && stopped.shards.len() == 2, "{stopped:?}");
    let leases = world.leases().await;
    for departure in &stopped.shards {
        assert_eq!(departure.fate, Fate::Released, "nobody else is there");
        let lease = leases
            .iter()
            .find(|lease| lease.key.as_str() == departure.shard_id);
        let checkpoint = lease.expect("known").checkpoint.to_string();
        assert_eq!(departure.checkpoint, checkpoint);
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_away_does_not_keep_a_worker_from_stopping_in_time() {
    let world = World::with_shards(2).await;
    world.put(10, 10).await;
    let worker = world.start("one");
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    let of_the_table = |call: &Call<'_>| call.service == Some(Service::DynamoDb);
    let away = Rule::any().matching(of_the_table);
    world
        .servers
        .faults
        .add(away.fault(Fault::drop_request(Loss::Hang)));
    let stopping = Instant::now();
    // It may take all of its 20 s, and is told that it ended right after them.
    let stopped = timeout(Duration::from_millis(20_100), worker.stop())
        .await
        .expect("in time");
    assert!(stopping.elapsed() > Duration::from_secs(1), "it tried");
    let kept = |fate: &Fate| matches!(fate, Fate::Kept | Fate::Lost { .. });
    assert!(
        stopped.shards.len() == 2 && stopped.shards.iter().all(|shard| kept(&shard.fate)),
        "{stopped:?}"
    );
}

/// In real time: signals come from outside.
#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let world = World::with_shards(1).await;
    world.put(1, 1).await;
    let worker = world.builder("one", busy()).build().expect("valid");
    let running = tokio::spawn(worker.run_until_signal());
    world
        .until_called("process_records", 1, Duration::from_secs(20))
        .await;
    let signal = || {
        let pid = std::process::id().to_string();
        let told = std::process::Command::new("kill").args(["-INT", &pid]).status();
        assert!(told.expect("kill runs").success());
    };
    signal();
    sleep(Duration::from_millis(500)).await;
    assert!(!running.is_finished(), "it waits for the processor");
    let second = Instant::now();
    signal();
    let stopped = running.await.expect("not panicked").expect("stopped");
    assert!(
        second.elapsed() < Duration::from_secs(2),
        "{:?}",
        second.elapsed()
    );
    assert!(stopped.is_cut_short && stopped.shards[0].is_busy, "{stopped:?}");
    assert_eq!(stopped.shards[0].fate, Fate::Kept);
}
