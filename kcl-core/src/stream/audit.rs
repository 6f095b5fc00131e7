//! Whether the leases cover every hash key. Pure.

use std::fmt;

use kcl_lease::{HashRange, Lease};

/// Hash keys that no unfinished lease covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole(pub(crate) HashRange);

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hash keys {}", self.0)
    }
}

/// The first hole between the ranges. Overlaps are fine: they arise during a merge.
pub(crate) fn find_hole(ranges: impl IntoIterator<Item = HashRange>) -> Option<Hole> {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_unstable();
    let mut next = 0;
    for range in ranges {
        if range.start > next {
            return Some(Hole(HashRange {
                start: next,
                end: range.start - 1,
            }));
        }
        match range.end.checked_add(1) {
            Some(behind) => next = next.max(behind),
            None => return None,
        }
    }
    Some(Hole(HashRange {
        start: next,
        end: u128::MAX,
    }))
}

/// The first hole between the leases that are not ended. Leases without a known range are left out.
pub(crate) fn find_lease_hole<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Option<Hole> {
    find_hole(
        leases
            .into_iter()
            .filter(|lease| !lease.has_ended())
            .filter_map(|lease| lease.hash_range),
    )
}

/// Decides when a hole is real: a scan is no snapshot, so a hole counts once it was seen in the same place in three
/// audits in a row (the Java KCL's default).
#[derive(Debug, Default)]
pub(crate) struct HoleWatch {
    seen: Option<(Hole, u32)>,
}

impl HoleWatch {
    const SIGHTINGS: u32 = 3;

    /// Takes in the result of one audit; true when leases are to be created now.
    pub(crate) fn observe(&mut self, hole: Option<Hole>) -> bool {
        self.seen = hole.map(|hole| match self.seen {
            Some((same, times)) if same == hole => (hole, times + 1),
            _ => (hole, 1),
        });
        self.seen.is_some_and(|(_, times)| times >= Self::SIGHTINGS)
    }

    /// Whether a hole was seen, but not often enough yet.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.seen.is_some_and(|(_, times)| times < Self::SIGHTINGS)
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::Checkpoint;

    use super::*;

    const MAX: u128 = u128::MAX;

    fn hole(start: u128, end: u128) -> Option<Hole> {
        Some(Hole(HashRange { start, end }))
    }

    #[test]
    fn holes_are_found_at_the_start_in_the_middle_and_at_the_end() {
        for (ranges, expected) in [
            (vec![(0, MAX)], None),
            (vec![(0, 9), (10, MAX)], None),
            (vec![(10, MAX), (0, 9)], None),
            (vec![(0, MAX), (5, 9)], None),
            (vec![(0, 50), (20, 30), (51, MAX)], None),
            (vec![], hole(0, MAX)),
            (vec![(1, MAX)], hole(0, 0)),
            (vec![(0, MAX - 1)], hole(MAX, MAX)),
            (vec![(0, 9), (11, MAX)], hole(10, 10)),
            (vec![(0, 50), (20, 30), (61, MAX)], hole(51, 60)),
        ] {
            let found = find_hole(ranges.iter().map(|&(start, end)| HashRange { start, end }));
            assert_eq!(found, expected, "{ranges:?}");
        }
    }

    #[test]
    fn an_ended_lease_covers_nothing() {
        let lease = Lease::new("a", Checkpoint::ShardEnd).with_hash_range(HashRange::FULL);
        assert_eq!(find_lease_hole([&lease]), hole(0, MAX));
    }

    #[test]
    fn a_hole_counts_at_its_third_sighting_in_a_row() {
        let (one, other) = (hole(0, 9), hole(5, 9));
        let mut watch = HoleWatch::default();
        let seen = [one, one, None, one, one, other, other, other, other, None];
        let acts: Vec<_> = seen.into_iter().map(|hole| watch.observe(hole)).collect();
        assert_eq!(
            acts,
            [false, false, false, false, false, false, false, true, true, false]
        );
        assert!(!watch.is_suspicious());
        watch.observe(one);
        assert!(watch.is_suspicious());
    }
}
