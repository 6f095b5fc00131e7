//! Where records are delivered.

use super::*;
use crate::oracle::places;

/// Two user records are put as one record of Kinesis, and these are delivered.
fn taken(taken: Vec<What>) -> Vec<&'static str> {
    let mut events = vec![(2, "a", began(0, 2, 0))];
    events.extend(taken.into_iter().map(|what| (2, "a", what)));
    events.extend([
        (2, "world", placed(put(0, 0), place(7, 0))),
        (2, "world", placed(put(0, 1), place(7, 1))),
        (9, "world", What::Settled),
    ]);
    let mut rules = broken(events);
    rules.retain(|rule| *rule == places::ELSEWHERE);
    rules
}

#[test]
fn a_user_record_that_is_delivered_at_the_place_of_another_one_is_found() {
    let took = |counter, sub_sequence| placed(took(0, 2, counter), place(7, sub_sequence));
    assert_eq!(taken(vec![took(0, 0), took(1, 1)]), [""; 0]);
    assert_eq!(taken(vec![took(0, 0), took(1, 0)]), [places::ELSEWHERE]);
    assert_eq!(taken(vec![took(0, 1)]), [places::ELSEWHERE]);
}

#[test]
fn a_user_record_that_does_not_belong_to_the_shard_of_its_aggregate_is_found() {
    let of_another_shard = placed(took(0, 2, 5), place(7, 2));
    assert_eq!(taken(vec![of_another_shard]), [places::ELSEWHERE]);
    let alone = placed(took(0, 2, 5), place(8, 2));
    assert_eq!(taken(vec![alone]), [""; 0], "of that one nothing is known");
}
