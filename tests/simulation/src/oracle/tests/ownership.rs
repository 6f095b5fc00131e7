//! Who owns a shard.

use super::*;
use crate::oracle::ownership;

#[test]
fn a_stale_owner_that_begins_a_batch_is_found() {
    let events = vec![
        (1, "a", initialized(0, 2)),
        (2, "b", initialized(0, 5)),
        (3, "a", began(0, 2, 0)),
    ];
    assert_eq!(broken(events), [ownership::STALE]);
}

#[test]
fn a_token_used_twice_is_found() {
    let events = vec![(1, "a", initialized(0, 2)), (2, "b", initialized(0, 2))];
    assert_eq!(broken(events), [ownership::SAME_TOKEN]);
}

#[test]
fn a_batch_without_a_lease_and_two_valid_leases_are_found() {
    let events = vec![
        (
            1,
            "a",
            What::BatchBegan {
                of: of(0, 2),
                call: 0,
                is_valid: false,
                records: 1,
            },
        ),
        (
            2,
            "world",
            What::SeveralValid {
                shard: shard(1),
                holders: vec!["a with 2".to_owned(), "b with 5".to_owned()],
            },
        ),
    ];
    assert_eq!(broken(events), [ownership::INVALID, ownership::SEVERAL]);
}

#[test]
fn what_one_of_two_processes_gives_back_the_other_may_trust_until_it_would_have_expired() {
    let given_back = |at, shared| {
        let free = What::Row {
            shard: shard(0),
            row: Row {
                owner: None,
                checkpoint_owner: None,
                counter: 3,
                checkpoint: Checkpoint::TrimHorizon,
                rewind_to: None,
            },
        };
        let taken = What::NameTaken {
            id: "a".to_owned(),
            shards: vec![shard(0)],
        };
        let mut events = vec![
            (0, "a", starts("a")),
            (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
            (1, "a", initialized(0, 2)),
            (2, "world", taken),
            (2, "a'", starts(shared)),
            (
                9,
                "a'",
                What::Stopping {
                    id: shared.to_owned(),
                },
            ),
            (9, "world", free),
        ];
        let mistaken = What::Mistaken {
            shard: shard(0),
            owner: None,
        };
        events.push((at, "a", mistaken));
        let mut rules = broken(events);
        rules.retain(|rule| *rule == ownership::MISTAKEN);
        rules
    };
    assert_eq!(given_back(20, "a"), [""; 0]);
    assert_eq!(given_back(21, "a"), [ownership::MISTAKEN]);
    assert_eq!(given_back(20, "b"), [ownership::MISTAKEN], "nobody has its name");
}

#[test]
fn a_processor_that_takes_another_one_s_shard_for_its_own_is_found() {
    let owner = Some("b".to_owned());
    let what = What::Mistaken {
        shard: shard(0),
        owner,
    };
    assert_eq!(broken(vec![(1, "a", what.clone())]), [ownership::MISTAKEN]);
    let orphan = vec![
        (1, "a", initialized(0, 2)),
        (2, "world", What::RowDeletedByHand { shard: shard(0) }),
        (3, "a", what.clone()),
    ];
    assert_eq!(broken(orphan), [""; 0]);
    let edited = |edit| {
        let row = Row {
            owner: Some("b".to_owned()),
            checkpoint_owner: None,
            counter: 3,
            checkpoint: Checkpoint::TrimHorizon,
            rewind_to: None,
        };
        let by_hand = What::RowEditedByHand {
            shard: shard(0),
            edit,
            row,
        };
        broken(vec![
            (1, "a", initialized(0, 2)),
            (2, "world", by_hand),
            (3, "a", what.clone()),
        ])
    };
    assert_eq!(edited(Edit::Given("b".to_owned())), [""; 0]);
    assert_eq!(
        edited(Edit::Rewound),
        [ownership::MISTAKEN],
        "its owner is the same"
    );
}
