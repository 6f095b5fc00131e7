use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::view::{LeaseView, Relocation, WorkerView};
use super::*;
use crate::checkpoint::Checkpoint;
use crate::store::LeaseChange;
use crate::trouble::{Condition, Trouble};

/// `"a: 1 2 | b: | -: 3 | dead: 4!"`: owners with their leases; `-` is nobody, `!` marks an expired lease,
/// `?` one that its owner has not begun with, `~` one of which that is not known, `'` one that its owner got from another a second
/// ago, `5>b` one in hand-off to b, `5>>b` an overdue one. An owner in brackets is not eligible, one in square brackets is overdue, and one in angle brackets is not heard of yet. Behind the name `#` marks an unfit one, `%` an ailing one, `^` one on trial, and
/// `/1,2` leases with which it fails.
fn fleet(sketch: &str) -> FleetView {
    let mut view = FleetView::default();
    for part in sketch.split('|') {
        let (owner, leases) = part.split_once(':').unwrap();
        let owner = owner.trim();
        let (owner, failing) = owner.split_once('/').unwrap_or((owner, ""));
        let name = owner.trim_matches(['(', ')', '[', ']', '<', '>', '#', '%', '^']);
        let condition = match owner.chars().last() {
            Some('#') => Condition::Unfit,
            Some('%') => Condition::Ailing,
            Some('^') => Condition::OnTrial,
            _ => Condition::Well,
        };
        if name != "-" {
            view.workers.push(WorkerView {
                id: name.into(),
                eligible: !owner.starts_with(['(', '<']),
                overdue: owner.starts_with(['[', '<']),
                is_unheard: owner.starts_with('<'),
                metrics: BTreeMap::new(),
                is_unmeasured: false,
                trouble: Trouble {
                    condition,
                    failing: failing
                        .split(',')
                        .filter(|key| !key.is_empty())
                        .map(Into::into)
                        .collect(),
                },
            });
        }
        for text in leases.split_whitespace() {
            view.leases.push(lease(name, text));
        }
    }
    view.leases.sort_by(|a, b| a.lease.key.cmp(&b.lease.key));
    view.workers.sort_by(|a, b| a.id.cmp(&b.id));
    view
}

fn lease(owner: &str, text: &str) -> LeaseView {
    let key: String = text.chars().take_while(char::is_ascii_digit).collect();
    let mut lease = Lease::new(key.as_str(), Checkpoint::TrimHorizon);
    let state = match &text[key.len()..] {
        _ if owner == "-" => LeaseState::Unowned,
        "" => LeaseState::Live,
        "!" => LeaseState::Expired,
        "." => LeaseState::Ended,
        "?" | "~" | "'" => LeaseState::Live,
        to if to.trim_matches(['>', '!']) == owner => LeaseState::Live,
        to => {
            lease.checkpoint_owner = Some(owner.into());
            lease.owner = Some(to.trim_matches(['>', '!']).into());
            let dead = to.ends_with('!');
            if dead {
                LeaseState::Expired
            } else {
                LeaseState::HandOff {
                    overdue: to.starts_with(">>"),
                }
            }
        }
    };
    if owner != "-" && lease.owner.is_none() {
        lease.owner = Some(owner.into());
    }
    let claim = match text.chars().last() {
        Some('?') => Claim::No,
        Some('~') => Claim::Unknown,
        _ => Claim::Yes,
    };
    LeaseView {
        lease,
        state,
        claim,
        moved: text.ends_with('\'').then(|| Relocation {
            from: Some("another".into()),
            ago: Duration::from_secs(1),
        }),
        left: std::collections::BTreeMap::new(),
        kbps: None,
    }
}

/// The plan as text: `3=a` assigns, `3>a` begins a hand-off, `3<a` leaves it to its processor.
fn plan(sketch: &str) -> String {
    plan_within(sketch, usize::MAX)
}

