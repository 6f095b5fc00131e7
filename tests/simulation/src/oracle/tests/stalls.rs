//! Shards that get no further.

use kcl_core::ShardState;

use super::singles::LIMITS;
use super::*;
use crate::history::{Shown, Single};
use crate::oracle::stalls;

const AFTER: Duration = Duration::from_secs(4);

fn shows(stalls: bool) -> What {
    in_state(ShardState::Processing, stalls)
}

fn in_state(state: ShardState, stalls: bool) -> What {
    let shown = Shown {
        shard: shard(0),
        state,
        stalls,
    };
    What::Shown { shards: vec![shown] }
}

fn told(stalls: bool) -> What {
    let shard = shard(0);
    What::StallTold { shard, stalls }
}

/// What `a`, which tells of what gets no further for four seconds, does with shard 0.
fn telling(what: Vec<(u64, What)>) -> Vec<&'static str> {
    let start = [
        (0, "a", What::TellsStalls { after: AFTER }),
        (0, "a", initialized(0, 1)),
    ];
    let events = what.into_iter().map(|(at, what)| (at, "a", what));
    broken(start.into_iter().chain(events).collect())
}

#[test]
fn a_call_that_lasts_or_fails_for_long_is_told_of() {
    for between in [vec![], vec![(3, ended(0, 1, 0, false)), (4, began(0, 1, 1))]] {
        let history =
            |what: Vec<(u64, What)>| telling([vec![(1, began(0, 1, 0))], between.clone(), what].concat());
        assert_eq!(
            history(vec![(8, shows(false))]),
            [""; 0],
            "it may be looked at soon"
        );
        assert_eq!(history(vec![(9, shows(false))]), [stalls::UNTOLD]);
        assert_eq!(
            history(vec![(9, shows(true))]),
            [stalls::UNTOLD],
            "the hook was not"
        );
        assert_eq!(history(vec![(6, told(true)), (9, shows(true))]), [""; 0]);
        let draining = in_state(ShardState::Draining, false);
        assert_eq!(history(vec![(9, draining)]), [""; 0]);
    }
}

#[test]
fn what_gets_further_is_not_told_of() {
    let history = |what: Vec<(u64, What)>| {
        let done = vec![(1, began(0, 1, 0)), (5, ended(0, 1, 0, true))];
        telling([done, what].concat())
    };
    assert_eq!(history(vec![(20, shows(false))]), [""; 0]);
    assert_eq!(history(vec![(8, shows(true))]), [stalls::UNFOUNDED]);
    assert_eq!(history(vec![(8, told(true))]), [stalls::UNFOUNDED]);
    assert_eq!(
        history(vec![(10, shows(true))]),
        [""; 0],
        "it may have something to do"
    );
}

#[test]
fn records_that_are_handled_beside_each_other_get_further_with_their_checkpoint() {
    let record = |number| Single {
        position: place(number, 0),
        lane: None,
        is_unreadable: false,
    };
    let history = |what: Vec<(u64, What)>| {
        let given = What::Given {
            of: of(0, 1),
            records: vec![record(1)],
        };
        let start = vec![
            (0, What::HandlesSingly { limits: LIMITS }),
            (1, began(0, 1, 0)),
            (1, given),
            (1, ended(0, 1, 0, true)),
        ];
        telling([start, what].concat())
    };
    assert_eq!(
        history(vec![(24, shows(false))]),
        [""; 0],
        "a checkpoint may take its time"
    );
    assert_eq!(history(vec![(25, shows(false))]), [stalls::UNTOLD]);
    let handled = |at| {
        let call = 9;
        let began = What::RecordBegan {
            of: of(0, 1),
            call,
            position: place(1, 0),
            is_valid: true,
        };
        let of = of(0, 1);
        vec![
            (at, began),
            (
                at,
                What::RecordEnded {
                    of,
                    call,
                    is_ok: true,
                },
            ),
        ]
    };
    let idle = [handled(5), vec![(40, shows(false))]].concat();
    assert_eq!(history(idle), [""; 0], "it has nothing to do");
    let checkpointed = What::Checkpointed {
        of: of(0, 1),
        to: at(1),
    };
    let moved = [handled(5), vec![(6, checkpointed), (8, shows(true))]].concat();
    assert_eq!(history(moved), [stalls::UNFOUNDED]);
}
