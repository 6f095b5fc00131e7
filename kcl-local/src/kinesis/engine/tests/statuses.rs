use std::time::Duration;

use super::*;

fn slow() -> KinesisOptions {
    let delay = Duration::from_millis(500);
    KinesisOptions {
        create_delay: delay,
        delete_delay: delay,
        update_delay: delay,
        ..Default::default()
    }
}

fn settled() -> World {
    let mut world = World::with(slow(), 2);
    world.advance(500);
    world
}

#[test]
fn by_default_changes_take_effect_at_once() {
    let mut world = World::new(1);
    assert_eq!(world.status(), StreamStatus::Active);
    world.halve(0);
    assert_eq!(world.status(), StreamStatus::Active);
    assert_eq!(world.ids(ShardFilter::AtLatest), [1, 2]);
    world.engine.delete(STREAM, world.now).unwrap();
    assert!(world.engine.stream(STREAM, world.now).is_err());
}

#[test]
fn a_stream_being_created_has_no_shards_and_takes_no_records() {
    let mut world = World::with(slow(), 2);
    world.advance(499);
    assert_eq!(world.status(), StreamStatus::Creating);
    assert_eq!(world.stream().shards().count(), 0);
    assert_eq!(world.stream().open_shard_count(), 2);
    assert_eq!(
        world.put_at(HashKey::MIN, "a"),
        Err(EngineError::StreamNotFound(label()))
    );
    assert!(matches!(
        world.engine.delete(STREAM, world.now),
        Err(EngineError::NotActive { .. })
    ));

    world.advance(1);
    assert_eq!(world.status(), StreamStatus::Active);
    assert!(is_partition(&world.stream().shards().collect::<Vec<_>>()));
    world.put("a");
}

#[test]
fn a_second_stream_of_the_same_name_is_refused() {
    let mut world = World::new(1);
    assert_eq!(world.create(STREAM, 1), Err(EngineError::StreamExists(label())));
}

#[test]
fn while_updating_records_flow_and_other_changes_are_refused() {
    let mut world = settled();
    world.halve(0);
    assert_eq!(world.status(), StreamStatus::Updating);
    let number = world.put("to the parent");
    assert_eq!(number.origin().shard.number(), 0);
    assert_eq!(
        world.merge(0, 1),
        Err(EngineError::NotActive {
            stream: label(),
            status: StreamStatus::Updating
        })
    );
    assert!(matches!(
        world.engine.retain(STREAM, 48, world.now),
        Err(EngineError::NotActive { .. })
    ));

    world.advance(500);
    assert_eq!(world.status(), StreamStatus::Active);
    assert_eq!(world.put("to the child").origin().shard.number(), 2);
}

#[test]
fn a_change_takes_effect_when_it_is_due_however_late_anyone_looks() {
    let mut world = settled();
    let asked = world.now;
    world.halve(0);
    world.advance(HOUR);
    let parent = &world.stream().shards[&ShardId::new(0)];
    assert_eq!(parent.closure.as_ref().unwrap().at.get(), asked.get() + 500);
}

#[test]
fn a_deleted_stream_lingers_and_then_makes_room_for_another() {
    let mut world = settled();
    let iterator = world.iterator(0, StartingPosition::TrimHorizon).unwrap();
    world.engine.delete(STREAM, world.now).unwrap();
    assert_eq!(world.status(), StreamStatus::Deleting);
    assert!(world.create(STREAM, 1).is_err());
    assert!(world.put_at(HashKey::MIN, "a").is_err());

    world.advance(500);
    assert!(world.engine.stream(STREAM, world.now).is_err());
    assert!(world.engine.streams(world.now).is_empty());
    world.create(STREAM, 1).unwrap();
    world.advance(500);
    let stale = world.read(&iterator);
    assert!(
        matches!(stale, Err(EngineError::InvalidArgument(_))),
        "an iterator of the old stream"
    );
}

#[test]
fn a_stream_created_again_at_once_does_not_know_the_old_ones_numbers() {
    let mut world = World::new(1);
    let old = world.put("a");
    world.engine.delete(STREAM, world.now).unwrap();
    world.create(STREAM, 1).unwrap();
    let new = world.put("b");
    assert!(old < new);
    let refused = world.iterator(0, StartingPosition::AtSequenceNumber(old));
    assert!(matches!(refused, Err(EngineError::InvalidArgument(_))));
}

#[test]
fn an_account_has_only_so_many_open_shards() {
    let options = KinesisOptions {
        shard_limit: 4,
        ..Default::default()
    };
    let mut world = World::with(options, 2);
    assert!(matches!(
        world.create("payments", 3),
        Err(EngineError::LimitExceeded(_))
    ));
    world.create("payments", 2).unwrap();
    let range = world.stream().shards[&ShardId::new(0)].range;
    assert!(matches!(
        world.split(0, middle(range)),
        Err(EngineError::LimitExceeded(_))
    ));
    assert!(matches!(
        world.engine.scale(STREAM, 3, world.now),
        Err(EngineError::LimitExceeded(_))
    ));
    world.merge(0, 1).unwrap();
    assert_eq!(world.engine.open_shard_count(world.now), 3);
}

#[test]
fn time_does_not_go_back() {
    let mut engine = Engine::new(KinesisOptions::default());
    assert_eq!(engine.advance(EpochMillis::new(10)).get(), 10);
    assert_eq!(engine.advance(EpochMillis::new(5)).get(), 10);
}
