//! What becomes of records that processors cannot take.

use super::*;
use crate::oracle::{given_up, table};

fn unreadable(counter: u64, is_kept: bool) -> What {
    What::PutUnreadable {
        key: "key".into(),
        counter,
        is_kept,
    }
}

fn letter(counter: u64) -> What {
    What::DeadLettered {
        key: "key".into(),
        counter,
        position: place(counter, 0),
    }
}

#[test]
fn a_dead_letter_of_a_record_that_can_be_taken_is_found() {
    let events = |counter| vec![(1, "world", unreadable(5, true)), (2, "w", letter(counter))];
    assert_eq!(broken(events(5)), [""; 0]);
    assert_eq!(broken(events(6)), [given_up::INNOCENT]);
}

#[test]
fn a_checkpoint_that_passes_a_record_before_its_dead_letter_is_written_is_found() {
    let events = |is_kept, written| {
        let mut events = vec![
            (1, "world", unreadable(5, is_kept)),
            (1, "world", put(0, 5)),
            (written, "w", letter(5)),
            (3, "world", row(0, "a", None, 1, at(6))),
        ];
        events.sort_by_key(|event| event.0);
        events
    };
    let is_passed = |is_kept, written| broken(events(is_kept, written)).contains(&table::PASSED);
    assert!(!is_passed(true, 2));
    assert!(is_passed(true, 4));
    assert!(!is_passed(false, 4), "it may be skipped");
}

#[test]
fn what_is_done_before_the_record_that_failed_is_not_delivered_again() {
    let is_again = |records, counter| {
        let named = What::Named {
            of: of(0, 1),
            position: place(7, 0),
        };
        let began = |records| What::BatchBegan {
            of: of(0, 1),
            call: 1,
            is_valid: true,
            records,
        };
        let events = vec![
            (1, "w", began(3)),
            (1, "w", took(0, 1, 5)),
            (2, "w", named),
            (3, "w", began(records)),
            (3, "w", took(0, 1, counter)),
        ];
        broken(events).contains(&given_up::AGAIN)
    };
    assert!(is_again(2, 5));
    assert!(!is_again(2, 7));
    assert!(
        !is_again(1, 5),
        "the record in front, to see whether the sink is there"
    );
}
