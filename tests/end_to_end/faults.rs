//! AWS calls that fail, are throttled, or lose their answers.

use std::time::Duration;

use kcl_local::faults::{Fault, Loss, Rule};
use kcl_tests::{Behaviour, World, WorldOptions};
use tokio::time::sleep;

async fn survives(faults: impl IntoIterator<Item = Rule>, limit: Duration) -> World {
    let world = World::with_shards(4).await;
    let rules: Vec<_> = faults
        .into_iter()
        .map(|rule| world.servers.faults.add(rule))
        .collect();
    let workers = [world.start("w1"), world.start("w2")];
    for _ in 0..10 {
        world.put(40, 100).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.until_drained(limit).await;
    assert!(
        rules.iter().all(|rule| world.servers.faults.hits(*rule) > 0),
        "every fault was met"
    );
    world.assert_nothing_lost();
    drop(workers);
    world
}

#[tokio::test(start_paused = true)]
async fn throttled_and_failing_reads_are_repeated() {
    let world = survives(
        [
            Rule::on("GetRecords")
                .by("w1")
                .times(20)
                .fault(Fault::throttled()),
            Rule::on("GetRecords")
                .by("w2")
                .times(20)
                .fault(Fault::internal_error()),
            Rule::on("GetShardIterator").times(10).fault(Fault::throttled()),
            Rule::on("ListShards").times(4).fault(Fault::throttled()),
        ],
        Duration::from_secs(60),
    )
    .await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn writes_whose_answers_are_lost_count_once() {
    let world = survives(
        [
            Rule::on("UpdateItem")
                .by("w1")
                .skip(3)
                .times(15)
                .fault(Fault::drop_answer(Loss::Reset)),
            Rule::on("UpdateItem")
                .by("w2")
                .skip(3)
                .times(15)
                .fault(Fault::drop_answer(Loss::TimedOut)),
            Rule::on("PutItem")
                .times(10)
                .fault(Fault::drop_answer(Loss::Reset)),
        ],
        Duration::from_secs(60),
    )
    .await;
    assert_eq!(
        world.ledger.called("lease_lost"),
        vec![],
        "a lost answer is no lost lease"
    );
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_table_that_throttles_for_a_while_costs_time_but_nothing_else() {
    survives(
        [
            Rule::on("UpdateItem")
                .skip(10)
                .times(60)
                .fault(Fault::throttled()),
            Rule::on("Scan").skip(2).times(30).fault(Fault::throttled()),
            Rule::on("Query").skip(2).times(30).fault(Fault::internal_error()),
        ],
        Duration::from_secs(60),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn expired_iterators_are_replaced() {
    let world = World::with_shards(1).await;
    let worker = world.start("w1");
    world.put(5, 50).await;
    world.until_drained(Duration::from_secs(5)).await;
    let rule = Rule::on("GetRecords")
        .times(3)
        .fault(Fault::respond(400, "ExpiredIteratorException"));
    let rule = world.servers.faults.add(rule);
    world.put(5, 50).await;
    world.until_drained(Duration::from_secs(10)).await;
    assert_eq!(world.servers.faults.hits(rule), 3);
    world.assert_exactly_once();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_cut_off_from_the_table_is_replaced_and_comes_back() {
    let world = World::with_shards(4).await;
    let (first, second) = (world.start("w1"), world.start("w2"));
    world
        .until_processing(&[&first, &second], &[2, 2], Duration::from_secs(10))
        .await;
    let cut = ["UpdateItem", "GetItem", "PutItem", "Scan", "Query", "DeleteItem"];
    let cut: Vec<_> = cut
        .into_iter()
        .map(|op| {
            world
                .servers
                .faults
                .add(Rule::on(op).by("w1").fault(Fault::unreachable()))
        })
        .collect();
    for _ in 0..15 {
        world.put(40, 100).await;
        sleep(Duration::from_secs(1)).await;
    }
    world
        .until_processing(&[&first, &second], &[0, 4], Duration::from_secs(10))
        .await;
    let problems = first.handle.status().problems;
    assert!(
        problems.iter().any(|problem| problem.code == "discovery-failing"),
        "{problems:?}"
    );
    assert_eq!(second.handle.status().problems, []);
    world.until_drained(Duration::from_secs(5)).await;
    for rule in cut {
        world.servers.faults.remove(rule);
    }
    world
        .until_processing(&[&first, &second], &[2, 2], Duration::from_secs(30))
        .await;
    world.put(40, 100).await;
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_nothing_lost();
    first
        .until(Duration::from_secs(10), |status| status.problems.is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_s_read_rate_is_respected() {
    let world = World::new(WorldOptions {
        shards: 2,
        enforce_limits: true,
        ..WorldOptions::default()
    })
    .await;
    let throttled = Rule::on("GetRecords").by("w1");
    let reads = world.servers.faults.add(throttled.fault(Fault::none()));
    let worker = world.start("w1");
    world
        .until_processing(&[&worker], &[2], Duration::from_secs(5))
        .await;
    for _ in 0..10 {
        world.put(20, 200).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.until_drained(Duration::from_secs(10)).await;
    world.assert_exactly_once();
    let status = worker.handle.status();
    assert!(
        status.shards.iter().all(|shard| shard.problem.is_none()),
        "{status:?}"
    );
    assert!(
        world.servers.faults.hits(reads) <= 2 * 5 * 25,
        "more than five reads per second and shard"
    );
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_costs_few_calls() {
    let world = World::with_shards(8).await;
    let count = |operation: &str| world.servers.faults.add(Rule::on(operation).fault(Fault::none()));
    let (updates, reads) = (count("UpdateItem"), count("GetRecords"));
    let worker = world.run("w1", world.builder("w1", Behaviour::default()));
    world
        .until_processing(&[&worker], &[8], Duration::from_secs(5))
        .await;
    let before = (
        world.servers.faults.hits(updates),
        world.servers.faults.hits(reads),
    );
    sleep(Duration::from_secs(100)).await;
    let used = (
        world.servers.faults.hits(updates) - before.0,
        world.servers.faults.hits(reads) - before.1,
    );
    assert!(
        used.0 <= 8 * 31,
        "{} writes in 100 s for 8 leases; renewals are due every 3.3 s",
        used.0
    );
    assert!(used.1 <= 8 * 110, "{} reads in 100 s of 8 idle shards", used.1);
    worker.stop().await;
}
