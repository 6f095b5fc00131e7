//! How a worker stops: in time, with its leases handed on, and saying what became of them.

use std::time::Duration;

use kcl_core::{Error, Fate, Stopped, Worker};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Loss, Rule};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{Reaction, World};

fn run(worker: Worker) -> JoinHandle<Result<Stopped, Error>> {
    tokio::spawn(worker.run())
}

/// A worker whose processor is busy with one record for so long, beside one that waits for shards.
async fn busy(world: &World, work: Duration, options: impl Fn(&str) -> Worker) -> (Worker, Worker) {
    world.put(1).await;
    world.react(move |worker, _| match worker {
        "one" => Reaction::Work(work),
        _ => Reaction::Process,
    });
    (options("one"), options("two"))
}

#[tokio::test(start_paused = true)]
async fn by_default_a_busy_processor_s_lease_goes_on_well_before_the_kill_of_an_orchestrator() {
    let world = World::with_shards(1).await;
    let minute = Duration::from_secs(60);
    let (one, two) = busy(&world, minute, |id| world.worker(id).build().expect("valid")).await;
    let handle = one.handle();
    let (one, began) = (run(one), Instant::now());
    world
        .eventually("the processor is busy", 60, || world.calls("process") == 1)
        .await;
    let two = run(two);
    sleep(Duration::from_secs(5)).await;
    let stopping = Instant::now();
    handle.shutdown().await;
    assert!(
        stopping.elapsed() <= Duration::from_secs(20),
        "{:?}",
        stopping.elapsed()
    );
    let stopped = one.await.expect("not panicked").expect("stopped");
    let shard = &stopped.shards[0];
    assert_eq!(shard.fate, Fate::HandedOn { to: "two".to_owned() });
    assert!(
        shard.is_busy && !stopped.is_orderly() && !stopped.is_cut_short,
        "{stopped:?}"
    );
    world
        .eventually("the next owner processes", 2, || world.delivered() == 1)
        .await;
    // The call was not cancelled: it does its work to the end, and learns that it is in vain.
    sleep(minute.saturating_sub(began.elapsed()) + Duration::from_secs(5)).await;
    assert_eq!((world.delivered(), world.calls("lease_lost")), (2, 1));
    two.abort();
}

#[tokio::test(start_paused = true)]
async fn one_option_fits_a_stop_into_the_ten_seconds_of_docker() {
    let world = World::with_shards(1).await;
    let options = |id: &str| {
        let worker = world.worker(id).stop_timeout(Duration::from_secs(8));
        worker.build().expect("valid")
    };
    let (one, two) = busy(&world, Duration::from_secs(60), options).await;
    let handle = one.handle();
    let one = run(one);
    world
        .eventually("the processor is busy", 60, || world.calls("process") == 1)
        .await;
    let two = run(two);
    sleep(Duration::from_secs(5)).await;
    timeout(Duration::from_secs(8), handle.shutdown())
        .await
        .expect("in time");
    world
        .eventually("the next owner processes", 1, || world.delivered() == 1)
        .await;
    one.await.expect("not panicked").expect("stopped");
    two.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_what_became_of_each_shard() {
    let world = World::with_shards(2).await;
    world.put(20).await;
    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    let running = run(worker);
    world
        .eventually("all records are processed", 60, || world.delivered() == 20)
        .await;
    handle.shutdown().await;
    let stopped = running.await.expect("not panicked").expect("stopped");
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
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let world = World::new(2, backend).await;
    world.put(10).await;
    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    let running = run(worker);
    world
        .eventually("all records are processed", 60, || world.delivered() == 10)
        .await;
    let table = |call: &kcl_local::faults::Call<'_>| call.service == Some(kcl_local::wire::Service::DynamoDb);
    faults.add(Rule::any().matching(table).fault(Fault::drop_request(Loss::Hang)));
    let stopping = Instant::now();
    // It may take all of its 20 s, and is told that it ended right after them.
    timeout(Duration::from_millis(20_100), handle.shutdown())
        .await
        .expect("in time");
    assert!(stopping.elapsed() > Duration::from_secs(1), "it tried");
    let stopped = running.await.expect("not panicked").expect("stopped");
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
    let minute = Duration::from_secs(60);
    let (one, _two) = busy(&world, minute, |id| world.worker(id).build().expect("valid")).await;
    let running = tokio::spawn(one.run_until_signal());
    world
        .eventually("the processor is busy", 20, || world.calls("process") == 1)
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
