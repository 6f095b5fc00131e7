use super::*;

/// Shard 0 splits into 1 and 2 after an hour; 1 and 2 merge into 3 after another.
fn generations() -> (World, [EpochMillis; 3]) {
    let mut world = World::new(1);
    let created = world.now;
    world.advance(HOUR);
    let split = world.now;
    world.halve(0);
    world.advance(HOUR);
    let merged = world.now;
    world.merge(1, 2).unwrap();
    (world, [created, split, merged])
}

fn after(time: EpochMillis, millis: u64) -> EpochMillis {
    EpochMillis::new(time.get() + millis)
}

#[test]
fn the_trim_horizon_shows_the_oldest_generation_that_is_left() {
    let (mut world, [_, _, merged]) = generations();
    assert_eq!(world.ids(ShardFilter::AtTrimHorizon), [0]);
    assert_eq!(world.ids(ShardFilter::FromTrimHorizon), [0, 1, 2, 3]);
    world.now = after(merged, 23 * HOUR + 1);
    assert_eq!(world.ids(ShardFilter::AtTrimHorizon), [1, 2]);
    world.now = after(merged, 24 * HOUR + 1);
    assert_eq!(world.ids(ShardFilter::AtTrimHorizon), [3]);
}

#[test]
fn latest_shows_the_open_shards() {
    let (mut world, _) = generations();
    assert_eq!(world.ids(ShardFilter::AtLatest), [3]);
}

#[test]
fn a_time_shows_the_generation_that_was_open_then() {
    let (mut world, [created, split, merged]) = generations();
    assert_eq!(world.ids(ShardFilter::AtTimestamp(EpochMillis::new(0))), [0]);
    assert_eq!(world.ids(ShardFilter::AtTimestamp(created)), [0]);
    assert_eq!(
        world.ids(ShardFilter::AtTimestamp(split)),
        [0],
        "it may hold records of that millisecond"
    );
    assert_eq!(world.ids(ShardFilter::AtTimestamp(after(split, 1))), [1, 2]);
    assert_eq!(world.ids(ShardFilter::AtTimestamp(after(merged, 1))), [3]);
    assert_eq!(world.ids(ShardFilter::FromTimestamp(after(split, 1))), [1, 2, 3]);
    assert_eq!(world.ids(ShardFilter::FromTimestamp(after(merged, 1))), [3]);
}

#[test]
fn after_a_shard_come_those_with_greater_ids() {
    let (mut world, _) = generations();
    assert_eq!(world.ids(ShardFilter::AfterShard(ShardId::new(1))), [2, 3]);
    assert_eq!(
        world.ids(ShardFilter::AfterShard(ShardId::new(99))),
        [] as [u32; 0]
    );
}

#[test]
fn a_stream_that_was_resharded_at_its_birth_still_begins_with_its_first_shards() {
    let mut world = World::new(1);
    world.put("a");
    world.halve(0);
    assert_eq!(world.ids(ShardFilter::AtTrimHorizon), [0]);
    assert_eq!(world.ids(ShardFilter::AtTimestamp(world.now)), [0]);
}
