//! How often, how much and for how long shards are read.

use std::num::NonZeroU64;
use std::time::Duration;

use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_core::{InitialPosition, WorkerStatus};
use kcl_local::faults::{Fault, Loss, Rule, RuleId};
use kcl_tests::{Running, World, WorldOptions, eventually};
use tokio::time::{Instant, sleep};

use crate::witness::{Notes, builder};

const MIB: usize = 1 << 20;

/// A stream of one shard that keeps the service's limits, and records of this size in it.
async fn filled(records: usize, size: usize) -> World {
    let world = World::new(WorldOptions {
        shards: 1,
        enforce_limits: true,
        ..WorldOptions::default()
    })
    .await;
    put(&world, records, size).await;
    world
}

async fn put(world: &World, records: usize, size: usize) {
    for _ in 0..records {
        let put = world
            .kinesis
            .put_record()
            .stream_name("clicks")
            .partition_key("k");
        put.data(Blob::new(vec![b'x'; size])).send().await.expect("put");
        sleep(Duration::from_secs_f64(size as f64 / MIB as f64 + 0.01)).await;
    }
}

/// Counts the worker's requests of a kind, which meet no fault.
fn count(world: &World, operation: &str) -> RuleId {
    world.servers.faults.add(Rule::on(operation).by("w1"))
}

fn start(world: &World, notes: &Notes) -> Running {
    let builder = builder(world, "w1", notes).initial_position(InitialPosition::TrimHorizon);
    world.run("w1", builder)
}

