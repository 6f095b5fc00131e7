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
