//! With shards of which the test plays the worker, in virtual time.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::adapters::testing::{LONG, SOON, batch, until_checkpointed};
use crate::testing::TestShard;

fn payload(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.record().data()).into_owned()
}

async fn next(deliveries: &mut Deliveries) -> Delivery {
    let next = timeout(LONG, deliveries.next()).await;
    next.expect("in time").expect("not over")
}

/// So many, in the order in which they come.
async fn take(deliveries: &mut Deliveries, records: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < records {
        taken.push(next(deliveries).await);
    }
    taken
}

fn payloads(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(payload).collect()
}

/// Whether there is nothing to take now.
fn waits(deliveries: &mut Deliveries) -> bool {
    deliveries.next().now_or_never().is_none()
}

#[tokio::test(start_paused = true)]
async fn records_come_in_order_and_are_acknowledged_in_any_and_the_checkpoint_follows_what_is_completely_done()
 {
    let (processors, mut deliveries) = deliveries(10);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "a", "b"]))
        .await
        .expect("taken in");
    let taken = take(&mut deliveries, 3).await;
    assert_eq!(payloads(&taken), ["a", "a", "b"]);
    assert_eq!(taken[2].shard_id(), "shardId-000000000000");
    let [first, second, third]: [Delivery; 3] = taken.try_into().expect("three");
    third.ack();
    first.ack();
    until_checkpointed(&shard, "1").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shard.checkpoints(), ["1"], "the second one is not done");
    second.ack();
    until_checkpointed(&shard, "3").await;
    assert_eq!(deliveries.unacknowledged(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_out_than_may_be_and_the_next_one_comes_when_one_is_acknowledged() {
    let (processors, mut deliveries) = deliveries(2);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b", "c"]))
        .await
        .expect("taken in");
    let mut taken = take(&mut deliveries, 2).await;
    assert!(waits(&mut deliveries));
    let waiting = tokio::spawn(async move {
        let third = next(&mut deliveries).await;
        (payload(&third), deliveries)
    });
    sleep(SOON).await;
    assert!(!waiting.is_finished());
    taken.remove(0).ack();
    let (third, _deliveries) = timeout(SOON, waiting).await.expect("woken").expect("whole");
    assert_eq!(third, "c");
}

#[tokio::test(start_paused = true)]
async fn no_more_are_out_of_all_shards_together_than_may_be() {
    let (processors, mut deliveries) = deliveries(3);
    let (mut left, mut right) = (TestShard::new().await, TestShard::new().await);
    let (mut of_left, mut of_right) = (processors(left.context()), processors(right.context()));
    for (shard, processor) in [(&mut left, &mut of_left), (&mut right, &mut of_right)] {
        shard
            .process(processor, &batch(1, ["a", "b"]))
            .await
            .expect("taken in");
    }
    let mut taken = take(&mut deliveries, 3).await;
    assert!(waits(&mut deliveries));
    assert_eq!(deliveries.unacknowledged(), 3);
    taken.remove(0).ack();
    taken.push(next(&mut deliveries).await);
    assert!(waits(&mut deliveries));
}

#[tokio::test(start_paused = true)]
async fn shards_take_turns_and_one_that_is_not_acknowledged_leaves_places_to_the_others() {
    let (processors, mut deliveries) = DeliveryOptions::new(10).max_per_shard(2).split();
    let (mut left, mut right) = (TestShard::new().await, TestShard::new().await);
    let (mut of_left, mut of_right) = (processors(left.context()), processors(right.context()));
    left.process(&mut of_left, &batch(1, ["l1", "l2", "l3", "l4"]))
        .await
        .expect("taken in");
    right
        .process(&mut of_right, &batch(1, ["r1", "r2", "r3"]))
        .await
        .expect("taken in");
    let mut taken = take(&mut deliveries, 4).await;
    assert_eq!(payloads(&taken), ["l1", "r1", "l2", "r2"]);
    assert!(waits(&mut deliveries));
    taken.remove(1).ack();
    assert_eq!(payload(&next(&mut deliveries).await), "r3");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_or_is_dropped_comes_again_and_others_go_on() {
    let (processors, mut deliveries) = deliveries(10);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["bad", "dropped", "good"]))
        .await
        .expect("taken in");
    let [bad, dropped, good]: [Delivery; 3] = take(&mut deliveries, 3).await.try_into().expect("three");
    assert_eq!(bad.failures(), 0);
    let failed_at = Instant::now();
    bad.fail("not today");
    drop(dropped);
    good.ack();
    sleep(Duration::from_millis(1)).await;
    let problem = shard.status().problem.expect("told");
    assert_eq!(problem.code, "record-failing");
    assert!(problem.text.contains("a delivered record fails"), "{problem:?}");
    let again = take(&mut deliveries, 2).await;
    assert!(failed_at.elapsed() >= SOON, "with a pause");
    let mut which = payloads(&again);
    which.sort();
    assert_eq!(which, ["bad", "dropped"]);
    assert_eq!(again.iter().map(Delivery::failures).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(shard.checkpoints(), [""; 0]);
    again.into_iter().for_each(Delivery::ack);
    until_checkpointed(&shard, "3").await;
    assert_eq!(shard.status().problem, None);
}

#[tokio::test(start_paused = true)]
async fn with_keys_the_next_one_of_a_key_comes_when_the_one_before_is_acknowledged() {
    let (processors, mut deliveries) = DeliveryOptions::new(10).keyed().split();
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a/1", "a/2", "b/1"]))
        .await
        .expect("taken in");
    let mut taken = take(&mut deliveries, 2).await;
    assert_eq!(payloads(&taken), ["a/1", "b/1"]);
    assert!(waits(&mut deliveries));
    taken.remove(0).ack();
    assert_eq!(payload(&next(&mut deliveries).await), "a/2");
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_delivers_nothing_more_and_waits_for_what_is_out() {
    let (processors, mut deliveries) = deliveries(1);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b"]))
        .await
        .expect("taken in");
    let first = next(&mut deliveries).await;
    let leaving = tokio::spawn(async move {
        shard.shut_down(&mut processor).await.expect("given up");
        shard
    });
    sleep(Duration::from_secs(20)).await;
    assert!(!leaving.is_finished());
    first.ack();
    let shard = timeout(SOON, leaving).await.expect("in time").expect("whole");
    assert_eq!(shard.checkpoints(), ["1"]);
    assert!(waits(&mut deliveries), "the second one is another worker's");
}

#[tokio::test(start_paused = true)]
async fn a_shard_ends_when_all_are_acknowledged_by_a_thread_without_a_runtime() {
    let (processors, mut deliveries) = deliveries(10);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b"]))
        .await
        .expect("taken in");
    let taken = take(&mut deliveries, 2).await;
    let ending = async { shard.end(&mut processor).await };
    let settling = async move {
        let [first, second]: [Delivery; 2] = taken.try_into().expect("two");
        let thread = std::thread::spawn(move || {
            second.fail("not yet");
            first.ack();
        });
        thread.join().expect("whole");
        next(&mut deliveries).await.ack();
    };
    let (ended, ()) = tokio::join!(ending, settling);
    ended.expect("all is done");
    assert_eq!(shard.checkpoints(), ["2", "SHARD_END"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_after_the_lease_is_lost_does_not_count() {
    let (processors, mut deliveries) = deliveries(1);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b"]))
        .await
        .expect("taken in");
    let first = next(&mut deliveries).await;
    assert!(first.is_lease_valid());
    let losing = tokio::spawn(async move {
        shard.lose(&mut processor).await;
        shard
    });
    sleep(SOON).await;
    assert!(!first.is_lease_valid());
    first.ack();
    let shard = timeout(LONG, losing).await.expect("in time").expect("whole");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shard.checkpoints(), [""; 0]);
    assert!(waits(&mut deliveries));
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_when_the_processors_and_what_makes_them_are_gone() {
    let (processors, mut deliveries) = deliveries(10);
    let shard = TestShard::new().await;
    let processor = processors(shard.context());
    drop(processors);
    assert!(waits(&mut deliveries));
    drop(processor);
    let mut stream = std::pin::pin!(deliveries);
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn that_the_stream_was_dropped_is_told_and_nothing_is_lost() {
    let (processors, mut deliveries) = deliveries(10);
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b"]))
        .await
        .expect("taken in");
    next(&mut deliveries).await.ack();
    drop(deliveries);
    let problem = shard.status().problem.expect("told");
    assert_eq!(problem.code, "deliveries-dropped");
    shard.shut_down(&mut processor).await.expect("given up");
    assert_eq!(shard.checkpoints(), ["1"]);
}
