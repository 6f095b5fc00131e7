//! Shards that are to be processed anew.

use super::*;
use crate::oracle::rewinds;

fn says(counter: u64, checkpoint: Checkpoint, rewind_to: Option<Checkpoint>) -> Row {
    Row {
        owner: Some("a".to_owned()),
        checkpoint_owner: None,
        counter,
        checkpoint,
        rewind_to,
    }
}

fn ordered(counter: u64) -> What {
    What::RowEditedByHand {
        shard: shard(0),
        edit: Edit::Ordered,
        row: says(counter, at(1), Some(Checkpoint::TrimHorizon)),
    }
}

/// `a` has processed two records when it is ordered to process them anew; then this.
fn after_an_order(then: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    let mut events = vec![
        (1, "a", initialized(0, 3)),
        (2, "a", took(0, 3, 0)),
        (2, "a", took(0, 3, 1)),
        (5, "world", ordered(7)),
    ];
    events.extend(then);
    events.push((60, "world", What::Settled));
    let mut rules = broken(events);
    rules.retain(|rule| [rewinds::ANEW, rewinds::LEFT].contains(rule));
    rules
}

fn carried_out() -> (u64, &'static str, What) {
    let (shard, row) = (shard(0), says(8, Checkpoint::TrimHorizon, None));
    (8, "world", What::Row { shard, row })
}

#[test]
fn an_order_that_nobody_carries_out_is_found() {
    assert_eq!(after_an_order(vec![]), [rewinds::LEFT]);
    let gone = What::RowGone { shard: shard(0) };
    assert_eq!(after_an_order(vec![(9, "world", gone)]), [""; 0]);
}

#[test]
fn records_that_are_not_processed_anew_are_found() {
    let of_the_next = |counters: &[u64]| {
        let took = counters.iter().map(|counter| (10, "b", took(0, 8, *counter)));
        let mut then = vec![carried_out(), (9, "b", initialized(0, 8))];
        then.extend(took);
        then
    };
    assert_eq!(after_an_order(of_the_next(&[0, 1])), [""; 0]);
    assert_eq!(after_an_order(of_the_next(&[1])), [rewinds::ANEW]);
    let mut trimmed = of_the_next(&[1]);
    trimmed.insert(1, (8, "world", What::Trimmed { shard: shard(0) }));
    assert_eq!(after_an_order(trimmed), [""; 0]);
    let by_the_one_before = vec![carried_out(), (9, "a", took(0, 3, 0)), (9, "a", took(0, 3, 1))];
    assert_eq!(after_an_order(by_the_one_before), [rewinds::ANEW]);
}
