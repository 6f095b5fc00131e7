use std::collections::BTreeMap;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::lease::Lease;
use crate::plan::{BalanceLimits, Balancer, Balancing, Claim, LeaseState, Relocation, WorkerView};
use crate::store::{LeaseChange, WorkerMetric};

/// `"a 90/80: 1@100 2 | b 50: 3@200<a40 | -: 4@10 | (c) 5: | d: 5@1!"`: workers with their CPU in percent, their operating
/// range if it is not 100, and their leases, `@` with their KB/s. `<a40` marks a lease that came from a 40 seconds ago
/// (`<-40`: from nobody; `<a40<b90`: and to a from b), `>a` one that is handed over to a, `!` an expired one, `?` one that its
/// owner has not begun with. `-` is nobody; `new` is a worker that has not
/// measured yet; a worker in brackets is not eligible, one in square brackets is overdue.
fn fleet(sketch: &str) -> FleetView {
    let mut view = FleetView::default();
    for part in sketch.split('|') {
        let (worker, leases) = part.split_once(':').unwrap();
        let mut words = worker.split_whitespace();
        let name = words.next().unwrap();
        let id = name.trim_matches(['(', ')', '[', ']']);
        if id != "-" {
            view.workers.push(WorkerView {
                id: id.into(),
                eligible: !name.starts_with('('),
                overdue: name.starts_with('['),
                is_unheard: false,
                metrics: words.filter(|word| *word != "new").map(metric).collect(),
                is_unmeasured: worker.ends_with(" new") || worker.contains(" new "),
                trouble: Default::default(),
            });
        }
        view.leases
            .extend(leases.split_whitespace().map(|text| lease(id, text)));
    }
    view
}

/// `90`, `90/80`, or, if it is not the CPU, `M=90/80`.
fn metric(text: &str) -> (String, WorkerMetric) {
    let (name, text) = text.split_once('=').unwrap_or((WorkerMetric::CPU, text));
    let (value, max) = text.split_once('/').unwrap_or((text, "100"));
    let metric = WorkerMetric {
        samples: vec![value.parse().unwrap()],
        max_utilization: max.parse().unwrap(),
    };
    (name.to_owned(), metric)
}

fn lease(owner: &str, text: &str) -> LeaseView {
    let (text, claim) = match text.strip_suffix('?') {
        Some(text) => (text, Claim::No),
        None => (text, Claim::Yes),
    };
    let (text, is_expired) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
    let (text, next) = text
        .split_once('>')
        .map_or((text, None), |(text, next)| (text, Some(next)));
    let (text, left) = text
        .split_once('<')
        .map_or((text, None), |(text, left)| (text, Some(left)));
    let (key, kbps) = text
        .split_once('@')
        .map_or((text, None), |(key, kbps)| (key, Some(kbps)));
    let mut lease = Lease::new(key, Checkpoint::TrimHorizon);
    lease.throughput_kbps = kbps.map(|kbps| kbps.parse().unwrap());
    lease.owner = next.or(Some(owner)).filter(|owner| *owner != "-").map(Into::into);
    lease.checkpoint_owner = next.map(|_| owner.into());
    let moves = left.iter().flat_map(|left| left.split('<'));
    let moves: Vec<_> = moves
        .map(|left| Relocation {
            from: Some(&left[..1]).filter(|from| *from != "-").map(Into::into),
            ago: Duration::from_secs(left[1..].parse().unwrap()),
        })
        .collect();
    let moved = moves.first().cloned();
    LeaseView {
        left: moves
            .iter()
            .flat_map(|relocation| left_by(Some(relocation)))
            .collect(),
        state: match () {
            () if owner == "-" => LeaseState::Unowned,
            () if is_expired => LeaseState::Expired,
            () if next.is_some() => LeaseState::HandOff { overdue: false },
            () => LeaseState::Live,
        },
        claim,
        moved,
        kbps: lease.throughput_kbps,
        lease,
    }
}

pub(super) fn left_by(moved: Option<&Relocation>) -> BTreeMap<WorkerId, Duration> {
    let left = moved.and_then(|moved| Some((moved.from.clone()?, moved.ago)));
    left.into_iter().collect()
}

