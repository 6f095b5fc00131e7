//! What is paused.

use kcl_core::ShardState;

use super::*;
use crate::history::Shown;
use crate::oracle::paused;

fn pauses(number: Option<u64>) -> What {
    What::Paused {
        shard: number.map(shard),
    }
}

fn resumes(number: Option<u64>) -> What {
    What::Resumed {
        shard: number.map(shard),
    }
}

fn shows(state: ShardState) -> What {
    let shown = Shown {
        shard: shard(0),
        state,
        stalls: false,
    };
    What::Shown { shards: vec![shown] }
}

/// What `a` does with shard 0 after its first batch, one second after the other.
fn paused(what: Vec<What>) -> Vec<&'static str> {
    let start = [initialized(0, 1), began(0, 1, 0), ended(0, 1, 0, true)];
    let events = start.into_iter().chain(what);
    broken((0..).zip(events).map(|(at, what)| (at, "a", what)).collect())
}

#[test]
fn nothing_is_delivered_while_the_shard_or_its_worker_is_paused() {
    for number in [None, Some(0)] {
        let begins = || began(0, 1, 1);
        assert_eq!(paused(vec![pauses(number), begins()]), [paused::DELIVERS]);
        assert_eq!(paused(vec![pauses(number), resumes(number), begins()]), [""; 0]);
    }
    assert_eq!(
        paused(vec![pauses(Some(1)), began(0, 1, 1)]),
        [""; 0],
        "it is another shard"
    );
    let of_next_stream = || Some("shard-0 of stream 2".into());
    let resumes_by_id = vec![
        pauses(Some(0)),
        What::Resumed {
            shard: of_next_stream(),
        },
        began(0, 1, 1),
    ];
    assert_eq!(
        paused(resumes_by_id),
        [""; 0],
        "a worker is told the id, which both have"
    );
    let both = vec![pauses(None), pauses(Some(0)), resumes(None), began(0, 1, 1)];
    assert_eq!(paused(both), [paused::DELIVERS], "it was paused by itself, too");
    let under_way = vec![began(0, 1, 1), pauses(None), ended(0, 1, 1, true)];
    assert_eq!(paused(under_way), [""; 0]);
}

#[test]
fn a_pause_is_shown_soon_unless_a_call_is_under_way() {
    use ShardState::{Paused, Processing};
    let late = |state| vec![pauses(None), shows(state), shows(state), shows(state)];
    assert_eq!(paused(late(Processing)), [paused::SHOWN]);
    assert_eq!(paused(late(Paused)), [""; 0]);
    let busy = [vec![began(0, 1, 1)], late(Processing)].concat();
    assert_eq!(paused(busy), [""; 0]);
    let failing = [vec![began(0, 1, 1), ended(0, 1, 1, false)], late(Processing)].concat();
    assert_eq!(paused(failing), [""; 0], "it is to be repeated first");
    let resumed = [late(Paused), vec![resumes(None), shows(Processing)]].concat();
    assert_eq!(paused(resumed), [""; 0]);
}

#[test]
fn what_is_paused_for_all_delivers_nothing_at_the_next_owners() {
    let events = |resumed_at: u64| {
        vec![
            (0, "a", initialized(0, 1)),
            (1, "a", What::PausedForAll { shard: shard(0) }),
            (2, "a", began(0, 1, 0)),
            (2, "a", ended(0, 1, 0, true)),
            (3, "b", initialized(0, 2)),
            (resumed_at, "world", What::ResumedForAll { shard: shard(0) }),
            (5, "b", began(0, 2, 1)),
        ]
    };
    let sorted = |mut events: Vec<(u64, &'static str, What)>| {
        events.sort_by_key(|(at, _, _)| *at);
        broken(events)
    };
    assert_eq!(sorted(events(4)), [""; 0]);
    assert_eq!(sorted(events(6)), [paused::FOR_ALL]);
    let mut of_a_row_before = events(6);
    of_a_row_before.push((0, "c", initialized(0, 9)));
    of_a_row_before.push((4, "c", began(0, 9, 2)));
    let found = sorted(of_a_row_before).into_iter();
    let found = found.filter(|rule| *rule == paused::FOR_ALL);
    assert_eq!(found.count(), 1, "c began before, whatever its token is");
    let mut without_row = events(6);
    without_row.push((4, "world", What::RowDeletedByHand { shard: shard(0) }));
    assert_eq!(sorted(without_row), [""; 0], "with its row the pause is gone");
}

#[test]
fn a_worker_that_is_well_keeps_what_it_paused() {
    let free = || What::Row {
        shard: shard(0),
        row: Row {
            owner: None,
            checkpoint_owner: None,
            counter: 2,
            checkpoint: Checkpoint::TrimHorizon,
            rewind_to: None,
        },
    };
    let given_up = |between: Vec<What>| {
        let mut events = vec![
            (0, "a", starts("a")),
            (1, "world", row(0, "a", None, 1, Checkpoint::TrimHorizon)),
            (1, "a", initialized(0, 1)),
        ];
        events.extend(between.into_iter().map(|what| (2, "a", what)));
        events.push((3, "world", free()));
        broken(events)
    };
    assert_eq!(given_up(vec![]), [""; 0]);
    assert_eq!(given_up(vec![pauses(Some(1))]), [""; 0]);
    for number in [None, Some(0)] {
        assert_eq!(given_up(vec![pauses(number)]), [paused::KEPT]);
        let stopping = What::Stopping { id: "a".to_owned() };
        assert_eq!(given_up(vec![pauses(number), stopping]), [""; 0]);
        assert_eq!(given_up(vec![pauses(number), What::Impaired]), [""; 0]);
        assert_eq!(given_up(vec![pauses(number), resumes(number)]), [""; 0]);
    }
    let handed_over = || row(0, "b", Some("a"), 1, Checkpoint::TrimHorizon);
    let taken_back = row(0, "a", None, 1, Checkpoint::TrimHorizon);
    assert_eq!(
        given_up(vec![pauses(None), handed_over(), taken_back]),
        [""; 0],
        "it was asked to"
    );
}
