//! What a failure policy has a worker do.

use kcl_core::LastResort;

use super::*;
use crate::oracle::policies;
use crate::policies::Policy;

const STOP: Policy = Policy {
    then: LastResort::Stop,
    bisects: false,
    is_by_handler: false,
};

/// A worker's calls for shard 0, one each second, of which all fail but those named.
fn calls(policy: Policy, count: u64, good: &[u64], then: Vec<What>) -> Vec<&'static str> {
    let start = vec![
        (0, "a", starts("a")),
        (0, "a", What::Resorts { policy }),
        (0, "a", initialized(0, 1)),
    ];
    let calls = (0..count).flat_map(|call| {
        let is_ok = good.contains(&call);
        [
            (call, "a", began(0, 1, call)),
            (call, "a", ended(0, 1, call, is_ok)),
        ]
    });
    let then = then.into_iter().map(|what| (count, "a", what));
    broken(start.into_iter().chain(calls).chain(then).collect())
}

#[test]
fn what_failed_often_and_long_enough_is_not_tried_again_where_the_worker_is_to_stop() {
    assert_eq!(calls(STOP, 3, &[], vec![]), [""; 0]);
    assert_eq!(calls(STOP, 4, &[], vec![]), [policies::STOPS]);
    assert_eq!(calls(STOP, 4, &[1], vec![]), [""; 0], "other records");
    let release = Policy {
        then: LastResort::Release,
        ..STOP
    };
    assert_eq!(calls(release, 4, &[], vec![]), [""; 0]);
    let bisects = Policy {
        bisects: true,
        ..STOP
    };
    assert_eq!(calls(bisects, 4, &[], vec![]), [""; 0], "it is cut first");
}

#[test]
fn what_failed_because_the_table_took_no_checkpoint_is_tried_again() {
    let mut events = vec![
        (0, "a", starts("a")),
        (0, "a", What::Resorts { policy: STOP }),
        (0, "a", initialized(0, 1)),
    ];
    for call in 0..8 {
        let refused = What::CheckpointRefused { of: of(0, 1) };
        events.extend([
            (call, "a", began(0, 1, call)),
            (call, "a", refused),
            (call, "a", ended(0, 1, call, false)),
        ]);
    }
    assert_eq!(broken(events.clone()), [""; 0]);
    events.push((8, "a", What::StoppedByPolicy { shard: shard(0) }));
    assert_eq!(broken(events), [policies::FOUNDED]);
}

#[test]
fn a_worker_stops_only_for_what_failed_often_and_long_enough() {
    let stopped = |number| vec![What::StoppedByPolicy { shard: shard(number) }];
    assert_eq!(calls(STOP, 3, &[], stopped(0)), [""; 0]);
    assert_eq!(calls(STOP, 2, &[], stopped(0)), [policies::FOUNDED]);
    assert_eq!(calls(STOP, 3, &[], stopped(1)), [policies::FOUNDED]);
    assert_eq!(calls(STOP, 3, &[2], stopped(0)), [policies::FOUNDED]);
}

#[test]
fn the_same_goes_for_each_record_where_they_are_handled_beside_each_other() {
    let begins = |number: u64, call| What::RecordBegan {
        of: of(0, 1),
        call,
        position: place(number, 0),
        is_valid: true,
    };
    let handled = |numbers: &[u64], then: Vec<What>| {
        let start = [starts("a"), What::Resorts { policy: STOP }, initialized(0, 1)];
        let start = start.into_iter().map(|what| (0, "a", what));
        let calls = (1..).zip(numbers).flat_map(|(call, number)| {
            let ended = What::RecordEnded {
                of: of(0, 1),
                call,
                is_ok: false,
            };
            [(call, "a", begins(*number, call)), (call, "a", ended)]
        });
        let then = then.into_iter().map(|what| (9, "a", what));
        broken(start.chain(calls).chain(then).collect())
    };
    assert_eq!(handled(&[1, 1, 1, 2], vec![]), [""; 0]);
    assert_eq!(handled(&[1, 1, 1, 1], vec![]), [policies::STOPS]);
    let stopped = || vec![What::StoppedByPolicy { shard: shard(0) }];
    assert_eq!(handled(&[1, 1, 1], stopped()), [""; 0]);
    assert_eq!(handled(&[1, 2, 1], stopped()), [policies::FOUNDED]);
}
