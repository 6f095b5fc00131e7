//! Shards that are subscribed to.

use std::time::Duration;

use kcl_core::{FanOut, ReadEncoding, StreamConsumer};
use kcl_local::faults::{Call, Fault, Interruption, Loss, Rule};
use kcl_tests::scenarios::shard;
use kcl_tests::{Behaviour, Running, World, eventually};
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(60);

fn subscriptions() -> Rule {
    Rule::on("SubscribeToShard")
}

fn reads() -> Rule {
    Rule::on("GetRecords")
}

/// Starts a worker that reads by fan-out.
fn start(world: &World, name: &str) -> Running {
    start_as(world, name, FanOut::default())
}

fn start_as(world: &World, name: &str, fan_out: FanOut) -> Running {
    world.run(name, world.builder(name, Behaviour::default()).fan_out(fan_out))
}

/// Counts what matches the rule, and lets it pass.
fn counted(world: &World, rule: Rule) -> impl Fn() -> u64 + use<> {
    let (faults, id) = (world.servers.faults.clone(), world.servers.faults.add(rule));
    move || faults.hits(id)
}

async fn stream_arn(world: &World) -> String {
    let summary = world.kinesis.describe_stream_summary().stream_name("clicks");
    let summary = summary
        .send()
        .await
        .expect("described")
        .stream_description_summary;
    summary.expect("there").stream_arn
}

