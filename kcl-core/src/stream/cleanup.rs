//! Which ended leases may be deleted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_lease::{Checkpoint, Lease, LeaseKey};
use tokio::time::Instant;

use super::graph::ShardGraph;
use crate::config::ShardId;

/// How long an ended lease is kept at least. A request to create it that is under way for long, and arrives when it is gone, would
/// bring it back, and its shard would be processed again: no condition can tell that the lease was there before.
const KEPT: Duration = Duration::from_secs(10);

/// The ended leases, and since when they are seen to be ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    since: BTreeMap<LeaseKey, Instant>,
}

impl Ended {
    pub(crate) fn look(&mut self, leases: &[Lease], now: Instant) {
        let before = std::mem::take(&mut self.since);
        for lease in leases.iter().filter(|lease| lease.has_ended()) {
            let since = before.get(&lease.key).copied().unwrap_or(now);
            self.since.insert(lease.key.clone(), since);
        }
    }

    /// Whether there is one that was kept for long enough.
    pub(crate) fn is_any_due(&self, now: Instant) -> bool {
        self.since.values().any(|since| *since + KEPT <= now)
    }

    /// When the next one of the others will have been.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let due = self.since.values().map(|since| *since + KEPT);
        due.filter(|due| *due > now).min()
    }

    fn is_due(&self, lease: &LeaseKey, now: Instant) -> bool {
        self.since.get(lease).is_some_and(|since| *since + KEPT <= now)
    }
}

/// The ended leases that nothing depends on any more and that were kept for long enough, parents first.
///
/// The lease of an ended shard goes when its parents' leases are gone, and each of its children has a lease that was
/// started: until then it proves that the children may be processed, and vouches for their leases. A shard that
/// Kinesis no longer lists proves nothing any more; its lease goes once the first listed shards that descend from it have
/// leases, and they keep theirs until then. If the shard cannot have been in this stream, its lease stays: it is another
/// stream's.
pub(crate) fn deletable(leases: &[Lease], graph: &ShardGraph, ended: &Ended, now: Instant) -> Vec<LeaseKey> {
    let mut left: BTreeMap<&LeaseKey, &Lease> = leases.iter().map(|lease| (&lease.key, lease)).collect();
    let heirs: BTreeMap<&LeaseKey, BTreeSet<&ShardId>> = leases
        .iter()
        .map(|lease| (&lease.key, heirs(lease, graph)))
        .collect();
    let mut gone = Vec::new();
    loop {
        let next: Vec<_> = left
            .values()
            .filter(|lease| ended.is_due(&lease.key, now) && may_go(lease, &left, graph, &heirs))
            .map(|lease| &lease.key)
            .collect();
        if next.is_empty() {
            return gone;
        }
        for key in next {
            left.remove(key);
            gone.push(key.clone());
        }
    }
}

/// The first shards that are left of the line of one that has left the stream.
fn heirs<'a>(lease: &Lease, graph: &'a ShardGraph) -> BTreeSet<&'a ShardId> {
    let id = ShardId::of_lease(&lease.key);
    if !graph.has_lost(&id) {
        return BTreeSet::new();
    }
    let heirs = graph.heirs(&id, lease.hash_range);
    heirs.into_iter().map(|heir| &heir.id).collect()
}

fn may_go(
    lease: &Lease,
    leases: &BTreeMap<&LeaseKey, &Lease>,
    graph: &ShardGraph,
    heirs: &BTreeMap<&LeaseKey, BTreeSet<&ShardId>>,
) -> bool {
    if !lease.has_ended() || graph.is_empty() {
        return false;
    }
    let id = ShardId::of_lease(&lease.key);
    let lease_of = |shard: &str| leases.get(&ShardId::from(shard).lease_key()).copied();
    if graph.get(&id).is_none() {
        let follow = heirs.get(&lease.key).into_iter().flatten();
        return graph.has_lost(&id) && follow.into_iter().all(|heir| lease_of(heir.as_str()).is_some());
    }
    let is_awaited = |ancestor: &&LeaseKey| heirs.get(*ancestor).is_some_and(|heirs| heirs.contains(&id));
    let listed = graph.children_of(&id).map(|child| child.id.as_str());
    let children: BTreeSet<&str> = lease.children.iter().map(String::as_str).chain(listed).collect();
    !children.is_empty()
        && lease.parents.iter().all(|parent| lease_of(parent).is_none())
        && !leases.keys().any(is_awaited)
        && children
            .iter()
            .all(|child| lease_of(child).is_some_and(was_started))
}

