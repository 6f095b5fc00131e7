use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_core::testing::{self, TestShard};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Loss, Rule};

use super::*;
use crate::pageviews::Click;

const STREAM: &str = "clicks 1800000000";

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Records with these numbers, all of them views of one page in one minute.
fn batch(numbers: std::ops::RangeInclusive<u64>) -> RecordBatch {
    let clicks = numbers.clone().map(|_| Click::payload(1, "/basket", time()));
    testing::batch_from(*numbers.start(), clicks.collect::<Vec<_>>())
}

struct World {
    faults: FaultScript,
    results: Results,
    shard: TestShard,
}

impl World {
    async fn new() -> Self {
        let faults = FaultScript::new();
        let backend = Backend::builder().faults(faults.clone()).build();
        let client = aws_sdk_dynamodb::Client::new(&backend.sdk_config());
        let results = Results::new(client, "views");
        results.ensure().await.unwrap();
        results.ensure().await.expect("it is there");
        let shard = TestShard::new().await;
        Self {
            faults,
            results,
            shard,
        }
    }

    fn owner(&self) -> PageViews {
        PageViews::new(self.results.clone(), STREAM, self.shard.context())
    }

    async fn total(&self) -> u64 {
        let views = self.results.views().await.unwrap();
        views.iter().map(|view| view.views).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn views_are_counted_by_page_minute_and_shard() {
    let world = World::new().await;
    let mut owner = world.owner();
    owner.count(&batch(1..=3)).await.unwrap();
    owner.count(&batch(4..=5)).await.unwrap();
    let views = world.results.views().await.unwrap();
    let [view] = views.as_slice() else {
        panic!("{views:?}");
    };
    assert_eq!(
        (view.page.as_str(), view.minute.as_str(), view.views),
        ("/basket", "2027-01-15T08:00", 5)
    );
    assert!(view.shard.ends_with(STREAM), "{}", view.shard);
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_counts_nothing_again_whatever_it_begins_with() {
    let world = World::new().await;
    world.owner().count(&batch(1..=10)).await.unwrap();
    // The one before had not checkpointed, and batches are cut elsewhere.
    let mut next = world.owner();
    next.count(&batch(1..=4)).await.unwrap();
    assert_eq!(world.total().await, 10);
    next.count(&batch(5..=15)).await.unwrap();
    assert_eq!(world.total().await, 15);
}

#[tokio::test(start_paused = true)]
async fn two_owners_at_a_time_count_each_record_once() {
    let world = World::new().await;
    let (mut stale, mut owner) = (world.owner(), world.owner());
    stale.count(&batch(1..=2)).await.unwrap();
    owner.count(&batch(1..=5)).await.unwrap();
    // It has not noticed that it has lost the shard, and is behind, and then ahead.
    stale.count(&batch(3..=4)).await.unwrap();
    stale.count(&batch(5..=9)).await.unwrap();
    owner.count(&batch(6..=12)).await.unwrap();
    assert_eq!(world.total().await, 12);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_counts_once() {
    let world = World::new().await;
    let mut owner = world.owner();
    owner.count(&batch(1..=2)).await.unwrap();
    world.faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::drop_answer(Loss::Reset)),
    );
    owner.count(&batch(3..=4)).await.unwrap();
    assert_eq!(
        world.total().await,
        4,
        "the SDK's second attempt was refused, and understood"
    );
    let refused = Fault::respond(400, "ValidationException");
    world.faults.add(Rule::on("UpdateItem").times(1).fault(refused));
    owner.count(&batch(5..=6)).await.unwrap_err();
    owner.count(&batch(5..=6)).await.unwrap();
    assert_eq!(world.total().await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_table_of_another_application_is_not_written_to() {
    let world = World::new().await;
    let row = Row {
        page: "/basket".to_owned(),
        minute: crate::pageviews::Minute::of(time()),
        shard: format!("{} of {STREAM}", world.shard.context().shard_id),
    };
    let client = &world.results;
    client.put_foreign(&row).await;
    let error = world.owner().count(&batch(1..=2)).await.unwrap_err();
    assert!(
        error.to_string().contains("give it a table of its own"),
        "{error}"
    );
}