/// The plan as text: `3=a` assigns, `3>a` begins a hand-off.
fn text_of(moves: &[Move]) -> String {
    let texts = moves.iter().map(|planned| match &planned.change {
        LeaseChange::Assign { to, .. } => format!("{}={to}", planned.lease.key),
        LeaseChange::BeginHandOff { to } => format!("{}>{to}", planned.lease.key),
        LeaseChange::CancelHandOff => format!("{}<", planned.lease.key),
        other => panic!("a plan never contains {other:?}"),
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn balancer(balancing: Balancing, max_leases: usize) -> Balancer {
    Balancer::new(
        balancing,
        BalanceLimits {
            max_leases,
            report_interval: std::time::Duration::from_secs(30),
        },
    )
}

fn plan_by(balancing: Balancing, sketch: &str) -> String {
    text_of(&balancer(balancing, usize::MAX).plan(&fleet(sketch)))
}

fn plan(sketch: &str) -> String {
    plan_by(Balancing::Utilization, sketch)
}

fn check(table: &[(&str, &str, &str)]) {
    let wrong = table.iter().filter_map(|(case, sketch, expected)| {
        let planned = plan(sketch);
        (planned != *expected).then(|| format!("{case}: {sketch}: {planned:?} instead of {expected:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_newcomer_without_a_measurement_is_as_busy_as_its_leases_make_it() {
    check(&[
        (
            "it gets its share of what is free, and not all of it",
            "a 90: 1@10 2@10 | b 90: 3@10 4@10 | c new: | -: 5@10 6@10 7@10",
            "5=c 6=c 7=c",
        ),
        (
            "what it has got meanwhile counts",
            "a 90: 1@10 2@10 | b new: 3@10<-1 4@10<-1 | -: 5@10",
            "5=b",
        ),
        (
            "also if nobody saw when it came",
            "a 90: 1@10 2@10 | b new: 3@10 4@10 6@10 | -: 5@10",
            "5=a",
        ),
        (
            "it is welcomed like any other",
            "a 90: 1@10 2@10 | b 90: 3@10 4@10 | c new:",
            "1>c",
        ),
        (
            "where nobody reports a load there is none to go by",
            "a: 1@600 2@600 | b new:",
            "1>b",
        ),
    ]);
}

#[test]
fn leases_without_owner_go_to_the_workers_with_most_room() {
    check(&[
        ("to the cold one", "a 90: 1@10 | b 50: 2@10 | -: 3@10", "3=b"),
        (
            "each counts for the next",
            "a 35: 1@10 2@10 | b 20: 3@10 | -: 4@10 5@10 6@10",
            "4=b 5=b 6=a",
        ),
        ("expired ones too", "a 90: 1@10 | b 50: 2@10 | (c): 3@10!", "3=b"),
        (
            "unowned before expired",
            "a 40: | (c): 2@10! | -: 1@10",
            "1=a 2=a",
        ),
        (
            "of equally loaded ones to that with fewer",
            "a 50: 1@5 2@5 | b 50: 3@10 | -: 4@10",
            "4=b",
        ),
        (
            "not to an idle one that is overdue",
            "a 90: 1@10 | [b] 1: | -: 2@10",
            "2=a",
        ),
        ("nor to a dead one", "a 90: 1@10 | (b) 1: | -: 2@10", "2=a"),
        (
            "nor to one above its range",
            "a 90: 1@10 | b 40/30: 2@10 | -: 3@10",
            "3=a",
        ),
        (
            "except if all are",
            "a 90/80: 1@10 | b 40/30: 2@10 | -: 3@10",
            "3=b",
        ),
        (
            "without throughput all leases weigh the same",
            "a 40: 1 2 | b 30: 3 | -: 4 5 6",
            "4=b 5=a 6=b",
        ),
        (
            "what went since the report is reckoned in",
            "a 60: 1@10 | b 40: 2@10 3@10<a10 4@10<a10 | c 35: 5@10 | -: 6@10",
            "6=a",
        ),
        (
            "what came since the report is reckoned in",
            "a 40: 1@10<x10 2@10<x10 | b 50: 3@10 | -: 4@10",
            "4=b",
        ),
    ]);
}

#[test]
fn a_hot_worker_gives_part_of_its_excess_to_cold_ones() {
    check(&[
        (
            "13 % of the throughput",
            "a 90: 1@100 2@200 3@300 4@400 | b 50: 5@2000",
            "1>b",
        ),
        (
            "the largest that are within",
            "a 90: 1@30 2@60 3@50 4@860 | b 50: 5@2000",
            "2>b 3>b",
        ),
        (
            "if none is, the smallest",
            "a 90: 1@300 2@299 3@301 | b 50: 4@3000",
            "2>b",
        ),
        (
            "one if there is no throughput",
            "a 90: 1@0 2@0 3@0 4@0 5@0 6@0 7@0 8@0 9@0 | b 50: 10@0",
            "1>b",
        ),
        (
            "one if none is known",
            "a 90: 1 2 3 4 5 6 7 8 9 | b 50: 10",
            "1>b",
        ),
        (
            "even its only one, if it is busy without it",
            "a 90: 1@5 | b 50: 2@40",
            "1>b",
        ),
        ("not one that is too much by itself", "a 90: 1@5 | b 50: 2@30", ""),
        (
            "not more than fits below the mean",
            "a 90: 1@100 2@100 | b 50: 3@100",
            "",
        ),
        (
            "two hot ones",
            "a 90: 1@90 2@10 | b 90: 3@90 4@10 | c 30: 5@200",
            "2>c 4>c",
        ),
        (
            "a lease nobody began with moves at no cost",
            "a 90: 1@1? 2@50 | b 50: 3@100",
            "1=b",
        ),
        (
            "idle leases relieve nobody",
            "a 90: 1@0 2@0 3@50 4@50 | b 50: 5@2000",
            "4>b",
        ),
    ]);
}

#[test]
fn a_cold_worker_is_given_leases_of_the_most_loaded() {
    check(&[
        (
            "none is 10 % above the mean",
            "a 54: 1@10 2@90 | b 53: 3@100 | c 53: 4@100 | d 36: 5@100",
            "1>d",
        ),
        (
            "none is 10 % below it either",
            "a 54: 1@10 2@90 | b 46: 3@100",
            "",
        ),
    ]);
}

#[test]
fn small_differences_are_left_alone() {
    check(&[
        ("within 10 %", "a 88: 1@1 2@99 | b 75: 3@100", ""),
        ("above", "a 92: 1@1 2@99 | b 75: 3@100", "1>b"),
        ("within 5 points", "a 40: 1@1 2@99 | b 31: 3@100", ""),
        ("above", "a 42: 1@1 2@99 | b 31: 3@100", "1>b"),
    ]);
}

#[test]
fn above_its_operating_range_a_worker_gives_leases_away_within_the_tolerance() {
    check(&[
        ("above its range", "a 54/53: 1@1 2@1000 | b 46/60: 3@1000", "1>b"),
        ("within", "a 54/54: 1@1 2@1000 | b 46/60: 3@1000", ""),
        (
            "to nobody who would leave its own",
            "a 90: 1@10 2@90 | b 50/50: 3@100",
            "",
        ),
        (
            "nor if it is below the mean",
            "a 40/30: 1@1 2@99 | b 43: 3@100",
            "",
        ),
    ]);
}

#[test]
fn nothing_is_given_to_whom_nothing_may_be_given() {
    check(&[
        ("dead", "a 90: 1@1 2@99 | b 80: 3@100 | (c) 10: 4@100", ""),
        ("overdue", "a 90: 1@1 2@99 | b 80: 3@100 | [c] 70: 4@100", ""),
    ]);
    let hot = fleet("a 90: 1@1 2@1 3@98 | b 50: 4@100");
    assert_eq!(text_of(&balancer(Balancing::Utilization, 2).plan(&hot)), "1>b");
    assert_eq!(text_of(&balancer(Balancing::Utilization, 1).plan(&hot)), "");
}

#[test]
fn a_worker_without_leases_gets_its_share_at_once() {
    check(&[
        ("up to the mean", "a 80: 1@10 2@10 3@10 4@10 | b 0:", "1>b 2>b"),
        (
            "not more than its share",
            "a 80: 1@1 2@1 3@1 4@97 | b 0:",
            "1>b 2>b",
        ),
        ("the largest that fit", "a 80: 1@70 2@40 3@10 | b 0:", "2>b"),
        (
            "from the most loaded",
            "a 40: 1@10 2@10 | b 80: 3@10 4@10 | c 0:",
            "3>c",
        ),
        (
            "from each as long as it is the most loaded",
            "a 80: 1@10 2@10 3@10 | b 78: 4@10 5@10 6@10 | c 0:",
            "1>c 4>c",
        ),
        ("the smallest if none fits", "a 90: 1@60 2@55 | b 0:", "2>b"),
        (
            "on the same machine, where all loads are equal",
            "a 80: 1@10 2@10 3@10 4@10 | b 80:",
            "4>b 3>b",
        ),
        (
            "of equally loaded workers from that with most leases",
            "a 80: 1 2 | b 80: 3 4 5 6 | c 80:",
            "6>c 5>c",
        ),
        (
            "what is missing from its share",
            "a 80: 1@10 2@10 3@10 | b 80: 4@10<a5",
            "3>b",
        ),
        (
            "only at the beginning",
            "a 80: 1@10 2@10 3@10 | b 80: 4@10<a60",
            "",
        ),
        ("though not the last of anybody", "a 90: 1@100 | b 0:", ""),
        (
            "nor if its machine is busy anyway",
            "a 40: 1@1 2@1 3@98 | b 90:",
            "",
        ),
        (
            "without waiting for reports",
            "a 90: 1@25 2@25 3@25<x1 4@25 | b 0:",
            "1>b 2>b",
        ),
    ]);
}

#[test]
fn reports_are_believed_when_they_tell_of_the_present_leases() {
    check(&[
        ("a minute after a move", "a 90: 1@1 2@99<x60 | b 50: 3@100", "1>b"),
        ("not before", "a 90: 1@1 2@99<x59 | b 50: 3@100", ""),
        (
            "nor during a hand-off",
            "a 90: 1@1 2@99 | b 50: 3@100 | c 50: 4@10 5@1>b",
            "",
        ),
        (
            "nor together with an assignment",
            "a 90: 1@1 2@99 | b 50: 3@100 | -: 4@1",
            "4=b",
        ),
    ]);
}

#[test]
fn a_lease_that_was_moved_rests_and_does_not_return() {
    check(&[
        ("it rests", "a 90: 1@1<x299 2@2 3@97 | b 50: 4@100", "2>b"),
        ("it has rested", "a 90: 1@1<x300 2@97 | b 50: 4@100", "1>b"),
        (
            "it was nobody's before",
            "a 90: 1@1<-60 2@97<-60 | b 50: 4@100<-60",
            "1>b",
        ),
        (
            "who leads now has not taken it from there",
            "a 90: 1@1<b400 2@97 | b 50: 4@100",
            "1>b",
        ),
    ]);
}

#[test]
fn a_lease_that_was_taken_from_a_worker_does_not_return_for_an_hour() {
    let plans = |later: &str| {
        let mut balancer = balancer(Balancing::Utilization, usize::MAX);
        let too_much = fleet("a 50: 4@100 | b 90: 1@1 2@97");
        assert_eq!(text_of(&balancer.plan(&too_much)), "1>a");
        text_of(&balancer.plan(&fleet(later)))
    };
    assert_eq!(plans("a 90: 1@1<b3599 2@97 | b 50: 4@100"), "");
    assert_eq!(plans("a 90: 1@1<b3600 2@97 | b 50: 4@100"), "1>b");
    assert_eq!(plans("a 90: 1@1<b400 2@97 | b 50: 4@100 | c 60: 5@100"), "1>c");
    assert_eq!(
        plans("a 90: 1@50<b400 3@50<c400 | b 0:"),
        "3>b",
        "when it has nothing, too"
    );
}

#[test]
fn a_lease_that_was_moved_for_its_load_rests_also_when_there_is_little_to_do_by_then() {
    let plans = |later: &str| {
        let mut balancer = balancer(Balancing::Utilization, usize::MAX);
        let too_much = fleet("a 50: 4@100 | b 90: 7@1 2@97");
        assert_eq!(text_of(&balancer.plan(&too_much)), "7>a");
        text_of(&balancer.plan(&fleet(later)))
    };
    assert_eq!(plans("a 5: 4@1<c100 7@1<b299 | b 5:"), "4>b");
    assert_eq!(plans("a 5: 4@1<c100 7@1<b300 | b 5:"), "7>b");
}

#[test]
fn what_was_given_by_number_alone_may_return_when_the_loads_are_known() {
    let mut balancer = balancer(Balancing::Utilization, usize::MAX);
    assert_eq!(
        text_of(&balancer.plan(&fleet("a 80: 1@25 2@25 3@25 4@25 | b 0:"))),
        "1>b 2>b"
    );
    let given = "a 20: 3@25 4@25 | b 90: 1@25<a700 2@25<a700";
    assert_eq!(text_of(&balancer.plan(&fleet(given))), "2>a");
    let back = "a 90: 3@25 2@25<b700 4@24 | b 20: 1@25<a1400";
    assert_eq!(
        text_of(&balancer.plan(&fleet(back))),
        "4>b",
        "2 was too much for b"
    );
}

#[test]
fn what_was_given_by_number_may_return_by_way_of_a_third() {
    let mut balancer = balancer(Balancing::Utilization, usize::MAX);
    assert_eq!(
        text_of(&balancer.plan(&fleet("a 80: 1@25 2@25 3@25 4@25 | b 0:"))),
        "1>b 2>b"
    );
    let too_much = "a 70: 3@25 4@25 | b 90: 1@25<a700 2@25<a700 | c 20: 5@25";
    assert_eq!(text_of(&balancer.plan(&fleet(too_much))), "2>c");
    let back = "a 10: 3@25 4@25 | b 10: 1@25<a1400 | c 100: 5@30 2@25<b700<a1400";
    assert_eq!(text_of(&balancer.plan(&fleet(back))), "2>a", "not to b");
}

#[test]
fn what_was_given_by_number_may_return_to_a_worker_that_has_nothing_any_more() {
    let mut balancer = balancer(Balancing::Utilization, usize::MAX);
    assert_eq!(
        text_of(&balancer.plan(&fleet("a 50: 1@25 2@25 3@25 4@25 | b 0:"))),
        "1>b 2>b"
    );
    let taken = "a 5: | b 80: 1@25<a200 2@25<a200 3@25<a100 4@25<a100";
    assert_eq!(text_of(&balancer.plan(&fleet(taken))), "1>a 2>a");
}

#[test]
fn what_a_worker_lost_may_return_to_it() {
    let mut balancer = balancer(Balancing::Utilization, usize::MAX);
    assert_eq!(
        text_of(&balancer.plan(&fleet("(a) 40: 1@25! 2@25! | b 50: 3@25 4@25"))),
        "1=b 2=b"
    );
    let back = "a 20: 3@25<b700 | b 90: 1@25<a700 2@25<a700 4@30";
    assert_eq!(text_of(&balancer.plan(&fleet(back))), "2>a");
}

#[test]
fn with_several_metrics_that_counts_by_which_most_is_to_be_moved() {
    check(&[
        ("memory", "a 60 M=90: 1@5 2@95 | b 50 M=20: 3@100", "1>b"),
        (
            "all must have room",
            "a 90 M=20: 1@10 2@90 | b 30 M=60: 3@100",
            "",
        ),
        (
            "full is who is farthest above any mean",
            "a 30 M=60: 1@10 | b 10 M=90: 2@10 | -: 3@10",
            "3=b",
        ),
        (
            "only those that all report",
            "a 50 M=90: 1@10 2@90 | b 50: 3@100",
            "",
        ),
    ]);
}

#[test]
fn a_fleet_with_little_to_do_is_balanced_by_count() {
    check(&[
        ("idle", "a 1: 1@1 2@1 | b 9: 3@1 4@1", ""),
        ("idle and uneven", "a 9: 1@1 2@1 3@1 4@1 | b 1:", "4>b 3>b"),
        ("at 29 %", "a 29: 1@10 2@90 | b 1: 3@100", ""),
        ("at 30 %", "a 30: 1@10 2@90 | b 1: 3@100", "1>b"),
        ("all zero", "a 0: 1 2 3 | b 0: 4", "3>b"),
    ]);
    let mut balancer = balancer(Balancing::Utilization, usize::MAX);
    let mut moves = |cpu: &str| {
        let sketch = format!("a {cpu}: 1@1 2@1 3@1 4@97 | b 12: 5@100");
        text_of(&balancer.plan(&fleet(&sketch)))
    };
    assert_eq!(moves("29"), "4>b", "by count");
    assert_eq!(moves("31"), "1>b 2>b 3>b", "by load");
    assert_eq!(moves("15"), "", "it was busy, so the load still counts");
    assert_eq!(moves("14"), "4>b", "by count");
    assert_eq!(moves("29"), "4>b", "it was idle, so the count still counts");
}

#[test]
fn without_reports_of_all_workers_the_throughput_counts() {
    check(&[
        ("nobody reports", "a: 1@900 2@300 3@100 | b: 4@100", "2>b"),
        ("not all report", "a 20: 1@900 2@300 3@100 | b: 4@100", "2>b"),
        ("a worker without leases", "a: 1@900 2@300 3@600 | b:", "1>b"),
        ("equal throughput", "a: 1@600 2@600 | b: 3@600 4@600", ""),
        ("unknown is not nothing", "a: 1@1100 | b: 2 3 | -: 4@10", "4=a"),
        ("unknown is average", "a: 1@1200 2@1000 | b: 3 4", ""),
        ("within 10 %", "a: 1@1000 2@100 | b: 3@1000", ""),
        (
            "a hot shard stays alone",
            "a: 1@3000 | b: 2@10 3@10 4@10 | c: 5@10 6@10",
            "",
        ),
        (
            "leases without owner",
            "a: 1@1500 | b: 2@10 | -: 3@10 4@10",
            "3=b 4=b",
        ),
        ("little to do: by count", "a: 1@500 2@500 | b: 3@1", ""),
        ("little to do: by count", "a: 1@1 2@1 3@1 | b: 4@500", "3>b"),
    ]);
    let reported = "a 90: 1@1000 2@10 | b 50: 3@1000";
    assert_eq!(plan_by(Balancing::Throughput, reported), "");
    assert_eq!(plan_by(Balancing::Utilization, reported), "2>b");
}

#[test]
fn by_count_neither_load_nor_throughput_matters() {
    assert_eq!(
        plan_by(Balancing::Count, "a 99: 1@9000 2@9000 | b 1: 3@1 4@1"),
        ""
    );
    assert_eq!(
        plan_by(Balancing::Count, "a 1: 1@1 2@1 3@1 | b 99: 4@9000"),
        "3>b"
    );
}

#[test]
fn a_worker_that_gave_its_last_lease_away_is_not_new() {
    let mut balancer = balancer(Balancing::Utilization, usize::MAX);
    let mut plan = |sketch: &str| text_of(&balancer.plan(&fleet(sketch)));
    assert_eq!(plan("a 90: 1@10 | b 20: 2@40 3@50"), "1>b");
    let without = "a 50: | b 40: 1@10<a70 2@40 3@50";
    assert_eq!(plan(without), "");
    assert_eq!(
        plan("a 10: | b 90: 1@10<a400 2@20 3@70"),
        "2>a",
        "by load it is given leases"
    );
    assert_eq!(plan("a 50: 2@20 | b 40: 1@10 3@70"), "");
    assert_eq!(plan(without), "2>a", "it had some meanwhile");
}
