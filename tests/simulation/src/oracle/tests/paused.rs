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
