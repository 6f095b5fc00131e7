//! Shards that stand still.

use super::*;
use crate::oracle::stuck;

/// A shard whose owner dies in second 5, with `b` alive; whatever happens `then`, until second `end`.
fn orphaned(end: u64, then: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    judged(Oracle::new(TIMES), orphan(end, then))
}

fn orphan(end: u64, then: Vec<(u64, &'static str, What)>) -> Vec<(u64, &'static str, What)> {
    let opened = What::ShardOpened {
        shard: shard(0),
        parents: vec![],
    };
    let killed = What::Killed { id: "a".to_owned() };
    let mut events = vec![
        (0, "world", opened),
        (0, "a", starts("a")),
        (0, "b", starts("b")),
        (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
        (1, "a", initialized(0, 2)),
        (5, "a", killed),
    ];
    events.extend(then);
    events.push((end, "world", What::Disturbed("time passes".to_owned())));
    events
}

#[test]
fn a_shard_that_stands_still_in_a_calm_world_is_found_soon() {
    let calm = |end, then| judged(Oracle::new(TIMES).with_reliable_requests(), orphan(end, then));
    assert_eq!(calm(22, vec![]), [""; 0]);
    assert_eq!(calm(23, vec![]), [stuck::IDLE]);
    assert_eq!(calm(23, vec![(20, "b", initialized(0, 5))]), [""; 0]);
    let another_dies = vec![
        (0, "c", starts("c")),
        (7, "c", What::Killed { id: "c".to_owned() }),
    ];
    assert_eq!(calm(24, another_dies.clone()), [""; 0], "it may have led");
    assert_eq!(calm(25, another_dies), [stuck::IDLE]);
    let troubled = vec![(6, "b", What::Impaired), (7, "b", What::Recovered)];
    assert_eq!(calm(90, troubled), [""; 0], "not calm");
}

#[test]
fn a_shard_that_ends_after_its_row_was_deleted_needs_nobody() {
    let deleted = |then: Vec<(u64, &'static str, What)>| {
        let mut events = vec![(3, "world", What::RowDeletedByHand { shard: shard(0) })];
        events.extend(then);
        let mut events = orphan(200, events);
        events.sort_by_key(|(at, ..)| *at);
        judged(Oracle::new(TIMES), events)
            .into_iter()
            .filter(|rule| *rule == stuck::STUCK)
            .collect::<Vec<_>>()
    };
    let agreed = || (4, "a", What::ShardEnded { of: of(0, 2) });
    let anew = (6, "world", row(0, "b", None, 1, Checkpoint::TrimHorizon));
    assert_eq!(deleted(vec![agreed()]), [""; 0]);
    assert!(!deleted(vec![]).is_empty(), "it did not end");
    assert!(!deleted(vec![agreed(), anew]).is_empty(), "it begins once more");
}

#[test]
fn a_shard_that_stands_still_is_found_if_somebody_could_take_it() {
    assert_eq!(orphaned(94, vec![]), [""; 0]);
    assert_eq!(orphaned(96, vec![]), [stuck::STUCK]);
    assert_eq!(orphaned(96, vec![(90, "b", initialized(0, 5))]), [""; 0]);
    assert_eq!(
        orphaned(96, vec![(50, "b", What::Impaired)]),
        [""; 0],
        "nobody is well"
    );
    let ill_for_a_while = vec![(10, "b", What::Impaired), (50, "b", What::Recovered)];
    assert_eq!(orphaned(139, ill_for_a_while.clone()), [""; 0]);
    assert_eq!(orphaned(141, ill_for_a_while), [stuck::STUCK]);
    let ended = vec![(6, "world", row(0, "a", None, 9, Checkpoint::ShardEnd))];
    assert_eq!(orphaned(200, ended), [""; 0]);
    let gone = || (6, "world", What::RowGone { shard: shard(0) });
    let agreed = || (5, "a", What::ShardEnded { of: of(0, 5) });
    assert_eq!(orphaned(200, vec![agreed(), gone()]), [""; 0]);
    assert_eq!(orphaned(200, vec![gone()]), [stuck::STUCK], "not for its end");
}

#[test]
fn once_everything_is_healed_whoever_was_in_trouble_serves_again() {
    let served = |is_healed: bool| {
        let trouble = [
            (0, "c", starts("c")),
            (7, "b", initialized(0, 5)),
            (10, "b", What::Impaired),
        ];
        let healed = is_healed.then_some((12, "world", What::Healed));
        orphaned(150, trouble.into_iter().chain(healed).collect())
    };
    assert_eq!(served(false), [stuck::STUCK]);
    assert_eq!(served(true), [""; 0]);
}

#[test]
fn a_shard_that_was_split_before_reading_began_at_the_latest_record_is_left_out() {
    let opened = |number, parents| What::ShardOpened {
        shard: shard(number),
        parents,
    };
    let is_stuck = |checkpoint| {
        let events = vec![
            (0, "world", opened(0, vec![])),
            (0, "a", starts("a")),
            (1, "world", opened(1, vec![shard(0)])),
            (1, "world", opened(2, vec![shard(1)])),
            (2, "world", row(2, "a", None, 1, checkpoint)),
            (3, "a", initialized(2, 1)),
            (92, "world", What::Disturbed("time passes".to_owned())),
        ];
        broken_from(Start::Latest, events).contains(&stuck::STUCK)
    };
    assert!(!is_stuck(Checkpoint::Latest));
    assert!(is_stuck(Checkpoint::TrimHorizon));
}

#[test]
fn a_processor_in_a_worker_that_cannot_renew_serves_nobody() {
    let opened = What::ShardOpened {
        shard: shard(0),
        parents: vec![],
    };
    let frozen = |recovers: Option<u64>, end| {
        let mut events = vec![
            (0, "world", opened.clone()),
            (0, "a", starts("a")),
            (0, "b", starts("b")),
            (1, "a", initialized(0, 2)),
            (2, "a", What::Impaired),
        ];
        events.extend(recovers.map(|at| (at, "a", What::Recovered)));
        events.push((end, "world", What::Disturbed("time passes".to_owned())));
        broken(events)
    };
    assert_eq!(frozen(None, 100), [stuck::STUCK]);
    assert_eq!(frozen(Some(60), 100), [""; 0]);
}

#[test]
fn a_worker_that_may_not_query_the_index_serves_what_it_has() {
    let opened = What::ShardOpened {
        shard: shard(0),
        parents: vec![],
    };
    let denied = |then: Vec<(u64, &'static str, What)>| {
        let mut events = vec![
            (0, "world", opened.clone()),
            (0, "a", starts("a")),
            (0, "b", starts("b")),
            (1, "a", initialized(0, 2)),
            (2, "a", What::Impaired),
            (2, "a", What::IndexDenied),
        ];
        events.extend(then);
        events.push((200, "world", What::Disturbed("time passes".to_owned())));
        broken(events)
    };
    assert_eq!(denied(vec![]), [""; 0]);
    assert_eq!(denied(vec![(3, "a", What::Impaired)]), [stuck::STUCK]);
    let still_impaired = vec![
        (3, "a", What::Impaired),
        (4, "a", What::IndexAllowed),
        (4, "a", What::Recovered),
    ];
    assert_eq!(denied(still_impaired), [stuck::STUCK]);
}