/// The consumers of the stream: their names.
async fn consumers(world: &World) -> Vec<String> {
    let listed = world.kinesis.list_stream_consumers();
    let listed = listed.stream_arn(stream_arn(world).await).send().await;
    let listed = listed.expect("listed").consumers.unwrap_or_default();
    listed
        .into_iter()
        .map(|consumer| consumer.consumer_name)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn records_come_when_they_are_put_and_nothing_is_asked_for() {
    let world = World::with_shards(2).await;
    let reads = counted(&world, reads());
    let worker = start(&world, "one");
    world.put(5, 5).await;
    world.until_drained(LIMIT).await;
    for _ in 0..20 {
        let since = Instant::now();
        world.put(5, 5).await;
        world.until_drained(LIMIT).await;
        let took = since.elapsed();
        assert!(took < Duration::from_millis(60), "{took:?}");
        sleep(Duration::from_millis(770)).await;
    }
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    world.assert_exactly_once();
    assert_eq!(reads(), 0);
    assert_eq!(consumers(&world).await, ["app"], "it stays registered");
}

#[tokio::test(start_paused = true)]
async fn each_subscription_follows_the_one_before_after_five_minutes() {
    let world = World::with_shards(1).await;
    let subscribed = counted(&world, subscriptions());
    let worker = start(&world, "one");
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1_000) {
        world.put(5, 5).await;
        sleep(Duration::from_millis(1_300)).await;
    }
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    world.assert_exactly_once();
    assert_eq!(subscribed(), 4);
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_behind_a_record_that_was_trimmed_meanwhile() {
    let world = World::with_shards(1).await;
    world.put(5, 5).await;
    let worker = start(&world, "one");
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    sleep(Duration::from_secs(30 * 3_600)).await;
    let worker = start(&world, "one");
    world.until_processing(&[&worker], &[1], LIMIT).await;
    world.put(5, 5).await;
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_are_followed_parents_first() {
    let world = World::with_shards(1).await;
    world.put(50, 50).await;
    let worker = start(&world, "one");
    world.until_drained(LIMIT).await;
    world.split(&shard(0)).await;
    world.put(50, 50).await;
    world.until_drained(LIMIT).await;
    world.merge(&shard(1), &shard(2)).await;
    world.put(50, 50).await;
    world.until_checkpointed(LIMIT).await;
    world.assert_exactly_once();
    assert_eq!(world.ledger.calls("shard_ended"), 3);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_drained_in_both_encodings() {
    for encoding in [ReadEncoding::Cbor, ReadEncoding::Json] {
        let world = World::with_shards(2).await;
        world.put(50, 5_000).await;
        let builder = world.builder("one", Behaviour::default());
        let worker = world.run("one", builder.fan_out(FanOut::default()).read_encoding(encoding));
        world.until_checkpointed(LIMIT).await;
        worker.stop().await;
        world.assert_exactly_once();
    }
}

#[tokio::test(start_paused = true)]
async fn subscriptions_that_break_are_gone_on_with() {
    let exception = Interruption::exception("InternalFailureException");
    for (how, longest) in [
        (Interruption::Cut, 7),
        (Interruption::End, 7),
        (exception, 7),
        (Interruption::Stall, 20),
    ] {
        let world = World::with_shards(1).await;
        let broken = Fault::interrupted(Duration::from_secs(20), how.clone());
        world.servers.faults.add(subscriptions().fault(broken));
        let worker = start(&world, "one");
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(200) {
            world.put(5, 5).await;
            world.until_drained(Duration::from_secs(longest)).await;
            sleep(Duration::from_millis(700)).await;
        }
        world.until_checkpointed(LIMIT).await;
        worker.stop().await;
        world.assert_exactly_once();
    }
}

/// Whether a subscription is asked for in CBOR, where a request begins with a map.
fn is_cbor(call: &Call<'_>) -> bool {
    call.operation == "SubscribeToShard" && call.body.first().is_some_and(|first| first >> 5 == 5)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_push_in_cbor_is_asked_in_json_whenever_it_says_so() {
    let late = |how| Fault::interrupted(Duration::ZERO, how);
    for fault in [
        Fault::respond(400, "SerializationException"),
        Fault::respond(400, "InvalidArgumentException"),
        late(Interruption::exception("SerializationException")),
        late(Interruption::exception("InternalFailureException")),
        late(Interruption::Cut),
        late(Interruption::Stall),
    ] {
        let world = World::with_shards(1).await;
        let in_cbor = Rule::any().matching(is_cbor).fault(fault);
        let rule = world.servers.faults.add(in_cbor);
        world.put(5, 5).await;
        let worker = start(&world, "one");
        world.until_checkpointed(LIMIT * 2).await;
        sleep(Duration::from_secs(1_000)).await;
        world.put(5, 5).await;
        world.until_checkpointed(LIMIT).await;
        assert!(world.servers.faults.hits(rule) <= 4);
        worker.stop().await;
        world.assert_exactly_once();
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_of_a_shard_subscribes_to_it_after_a_stop_and_after_a_kill() {
    let world = World::with_shards(4).await;
    let one = start(&world, "one");
    world.until_processing(&[&one], &[4], LIMIT).await;
    let two = start(&world, "two");
    world.until_processing(&[&one, &two], &[2, 2], LIMIT).await;
    world.put(20, 100).await;
    world.until_checkpointed(LIMIT).await;
    one.stop().await;
    world.put(20, 100).await;
    world.until_checkpointed(Duration::from_secs(10)).await;
    let three = start(&world, "three");
    world.until_processing(&[&two, &three], &[2, 2], LIMIT).await;
    two.kill().await;
    world.put(20, 100).await;
    world.until_checkpointed(LIMIT).await;
    three.stop().await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_goes_from_polling_to_fan_out_and_back() {
    let world = World::with_shards(2).await;
    world.put(20, 100).await;
    let polling = world.start("one");
    world.until_checkpointed(LIMIT).await;
    let fan_out = start(&world, "two");
    world
        .until_processing(&[&polling, &fan_out], &[1, 1], LIMIT)
        .await;
    polling.stop().await;
    world.put(20, 100).await;
    world.until_checkpointed(LIMIT).await;
    let polling = world.start("three");
    fan_out.stop().await;
    world.put(20, 100).await;
    world.until_checkpointed(LIMIT).await;
    polling.stop().await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_another_one_keeps_is_waited_for() {
    let world = World::with_shards(1).await;
    let in_use = Fault::respond(400, "ResourceInUseException");
    let rule = world.servers.faults.add(subscriptions().fault(in_use));
    let worker = start(&world, "one");
    world.put(5, 5).await;
    sleep(Duration::from_secs(9)).await;
    let problem = worker.handle.status().shards[0].problem.clone();
    assert!(problem.is_none(), "{problem:?}");
    let hits = world.servers.faults.hits(rule);
    assert!((5..30).contains(&hits), "{hits} calls");
    worker
        .until(LIMIT, |status| status.shards[0].problem.is_some())
        .await;
    world.servers.faults.remove(rule);
    world.until_checkpointed(Duration::from_secs(15)).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_processor_holds_its_subscription_back_and_gets_everything() {
    let world = World::with_shards(1).await;
    world.put(50, 2_000).await;
    let slow = Behaviour {
        work: Duration::from_secs(8),
        ..Behaviour::default()
    };
    let builder = world.builder("one", slow).fan_out(FanOut::default());
    let builder = builder
        .prefetch_bytes_per_shard(64 << 10)
        .max_batch_records(1_000);
    let subscribed = counted(&world, subscriptions());
    let worker = world.run("one", builder);
    world.until_checkpointed(Duration::from_secs(600)).await;
    worker.stop().await;
    world.assert_exactly_once();
    assert!(subscribed() > 1, "it is given up meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_deregistered_is_registered_again_if_it_was_named() {
    let world = World::with_shards(1).await;
    let named = FanOut::of(StreamConsumer::Name("mine".to_owned()));
    let worker = start_as(&world, "one", named);
    world.put(5, 5).await;
    world.until_checkpointed(LIMIT).await;
    assert_eq!(consumers(&world).await, ["mine"]);
    let deregistered = world.kinesis.deregister_stream_consumer();
    deregistered
        .stream_arn(stream_arn(&world).await)
        .consumer_name("mine")
        .send()
        .await
        .expect("deregistered");
    world.put(5, 5).await;
    world.until_checkpointed(LIMIT).await;
    assert_eq!(consumers(&world).await, ["mine"]);
    worker.stop().await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn without_permission_it_says_so_and_polls_if_that_is_wanted() {
    let world = World::with_shards(1).await;
    let denied = Fault::respond(400, "AccessDeniedException");
    let rule = world.servers.faults.add(subscriptions().fault(denied));
    world.put(5, 5).await;
    let worker = start(&world, "one");
    let is_denied = |code: &'static str| {
        move |status: &kcl_core::WorkerStatus| {
            let mut problems = status.shards.iter().filter_map(|shard| shard.problem.as_ref());
            problems.any(|problem| problem.code == code)
        }
    };
    worker.until(LIMIT, is_denied("reads-denied")).await;
    assert_eq!(world.ledger.unique(), 0);
    worker.stop().await;

    let worker = start_as(&world, "two", FanOut::default().or_polling(true));
    world.until_checkpointed(LIMIT).await;
    let is_unavailable = |status: &kcl_core::WorkerStatus| {
        let mut problems = status.problems.iter();
        problems.any(|problem| problem.code == "fan-out-unavailable")
    };
    worker.until(LIMIT, is_unavailable).await;
    world.servers.faults.remove(rule);
    let reads = counted(&world, reads());
    worker.until(LIMIT * 3, |status| !is_unavailable(status)).await;
    let before = reads();
    world.put(5, 5).await;
    world.until_checkpointed(LIMIT).await;
    assert_eq!(reads(), before, "it is subscribed to again");
    worker.stop().await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_of_finding_the_consumer_is_tried_again() {
    for (operation, fault) in [
        ("DescribeStreamSummary", Fault::respond(500, "InternalFailure")),
        (
            "DescribeStreamConsumer",
            Fault::respond(400, "LimitExceededException"),
        ),
        (
            "RegisterStreamConsumer",
            Fault::respond(400, "LimitExceededException"),
        ),
        ("RegisterStreamConsumer", Fault::drop_answer(Loss::Hang)),
    ] {
        let world = World::with_shards(2).await;
        let worker = start(&world, "one");
        // The worker asks for the stream itself, too.
        let rule = Rule::on(operation).fault(fault);
        world.servers.faults.add(rule.times(3));
        world.put(5, 20).await;
        world.until_checkpointed(LIMIT * 3).await;
        worker.stop().await;
        world.assert_exactly_once();
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_workers_that_start_at_once_register_one_consumer() {
    let world = World::with_shards(50).await;
    let registered = counted(&world, Rule::on("RegisterStreamConsumer"));
    let workers: Vec<_> = (0..10)
        .map(|number| start(&world, &format!("w{number}")))
        .collect();
    world.put(200, 2_000).await;
    world.until_checkpointed(LIMIT).await;
    assert_eq!(consumers(&world).await, ["app"]);
    assert!(registered() <= 10);
    for worker in workers {
        worker.stop().await;
    }
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn reading_begins_at_the_latest_record_even_if_the_first_subscription_breaks() {
    let world = World::with_shards(1).await;
    world.put(5, 10).await;
    sleep(LIMIT).await;
    let broken = Fault::interrupted(Duration::from_millis(100), Interruption::Cut);
    let builder = world
        .builder("one", Behaviour::default())
        .fan_out(FanOut::default());
    let builder = builder.initial_position(kcl_core::InitialPosition::Latest);
    let broken = world.servers.faults.add(subscriptions().fault(broken).times(1));
    let worker = world.run("one", builder);
    let begun = || (world.servers.faults.hits(broken) > 0).then_some(());
    eventually(LIMIT, begun, || "no subscription".to_owned()).await;
    sleep(Duration::from_secs(1)).await;
    let before = world.ledger.put();
    world.put(5, 10).await;
    let delivered = || (world.ledger.unique() >= world.ledger.put() - before).then_some(());
    eventually(LIMIT, delivered, || {
        format!("{} delivered", world.ledger.unique())
    })
    .await;
    worker.stop().await;
    assert_eq!(world.ledger.unique(), world.ledger.put() - before);
}
