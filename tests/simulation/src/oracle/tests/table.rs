//! What the lease table says.

use super::*;
use crate::oracle::table;

#[test]
fn a_checkpoint_that_moves_back_is_found_unless_the_row_was_deleted_or_rewound_by_hand() {
    let lower = |between: What| {
        vec![
            (1, "world", row(0, "a", None, 1, at(9))),
            (2, "world", between),
            (3, "world", row(0, "a", None, 2, at(8))),
        ]
    };
    let gone = What::RowGone { shard: shard(0) };
    let deleted = What::RowDeletedByHand { shard: shard(0) };
    assert_eq!(broken(lower(gone)), [table::BACK]);
    let rewound = What::RowEditedByHand {
        shard: shard(0),
        edit: Edit::Rewound,
        row: Row {
            owner: Some("a".to_owned()),
            checkpoint_owner: None,
            counter: 1,
            checkpoint: Checkpoint::TrimHorizon,
            rewind_to: None,
        },
    };
    assert_eq!(broken(lower(deleted)), [""; 0]);
    assert_eq!(broken(lower(rewound)), [""; 0]);
}

#[test]
fn a_counter_that_shrinks_is_found() {
    let events = vec![
        (1, "world", row(0, "a", None, 5, at(9))),
        (2, "world", row(0, "a", None, 4, at(9))),
    ];
    assert_eq!(broken(events), [table::COUNTER]);
}

#[test]
fn a_checkpoint_beyond_what_was_processed_is_found() {
    let events = |checkpoint| {
        vec![
            (1, "world", put(0, 7)),
            (2, "world", row(0, "a", None, 5, checkpoint)),
        ]
    };
    assert_eq!(broken(events(at(6))), [""; 0]);
    assert_eq!(broken(events(at(7))), [table::PASSED]);
    assert_eq!(broken(events(Checkpoint::ShardEnd)), [table::PASSED]);
    let heard_of_later = vec![(1, "world", row(0, "a", None, 5, at(7))), (2, "world", put(0, 7))];
    assert_eq!(broken(heard_of_later), [table::PASSED]);
}

#[test]
fn with_a_start_at_the_latest_record_what_was_put_before_the_first_batch_may_be_passed() {
    let begun_at = |begun, seen| {
        let mut events = vec![
            (1, "world", put(0, 7)),
            (begun, "a", began(0, 2, 1)),
            (seen, "world", row(0, "a", None, 2, Checkpoint::Latest)),
            (6, "world", row(0, "a", None, 3, at(8))),
        ];
        events.sort_by_key(|(at, _, _)| *at);
        events
    };
    let looked_before = begun_at(3, 2);
    let looked_late = begun_at(3, 4);
    assert_eq!(broken_from(Start::Latest, looked_before), [""; 0]);
    assert_eq!(broken_from(Start::Latest, looked_late), [""; 0]);
    let mut put_later = begun_at(3, 4);
    put_later.insert(2, (3, "world", put(0, 8)));
    assert_eq!(broken_from(Start::Latest, put_later), [table::PASSED]);
}

#[test]
fn a_shard_that_ends_before_its_first_batch_and_the_first_look_at_its_row_was_begun_at_its_latest_record() {
    let ended = |parents: &[u64], put_at| {
        let opened = What::ShardOpened {
            shard: shard(0),
            parents: parents.iter().map(|number| shard(*number)).collect(),
        };
        let mut events = vec![
            (0, "world", opened),
            (0, "world", row(8, "a", None, 2, Checkpoint::ShardEnd)),
            (2, "a", initialized(0, 2)),
            (4, "world", row(0, "a", None, 4, Checkpoint::ShardEnd)),
        ];
        let before = events.iter().filter(|(at, _, _)| *at <= put_at).count();
        events.insert(before, (put_at, "world", put(0, 7)));
        broken_from(Start::Latest, events).contains(&table::PASSED)
    };
    assert!(!ended(&[], 1));
    assert!(ended(&[8], 1), "a child is read from its beginning");
    assert!(!ended(&[9], 1), "of its parent there never was a lease");
}

#[test]
fn a_checkpoint_out_of_range_that_is_accepted_is_found() {
    let what = What::Misled("accepted".to_owned());
    assert_eq!(broken(vec![(1, "a", what)]), [table::MISLED]);
}

#[test]
fn a_checkpoint_beyond_what_was_processed_of_an_aggregate_is_found() {
    let checkpointed_at = |sub_sequence| {
        broken(vec![
            (1, "world", placed(put(0, 0), place(7, 0))),
            (1, "world", placed(put(0, 1), place(7, 1))),
            (1, "world", placed(put(0, 2), place(7, 2))),
            (2, "a", placed(took(0, 2, 0), place(7, 0))),
            (2, "a", placed(took(0, 2, 1), place(7, 1))),
            (3, "world", row(0, "a", None, 5, inside(7, sub_sequence))),
        ])
    };
    assert_eq!(checkpointed_at(0), [""; 0]);
    assert_eq!(checkpointed_at(1), [""; 0]);
    assert_eq!(checkpointed_at(2), [table::PASSED]);
}

#[test]
fn a_checkpoint_that_moves_back_inside_an_aggregate_is_found() {
    let events = vec![
        (1, "world", row(0, "a", None, 1, inside(9, 2))),
        (2, "world", row(0, "a", None, 2, inside(9, 1))),
    ];
    assert_eq!(broken(events), [table::BACK]);
}
