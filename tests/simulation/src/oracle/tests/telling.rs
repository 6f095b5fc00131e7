//! What processors are told.

use super::*;
use crate::oracle::telling;

#[test]
fn a_processor_that_is_followed_and_was_never_told_is_found() {
    let history = |told: Vec<What>| {
        let mut events = vec![(1, "a", initialized(0, 2))];
        events.extend(told.into_iter().map(|what| (2, "a", what)));
        events.extend([(3, "b", initialized(0, 5)), (9, "world", What::Settled)]);
        broken(events)
    };
    assert_eq!(history(vec![]), [telling::UNTOLD]);
    assert_eq!(history(vec![What::LeaseLost { of: of(0, 2) }]), [""; 0]);
    assert_eq!(history(vec![What::ShutdownRequested { of: of(0, 2) }]), [""; 0]);
    assert_eq!(history(vec![What::Killed { id: "a".to_owned() }]), [""; 0]);
    assert_eq!(history(vec![began(0, 2, 1)]), [""; 0], "a call is under way");
}

#[test]
fn a_worker_that_stops_without_asking_its_processors_to_is_found() {
    let lived = |faults, before: Vec<(u64, What)>| {
        let what = What::Stopped {
            id: "a".to_owned(),
            owned: vec![],
            has_row: false,
            had_joined: true,
            faults,
        };
        let mut events = vec![(1, "a", initialized(0, 2))];
        events.extend(before.into_iter().map(|(at, what)| (at, "a", what)));
        events.push((9, "a", what));
        broken(events)
    };
    let stopped =
        |faults, before: Vec<What>| lived(faults, before.into_iter().map(|what| (2, what)).collect());
    assert_eq!(stopped(0, vec![]), [telling::LEFT_ALONE]);
    assert_eq!(stopped(1, vec![]), [""; 0]);
    assert_eq!(
        stopped(0, vec![What::ShutdownRequested { of: of(0, 2) }]),
        [""; 0]
    );
    assert_eq!(stopped(0, vec![began(0, 2, 1)]), [""; 0], "it would not end");
    let told = |at| (at, What::Stopping { id: "a".to_owned() });
    let blocked = |until| vec![(2, What::StandsStill), (until, What::MovesOn)];
    let after = |mut before: Vec<(u64, What)>| {
        before.push(told(5));
        before
    };
    assert_eq!(
        lived(0, after(vec![(2, What::StandsStill)])),
        [""; 0],
        "nobody could ask"
    );
    assert_eq!(lived(0, after(blocked(5))), [""; 0], "until just now");
    assert_eq!(lived(0, after(blocked(4))), [telling::LEFT_ALONE]);
}

#[test]
fn an_acknowledged_checkpoint_that_is_not_in_the_table_is_found() {
    let checkpointed = What::Checkpointed {
        of: of(0, 2),
        to: at(5),
    };
    let acknowledged = |row_says| {
        broken(vec![
            (1, "world", row(0, "a", None, 1, at(3))),
            (2, "a", checkpointed.clone()),
            (2, "world", row(0, "a", None, 2, row_says)),
            (4, "world", What::Disturbed("time passes".to_owned())),
        ])
    };
    let edited = |edit| What::RowEditedByHand {
        shard: shard(0),
        edit,
        row: Row {
            owner: Some("a".to_owned()),
            checkpoint_owner: None,
            counter: 2,
            checkpoint: Checkpoint::TrimHorizon,
            rewind_to: None,
        },
    };
    let changed_after = |edit, then| {
        broken(vec![
            (1, "world", row(0, "a", None, 1, at(3))),
            (2, "a", checkpointed.clone()),
            (2, "world", edited(edit)),
            (then, "a", checkpointed.clone()),
            (40, "world", What::Disturbed("time passes".to_owned())),
        ])
    };
    assert_eq!(acknowledged(at(4)), [telling::FORGOTTEN]);
    let gone_after = |end: Option<What>| {
        let mut events = vec![
            (1, "world", row(0, "a", None, 1, at(3))),
            (2, "a", checkpointed.clone()),
        ];
        events.extend(end.map(|end| (2, "a", end)));
        events.push((2, "world", What::RowGone { shard: shard(0) }));
        events.push((40, "world", What::Disturbed("time passes".to_owned())));
        broken(events)
    };
    assert!(gone_after(None).contains(&telling::FORGOTTEN));
    assert!(!gone_after(Some(What::ShardEnded { of: of(0, 1) })).contains(&telling::FORGOTTEN));
    assert_eq!(changed_after(Edit::Rewound, 3), [""; 0], "written before");
    assert_eq!(changed_after(Edit::Rewound, 33), [telling::FORGOTTEN]);
    assert_eq!(acknowledged(at(5)), [""; 0]);
    assert_eq!(acknowledged(at(7)), [""; 0]);
}

#[test]
fn an_owner_that_begins_with_what_is_done_is_found() {
    let begins_with = |counter| {
        broken(vec![
            (1, "world", put(0, 0)),
            (1, "world", put(0, 1)),
            (1, "a", took(0, 2, 0)),
            (2, "world", row(0, "b", None, 5, at(0))),
            (3, "b", initialized(0, 6)),
            (4, "b", took(0, 6, counter)),
        ])
    };
    assert_eq!(begins_with(1), [""; 0]);
    assert_eq!(begins_with(0), [telling::AGAIN]);
}

#[test]
fn a_record_of_which_a_part_is_done_may_be_begun_with() {
    let begins_with = |sub_sequence, counter| {
        broken(vec![
            (1, "world", put(0, 0)),
            (1, "world", put(0, 1)),
            (1, "a", took(0, 2, 0)),
            (1, "a", took(0, 2, 1)),
            (2, "world", row(0, "b", None, 5, inside(1, sub_sequence))),
            (3, "b", initialized(0, 6)),
            (4, "b", took(0, 6, counter)),
        ])
    };
    assert_eq!(begins_with(3, 1), [""; 0]);
    assert_eq!(begins_with(3, 0), [telling::AGAIN]);
    assert_eq!(begins_with(0, 1), [telling::AGAIN]);
}

#[test]
fn an_owner_that_begins_with_what_is_done_of_an_aggregate_is_found() {
    let begins_with = |sub_sequence, fails_first| {
        let mut events = vec![
            (1, "world", placed(put(0, 0), place(7, 0))),
            (1, "world", placed(put(0, 1), place(7, 1))),
            (1, "world", placed(put(0, 2), place(7, 2))),
            (1, "a", placed(took(0, 2, 0), place(7, 0))),
            (1, "a", placed(took(0, 2, 1), place(7, 1))),
            (2, "world", row(0, "b", None, 5, inside(7, 1))),
            (3, "b", initialized(0, 6)),
            (3, "b", began(0, 6, 1)),
        ];
        if fails_first {
            events.extend([(3, "b", ended(0, 6, 1, false)), (4, "b", began(0, 6, 2))]);
        }
        let again = took(0, 6, sub_sequence);
        events.push((4, "b", placed(again, place(7, sub_sequence))));
        broken(events)
    };
    assert_eq!(begins_with(2, false), [""; 0]);
    assert_eq!(begins_with(1, false), [telling::AGAIN]);
    assert_eq!(begins_with(0, false), [telling::AGAIN]);
    assert_eq!(begins_with(1, true), [""; 0], "whether that fails, too");
    assert_eq!(begins_with(0, true), [telling::AGAIN]);
}
