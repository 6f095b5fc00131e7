//! One fleet that reads several streams.

mod streamed;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Counter, FormerStreams, InitialPosition, Labels, OtherStream, RecordBatch, Recorder,
    ShardContext, ShardState, StreamId, Streams, TrackedStream, Worker,
};
use kcl_tests::eventually;
use tokio::time::{Instant, sleep};

use self::streamed::{List, SOON, Streamed, both, streams_of};

#[tokio::test(start_paused = true)]
async fn a_fleet_reads_several_streams_and_its_leases_are_called_as_those_of_the_java_kcl() {
    let world = Streamed::with(&[("orders", 2), ("clicks", 3)]).await;
    let (one, other) = (
        world.start(world.builder("w1", both())),
        world.start(world.builder("w2", both())),
    );
    world.put("orders", 0..20).await;
    world.put("clicks", 0..30).await;
    world.until_delivered("orders", 0..20).await;
    world.until_delivered("clicks", 0..30).await;

    let leases = world.leases().await;
    assert_eq!(leases.len(), 5);
    for lease in &leases {
        let of = lease
            .stream_shard
            .as_ref()
            .expect("it says of which stream it is");
        let id: StreamId = of.stream.parse().expect("an id");
        assert!(["orders", "clicks"].contains(&id.name()) && id.account().len() == 12);
        assert_eq!(lease.key.as_str(), format!("{}:{}", of.stream, of.shard_id));
        assert!(of.shard_id.starts_with("shardId-0000000000"));
    }
    eventually(
        SOON,
        || {
            (one.handle
                .status()
                .leases_held
                .abs_diff(other.handle.status().leases_held)
                == 1)
                .then_some(())
        },
        || format!("{:?} {:?}", one.handle.status(), other.handle.status()),
    )
    .await;
    let status = one.handle.status();
    assert_eq!(status.stream, "orders, clicks");
    assert!(status.problems.is_empty(), "{:?}", status.problems);
    let shard = status.shards.first().expect("it has some");
    assert!(
        shard
            .stream
            .as_ref()
            .is_some_and(|id| id.parse::<StreamId>().is_ok())
    );
    assert!(shard.shard_id.starts_with("shardId-"));

    assert!(one.stop().await.is_orderly());
    world.put("orders", 20..40).await;
    world.put("clicks", 30..60).await;
    world.until_delivered("orders", 0..40).await;
    world.until_delivered("clicks", 0..60).await;
    assert!(other.stop().await.is_orderly());
}