/// Waits until so many records were delivered, while the status is well.
async fn until_delivered(worker: &Running, notes: &Notes, records: usize, limit: Duration) {
    let is_done = || {
        let status = worker.handle.status();
        assert!(
            status.shards.iter().all(|shard| shard.problem.is_none()),
            "{status:?}"
        );
        (notes.records().len() >= records).then_some(())
    };
    eventually(limit, is_done, || format!("{} records", notes.records().len())).await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_at_two_megabytes_a_second_without_being_throttled() {
    let world = filled(210, 100_000).await;
    let (notes, reads) = (Notes::default(), count(&world, "GetRecords"));
    let worker = start(&world, &notes);
    until_delivered(&worker, &notes, 210, Duration::from_secs(13)).await;
    let reads = world.servers.faults.hits(reads);
    assert!(reads <= 6, "{reads} reads for two full answers and a rest");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_that_arrive_later_are_delivered_within_the_idle_time() {
    let world = World::with_shards(1).await;
    let _worker = world.start("one");
    world.until_called("initialize", 1, Duration::from_secs(60)).await;
    sleep(Duration::from_secs(30)).await;
    for _ in 0..5 {
        world.put(1, 1).await;
        world.until_drained(Duration::from_secs(2)).await;
        world.assert_exactly_once();
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_shared_with_another_reader_without_a_word() {
    let world = filled(60, 1_000).await;
    let notes = Notes::default();
    let other = world.kinesis.clone();
    let greedy = tokio::spawn(async move {
        let iterator = other.get_shard_iterator().stream_name("clicks");
        let iterator = iterator.shard_id("shardId-000000000000");
        let iterator = iterator
            .shard_iterator_type(ShardIteratorType::TrimHorizon)
            .send()
            .await
            .unwrap();
        let iterator = iterator.shard_iterator.unwrap();
        let mut refused = 0;
        loop {
            let read = other.get_records().shard_iterator(&iterator).send().await;
            refused += u32::from(read.is_err());
            sleep(Duration::from_millis(210)).await;
            if refused > 1_000 {
                return;
            }
        }
    });
    let worker = start(&world, &notes);
    until_delivered(&worker, &notes, 60, Duration::from_secs(30)).await;
    for round in 1..=10 {
        put(&world, 1, 1_000).await;
        until_delivered(&worker, &notes, 60 + round, Duration::from_secs(20)).await;
    }
    assert!(worker.handle.status().problems.is_empty());
    greedy.abort();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn throttling_that_lasts_is_a_problem_until_it_ends() {
    let world = filled(1, 10).await;
    let notes = Notes::default();
    let rule = world
        .servers
        .faults
        .add(Rule::on("GetRecords").by("w1").fault(Fault::throttled()));
    let worker = start(&world, &notes);
    sleep(Duration::from_secs(50)).await;
    let code = |worker: &Running| {
        let status = worker.handle.status();
        status.problems.first().map(|problem| problem.code)
    };
    assert_eq!(code(&worker), None, "it is only the pace");
    sleep(Duration::from_secs(50)).await;
    assert_eq!(code(&worker), Some("reads-throttled"));
    world.servers.faults.remove(rule);
    notes.until(1).await;
    assert_eq!(code(&worker), None);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_carry_a_full_answer_in_time_gets_smaller_reads() {
    let world = filled(200, 100_000).await;
    let rate = NonZeroU64::new(1_000_000).expect("more than nothing");
    let link = Fault::none().over_link(rate);
    world
        .servers
        .faults
        .add(Rule::on("GetRecords").by("w1").fault(link));
    let notes = Notes::default();
    let worker = start(&world, &notes);
    // 20 MB of records are 27 MB of text.
    let began = Instant::now();
    notes.until(200).await;
    assert!(began.elapsed() < Duration::from_secs(80), "{:?}", began.elapsed());
    worker.stop().await;
}

/// A worker on a stream with records of 10 MiB, with a bound of memory.
async fn large_records(world: &World, records: usize, notes: &Notes) -> Running {
    let creation = world.kinesis.create_stream().stream_name("large").shard_count(1);
    creation
        .max_record_size_in_kib(10_240)
        .send()
        .await
        .expect("created");
    sleep(Duration::from_secs(60)).await;
    for _ in 0..records {
        let put = world.kinesis.put_record().stream_name("large").partition_key("k");
        put.data(Blob::new(vec![b'x'; 10 * MIB - 1]))
            .send()
            .await
            .expect("put");
        sleep(Duration::from_secs(11)).await;
    }
    let builder = builder(&world.on_stream("large"), "w1", notes)
        .initial_position(InitialPosition::TrimHorizon)
        .prefetch_bytes_per_worker(48 << 20);
    world.run("w1", builder)
}

async fn unpoliced() -> World {
    World::new(WorldOptions {
        shards: 1,
        enforce_limits: true,
        is_policed: false,
        ..WorldOptions::default()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn records_of_ten_mebibytes_get_through() {
    let (world, notes) = (unpoliced().await, Notes::default());
    let worker = large_records(&world, 4, &notes).await;
    until_delivered(&worker, &notes, 4, Duration::from_secs(30)).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_ten_mebibytes_gets_through_a_link_that_takes_longer_than_a_usual_call_may() {
    let (world, notes) = (unpoliced().await, Notes::default());
    let rate = NonZeroU64::new(700_000).expect("more than nothing");
    world
        .servers
        .faults
        .add(Rule::on("GetRecords").fault(Fault::none().over_link(rate)));
    let worker = large_records(&world, 1, &notes).await;
    notes.until(1).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_whose_lag_never_becomes_zero_calms_down() {
    let world = filled(3, 10).await;
    let notes = Notes::default();
    let worker = start(&world, &notes);
    notes.until(3).await;
    let lagging = Rule::on("GetRecords")
        .by("w1")
        .fault(Fault::empty_page(Duration::from_millis(700)));
    let lagging = world.servers.faults.add(lagging);
    sleep(Duration::from_secs(60)).await;
    let reads = world.servers.faults.hits(lagging);
    assert!((50..=80).contains(&reads), "{reads} reads in a minute");
    world.servers.faults.remove(lagging);
    put(&world, 1, 10).await;
    until_delivered(&worker, &notes, 4, Duration::from_secs(2)).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn answers_without_records_on_the_way_through_a_backlog_are_neither_its_end_nor_a_reason_to_slow_down()
{
    let world = filled(3, 10).await;
    for lag in (1..=200).rev() {
        let page = Fault::empty_page(Duration::from_secs(lag));
        world
            .servers
            .faults
            .add(Rule::on("GetRecords").by("w1").times(1).fault(page));
    }
    let notes = Notes::default();
    let began = Instant::now();
    let worker = start(&world, &notes);
    until_delivered(&worker, &notes, 3, Duration::from_secs(60)).await;
    assert!(
        began.elapsed() >= Duration::from_secs(40),
        "the service's limit of reads is kept"
    );
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_though_the_client_has_no_time_outs_and_the_connection_swallows_everything() {
    let world = World::with_shards(1).await;
    put(&world, 3, 10).await;
    let notes = Notes::default();
    let config = aws_sdk_kinesis::config::Builder::from(&world.aws("w1"))
        .timeout_config(TimeoutConfig::disabled())
        .build();
    let client = aws_sdk_kinesis::Client::from_conf(config);
    let operations = [
        "ListShards",
        "DescribeStreamSummary",
        "GetShardIterator",
        "GetRecords",
    ];
    for operation in operations {
        let swallowed = Fault::drop_request(Loss::Hang);
        world
            .servers
            .faults
            .add(Rule::on(operation).by("w1").times(2).fault(swallowed));
    }
    let builder = builder(&world, "w1", &notes)
        .initial_position(InitialPosition::TrimHorizon)
        .kinesis_client(client);
    let worker = world.run("w1", builder);
    let is_done = |_: &WorkerStatus| notes.records().len() == 3;
    worker.until(Duration::from_secs(240), is_done).await;
    worker.stop().await;
}
