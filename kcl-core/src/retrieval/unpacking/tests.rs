use std::sync::Arc;

use super::*;
use crate::memory::Budget;
use crate::record::tests::{aggregate, record};
use crate::retrieval::buffer::buffer;

fn batch(records: Vec<Record>, is_last: bool) -> RecordBatch {
    RecordBatch::new(records, Some(7), is_last, std::time::UNIX_EPOCH)
}

/// All batches that a batch comes to, as positions; and how many user records were left out.
fn unpacked(unpacking: &mut Unpacking, batch: RecordBatch) -> (Vec<Vec<String>>, u64) {
    let (mut batches, mut left_out) = (Vec::new(), 0);
    let mut packed = Some(Packed::new(batch));
    while let Some(rest) = packed.take() {
        let next = unpacking.next(rest);
        let positions = next.batch.iter().map(|record| record.position().to_string());
        batches.push(positions.collect());
        left_out += next.left_out;
        assert_eq!(next.batch.millis_behind_latest(), Some(7));
        packed = next.rest;
    }
    (batches, left_out)
}

fn user_record(key: &str, hash_key: Option<&str>) -> kcl_aggregation::UserRecord {
    let record = kcl_aggregation::UserRecord::new(key.to_owned(), "data");
    match hash_key {
        Some(hash_key) => record.explicit_hash_key(hash_key.to_owned()),
        None => record,
    }
}

fn aggregate_of(
    sequence: u64,
    user_records: impl IntoIterator<Item = kcl_aggregation::UserRecord>,
) -> Record {
    let mut aggregator = kcl_aggregation::Aggregator::default();
    for user_record in user_records {
        aggregator.push(user_record).expect("valid");
    }
    let data = aggregator.finish().expect("pushed").data;
    let mut record = crate::record::builder::record(data)
        .sequence_number(sequence)
        .build();
    record.look_inside(true);
    record
}

#[test]
fn user_records_come_in_order_among_plain_ones_as_many_as_a_batch_may_have() {
    let records = || vec![record(1), aggregate(2), record(3), aggregate(4)];
    let all = ["1", "2", "2:1", "2:2", "3", "4", "4:1", "4:2"];
    for size in 1..10_u32 {
        let (batches, left_out) = unpacked(&mut Unpacking::new(size, None), batch(records(), false));
        let expected: Vec<Vec<_>> = all
            .chunks(size as usize)
            .map(|chunk| chunk.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(batches, expected, "{size}");
        assert_eq!(left_out, 0);
    }
}

#[test]
fn only_the_last_part_is_the_shard_s_last_and_only_the_first_is_behind_the_gap() {
    let whole = batch(vec![aggregate(2)], true).behind(Some(crate::record::Gap { after: None }));
    let mut unpacking = Unpacking::new(2, None);
    let first = unpacking.next(Packed::new(whole));
    assert!(!first.batch.is_last() && first.batch.gap().is_some());
    let second = unpacking.next(first.rest.expect("one user record is left"));
    assert!(second.batch.is_last() && second.batch.gap().is_none() && second.rest.is_none());
}

#[test]
fn each_part_knows_the_user_record_in_front_of_it() {
    let front = aggregate(1).detach_to(1);
    let whole = batch(vec![aggregate(2)], false).after(Some(front));
    let mut unpacking = Unpacking::new(2, None);
    let front_of = |batch: &RecordBatch| batch.front().map(|front| front.position().to_string());
    let first = unpacking.next(Packed::new(whole));
    assert_eq!(
        front_of(&first.batch).as_deref(),
        Some("1:1"),
        "what was done of the one before"
    );
    let second = unpacking.next(first.rest.expect("one user record is left"));
    assert_eq!(front_of(&second.batch).as_deref(), Some("2:1"));
}

#[test]
fn user_records_of_other_shards_are_left_out_one_by_one() {
    // The digest of "a" begins with 0c, that of "b" with 92.
    let lower = HashRange::new(0, u128::MAX / 2);
    let records = || {
        vec![aggregate_of(
            5,
            [
                user_record("b", None),
                user_record("b", None),
                user_record("a", None),
                user_record("a", Some("340282366920938463463374607431768211455")),
                user_record("b", Some("7")),
                user_record("a", None),
            ],
        )]
    };
    let (batches, left_out) = unpacked(&mut Unpacking::new(10, Some(lower)), batch(records(), false));
    assert_eq!(batches, [["5:2", "5:4", "5:5"]]);
    assert_eq!(left_out, 3);
    let (batches, left_out) = unpacked(&mut Unpacking::new(10, None), batch(records(), false));
    assert_eq!(
        (batches[0].len(), left_out),
        (6, 0),
        "a range that is not known leaves nothing out"
    );
}

#[test]
fn an_explicit_hash_key_that_is_no_number_leaves_nothing_out() {
    let mut judge = Judge {
        range: Some(HashRange::new(0, 1)),
        last: None,
    };
    assert!(judge.belongs(&user_record("b", Some("no number"))));
    assert!(!judge.belongs(&user_record("b", None)));
}

#[test]
fn an_end_of_which_all_is_left_out_is_told() {
    let upper = HashRange::new(u128::MAX / 2, u128::MAX);
    let records = vec![aggregate_of(5, [user_record("a", None), user_record("a", None)])];
    let next = Unpacking::new(10, Some(upper)).next(Packed::new(batch(records, true)));
    assert!(next.batch.is_empty() && next.batch.is_last() && next.rest.is_none());
}

/// What a shard holds in the budget while a processor works its way through a batch.
#[tokio::test]
async fn user_records_hold_what_they_take_and_give_it_back() {
    let budget = Budget::new(1 << 20);
    let (mut inlet, mut outlet) = buffer(1 << 20, &budget);
    let (claim, _) = inlet
        .room(|_| crate::memory::Wish {
            most: 1 << 16,
            least: 1,
            is_guess: false,
        })
        .await;
    let user_records = (0..100).map(|_| user_record("a", None));
    let whole = aggregate_of(1, user_records);
    let packed = whole.weight();
    assert!(inlet.send(batch(vec![whole], false), Vec::new(), claim));
    let delivery = outlet.next().await.expect("sent");
    let unprocessed: Arc<_> = delivery.unprocessed;
    let mut unpacking = Unpacking::new(60, None);
    let first = unpacking.next(Packed::new(delivery.batch));
    let held = || inlet.held_bytes();
    assert!(held() >= packed + 60 * 192, "{}", held());
    let second = unpacking.next(first.rest.expect("more"));
    assert!(second.rest.is_none());
    assert!(held() >= packed + 100 * 192, "{}", held());
    drop(first.batch);
    assert!(held() < packed + 60 * 192, "{}", held());
    let kept = second.batch.records()[0].clone();
    drop((second.batch, unprocessed));
    assert!(held() < packed, "{}: one is kept", held());
    drop(kept);
    assert_eq!(held(), 0);
}
