//! The order of deliveries.

use super::*;
use crate::oracle::order;

#[test]
fn a_key_out_of_order_is_found() {
    let events = vec![
        (1, "a", began(0, 2, 0)),
        (1, "a", took(0, 2, 1)),
        (1, "a", ended(0, 2, 0, true)),
    ];
    assert_eq!(broken(events), [order::FIRSTS]);
}

#[test]
fn a_batch_repeated_after_a_success_is_found_but_not_under_the_next_owner() {
    let events = |token| {
        vec![
            (1, "a", began(0, 2, 0)),
            (1, "a", took(0, 2, 0)),
            (1, "a", ended(0, 2, 0, true)),
            (1, "a", began(0, token, 1)),
            (1, "a", took(0, token, 0)),
            (1, "a", ended(0, token, 1, true)),
        ]
    };
    assert_eq!(broken(events(2)), [order::WITHIN]);
    assert_eq!(broken(events(3)), [""; 0]);
}

#[test]
fn an_owner_that_was_frozen_since_it_began_at_the_latest_record_may_be_ahead_of_its_successor() {
    let thawed = |start, token| {
        let events = vec![
            (1, "a", began(0, token, 0)),
            (2, "b", began(0, 5, 1)),
            (2, "b", took(0, 5, 3)),
            (3, "a", took(0, token, 7)),
        ];
        broken_from(start, events).contains(&order::FIRSTS)
    };
    assert!(!thawed(Start::Latest, 2));
    assert!(thawed(Start::Latest, 9), "it is the successor itself");
    assert!(thawed(Start::Beginning, 2));
}

#[test]
fn user_records_out_of_order_inside_their_aggregate_are_found() {
    let took = |counter, sub_sequence| (1, "a", placed(took(0, 2, counter), place(7, sub_sequence)));
    let in_order = vec![(1, "a", began(0, 2, 0)), took(0, 0), took(1, 1)];
    let out_of_order = vec![(1, "a", began(0, 2, 0)), took(0, 1), took(1, 0)];
    assert_eq!(broken(in_order), [""; 0]);
    assert_eq!(broken(out_of_order), [order::WITHIN]);
    let again = |is_ok| {
        broken(vec![
            (1, "a", began(0, 2, 0)),
            took(0, 0),
            took(1, 1),
            (1, "a", ended(0, 2, 0, is_ok)),
            (1, "a", began(0, 2, 1)),
            took(1, 1),
        ])
    };
    assert_eq!(again(false), [""; 0]);
    assert_eq!(again(true), [order::WITHIN]);
}
