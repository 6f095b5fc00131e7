use std::time::Duration;

use super::*;

/// A world with one shard and a registered consumer.
fn world() -> (World, Consumer) {
    world_with(KinesisOptions::default())
}

fn world_with(options: KinesisOptions) -> (World, Consumer) {
    let mut world = World::with(options, 1);
    let now = world.now;
    let consumers = &mut world.stream().consumers;
    let consumer = consumers.register(&label(), "billing", 20, Duration::ZERO, now);
    (world, consumer.unwrap())
}

impl World {
    fn subscribe(&mut self, consumer: &Consumer, start: StartingPosition) -> Subscription {
        let shard = ShardId::new(0);
        let subscribed = self.engine.subscribe(STREAM, consumer, shard, start, self.now);
        subscribed.unwrap().0
    }

    /// The contents of the next event, if there is one now.
    fn pushed(&mut self, subscription: &mut Subscription) -> Option<Vec<String>> {
        match self.engine.push(subscription, self.now).unwrap() {
            Push::Event(event) => Some(contents(&event.records)),
            Push::Wait(_) => None,
            Push::Over => panic!("the subscription is over"),
        }
    }

    /// In how many milliseconds there may be something, or none if it is over.
    fn wait(&mut self, subscription: &mut Subscription) -> Option<u64> {
        match self.engine.push(subscription, self.now).unwrap() {
            Push::Event(event) => panic!("{event:?}"),
            Push::Wait(until) => Some(until.get() - self.now.get()),
            Push::Over => None,
        }
    }
}

#[test]
fn each_starting_position_begins_where_it_says() {
    let (mut world, billing) = world();
    world.put("a");
    world.advance(10);
    let time = world.now;
    let b = world.put("b");
    world.put("c");
    for (start, expected) in [
        (StartingPosition::TrimHorizon, &["a", "b", "c"][..]),
        (StartingPosition::AtSequenceNumber(b), &["b", "c"]),
        (StartingPosition::AfterSequenceNumber(b), &["c"]),
        (StartingPosition::AtTimestamp(time), &["b", "c"]),
    ] {
        world.advance(5_000);
        let mut subscription = world.subscribe(&billing, start);
        assert_eq!(world.pushed(&mut subscription).unwrap(), expected, "{start:?}");
    }
    world.advance(5_000);
    let mut latest = world.subscribe(&billing, StartingPosition::Latest);
    assert_eq!(world.pushed(&mut latest), None);
    world.put("d");
    assert_eq!(world.pushed(&mut latest).unwrap(), ["d"]);
}

#[test]
fn between_events_it_waits_for_the_heartbeat_and_at_last_for_its_end() {
    let (mut world, billing) = world();
    let mut subscription = world.subscribe(&billing, StartingPosition::Latest);
    world.advance(1_000);
    assert_eq!(world.wait(&mut subscription), Some(4_000));
    world.put("a");
    assert_eq!(world.pushed(&mut subscription).unwrap(), ["a"]);
    assert_eq!(
        world.wait(&mut subscription),
        Some(5_000),
        "it was heard just now"
    );
    world.advance(5_000);
    assert!(world.pushed(&mut subscription).unwrap().is_empty());
    world.advance(292_000);
    world.put("b");
    assert_eq!(world.pushed(&mut subscription).unwrap(), ["b"]);
    assert_eq!(world.wait(&mut subscription), Some(2_000));
    world.advance(2_000);
    world.put("c");
    assert_eq!(world.wait(&mut subscription), None, "its five minutes are over");
}

#[test]
fn an_event_has_two_mebibytes_at_most_and_at_least_one_record() {
    let (mut world, billing) = world();
    for megabytes in [1, 1, 3, 1] {
        world.put(&"x".repeat(megabytes * 1_000_000));
    }
    let mut subscription = world.subscribe(&billing, StartingPosition::TrimHorizon);
    let sizes: Vec<_> = (0..3)
        .map(|_| world.pushed(&mut subscription).unwrap().len())
        .collect();
    assert_eq!(sizes, [2, 1, 1]);
    assert_eq!(world.pushed(&mut subscription), None);
}

#[test]
fn a_change_under_way_is_looked_for_when_it_is_due() {
    let (mut world, billing) = world_with(KinesisOptions {
        update_delay: Duration::from_millis(700),
        ..KinesisOptions::default()
    });
    let mut subscription = world.subscribe(&billing, StartingPosition::Latest);
    world.halve(0);
    assert_eq!(world.wait(&mut subscription), Some(700));
    world.advance(700);
    match world.engine.push(&mut subscription, world.now).unwrap() {
        Push::Event(event) => {
            assert_eq!((event.continuation, event.children.len()), (None, 2));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.wait(&mut subscription), None);
    world.advance(1_000);
    world.engine.delete(STREAM, world.now).unwrap();
    assert_eq!(
        world.wait(&mut subscription),
        None,
        "it has ended before the stream did"
    );
}

#[test]
fn what_was_trimmed_is_passed_over() {
    let (mut world, billing) = world_with(KinesisOptions {
        subscription_lifetime: Duration::from_secs(60 * 60 * 48),
        ..KinesisOptions::default()
    });
    world.put("a");
    let mut subscription = world.subscribe(&billing, StartingPosition::TrimHorizon);
    world.advance(24 * HOUR + 1);
    world.put("b");
    assert_eq!(world.pushed(&mut subscription).unwrap(), ["b"]);
}
