//! In which encoding records are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcl_core::ReadEncoding;
use kcl_local::faults::{Call, Fault, Outcome, Rule};
use kcl_tests::{Behaviour, World};
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(60);

/// The body of a request in CBOR begins with a map; in JSON, with a brace.
fn is_cbor(call: &Call<'_>) -> bool {
    call.operation == "GetRecords" && call.body.first().is_some_and(|first| first >> 5 == 5)
}

/// Counts the reads in CBOR, and answers them so unless they shall pass.
fn count(world: &World, outcome: Outcome) -> Arc<AtomicUsize> {
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = counted.clone();
    let reads = move |call: &Call<'_>| {
        let is_one = is_cbor(call);
        counter.fetch_add(usize::from(is_one), Ordering::Relaxed);
        is_one
    };
    world
        .servers
        .faults
        .add(Rule::any().matching(reads).fault(Fault::new(outcome)));
    counted
}

#[tokio::test(start_paused = true)]
async fn records_are_read_in_cbor() {
    let world = World::with_shards(1).await;
    let counted = count(&world, Outcome::Pass);
    world.put(5, 100).await;
    let worker = world.start("one");
    world.until_drained(LIMIT).await;
    worker.stop().await;
    world.assert_exactly_once();
    assert!(counted.load(Ordering::Relaxed) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_speak_cbor_is_asked_three_times_and_read_in_json() {
    for (code, status) in [
        ("SerializationException", 400),
        ("UnknownOperationException", 404),
        ("InternalFailure", 500),
    ] {
        let world = World::with_shards(1).await;
        let refused = Outcome::Respond {
            code: code.to_owned(),
            message: "what is this?".to_owned(),
            status,
        };
        let counted = count(&world, refused);
        world.put(5, 100).await;
        let worker = world.start("one");
        world.until_drained(Duration::from_secs(10)).await;
        world.put(5, 100).await;
        world.until_drained(Duration::from_secs(10)).await;
        sleep(Duration::from_secs(30)).await;
        worker.stop().await;
        world.assert_exactly_once();
        assert_eq!(counted.load(Ordering::Relaxed), 3, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn json_is_used_where_it_is_wanted() {
    let world = World::with_shards(1).await;
    let counted = count(&world, Outcome::Pass);
    world.put(5, 100).await;
    let builder = world.builder("one", Behaviour::default());
    let worker = world.run("one", builder.read_encoding(ReadEncoding::Json));
    world.until_drained(LIMIT).await;
    worker.stop().await;
    world.assert_exactly_once();
    assert_eq!(counted.load(Ordering::Relaxed), 0);
}
