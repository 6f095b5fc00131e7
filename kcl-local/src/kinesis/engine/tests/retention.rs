use super::*;

#[test]
fn records_last_a_day() {
    let mut world = World::new(1);
    let number = world.put("a");
    world.advance(HOUR);
    world.put("b");
    world.advance(23 * HOUR);
    assert_eq!(world.contents(0, StartingPosition::TrimHorizon), ["a", "b"]);
    world.advance(1);
    assert_eq!(world.contents(0, StartingPosition::TrimHorizon), ["b"]);
    assert_eq!(
        world.contents(0, StartingPosition::AtSequenceNumber(number)),
        ["b"],
        "reads from the horizon"
    );
    assert_eq!(
        world.contents(0, StartingPosition::AtTimestamp(EpochMillis::new(0))),
        ["b"]
    );
}

#[test]
fn an_iterator_outlives_the_records_it_pointed_to() {
    let mut world = World::new(1);
    world.put("a");
    world.advance(24 * HOUR);
    let iterator = world.iterator(0, StartingPosition::TrimHorizon).unwrap();
    world.put("b");
    world.advance(1);
    assert_eq!(contents(&world.read(&iterator).unwrap().records), ["b"]);
}

#[test]
fn a_closed_shard_disappears_with_the_last_record_it_could_hold() {
    let mut world = World::new(1);
    world.put("a");
    world.advance(HOUR);
    world.halve(0);
    world.advance(24 * HOUR);
    assert_eq!(world.ids(ShardFilter::FromTrimHorizon), [0, 1, 2]);
    assert!(world.contents(0, StartingPosition::TrimHorizon).is_empty());
    let iterator = world.iterator(0, StartingPosition::TrimHorizon).unwrap();

    world.advance(1);
    assert!(matches!(
        world.read(&iterator),
        Err(EngineError::ShardNotFound { .. })
    ));
    assert!(matches!(
        world.iterator(0, StartingPosition::Latest),
        Err(EngineError::ShardNotFound { .. })
    ));
    assert_eq!(world.ids(ShardFilter::FromTrimHorizon), [1, 2]);
    let child = &world.stream().shards[&ShardId::new(1)];
    assert_eq!(
        child.parents,
        [ShardId::new(0)],
        "a child remembers a parent that is gone"
    );
}

#[test]
fn open_shards_stay_however_long_they_are_empty() {
    let mut world = World::new(2);
    world.advance(1_000 * HOUR);
    assert_eq!(world.ids(ShardFilter::AtTrimHorizon), [0, 1]);
    world.put("a");
    assert_eq!(world.contents(0, StartingPosition::TrimHorizon), ["a"]);
}

#[test]
fn a_longer_period_keeps_records_but_brings_none_back() {
    let mut world = World::new(1);
    world.put("a");
    world.advance(HOUR);
    world.put("b");
    world.advance(23 * HOUR + 1);
    world.engine.retain(STREAM, 48, world.now).unwrap();
    world.advance(HOUR);
    assert_eq!(world.contents(0, StartingPosition::TrimHorizon), ["b"]);
    world.advance(24 * HOUR);
    assert!(world.contents(0, StartingPosition::TrimHorizon).is_empty());
}

#[test]
fn a_shorter_period_lets_records_go_at_once() {
    let mut world = World::new(1);
    world.engine.retain(STREAM, 48, world.now).unwrap();
    world.put("a");
    world.advance(30 * HOUR);
    assert_eq!(world.contents(0, StartingPosition::TrimHorizon), ["a"]);
    world.engine.retain(STREAM, 24, world.now).unwrap();
    assert!(world.contents(0, StartingPosition::TrimHorizon).is_empty());
}

#[test]
fn a_shard_can_be_trimmed_by_hand_and_goes_on() {
    let mut world = World::new(1);
    let number = world.put("a");
    world.put("b");
    let id = world.stream().shards().next().unwrap().id();
    assert!(world.stream().trim_all(id));
    world.put("c");
    assert_eq!(
        world.contents(0, StartingPosition::AtSequenceNumber(number)),
        ["c"]
    );
}