fn was_started(lease: &Lease) -> bool {
    !matches!(
        lease.checkpoint,
        Checkpoint::TrimHorizon | Checkpoint::AtTimestamp
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::graph::tests::{documented_example, id};
    use super::*;

    fn lease(number: u32, checkpoint: &str, parents: &[u32]) -> Lease {
        let checkpoint = Checkpoint::parse(checkpoint, 0).expect("valid");
        Lease::new(id(number).lease_key(), checkpoint)
            .with_parents(parents.iter().map(|p| id(*p).to_string()))
    }

    /// All were kept for long enough.
    pub(crate) fn deletable(leases: &[Lease], graph: &ShardGraph) -> Vec<LeaseKey> {
        let (mut ended, now) = (Ended::default(), Instant::now());
        ended.look(leases, now);
        super::deletable(leases, graph, &ended, now + KEPT)
    }

    fn deleted(leases: &[Lease]) -> Vec<LeaseKey> {
        deletable(leases, &documented_example())
    }

    fn keys(numbers: &[u32]) -> Vec<LeaseKey> {
        numbers.iter().map(|number| id(*number).lease_key()).collect()
    }

    #[test]
    fn an_ended_lease_stays_until_all_its_children_were_started() {
        let ended = lease(5, "SHARD_END", &[]);
        for (left, right, goes) in [
            ("TRIM_HORIZON", "TRIM_HORIZON", false),
            ("77", "TRIM_HORIZON", false),
            ("77", "AT_TIMESTAMP", false),
            ("77", "78", true),
            ("LATEST", "SHARD_END", true),
        ] {
            let found = deleted(&[ended.clone(), lease(9, left, &[5]), lease(10, right, &[5])]);
            assert_eq!(found, keys(if goes { &[5] } else { &[] }), "{left} {right}");
        }
        assert_eq!(
            deleted(&[ended, lease(9, "77", &[5])]),
            [],
            "the other child has no lease"
        );
    }

    #[test]
    fn an_ended_lease_is_kept_for_a_while_and_then_its_children_in_their_turn() {
        let begun = [lease(9, "77", &[5]), lease(10, "78", &[5])];
        let parents = [lease(5, "SHARD_END", &[])];
        let leases = [&parents[..], &begun].concat();
        let (mut ended, begin) = (Ended::default(), Instant::now());
        let graph = documented_example();
        ended.look(&leases, begin);
        let almost = begin + KEPT - Duration::from_millis(1);
        ended.look(&leases, almost);
        assert!(!ended.is_any_due(almost));
        assert_eq!(ended.next_due(almost), Some(begin + KEPT));
        assert_eq!(super::deletable(&leases, &graph, &ended, almost), []);
        assert!(ended.is_any_due(begin + KEPT));
        assert_eq!(ended.next_due(begin + KEPT), None);
        assert_eq!(
            super::deletable(&leases, &graph, &ended, begin + KEPT),
            keys(&[5])
        );
        // One that is not there any more is forgotten: it would be another one.
        ended.look(&begun, begin + KEPT);
        ended.look(&leases, begin + KEPT);
        assert_eq!(super::deletable(&leases, &graph, &ended, begin + KEPT), []);
    }

    #[test]
    fn an_unfinished_lease_stays() {
        assert_eq!(
            deleted(&[lease(5, "5", &[]), lease(9, "77", &[5]), lease(10, "78", &[5])]),
            []
        );
    }

    #[test]
    fn generations_go_oldest_first_and_only_from_the_oldest_on() {
        let line = |oldest: &str| {
            [
                lease(0, oldest, &[]),
                lease(1, "SHARD_END", &[]),
                lease(6, "SHARD_END", &[0, 1]),
                lease(7, "SHARD_END", &[2, 3]),
                lease(8, "88", &[6, 7]),
            ]
        };
        assert_eq!(deleted(&line("SHARD_END")), keys(&[0, 1, 7, 6]));
        assert_eq!(deleted(&line("5")), keys(&[1, 7]), "0 is not done, so 6 is kept");
    }

    #[test]
    fn the_lease_of_a_shard_that_is_no_longer_listed_goes() {
        let full = documented_example();
        let graph = ShardGraph::new(full.iter().filter(|shard| shard.id != id(5)).cloned());
        let range = full.get(&id(5)).expect("listed").hash_range;
        let gone = |checkpoint| lease(5, checkpoint, &[]).with_hash_range(range);
        let children = [lease(9, "TRIM_HORIZON", &[5]), lease(10, "TRIM_HORIZON", &[5])];
        let with_children = |lease: Lease| [&[lease], &children[..]].concat();
        assert_eq!(deletable(&with_children(gone("SHARD_END")), &graph), keys(&[5]));
        assert_eq!(
            deletable(&with_children(gone("55")), &graph),
            [],
            "its consumer has to find out first"
        );
        assert_eq!(
            deletable(&with_children(gone("SHARD_END")), &ShardGraph::default()),
            [],
            "nothing was listed at all"
        );
    }

    #[test]
    fn the_lease_of_a_lost_shard_stays_until_those_that_are_left_of_its_line_have_leases() {
        let full = documented_example();
        let gone = [0, 1, 2, 3, 6, 7].map(id);
        let graph = ShardGraph::new(full.iter().filter(|shard| !gone.contains(&shard.id)).cloned());
        let range = full.get(&id(0)).expect("listed").hash_range;
        let ended = lease(0, "SHARD_END", &[]).with_hash_range(range);
        assert_eq!(deletable(std::slice::from_ref(&ended), &graph), [], "8 follows");
        assert_eq!(
            deletable(&[ended, lease(8, "TRIM_HORIZON", &[])], &graph),
            keys(&[0])
        );
    }

    #[test]
    fn the_lease_of_a_shard_that_this_stream_never_had_stays() {
        assert_eq!(deleted(&[lease(55, "SHARD_END", &[54])]), []);
    }

    #[test]
    fn a_listed_shard_without_any_known_children_stays() {
        assert_eq!(deleted(&[lease(4, "SHARD_END", &[])]), []);
    }
}
