//! A lease table that is not as it should be: what is wrong is told, and the rest works on.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::WorkerStatus;
use kcl_local::faults::{Fault, Rule};
use kcl_tests::{Behaviour, Running, World, eventually};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

fn problem(worker: &Running, code: &str) -> Option<String> {
    let problems = worker.handle.status().problems;
    let problem = problems.into_iter().find(|problem| problem.code == code);
    problem.map(|problem| problem.text)
}

async fn until_told(worker: &Running, code: &str) -> String {
    eventually(
        3 * SECOND,
        || problem(worker, code),
        || format!("{code} is not told"),
    )
    .await
}

async fn until_settled(worker: &Running, code: &str) {
    let is_settled = |status: &WorkerStatus| status.problems.iter().all(|problem| problem.code != code);
    worker.until(3 * SECOND, is_settled).await;
}

/// Changes a lease's row by hand; `None` removes the attribute.
async fn edit(world: &World, shard: &str, attribute: &str, value: Option<AttributeValue>) {
    let client = aws_sdk_dynamodb::Client::new(&world.aws(""));
    let request = client
        .update_item()
        .table_name("app")
        .key("leaseKey", AttributeValue::S(shard.to_owned()))
        .expression_attribute_names("#it", attribute);
    let request = match value {
        Some(value) => request
            .update_expression("SET #it = :it")
            .set_expression_attribute_values(Some(HashMap::from([(":it".to_owned(), value)]))),
        None => request.update_expression("REMOVE #it"),
    };
    request.send().await.expect("edited");
}

fn text(text: &str) -> Option<AttributeValue> {
    Some(AttributeValue::S(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_read_are_told_and_the_other_shards_flow() {
    let world = World::with_shards(4).await;
    let worker = world.start("w1");
    world.until_processing(&[&worker], &[4], 5 * SECOND).await;
    worker.stop().await;
    let shards = world.open_shards().await;
    for (attribute, value, right, says) in [
        (
            "checkpoint",
            text("trim_horizon"),
            text("TRIM_HORIZON"),
            "\"trim_horizon\" is neither",
        ),
        ("checkpoint", text(""), text("TRIM_HORIZON"), "\"\" is neither"),
        ("checkpoint", None, text("TRIM_HORIZON"), "checkpoint is missing"),
        (
            "leaseCounter",
            None,
            Some(AttributeValue::N("7".into())),
            "leaseCounter is missing",
        ),
        (
            "leaseCounter",
            text("7"),
            Some(AttributeValue::N("7".into())),
            "leaseCounter is not a number",
        ),
    ] {
        edit(&world, &shards[1], attribute, value).await;
        let often_audited = world
            .builder("w1", Behaviour::default())
            .audit_interval(5 * SECOND);
        let worker = world.run("w1", often_audited);
        world.until_processing(&[&worker], &[3], 5 * SECOND).await;
        let told = until_told(&worker, "rows-unreadable").await;
        assert!(told.contains(&shards[1]) && told.contains(says), "{told}");
        sleep(15 * SECOND).await;
        assert_eq!(
            world.leases().await.len(),
            3,
            "no row is made anew, nor guessed at"
        );
        edit(&world, &shards[1], attribute, right).await;
        world.until_processing(&[&worker], &[4], 5 * SECOND).await;
        until_settled(&worker, "rows-unreadable").await;
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_goes_on_when_its_row_is_made_unreadable_and_mends_it() {
    let world = World::with_shards(2).await;
    let worker = world.start("w1");
    world.until_processing(&[&worker], &[2], 5 * SECOND).await;
    let shards = world.open_shards().await;
    edit(&world, &shards[0], "checkpoint", text("soon")).await;
    until_told(&worker, "rows-unreadable").await;
    sleep(30 * SECOND).await;
    world.put(16, 64).await;
    world.until_checkpointed(5 * SECOND).await;
    until_settled(&worker, "rows-unreadable").await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_owner_index_is_missing_starts_and_hands_shards_on() {
    let world = World::with_shards(6).await;
    let first = world.start("w1");
    world.until_processing(&[&first], &[6], 5 * SECOND).await;
    let missing = Rule::on("Query").fault(Fault::respond(400, "ResourceNotFoundException"));
    let rule = world.servers.faults.add(missing);
    let second = world.start("w2");
    world
        .until_processing(&[&first, &second], &[3, 3], 12 * SECOND)
        .await;
    let told = until_told(&second, "owner-index-failing").await;
    assert!(told.contains("by scans"), "{told}");
    assert_eq!(problem(&second, "discovery-failing"), None);
    first.stop().await;
    world.until_processing(&[&second], &[6], 5 * SECOND).await;
    world.put(16, 64).await;
    world.until_drained(5 * SECOND).await;
    world.servers.faults.remove(rule);
    until_settled(&second, "owner-index-failing").await;
    world.assert_exactly_once();
}
