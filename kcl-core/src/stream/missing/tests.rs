use std::time::{Duration, UNIX_EPOCH};

use kcl_lease::{HashRange, LeaseKey, SequenceNumber};
use proptest::prelude::*;

use super::super::audit::find_hole;
use super::super::children::{Child, child_leases, other_parents, without_awaiting};
use super::super::cleanup::tests::deletable;
use super::super::graph::tests::{documented_example, id, shard};
use super::*;

const LATEST: InitialPosition = InitialPosition::Latest;
const OLDEST: InitialPosition = InitialPosition::TrimHorizon;

fn at_time(time: u64) -> InitialPosition {
    InitialPosition::AtTimestamp(UNIX_EPOCH + Duration::from_secs(time))
}

/// What is missing next to unfinished leases for `leased`: shard numbers and starts.
fn missing(leased: &[u32], initial: InitialPosition) -> Vec<(u32, Checkpoint)> {
    let leases = leased.iter().map(|&number| (id(number), entry(false))).collect();
    shown(&missing_leases(&documented_example(), &leases, initial))
}

fn entry(has_ended: bool) -> Leased {
    Leased {
        has_ended,
        hash_range: None,
    }
}

fn shown(leases: &[Lease]) -> Vec<(u32, Checkpoint)> {
    let number = |lease: &Lease| lease.key.as_str()["shardId-".len()..].parse().expect("number");
    leases
        .iter()
        .map(|lease| (number(lease), lease.checkpoint.clone()))
        .collect()
}

#[test]
fn the_documented_example() {
    assert_eq!(missing(&[4, 5, 7], LATEST), [(6, Checkpoint::Latest)]);
    assert_eq!(
        missing(&[4, 5, 7], OLDEST),
        [(0, Checkpoint::TrimHorizon), (1, Checkpoint::TrimHorizon)]
    );
    assert_eq!(
        missing(&[4, 5, 7], at_time(0)),
        [(0, Checkpoint::AtTimestamp), (1, Checkpoint::AtTimestamp)]
    );
}

#[test]
fn nothing_is_missing_when_each_line_has_a_lease() {
    for leased in [&[0, 1, 2, 3, 4, 5][..], &[4, 5, 6, 7], &[4, 8, 9, 10]] {
        for initial in [LATEST, OLDEST, at_time(0)] {
            assert_eq!(missing(leased, initial), [], "{leased:?} {initial:?}");
        }
    }
}

#[test]
fn one_lost_lease_of_a_split_is_restored() {
    assert_eq!(missing(&[4, 8, 10], LATEST), [(9, Checkpoint::Latest)]);
}

#[test]
fn an_ended_lease_vouches_for_its_children() {
    let leases = BTreeMap::from(
        [(4, false), (8, false), (5, true), (10, false)].map(|(n, ended)| (id(n), entry(ended))),
    );
    for initial in [LATEST, OLDEST, at_time(0)] {
        let found = shown(&missing_leases(&documented_example(), &leases, initial));
        assert_eq!(found, [(9, Checkpoint::TrimHorizon)], "{initial:?}");
    }
}

#[test]
fn a_listing_from_the_middle_of_a_split_is_not_trusted() {
    let half = HashRange {
        start: 0,
        end: u128::MAX / 2,
    };
    let graph = ShardGraph::new([shard(0, &[], HashRange::FULL, true), shard(1, &[0], half, true)]);
    let found = shown(&missing_leases(&graph, &BTreeMap::new(), LATEST));
    assert_eq!(
        found,
        [(0, Checkpoint::Latest)],
        "the child follows when its parent ends"
    );
}