#[tokio::test(start_paused = true)]
async fn each_stream_is_read_from_a_position_of_its_own() {
    let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
    world.put("orders", 0..3).await;
    world.put("clicks", 0..3).await;
    let streams = Streams::fixed([
        TrackedStream::new("orders").initial_position(InitialPosition::Latest),
        TrackedStream::new("clicks"),
    ]);
    let worker = world.start(world.builder("w1", streams));
    world.until_delivered("clicks", 0..3).await;
    eventually(
        SOON,
        || {
            let shards = worker.handle.status().shards;
            let is_read = |shard: &kcl_core::ShardStatus| shard.millis_behind_latest.is_some();
            (shards.len() == 2 && shards.iter().all(is_read)).then_some(())
        },
        || format!("{:?}", worker.handle.status()),
    )
    .await;
    world.put("orders", 3..6).await;
    world.until_delivered("orders", 3..6).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_split_in_one_stream_concerns_that_stream_alone() {
    let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
    let worker = world.start(world.builder("w1", both()));
    world.put("orders", 0..10).await;
    world.until_delivered("orders", 0..10).await;
    let split = world.kinesis.split_shard().stream_name("orders");
    let split = split.shard_to_split("shardId-000000000000");
    let middle = (1u128 << 127).to_string();
    split.new_starting_hash_key(middle).send().await.expect("split");
    sleep(Duration::from_secs(2)).await;
    world.put("orders", 10..30).await;
    world.put("clicks", 0..5).await;
    world.until_delivered("orders", 0..30).await;
    world.until_delivered("clicks", 0..5).await;
    // The parent's lease is cleaned up in time.
    world
        .until_leases(|leases| {
            let shards = leases.iter().filter_map(|lease| lease.stream_shard.as_ref());
            let shards: BTreeSet<_> = shards
                .map(|of| {
                    (
                        of.stream.split(':').nth(1).unwrap_or_default(),
                        of.shard_id.as_str(),
                    )
                })
                .collect();
            shards
                == BTreeSet::from([
                    ("clicks", "shardId-000000000000"),
                    ("orders", "shardId-000000000001"),
                    ("orders", "shardId-000000000002"),
                ])
        })
        .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn streams_come_and_go_while_the_fleet_runs() {
    let world = Streamed::with(&[("orders", 2), ("clicks", 2), ("views", 2)]).await;
    let list = List::of(&["orders", "clicks"]);
    let builder = |name| {
        world
            .builder(name, Streams::tracked(list.clone()))
            .streams_interval(Duration::from_secs(5))
            .former_streams(FormerStreams::DeleteAfter(Duration::from_secs(60)))
    };
    let (one, other) = (world.start(builder("w1")), world.start(builder("w2")));
    world.put("orders", 0..10).await;
    world.put("clicks", 0..10).await;
    world.until_delivered("orders", 0..10).await;
    world.until_delivered("clicks", 0..10).await;

    list.set(Some(&["orders", "views"]));
    world.put("views", 0..10).await;
    world.until_delivered("views", 0..10).await;
    // Both have heard of it by now.
    sleep(Duration::from_secs(6)).await;
    world.put("clicks", 10..20).await;
    sleep(Duration::from_secs(20)).await;
    world.until_delivered("clicks", 0..10).await;
    let is_left = |shard: &kcl_core::ShardStatus| {
        let is_of_clicks = shard.stream.as_ref().is_some_and(|id| id.contains(":clicks:"));
        is_of_clicks.then_some((shard.state, shard.reason.clone()))
    };
    let shards = [one.handle.status().shards, other.handle.status().shards].concat();
    let left: Vec<_> = shards.iter().filter_map(is_left).collect();
    assert_eq!(left.len(), 2);
    for (state, reason) in left {
        assert_eq!(state, ShardState::Paused);
        assert!(reason.is_some_and(|reason| reason.contains("told to read")));
    }

    // Named again in time, it goes on where it was.
    list.set(Some(&["orders", "views", "clicks"]));
    world.until_delivered("clicks", 0..20).await;
    list.set(Some(&["orders", "views"]));
    world
        .until_leases(|leases| !streams_of(leases).contains("clicks"))
        .await;
    world.put("orders", 10..20).await;
    world.until_delivered("orders", 0..20).await;
    eventually(
        SOON,
        || (one.handle.status().shards.len() + other.handle.status().shards.len() == 4).then_some(()),
        || format!("{:?} {:?}", one.handle.status(), other.handle.status()),
    )
    .await;
    assert!(one.codes().is_empty() && other.codes().is_empty());
    // It is not made anew behind the leader's back.
    sleep(Duration::from_secs(300)).await;
    assert!(!streams_of(&world.leases().await).contains("clicks"));
    assert!(one.stop().await.is_orderly());
    assert!(other.stop().await.is_orderly());
}

#[tokio::test(start_paused = true)]
async fn a_former_stream_keeps_its_leases_unless_told_otherwise_and_loses_them_when_it_is_gone() {
    for (former, is_deleted) in [
        (FormerStreams::Keep, false),
        (FormerStreams::DeleteAfter(Duration::from_secs(7200)), true),
    ] {
        let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
        let list = List::of(&["orders", "clicks"]);
        let builder = world
            .builder("w1", Streams::tracked(list.clone()))
            .streams_interval(Duration::from_secs(5))
            .former_streams(former);
        let worker = world.start(builder);
        world.until_leases(|leases| leases.len() == 2).await;
        list.set(Some(&["orders"]));
        sleep(Duration::from_secs(300)).await;
        assert_eq!(world.leases().await.len(), 2, "not yet");
        world.delete("clicks").await;
        sleep(Duration::from_secs(120)).await;
        let left = streams_of(&world.leases().await);
        assert_eq!(left.contains("clicks"), !is_deleted, "{former:?}");
        assert!(worker.codes().is_empty(), "{:?}", worker.handle.status().problems);
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_there_is_told_and_begun_when_it_is() {
    let world = Streamed::with(&[("orders", 1)]).await;
    let worker = world.start(world.builder("w1", both()));
    world.put("orders", 0..5).await;
    world.until_delivered("orders", 0..5).await;
    eventually(
        SOON,
        || worker.codes().contains("stream-not-found").then_some(()),
        || format!("{:?}", worker.handle.status().problems),
    )
    .await;
    let problems = worker.handle.status().problems;
    assert!(
        problems[0].text.contains("there is no stream clicks"),
        "{problems:?}"
    );
    world.create("clicks", 1).await;
    world.put("clicks", 0..5).await;
    world.until_delivered("clicks", 0..5).await;
    eventually(
        SOON,
        || worker.codes().is_empty().then_some(()),
        || format!("{:?}", worker.handle.status().problems),
    )
    .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_tracker_fails_the_streams_stay_as_they_were() {
    let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
    let list = List::of(&["orders", "clicks"]);
    let builder = world
        .builder("w1", Streams::tracked(list.clone()))
        .streams_interval(Duration::from_secs(5))
        .former_streams(FormerStreams::DeleteAfter(Duration::ZERO));
    let worker = world.start(builder);
    world.put("clicks", 0..1).await;
    world.until_delivered("clicks", 0..1).await;
    let failures: [Option<&[&'static str]>; 4] =
        [None, Some(&["panic"]), Some(&[]), Some(&["orders", "cl icks"])];
    for (put, failure) in (1..).zip(failures) {
        list.set(failure);
        eventually(
            SOON,
            || worker.codes().contains("streams-failing").then_some(()),
            || format!("{failure:?} {:?}", worker.handle.status().problems),
        )
        .await;
        sleep(Duration::from_secs(30)).await;
        world.put("clicks", put..put + 1).await;
        world.until_delivered("clicks", 0..put + 1).await;
        list.set(Some(&["orders", "clicks"]));
        eventually(
            SOON,
            || worker.codes().is_empty().then_some(()),
            || format!("{:?}", worker.handle.status().problems),
        )
        .await;
    }
    assert_eq!(world.leases().await.len(), 2);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_made_anew_is_begun_anew_only_if_that_is_wanted() {
    for policy in [OtherStream::Refuse, OtherStream::BeginAnew] {
        let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
        let worker = world.start(world.builder("w1", both()).on_other_stream(policy));
        world.put("clicks", 0..5).await;
        world.until_delivered("clicks", 0..5).await;
        world.delete("clicks").await;
        sleep(Duration::from_secs(5)).await;
        world.create("clicks", 1).await;
        world.put("clicks", 5..10).await;
        match policy {
            OtherStream::BeginAnew => {
                world.until_delivered("clicks", 0..10).await;
                world.until_leases(|leases| leases.len() == 2).await;
            }
            _ => {
                eventually(
                    Duration::from_secs(60),
                    || worker.codes().contains("other-stream").then_some(()),
                    || format!("{:?}", worker.handle.status().problems),
                )
                .await;
                sleep(Duration::from_secs(300)).await;
                world.until_delivered("clicks", 0..5).await;
                assert_eq!(world.leases().await.len(), 2);
            }
        }
        world.put("orders", 0..5).await;
        world.until_delivered("orders", 0..5).await;
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn workers_of_one_stream_and_of_several_refuse_each_others_tables() {
    let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
    let several = world.start(world.builder("w1", both()));
    world.until_leases(|leases| leases.len() == 2).await;
    several.stop().await;
    let before = world.leases().await;
    let one = world.start(world.builder("w2", "orders"));
    let refused = one
        .task
        .await
        .expect("no panic")
        .expect_err("refused")
        .to_string();
    assert!(
        refused.contains("of several streams") && refused.contains("Streams::fixed"),
        "{refused}"
    );
    assert_eq!(world.leases().await, before);

    let other = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
    let one = other.start(other.builder("w1", "orders"));
    other.until_leases(|leases| leases.len() == 1).await;
    one.stop().await;
    let before = other.leases().await;
    let several = other.start(other.builder("w2", both()));
    let refused = several
        .task
        .await
        .expect("no panic")
        .expect_err("refused")
        .to_string();
    assert!(
        refused.contains("of one stream") && refused.contains("another name"),
        "{refused}"
    );
    assert_eq!(other.leases().await, before);
}

#[tokio::test(start_paused = true)]
async fn an_application_of_one_stream_becomes_one_of_several_and_goes_on_where_it_was() {
    let world = Streamed::with(&[("orders", 2), ("clicks", 1)]).await;
    let one = world.start(world.builder("w1", "orders"));
    world.put("orders", 0..20).await;
    world.until_delivered("orders", 0..20).await;
    let two_at_once = || {
        let builder = |name| world.builder(name, both()).takes_over_from_one_stream(true);
        [world.start(builder("w2")), world.start(builder("w3"))]
    };
    for refused in two_at_once() {
        let refused = refused
            .task
            .await
            .expect("no panic")
            .expect_err("refused")
            .to_string();
        assert!(refused.contains("w1 has shardId-"), "{refused}");
    }
    assert!(one.stop().await.is_orderly());
    world.put("orders", 20..40).await;
    world.put("clicks", 0..5).await;
    let several = two_at_once();
    world.until_delivered("orders", 0..40).await;
    world.until_delivered("clicks", 0..5).await;
    let leases = world.leases().await;
    assert_eq!(leases.len(), 3);
    assert_eq!(
        streams_of(&leases),
        ["clicks", "orders"].map(str::to_owned).into()
    );
    for worker in several {
        assert!(worker.stop().await.is_orderly());
    }
    let again = world.start(world.builder("w4", "orders"));
    let refused = again
        .task
        .await
        .expect("no panic")
        .expect_err("refused")
        .to_string();
    assert!(refused.contains("of several streams"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn streams_that_cannot_be_are_refused_together() {
    let world = Streamed::with(&[]).await;
    let streams = Streams::fixed([
        TrackedStream::new("cl icks"),
        TrackedStream::new("orders").max_records(0),
        TrackedStream::new("arn:aws:kinesis:ap-south-1:123456789012:stream/views"),
    ]);
    let refused = world
        .builder("w1", streams)
        .build()
        .expect_err("refused")
        .to_string();
    for told in [
        "\"cl icks\" names no stream",
        "stream orders: max_records is 0",
        "ap-south-1",
    ] {
        assert!(refused.contains(told), "{refused}");
    }
    let none = world.builder("w1", Streams::fixed(Vec::<String>::new())).build();
    assert!(
        none.expect_err("refused")
            .to_string()
            .contains("name one at least")
    );
}

#[tokio::test(start_paused = true)]
async fn a_closure_for_each_batch_is_made_for_its_stream() {
    let world = Streamed::with(&[("orders", 1), ("clicks", 1)]).await;
    let delivered = world.delivered.clone();
    let factory = move |shard: &ShardContext| {
        let (delivered, stream) = (delivered.clone(), shard.stream.name().to_owned());
        let handler = async move |batch: &RecordBatch, checkpointer: &Checkpointer| {
            let texts = batch
                .iter()
                .map(|record| String::from_utf8_lossy(record.data()).into_owned());
            let note = |texts: &mut dyn Iterator<Item = String>| {
                let mut delivered = delivered.lock().expect("not poisoned");
                delivered.entry(stream.clone()).or_default().extend(texts);
            };
            note(&mut { texts });
            checkpointer.checkpoint().await?;
            Ok(())
        };
        kcl_core::each_batch(handler)(shard)
    };
    let worker = Worker::builder("app", both(), factory)
        .aws_config(&world.aws)
        .initial_position(InitialPosition::TrimHorizon);
    let worker = world.start(worker);
    world.put("orders", 0..3).await;
    world.put("clicks", 0..3).await;
    world.until_delivered("orders", 0..3).await;
    world.until_delivered("clicks", 0..3).await;
    worker.stop().await;
}

/// When streams were described.
#[derive(Debug, Default)]
struct Descriptions(Mutex<Vec<Instant>>);

impl Recorder for Descriptions {
    fn add(&self, counter: Counter, labels: Labels<'_>, _: u64) {
        if counter == Counter::KinesisCalls && labels.operation == Some("DescribeStreamSummary") {
            self.0.lock().expect("not poisoned").push(Instant::now());
        }
    }
}

impl Descriptions {
    fn most_within_a_second(&self) -> usize {
        let times = self.0.lock().expect("not poisoned").clone();
        let within = |from: &Instant| {
            let until = *from + Duration::from_secs(1);
            times.iter().filter(|at| (*from..until).contains(*at)).count()
        };
        let most = times.iter().map(within).max();
        most.expect("streams were described")
    }
}

/// `KCL_STREAMS=200` tries more, with ten shards each, and says how long that took.
#[tokio::test(start_paused = true)]
async fn many_streams_are_begun_in_seconds_and_within_the_limit_of_descriptions() {
    let streams = std::env::var("KCL_STREAMS").map_or(30, |streams| streams.parse().expect("a number"));
    let shards = if streams > 30 { 10 } else { 2 };
    let names: Vec<String> = (0..streams).map(|number| format!("stream-{number}")).collect();
    let sizes: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), shards)).collect();
    let world = Streamed::with(&sizes).await;
    let descriptions = Arc::new(Descriptions::default());
    let builder = world.builder("w1", Streams::fixed(names.clone()));
    let worker = world.start(builder.recorder(descriptions.clone()));
    let start = Instant::now();
    let all = names.len() * usize::try_from(shards).expect("positive");
    eventually(
        Duration::from_secs(60),
        || {
            let shards = worker.handle.status().shards;
            let is_read = |shard: &kcl_core::ShardStatus| shard.millis_behind_latest.is_some();
            (shards.len() == all && shards.iter().all(is_read)).then_some(())
        },
        || format!("{} shards", worker.handle.status().shards.len()),
    )
    .await;
    let took = start.elapsed();
    println!("{streams} streams, {all} shards after {took:?}");
    assert!(descriptions.most_within_a_second() <= 20);
    assert!(worker.codes().is_empty(), "{:?}", worker.handle.status().problems);
    worker.stop().await;
}
