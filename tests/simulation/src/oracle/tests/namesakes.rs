//! Two processes with one worker id.

use super::*;
use crate::oracle::{leaving, namesakes, targets};

fn time_passes() -> What {
    What::Disturbed("time passes".to_owned())
}

fn gives_way(id: &str) -> What {
    What::GaveWay { id: id.to_owned() }
}

#[test]
fn two_that_both_go_on_are_found_unless_one_is_in_trouble() {
    let lives = |end, then: Vec<(u64, &'static str, What)>| {
        let mut events = vec![(0, "a", starts("a")), (100, "a'", starts("a"))];
        events.extend(then);
        events.push((end, "world", time_passes()));
        events
    };
    let lived = |end, then| broken(lives(end, then));
    assert_eq!(lived(135, vec![]), [""; 0]);
    assert_eq!(lived(136, vec![]), [namesakes::BOTH]);
    assert_eq!(lived(136, vec![(110, "a", gives_way("a"))]), [""; 0]);
    assert_eq!(lived(200, vec![(110, "a", What::Impaired)]), [""; 0]);
    let recovered = vec![(110, "a", What::Impaired), (150, "a", What::Recovered)];
    assert_eq!(lived(185, recovered.clone()), [""; 0]);
    assert_eq!(lived(186, recovered), [namesakes::BOTH]);
    let reliable = |end| judged(Oracle::new(TIMES).with_reliable_requests(), lives(end, vec![]));
    assert_eq!(reliable(125), [""; 0]);
    assert_eq!(reliable(126), [namesakes::BOTH]);
}

#[test]
fn the_newest_one_that_gives_way_is_found() {
    let lives = |who: &'static str, started| {
        vec![
            (0, "a", starts("a")),
            (started, "a'", starts("a")),
            (started + 5, who, gives_way("a")),
        ]
    };
    let ended = |who, started| broken(lives(who, started));
    let reliable = |started| judged(Oracle::new(TIMES).with_reliable_requests(), lives("a'", started));
    assert_eq!(reliable(20), [namesakes::NEWEST]);
    assert_eq!(
        ended("a'", 20),
        [""; 0],
        "the first may have waited for lost requests"
    );
    assert_eq!(ended("a'", 100), [namesakes::NEWEST]);
    assert_eq!(ended("a", 100), [""; 0]);
    assert_eq!(ended("a'", 10), [""; 0], "it may have announced itself first");
    let joined_late = vec![
        (0, "a", starts("a")),
        (1, "a", What::Impaired),
        (100, "a'", starts("a")),
        (104, "a", What::Recovered),
        (105, "a'", gives_way("a")),
    ];
    assert_eq!(broken(joined_late), [""; 0]);
    let was_killed = |at| {
        vec![
            (0, "a", starts("a")),
            (10, "a'", starts("a")),
            (at, "a", What::Killed { id: "a".to_owned() }),
            (60, "a'", gives_way("a")),
        ]
    };
    assert_eq!(
        broken(was_killed(50)),
        [""; 0],
        "it may have announced itself just before"
    );
    assert_eq!(broken(was_killed(20)), [namesakes::NEWEST]);
}

#[test]
fn who_announces_itself_last_in_a_new_table_is_not_known() {
    let deleted = |deleted, killed| {
        let mut events = vec![
            (0, "a", starts("a")),
            (100, "a'", starts("a")),
            (deleted, "world", What::TableDeleted),
            (killed, "a", What::Killed { id: "a".to_owned() }),
            (110, "a'", gives_way("a")),
        ];
        events.sort_by_key(|(at, ..)| *at);
        broken(events)
    };
    assert_eq!(deleted(102, 109), [""; 0]);
    assert_eq!(
        deleted(99, 109),
        [namesakes::NEWEST],
        "it joined the new one last"
    );
    assert_eq!(deleted(108, 105), [namesakes::NEWEST], "the other was gone");
}

#[test]
fn what_a_namesake_has_was_not_left_behind_and_who_bears_the_name_is_not_gone() {
    let stopped = |namesake: Vec<(u64, &'static str, What)>| {
        let mut events = vec![(0, "a", starts("a"))];
        events.extend(namesake);
        events.extend([
            (30, "a", What::Stopping { id: "a".to_owned() }),
            (
                32,
                "a",
                What::Stopped {
                    id: "a".to_owned(),
                    owned: vec!["shard-0".to_owned()],
                    has_row: true,
                    had_joined: true,
                    faults: 0,
                },
            ),
            (104, "world", row(0, "b", None, 2, Checkpoint::TrimHorizon)),
            (105, "world", row(0, "a", None, 3, Checkpoint::TrimHorizon)),
        ]);
        broken(events)
    };
    assert_eq!(stopped(vec![]), [leaving::LEFT, targets::DEAD]);
    assert_eq!(stopped(vec![(29, "a'", starts("a"))]), [""; 0]);
    let killed = |at| {
        vec![
            (1, "a'", starts("a")),
            (at, "a'", What::Killed { id: "a".to_owned() }),
        ]
    };
    assert_eq!(stopped(killed(29)), [targets::DEAD]);
    assert_eq!(stopped(killed(19)), [leaving::LEFT, targets::DEAD]);
    let killed_while_the_first_was_in_trouble = |until| {
        let mut events = killed(15);
        events.insert(0, (1, "a", What::Impaired));
        events.push((until, "a", What::Recovered));
        stopped(events)
    };
    assert_eq!(killed_while_the_first_was_in_trouble(21), [targets::DEAD]);
    let in_time = killed_while_the_first_was_in_trouble(20);
    assert_eq!(in_time, [leaving::LEFT, targets::DEAD]);
}