#[test]
fn a_new_application_starts_with_one_generation() {
    let graph = documented_example();
    let numbers = |initial| {
        shown(&bootstrap_leases(&graph, initial))
            .into_iter()
            .map(|(n, _)| n)
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(LATEST), [4, 8, 9, 10]);
    assert_eq!(numbers(OLDEST), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_line_of_thousands_of_generations_is_walked() {
    let generation = |n: u32| {
        shard(
            n,
            &n.checked_sub(1).map_or(vec![], |p| vec![p]),
            HashRange::FULL,
            n == 20_000,
        )
    };
    let graph = ShardGraph::new((0..=20_000).map(generation));
    let leases = BTreeMap::from([(ShardId::from("shardId-other"), entry(false))]);
    assert_eq!(
        shown(&missing_leases(&graph, &leases, OLDEST)),
        [(0, Checkpoint::TrimHorizon)]
    );
}

/// A stream with its records, and the leases of an application that reads it.
struct World {
    shards: Vec<Shard>,
    /// Per shard: when each record was put, and how often it was delivered.
    records: BTreeMap<ShardId, Vec<(u64, u32)>>,
    /// Per shard: when it was opened and closed.
    life: BTreeMap<ShardId, (u64, u64)>,
    leases: BTreeMap<LeaseKey, Reader>,
    now: u64,
    /// Whether the next shard that ends does so without learning of its children.
    forgets_children: bool,
    /// Shards that were closed before have left the stream.
    horizon: u64,
}

struct Reader {
    lease: Lease,
    /// When reading began; what `LATEST` means.
    since: u64,
    next: usize,
    read_any: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            shards: vec![],
            records: BTreeMap::new(),
            life: BTreeMap::new(),
            leases: BTreeMap::new(),
            now: 1,
            forgets_children: false,
            horizon: 0,
        };
        for half in [(0, u128::MAX / 2), (u128::MAX / 2 + 1, u128::MAX)] {
            world.open(
                &[],
                HashRange {
                    start: half.0,
                    end: half.1,
                },
            );
        }
        world
    }

    fn open(&mut self, parents: &[usize], range: HashRange) {
        for &parent in parents {
            self.shards[parent].ends_at = SequenceNumber::parse(u64::MAX.to_string()).ok();
            self.life.get_mut(&self.shards[parent].id).expect("opened").1 = self.now;
        }
        let numbers: Vec<u32> = parents.iter().map(|&parent| parent as u32).collect();
        let shard = shard(self.shards.len() as u32, &numbers, range, true);
        self.life.insert(shard.id.clone(), (self.now, u64::MAX));
        self.records.insert(shard.id.clone(), vec![]);
        self.shards.push(shard);
    }

    fn open_shard(&self, pick: usize) -> usize {
        let open: Vec<_> = (0..self.shards.len())
            .filter(|&i| self.shards[i].is_open())
            .collect();
        open[pick % open.len()]
    }

    fn act(&mut self, action: u8, pick: usize) {
        self.now += 1;
        let chosen = self.open_shard(pick);
        let range = self.shards[chosen].hash_range;
        match action {
            0..=3 => {
                let id = self.shards[chosen].id.clone();
                self.records.get_mut(&id).expect("opened").push((self.now, 0));
            }
            4 if range.start < range.end => {
                let middle = range.start + (range.end - range.start) / 2;
                self.open(
                    &[chosen],
                    HashRange {
                        start: range.start,
                        end: middle,
                    },
                );
                self.open(
                    &[chosen],
                    HashRange {
                        start: middle + 1,
                        end: range.end,
                    },
                );
            }
            5 => {
                let behind = |shard: &Shard| {
                    shard.is_open() && range.end.checked_add(1) == Some(shard.hash_range.start)
                };
                if let Some(other) = self.shards.iter().position(behind) {
                    let end = self.shards[other].hash_range.end;
                    self.open(
                        &[chosen, other],
                        HashRange {
                            start: range.start,
                            end,
                        },
                    );
                }
            }
            _ => {}
        }
    }

    fn is_gone(&self, shard: &ShardId) -> bool {
        self.life[shard].1 < self.horizon
    }

    /// The listing that Kinesis gives for the filter of an initial position.
    fn listing(&self, initial: Option<InitialPosition>) -> ShardGraph {
        let is_listed = |shard: &&Shard| {
            !self.is_gone(&shard.id)
                && match initial {
                    Some(InitialPosition::Latest) => shard.is_open(),
                    Some(InitialPosition::TrimHorizon) => shard.parents.is_empty(),
                    Some(InitialPosition::AtTimestamp(at)) => {
                        let at = at.duration_since(UNIX_EPOCH).expect("after").as_secs();
                        let (opened, closed) = self.life[&shard.id];
                        opened <= at && at < closed
                    }
                    None => true,
                }
        };
        ShardGraph::new(self.shards.iter().filter(is_listed).cloned())
    }

    fn add(&mut self, leases: Vec<Lease>) {
        for lease in leases {
            let reader = Reader {
                lease,
                since: self.now,
                next: 0,
                read_any: false,
            };
            self.leases.entry(reader.lease.key.clone()).or_insert(reader);
        }
    }

    fn is_blocked(&self, lease: &Lease) -> bool {
        let unfinished = |parent: &String| {
            self.leases
                .get(&ShardId::from(parent.as_str()).lease_key())
                .is_some_and(|parent| !parent.lease.has_ended())
        };
        lease.parents.iter().any(unfinished)
    }

    /// Reads one lease as far as its shard goes now.
    fn consume(&mut self, key: &LeaseKey, initial: InitialPosition) {
        if self.leases[key].lease.has_ended() || self.is_blocked(&self.leases[key].lease) {
            return;
        }
        let id = ShardId::of_lease(key);
        let graph = self.listing(None);
        let is_gone = self.is_gone(&id);
        let reader = self.leases.get_mut(key).expect("leased");
        if is_gone {
            assert!(graph.has_lost(&id));
            reader.next = self.records[&id].len();
        }
        let records = self.records.get_mut(&id).expect("opened");
        for (put, delivered) in &mut records[reader.next..] {
            let wanted = match (&reader.lease.checkpoint, initial) {
                (Checkpoint::AtTimestamp, InitialPosition::AtTimestamp(at)) => {
                    UNIX_EPOCH + Duration::from_secs(*put) >= at
                }
                (Checkpoint::Latest, _) => *put > reader.since,
                _ => true,
            };
            *delivered += u32::from(wanted);
            reader.read_any |= wanted;
        }
        reader.next = records.len();
        if reader.read_any {
            reader.lease.checkpoint = Checkpoint::parse("1", 0).expect("number");
        }
        if graph.get(&id).is_none_or(|shard| !shard.is_open()) {
            let heirs = graph.heirs(&id, reader.lease.hash_range);
            let mut children: Vec<_> = heirs.into_iter().map(Child::from).collect();
            if std::mem::take(&mut self.forgets_children) {
                children.clear();
            }
            reader.lease.checkpoint = Checkpoint::ShardEnd;
            reader.lease.children = children.iter().map(|child| child.id.to_string()).collect();
            let has_no_lease = |parent: &&&ShardId| {
                !self.leases.contains_key(&parent.lease_key()) && graph.get(parent).is_some()
            };
            let awaited = other_parents(&id, &children)
                .iter()
                .filter(has_no_lease)
                .map(|p| (*p).clone())
                .collect();
            let children = without_awaiting(children, &awaited);
            self.add(child_leases(&id, &children));
        }
    }

    fn repair(&mut self, initial: InitialPosition) {
        let leases: Vec<_> = self.leases.values().map(|reader| reader.lease.clone()).collect();
        self.add(missing_leases(&self.listing(None), &leased(&leases), initial));
    }

    fn clean_up(&mut self) {
        let leases: Vec<_> = self.leases.values().map(|reader| reader.lease.clone()).collect();
        for key in deletable(&leases, &self.listing(None)) {
            self.leases.remove(&key);
        }
    }
}

