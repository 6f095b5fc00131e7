use super::*;

#[test]
fn each_iterator_type_begins_where_it_says() {
    let mut world = World::new(1);
    world.put("a");
    world.advance(10);
    let time = world.now;
    let b = world.put("b");
    world.put("c");
    assert_eq!(world.contents(0, StartingPosition::TrimHorizon), ["a", "b", "c"]);
    assert_eq!(
        world.contents(0, StartingPosition::AtSequenceNumber(b)),
        ["b", "c"]
    );
    assert_eq!(world.contents(0, StartingPosition::AfterSequenceNumber(b)), ["c"]);
    assert_eq!(world.contents(0, StartingPosition::AtTimestamp(time)), ["b", "c"]);
    assert!(world.contents(0, StartingPosition::Latest).is_empty());
}

#[test]
fn latest_sees_what_comes_after_it() {
    let mut world = World::new(1);
    world.put("before");
    let latest = world.iterator(0, StartingPosition::Latest).unwrap();
    world.put("after");
    assert_eq!(contents(&world.read(&latest).unwrap().records), ["after"]);
}

#[test]
fn a_timestamp_of_now_sees_what_comes_next_and_a_later_one_is_refused() {
    let mut world = World::new(1);
    world.put("old");
    world.advance(1);
    let now = world
        .iterator(0, StartingPosition::AtTimestamp(world.now))
        .unwrap();
    world.put("new");
    assert_eq!(contents(&world.read(&now).unwrap().records), ["new"]);
    let future = EpochMillis::new(world.now.get() + 1);
    let refused = world.iterator(0, StartingPosition::AtTimestamp(future));
    assert!(matches!(refused, Err(EngineError::InvalidArgument(_))));
}

#[test]
fn a_reader_at_the_tip_is_not_behind_and_can_wait_there() {
    let mut world = World::new(1);
    let start = world.iterator(0, StartingPosition::TrimHorizon).unwrap();
    let empty = world.read(&start).unwrap();
    assert_eq!((empty.records.len(), empty.millis_behind_latest), (0, 0));
    let next = empty.next.unwrap();
    world.put("a");
    world.advance(700);
    let behind = world
        .engine
        .read(start, ReadLimit { records: 0, ..ALL }, world.now)
        .unwrap();
    assert_eq!(behind.millis_behind_latest, 700);
    let caught_up = world.read(&next).unwrap();
    assert_eq!(
        (contents(&caught_up.records), caught_up.millis_behind_latest),
        (vec!["a".to_owned()], 0)
    );
}

#[test]
fn the_last_records_of_a_closed_shard_come_with_its_children_and_without_an_iterator() {
    let mut world = World::new(1);
    for content in ["a", "b"] {
        world.put(content);
    }
    let start = world.iterator(0, StartingPosition::TrimHorizon).unwrap();
    world.halve(0);
    let first = world
        .engine
        .read(start, ReadLimit { records: 1, ..ALL }, world.now)
        .unwrap();
    assert!(first.children.is_empty());
    let next = first.next.unwrap();
    let last = world.read(&next).unwrap();
    assert_eq!(contents(&last.records), ["b"]);
    assert!(last.next.is_none());
    let children: Vec<_> = last
        .children
        .iter()
        .map(|child| (child.id().number(), child.parents.clone()))
        .collect();
    assert_eq!(children, [(1, vec![ShardId::new(0)]), (2, vec![ShardId::new(0)])]);
}

#[test]
fn a_merged_shard_is_the_child_of_both_parents() {
    let mut world = World::new(2);
    world.merge(0, 1).unwrap();
    for parent in [0, 1] {
        let iterator = world.iterator(parent, StartingPosition::Latest).unwrap();
        let end = world.read(&iterator).unwrap();
        assert!(end.next.is_none());
        assert_eq!(end.children.len(), 1);
        assert_eq!(end.children[0].parents, [ShardId::new(0), ShardId::new(1)]);
    }
}

#[test]
fn the_ending_number_of_a_closed_shard_leads_to_its_end() {
    let mut world = World::new(1);
    world.put("a");
    world.halve(0);
    let end = world.stream().shards[&ShardId::new(0)]
        .ending_sequence_number()
        .unwrap();
    for start in [
        StartingPosition::AtSequenceNumber(end),
        StartingPosition::AfterSequenceNumber(end),
    ] {
        let iterator = world.iterator(0, start).unwrap();
        let read = world.read(&iterator).unwrap();
        assert!(read.records.is_empty() && read.next.is_none() && read.children.len() == 2);
    }
}

#[test]
fn numbers_of_other_shards_are_refused() {
    let mut world = World::new(2);
    let number = world.put("a");
    let refused = world.iterator(1, StartingPosition::AtSequenceNumber(number));
    assert!(matches!(refused, Err(EngineError::InvalidArgument(_))));
    let missing = world.iterator(2, StartingPosition::TrimHorizon);
    assert!(matches!(missing, Err(EngineError::ShardNotFound { .. })));
}

#[test]
fn shards_keep_to_their_rates_if_asked_to() {
    let mut world = World::with(
        KinesisOptions {
            enforce_limits: true,
            ..Default::default()
        },
        2,
    );
    let put = |world: &mut World, key| world.put_at(key, "x");
    let outcomes: Vec<_> = (0..1_001).map(|_| put(&mut world, HashKey::MIN)).collect();
    assert!(outcomes[..1_000].iter().all(Result::is_ok));
    let throttled = EngineError::Throttled {
        stream: label(),
        shard: ShardId::new(0),
    };
    assert_eq!(outcomes[1_000], Err(throttled.clone()));
    assert!(
        put(&mut world, HashKey::MAX).is_ok(),
        "the other shard has its own rate"
    );

    let iterator = world.iterator(0, StartingPosition::TrimHorizon).unwrap();
    for _ in 0..5 {
        world.read(&iterator).unwrap();
    }
    assert_eq!(world.read(&iterator).err(), Some(throttled));
    world.advance(1_000);
    world.read(&iterator).unwrap();
    put(&mut world, HashKey::MIN).unwrap();
}

#[test]
fn by_default_nothing_is_throttled() {
    let mut world = World::new(1);
    let iterator = world.iterator(0, StartingPosition::TrimHorizon).unwrap();
    for _ in 0..3_000 {
        world.put("x");
        world.read(&iterator).unwrap();
    }
}
