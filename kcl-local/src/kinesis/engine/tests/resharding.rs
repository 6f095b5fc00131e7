use super::*;

fn open_ranges(world: &mut World) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = (world.stream().select(ShardFilter::AtLatest).iter())
        .map(|shard| (u128_of(shard.range.start), u128_of(shard.range.end)))
        .collect();
    ranges.sort_unstable();
    ranges
}

fn uniform(shards: u32) -> Vec<(u128, u128)> {
    hash::HashRange::divide(shards)
        .map(|range| (u128_of(range.start), u128_of(range.end)))
        .collect()
}

fn scale(world: &mut World, shards: u32) -> Result<u32, EngineError> {
    world.engine.scale(STREAM, shards, world.now)
}

#[test]
fn a_split_divides_the_range_at_the_key() {
    let mut world = World::new(1);
    let key = HashKey::new(1_000);
    world.split(0, key).unwrap();
    assert_eq!(open_ranges(&mut world), [(0, 999), (1_000, u128::MAX)]);
    assert_eq!(
        world
            .put_at(HashKey::new(999), "a")
            .unwrap()
            .origin()
            .shard
            .number(),
        1
    );
    assert_eq!(world.put_at(key, "b").unwrap().origin().shard.number(), 2);
    assert_eq!(
        world.put_at(HashKey::MAX, "c").unwrap().origin().shard.number(),
        2
    );
}

#[test]
fn a_split_needs_a_key_well_inside_the_range() {
    let mut world = World::new(2);
    let range = world.stream().shards[&ShardId::new(1)].range;
    let start = u128_of(range.start);
    for key in [0, start, start + 1, u128::MAX] {
        let refused = world.split(1, HashKey::new(key));
        assert!(matches!(refused, Err(EngineError::InvalidArgument(_))), "{key}");
    }
    world.split(1, HashKey::new(start + 2)).unwrap();
}

#[test]
fn only_neighbours_merge_the_lower_one_first() {
    let mut world = World::new(3);
    for (lower, upper) in [(0, 2), (1, 0), (0, 0)] {
        let refused = world.merge(lower, upper);
        assert!(
            matches!(refused, Err(EngineError::InvalidArgument(_))),
            "{lower} {upper}"
        );
    }
    world.merge(0, 1).unwrap();
    assert_eq!(open_ranges(&mut world).len(), 2);
}

#[test]
fn closed_and_unknown_shards_do_not_change() {
    let mut world = World::new(2);
    world.merge(0, 1).unwrap();
    assert!(matches!(
        world.split(0, HashKey::new(5)),
        Err(EngineError::InvalidArgument(_))
    ));
    assert!(matches!(world.merge(0, 1), Err(EngineError::InvalidArgument(_))));
    assert!(matches!(
        world.split(9, HashKey::new(5)),
        Err(EngineError::ShardNotFound { .. })
    ));
}

#[test]
fn doubling_splits_every_shard_once() {
    let mut world = World::new(3);
    assert_eq!(scale(&mut world, 6), Ok(3));
    assert_eq!(open_ranges(&mut world), uniform(6));
    assert_eq!(world.ids(ShardFilter::FromTrimHorizon).len(), 9);
}

#[test]
fn halving_merges_every_pair_once() {
    let mut world = World::new(6);
    scale(&mut world, 3).unwrap();
    assert_eq!(open_ranges(&mut world), uniform(3));
    assert_eq!(world.ids(ShardFilter::FromTrimHorizon).len(), 9);
}

#[test]
fn any_other_count_is_reached_by_splits_and_merges() {
    for (from, to) in [(2, 3), (3, 2), (5, 4), (4, 7), (3, 3), (1, 2)] {
        let mut world = World::new(from);
        scale(&mut world, to).unwrap();
        assert_eq!(open_ranges(&mut world), uniform(to), "{from} to {to}");
    }
}

#[test]
fn uneven_shards_become_even() {
    let mut world = World::new(2);
    world.split(0, HashKey::new(7)).unwrap();
    scale(&mut world, 3).unwrap();
    assert_eq!(open_ranges(&mut world), uniform(3));
}

#[test]
fn the_count_at_most_doubles_and_at_least_halves() {
    for (from, to) in [(2, 5), (6, 2), (3, 1)] {
        let mut world = World::new(from);
        assert!(
            matches!(scale(&mut world, to), Err(EngineError::LimitExceeded(_))),
            "{from} to {to}"
        );
        assert_eq!(open_ranges(&mut world), uniform(from));
    }
}

#[test]
fn a_stream_is_scaled_to_ten_thousand_shards_at_most() {
    let mut world = World::new(6_000);
    assert!(matches!(
        scale(&mut world, 10_001),
        Err(EngineError::LimitExceeded(_))
    ));
    scale(&mut world, 10_000).unwrap();
}

#[test]
fn the_service_decides_about_on_demand_streams() {
    let mut world = World::new(1);
    world.engine.delete(STREAM, world.now).unwrap();
    let spec = StreamSpec {
        name: STREAM.to_owned(),
        mode: CapacityMode::OnDemand,
        shards: 4,
        max_record_kib: 1024,
        warm_mibps: None,
        distribution: Distribution::ByKey,
        tags: BTreeMap::new(),
    };
    world.engine.create(spec, world.now).unwrap();
    let is_refused = |outcome: Result<(), EngineError>| matches!(outcome, Err(EngineError::WrongMode(_)));
    assert!(is_refused(scale(&mut world, 8).map(|_| ())));
    assert!(is_refused(world.merge(0, 1)));
    assert!(is_refused(world.split(0, HashKey::new(5))));
}