fn history(length: usize) -> impl Strategy<Value = Vec<(u8, usize)>> {
    proptest::collection::vec((0u8..6, 0usize..1000), 0..length)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_delivered_exactly_once_unless_its_shard_left_before(
        before in history(30),
        after in proptest::collection::vec((0u8..13, 0usize..1000), 0..80),
        position in 0u8..3,
        time in 1u64..40,
        created in any::<u64>(),
    ) {
        let mut world = World::new();
        for (action, pick) in before {
            world.act(action, pick);
        }
        let start = world.now;
        let initial = match position {
            0 => LATEST,
            1 => OLDEST,
            _ => at_time(time.min(start)),
        };

        // A new application: one generation that covers everything, of which a crash may leave a part.
        let leases = bootstrap_leases(&world.listing(Some(initial)), initial);
        prop_assert_eq!(find_hole(leases.iter().filter_map(|lease| lease.hash_range)), None);
        let total: u128 = leases.iter().filter_map(|l| l.hash_range).fold(0, |sum, range| {
            sum.wrapping_add(range.end - range.start).wrapping_add(1)
        });
        prop_assert_eq!(total, 0, "2^128 hash keys, each once");
        let left: Vec<_> =
            leases.into_iter().enumerate().filter(|(i, _)| *i == 0 || created >> (i % 64) & 1 == 1).map(|(_, l)| l).collect();
        world.add(left);
        world.repair(initial);

        for (action, pick) in after {
            match action {
                0..=5 => world.act(action, pick),
                6..=8 => {
                    let keys: Vec<_> = world.leases.keys().cloned().collect();
                    world.consume(&keys[pick % keys.len()], initial);
                }
                9 => world.forgets_children = true,
                10 => world.repair(initial),
                11 => world.clean_up(),
                _ => {
                    let span = (world.now - world.horizon) as usize;
                    world.horizon += (pick % (span + 1)) as u64;
                }
            }
        }
        for _ in 0..world.shards.len() + 1 {
            world.repair(initial);
            world.clean_up();
            let keys: Vec<_> = world.leases.keys().cloned().collect();
            for key in keys {
                world.consume(&key, initial);
            }
        }

        for (shard, records) in &world.records {
            for (put, delivered) in records {
                let wanted = match initial {
                    InitialPosition::TrimHorizon => true,
                    InitialPosition::Latest => *put > start,
                    InitialPosition::AtTimestamp(at) => UNIX_EPOCH + Duration::from_secs(*put) >= at,
                };
                // A child is read from its beginning even if that lies before the configured time.
                let spared = !wanted && position == 2 && *delivered <= 1
                    || world.is_gone(shard) && *delivered <= u32::from(wanted);
                prop_assert!(spared || *delivered == u32::from(wanted), "{} of {} at {}", delivered, shard, put);
            }
        }
        let unfinished = world.leases.values().filter(|reader| !reader.lease.has_ended());
        prop_assert_eq!(find_hole(unfinished.filter_map(|reader| reader.lease.hash_range)), None);
    }
}