fn plan_within(sketch: &str, max_leases: usize) -> String {
    let limits = BalanceLimits {
        max_leases,
        report_interval: std::time::Duration::from_secs(30),
    };
    let moves = Balancer::new(Balancing::default(), limits).plan(&fleet(sketch));
    let texts = moves.iter().map(|m| match &m.change {
        LeaseChange::Assign { to } => format!("{}={to}", m.lease.key),
        LeaseChange::BeginHandOff { to } => format!("{}>{to}", m.lease.key),
        LeaseChange::CancelHandOff => {
            let processor = m.target().expect("it is processed");
            format!("{}<{processor}", m.lease.key)
        }
        other => panic!("a plan never contains {other:?}"),
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_worker_that_is_overdue_keeps_its_leases_and_is_given_nothing() {
    assert_eq!(plan("[a]: | b: 1 2 3"), "");
    assert_eq!(plan("[a]: | b: | -: 1 2"), "1=b 2=b");
    assert_eq!(plan("[a]: | b: | c: 1>a!"), "1=b");
    assert_eq!(plan("[a]: | b: 1>a 2"), "");
    assert_eq!(plan("[a]: 1 2 3 | b:"), "3>b");
    assert_eq!(plan("[a]: 1>b | (b): | c:"), "", "it is about to expire");
    assert_eq!(plan("[a]: 1>>b | (b): | c:"), "1=c");
}

#[test]
fn while_somebody_is_not_heard_of_yet_nothing_is_given_to_whoever_is_in_trouble() {
    let table = [
        ("a#: | <b>: 1 | -: 2", ""),
        ("a%: | <b>: 1 2!", ""),
        ("a#: | (b): 1 | -: 2", "2=a"),
        ("a#: | [b]: 1 | -: 2", "2=a"),
        ("a: | <b>: 1 | -: 2", "2=a"),
        ("a^: | <b>: 1 | -: 2 3", "2=a"),
        ("a#: | b: | <c>: | -: 1", "1=b"),
        ("a#: | <b>: 1>>c | (c):", ""),
    ];
    for (sketch, expected) in table {
        assert_eq!(plan(sketch), expected, "{sketch}");
    }
}

#[test]
fn leases_leave_a_worker_that_cannot_process_them_for_one_that_can() {
    let table = [
        // all of an unfit one's, and nothing comes to it
        ("a#: 1 2 | b: 3", "1>b 2>b"),
        ("a#: | b: 1 2 3 4", ""),
        ("a#: | b: | -: 1 2", "1=b 2=b"),
        ("a#: 1? | b:", "1=b"),
        // an ailing one keeps what it has
        ("a%: 1 2 | b:", "2>b"),
        ("a%: 1 | b:", ""),
        ("a%/1: 1 2 | b: 3", ""),
        ("a%: | b: 1 2 3", ""),
        ("a%: | b: | -: 1 2", "1=b 2=b"),
        // nobody can
        ("a#: 1 2 | b#:", ""),
        ("a#: 1 2 | b%:", ""),
        ("a#: | -: 1", "1=a"),
        ("a#: | b%: | -: 1 2", "1=b 2=b"),
        // one on trial gets one, and gives the others back
        ("a^: | b: 1 2 3 4", "4>a"),
        ("a^: 1 | b: 2 3 4", ""),
        ("a^: 1 2 3 | b:", "1>b 2>b"),
        ("a^: | b#: 1 2", "1>a"),
        // single leases, of a worker that is well otherwise
        ("a/1: 1 2 | b: 3 4", "1>b 4>a"),
        ("a/1: 1 2 | b:", "1>b"),
        ("a/1: 1 2 | b/1: 3 4", ""),
        // what failed at two workers stays
        ("a#/1: | b#/1: 1 | c:", ""),
        ("a#/1: | b#/1: 1 2 | c:", "2>c"),
        ("a/1: | b/1: 1 | c: 2 3", "3>a"),
        // for the sake of numbers nothing goes where it failed
        ("a/2: | b: 1 2", "1>a"),
        ("a/1,2: | b: 1 2", ""),
        ("a/1,2: | b: 1 2 | c: 3 4", "4>a"),
    ];
    for (sketch, expected) in table {
        assert_eq!(plan(sketch), expected, "{sketch}");
    }
    assert_eq!(plan_within("a#: 1 | b: 2", 1), "", "b is full");
}

#[test]
fn golden_plans() {
    let table = [
        // a fresh application
        ("a: | -: 1 2 3", "1=a 2=a 3=a"),
        ("a: | b: | -: 1 2 3", "1=a 2=b 3=a"),
        ("-: 1 2", ""),
        ("(a): | -: 1 2", ""),
        // balanced fleets stay as they are
        ("a: 1 2 | b: 3 4", ""),
        ("a: 1 2 | b: 3", ""),
        ("a: 1 | b: ", ""),
        // a worker joins
        ("a: 1 2 3 4 | b: ", "4>b 3>b"),
        ("a: 1 2 3 | b: 4 5 6 | c: ", "3>c 6>c"),
        ("a: 1 2>b | b: 3", ""),
        ("a: 1 2 3 4>b | b:", "3>b"),
        ("a: 1 2? 3 4 | b: ", "2=b 4>b"),
        ("a: 1 2~ 3~ 4~ | b: ", "1>b"),
        // what has just moved is left alone, if that is possible
        ("a: 1 2 3' 4' | b:", "2>b 1>b"),
        ("a: 1 2' 3' 4' | b:", "1>b 4>b"),
        // a worker dies
        ("a: 1 2 | (b): 3! 4!", "3=a 4=a"),
        ("a: 1 2 | c: 5 | (b): 3! 4!", "3=c 4=a"),
        // an eligible worker that let a lease expire does not get the same one back
        ("a: 1! | b: 2", "1=b 2>a"),
        ("a: 1!", ""),
        // ended shards count for nothing
        ("a: 1. 2. 3. 4. | b: 5", ""),
        // hand-offs that cannot finish
        ("a: 1>b | b: ", ""),
        ("a: 1>>b | b: ", "1=b"),
        ("a: 1>b | (b): ", "1<a"),
        ("a: 1>>b | (b): | c: ", "1=c"),
        ("(a): 1>b! | b: ", "1=b"),
        ("(a): 1>b! | (b): | c: ", "1=c"),
        // nor is there anybody else than the processor, which lives
        ("a: 1>b! | (b): ", "1=a"),
        ("a: 1>b! | [b]: ", "1=a"),
        ("a: 1>>b | (b): ", "1<a"),
        ("[a]: 1>>b | (b): ", ""),
    ];
    for (sketch, expected) in table {
        assert_eq!(plan(sketch), expected, "{sketch}");
    }
}

#[test]
fn no_worker_is_given_more_than_its_limit() {
    assert_eq!(plan_within("a: 1 | b: | -: 2 3 4 5", 2), "2=b 3=a 4=b");
    assert_eq!(plan_within("a: 1 2 3 4 | b: ", 1), "4>b");
}

fn plan_freely(view: &FleetView) -> Vec<Move> {
    let limits = BalanceLimits {
        max_leases: usize::MAX,
        report_interval: std::time::Duration::from_secs(30),
    };
    Balancer::new(Balancing::default(), limits).plan(view)
}

fn any_fleet() -> impl Strategy<Value = FleetView> {
    let state = prop_oneof![
        4 => Just(""), 1 => Just("!"), 1 => Just("."), 1 => Just(">w0"), 1 => Just(">>w1"), 1 => Just(">w2!"),
    ];
    let lease = (0..6_usize, state);
    (
        1..6_usize,
        proptest::collection::vec(any::<bool>(), 6),
        proptest::collection::vec(lease, 0..40),
    )
        .prop_map(|(workers, eligible, leases)| {
            let mut sketch: Vec<String> = Vec::new();
            for (w, eligible) in eligible.iter().enumerate().take(workers) {
                let mine = leases.iter().enumerate().filter(|(_, (owner, _))| *owner == w);
                let mine: Vec<_> = mine.map(|(i, (_, state))| format!("{i}{state}")).collect();
                let name = if *eligible {
                    format!("w{w}")
                } else {
                    format!("(w{w})")
                };
                sketch.push(format!("{name}: {}", mine.join(" ")));
            }
            let unowned = leases
                .iter()
                .enumerate()
                .filter(|(_, (owner, _))| *owner >= workers);
            sketch.push(format!(
                "-: {}",
                unowned.map(|(i, _)| i.to_string()).collect::<Vec<_>>().join(" ")
            ));
            fleet(&sketch.join("|"))
        })
}

/// Plays a plan to its end: every write applied, every hand-off finished, every owner that got a lease alive.
fn settle(mut view: FleetView) -> FleetView {
    for planned in plan_freely(&view) {
        let slot = view
            .leases
            .iter_mut()
            .find(|view| view.lease.key == planned.lease.key)
            .unwrap();
        assert!(
            planned
                .change
                .requirements(&planned.lease)
                .iter()
                .all(|r| r.holds(&slot.lease))
        );
        slot.lease = planned.change.applied_to(&slot.lease, &planned.lease);
        slot.state = LeaseState::Live;
    }
    for view in &mut view.leases {
        if view.state != LeaseState::Ended && view.lease.owner.is_some() {
            let finished = view.lease.checkpoint_owner.take().is_some();
            view.state = if finished { LeaseState::Live } else { view.state };
        }
    }
    view
}

proptest! {
    #[test]
    fn every_plan_leaves_each_lease_with_an_eligible_owner_and_the_fleet_even(view in any_fleet()) {
        let eligible: Vec<_> = view.workers.iter().filter(|w| w.eligible).map(|w| w.id.clone()).collect();
        prop_assume!(eligible.len() > 1);
        let settled = settle(settle(view.clone()));
        let mut counts: BTreeMap<_, usize> = eligible.iter().map(|id| (id.clone(), 0)).collect();
        for (before, after) in view.leases.iter().zip(&settled.leases) {
            if after.state == LeaseState::Ended { continue; }
            let owner = after.lease.owner.clone().expect("owned");
            // A live lease of a worker that announced no longer stays until it is released or expires.
            if before.state == LeaseState::Live && !eligible.contains(&owner) { continue; }
            if matches!(before.state, LeaseState::HandOff { overdue: false }) && !eligible.contains(&owner) { continue; }
            prop_assert!(eligible.contains(&owner), "{:?} went to {owner}", before);
            *counts.get_mut(&owner).unwrap() += 1;
        }
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        prop_assert!(most - least <= 1, "{counts:?}");
        prop_assert_eq!(plan_freely(&settled), vec![], "a plan is stable");
    }

    #[test]
    fn a_lease_is_moved_at_most_once_and_only_to_eligible_workers(view in any_fleet()) {
        let moves = plan_freely(&view);
        let mut keys: Vec<_> = moves.iter().map(|m| m.lease.key.clone()).collect();
        keys.sort();
        let planned = keys.len();
        keys.dedup();
        prop_assert_eq!(keys.len(), planned);
        for planned in &moves {
            let to = planned.target().unwrap();
            let goes_back = planned.lease.checkpoint_owner.as_ref() == Some(to);
            prop_assert!(goes_back || view.workers.iter().any(|w| w.id == *to && w.eligible));
        }
    }
}
