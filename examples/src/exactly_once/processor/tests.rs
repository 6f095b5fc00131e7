use kcl_core::testing::{BatchBuilder, TestShard, batch, batch_from, record};
use kcl_core::{FencingToken, ShardId};

use super::*;
use crate::exactly_once::sqlite::tests::File;
use crate::exactly_once::{Target, Total};

const STREAM: &str = "payments";

/// A shard at a checkpoint, and the processor of an owner with this token.
async fn owned(target: &Target, token: u64, checkpoint: &str) -> (TestShard, ExactlyOnce) {
    let mut shard = TestShard::starting_at(Checkpoint::parse(checkpoint, 0).unwrap()).await;
    shard.context_mut().fencing_token = FencingToken::new(token);
    let processor = ExactlyOnce::new(target.database(), STREAM, shard.context());
    (shard, processor)
}

fn behind(position: &str) -> Begin {
    Begin::Behind(position.parse().unwrap())
}

/// The sum of all accounts.
async fn sum(target: &Target) -> Total {
    let totals = target.database().totals().await.unwrap();
    totals.values().fold(Total::default(), |sum, total| Total {
        balance: sum.balance + total.balance,
        records: sum.records + total.records,
    })
}

fn total(balance: i64, records: i64) -> Total {
    Total { balance, records }
}

#[tokio::test]
async fn whoever_comes_next_begins_where_the_database_is_wherever_the_lease_is() {
    let file = File::new("next").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "TRIM_HORIZON").await;
    assert_eq!(
        shard.initialize(&mut processor).await.unwrap(),
        Begin::AtCheckpoint
    );
    shard.process(&mut processor, &batch(["1", "2"])).await.unwrap();
    assert_eq!(shard.checkpoints(), [""; 0], "the lease does not matter");
    for (token, checkpoint) in [(6, "TRIM_HORIZON"), (7, "1"), (8, "100")] {
        let (mut shard, mut processor) = owned(&file.target, token, checkpoint).await;
        assert_eq!(shard.initialize(&mut processor).await.unwrap(), behind("2"));
    }
    assert_eq!(sum(&file.target).await, total(3, 2));
}

#[tokio::test]
async fn an_owner_that_was_replaced_writes_nothing_and_ends_nothing() {
    let file = File::new("replaced").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "TRIM_HORIZON").await;
    shard.initialize(&mut processor).await.unwrap();
    let (mut fresh, mut next) = owned(&file.target, 6, "TRIM_HORIZON").await;
    fresh.initialize(&mut next).await.unwrap();
    let refused = shard.process(&mut processor, &batch(["1"])).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("has an owner with token 6, and this one has 5"),
        "{refused}"
    );
    assert!(shard.end(&mut processor).await.is_err());
    assert!(shard.initialize(&mut processor).await.is_err());
    assert_eq!(sum(&file.target).await, total(0, 0));
}

#[tokio::test]
async fn a_batch_that_comes_again_is_skipped_and_what_is_new_in_it_is_not() {
    let file = File::new("again").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "TRIM_HORIZON").await;
    shard.initialize(&mut processor).await.unwrap();
    for of in [vec!["1", "2"], vec!["1", "2"], vec!["1", "2", "4"]] {
        shard.process(&mut processor, &batch(of)).await.unwrap();
    }
    assert_eq!(sum(&file.target).await, total(7, 3));
}

#[tokio::test]
async fn a_batch_with_something_that_is_no_amount_changes_nothing() {
    let file = File::new("amount").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "TRIM_HORIZON").await;
    shard.initialize(&mut processor).await.unwrap();
    let refused = shard
        .process(&mut processor, &batch(["1", "much"]))
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "record 2 is no amount");
    assert_eq!(sum(&file.target).await, total(0, 0));
}

#[tokio::test]
async fn inside_an_aggregate_it_goes_on_behind_the_user_record() {
    let file = File::new("aggregate").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "TRIM_HORIZON").await;
    shard.initialize(&mut processor).await.unwrap();
    let user = |index: u64| record("1").sequence_number(7).sub_sequence_number(index).build();
    let part = BatchBuilder::new([user(0), user(1)]).build();
    shard.process(&mut processor, &part).await.unwrap();
    let (mut shard, mut processor) = owned(&file.target, 6, "TRIM_HORIZON").await;
    assert_eq!(shard.initialize(&mut processor).await.unwrap(), behind("7:1"));
    let rest = BatchBuilder::new([user(1), user(2)]).build();
    shard.process(&mut processor, &rest).await.unwrap();
    assert_eq!(sum(&file.target).await, total(3, 3));
}

#[tokio::test]
async fn a_checkpoint_of_a_shard_that_the_database_does_not_know_is_no_place_to_begin() {
    let file = File::new("unknown").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "10").await;
    let refused = shard.initialize(&mut processor).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("at 10, but this database does not know the shard"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_child_does_not_begin_before_the_database_knows_the_end_of_its_parent() {
    let file = File::new("child").await;
    let (mut parent, mut first) = owned(&file.target, 5, "TRIM_HORIZON").await;
    parent.initialize(&mut first).await.unwrap();
    let (mut child, second) = owned(&file.target, 6, "TRIM_HORIZON").await;
    child.context_mut().parents = vec![ShardId::from("shardId-000000000000")];
    child.context_mut().shard_id = ShardId::from("shardId-000000000001");
    let mut second = ExactlyOnce {
        owner: Owner::new(STREAM, child.context()),
        ..second
    };
    let refused = child.initialize(&mut second).await.unwrap_err();
    assert!(
        refused.to_string().contains("delete the lease table"),
        "{refused}"
    );
    parent.end(&mut first).await.unwrap();
    assert_eq!(child.initialize(&mut second).await.unwrap(), Begin::AtCheckpoint);
}

#[tokio::test]
async fn a_gap_is_refused_unless_it_is_accepted_also_with_an_empty_batch() {
    let file = File::new("gap").await;
    let (mut shard, mut processor) = owned(&file.target, 5, "TRIM_HORIZON").await;
    shard.initialize(&mut processor).await.unwrap();
    shard.process(&mut processor, &batch(["1"])).await.unwrap();
    let gap = |records: Vec<_>| {
        let after = record("1").sequence_number(1).build().sequence_number().clone();
        BatchBuilder::new(records).gap_after(Some(after)).build()
    };
    let (empty, full) = (gap(Vec::new()), gap(vec![record("2").sequence_number(9).build()]));
    for batch in [&empty, &full] {
        let refused = shard.process(&mut processor, batch).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("records behind 1 may have been trimmed"),
            "{refused}"
        );
    }
    let mut processor = processor.gaps(Gaps::Accept);
    for batch in [&empty, &full] {
        shard.process(&mut processor, batch).await.unwrap();
    }
    shard
        .process(&mut processor, &batch_from(10, ["4"]))
        .await
        .unwrap();
    assert_eq!(sum(&file.target).await, total(7, 3));
    assert_eq!(file.gaps(), ["records behind 1 may have been trimmed"]);
}
