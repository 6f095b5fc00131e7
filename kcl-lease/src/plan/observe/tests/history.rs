//! What is told of a lease besides its state: its owners before, and its throughput.

use super::*;

#[test]
fn the_last_change_of_owner_is_known_with_its_time_and_the_owner_before() {
    let at = |second, owner: &str, checkpoint_owner: Option<&str>, counter| {
        let lease = Lease {
            owner: Some(owner.into()).filter(|_| !owner.is_empty()),
            checkpoint_owner: checkpoint_owner.map(Into::into),
            ..lease("s", owner, counter)
        };
        (second, table(&[lease], &[]))
    };
    let moved = |scans: &[(u64, TableSnapshot)]| {
        let moved = after(scans).leases[0].moved.clone();
        moved.map(|moved| (moved.from.map(|id| id.to_string()), moved.ago.as_secs()))
    };
    let from = |id: &str, ago| Some((Some(id.to_owned()), ago));
    let first = at(0, "a", None, 1);
    assert_eq!(moved(std::slice::from_ref(&first)), None, "nothing was seen");
    assert_eq!(moved(&[first.clone(), at(1, "a", None, 2)]), None, "only renewed");
    assert_eq!(
        moved(&[first.clone(), at(1, "b", None, 2), at(5, "b", None, 3)]),
        from("a", 4)
    );
    let hand_off = [first.clone(), at(1, "b", Some("a"), 1)];
    assert_eq!(moved(&hand_off), from("a", 0));
    let handed_off = [hand_off.as_slice(), &[at(9, "b", None, 2), at(12, "b", None, 3)]].concat();
    assert_eq!(moved(&handed_off), from("a", 3), "from when it was finished");
    let released = [
        first,
        at(1, "", None, 2),
        at(3, "b", None, 3),
        at(4, "b", None, 4),
    ];
    assert_eq!(moved(&released), from("a", 1));
    assert_eq!(moved(&[at(0, "", None, 1), at(1, "b", None, 2)]), Some((None, 0)));
}

#[test]
fn a_leases_throughput_is_a_mean_of_all_that_was_seen_and_later_of_some_minutes() {
    let table_with = |kbps| {
        let lease = Lease {
            throughput_kbps: kbps,
            ..lease("1", "a", 1)
        };
        table(&[lease], &[])
    };
    let mean = |scans: &[(u64, Option<f64>)]| {
        let scans: Vec<_> = scans
            .iter()
            .map(|(second, kbps)| (*second, table_with(*kbps)))
            .collect();
        after(&scans).leases[0].kbps
    };
    assert_eq!(mean(&[(0, None)]), None);
    assert_eq!(mean(&[(0, Some(f64::NAN))]), None);
    assert_eq!(mean(&[(0, None), (1, Some(8.0))]), Some(8.0));
    assert_eq!(
        mean(&[(0, Some(8.0)), (1, Some(6.0)), (2, Some(0.0))]),
        Some(3.0),
        "the first stood for no time"
    );
    let mut scans: Vec<_> = (0..=300).map(|second| (second, Some(100.0))).collect();
    scans.push((303, Some(0.0)));
    let after_a_lull = mean(&scans).unwrap();
    assert!((after_a_lull - 99.0).abs() < 0.1, "{after_a_lull}");
    scans.extend((304..1300).map(|second| (second, Some(0.0))));
    assert!(mean(&scans).unwrap() < 5.0);
}

#[test]
fn all_owners_before_that_are_still_there_are_known_for_as_long_as_nothing_returns() {
    let scan = |second, owner, workers: &str| {
        let workers: Vec<_> = workers.split(' ').map(|id| worker(id, EPOCH + second)).collect();
        (second, table(&[lease("1", owner, second)], &workers))
    };
    let left = |scans: &[(u64, TableSnapshot)]| {
        let left = after(scans).leases.remove(0).left;
        left.into_iter()
            .map(|(id, ago)| format!("{id} {}", ago.as_secs()))
            .collect::<Vec<_>>()
    };
    let mut scans = vec![
        scan(0, "a", "a b c"),
        scan(10, "b", "a b c"),
        scan(30, "c", "a b c"),
    ];
    assert_eq!(left(&scans), ["a 20", "b 0"]);
    let mut handed = scan(40, "a", "a b c");
    handed.1.leases[0].checkpoint_owner = Some("c".into());
    scans.extend([handed, scan(41, "c", "a b c")]);
    assert_eq!(left(&scans), ["a 31", "b 11"], "a never had it again");
    scans.truncate(3);
    scans.push(scan(40, "c", "b c"));
    scans.push(scan(50, "c", "a b c"));
    assert_eq!(left(&scans), ["b 20"], "a was away");
    scans.push(scan(60, "c", "a c"));
    scans.push(scan(70, "c", "a b c"));
    assert_eq!(left(&scans), [""; 0], "b too");
    scans.truncate(3);
    scans.push(scan(3629, "c", "a b c"));
    assert_eq!(left(&scans), ["b 3599"]);
    scans.push(scan(3630, "c", "a b c"));
    assert_eq!(left(&scans), [""; 0]);
}
