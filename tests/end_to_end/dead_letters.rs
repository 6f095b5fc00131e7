//! Dead letters in another stream, and their way back.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use kcl_core::dead_letters::{
    DeadLetter, DeadLetterError, DeadLetters, GivenUp, MemoryDeadLetters, Redrive, StreamDeadLetters,
    ToStream,
};
use kcl_core::{ProcessorError, Stream, testing};
use kcl_local::faults::{Fault, Loss, Rule};
use kcl_tests::{Servers, World, WorldOptions};
use tokio::time::Instant;

/// The letter of a record.
fn letter_of(record: testing::RecordBuilder) -> DeadLetter {
    let error = ProcessorError::from("not today");
    let given_up = GivenUp {
        application: "app",
        worker: &"w1".into(),
        stream: &Stream::parse("clicks").unwrap(),
        shard_id: &"shardId-000000000000".into(),
        error: error.as_error(),
        attempts: 7,
        first_failed_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        given_up_at: UNIX_EPOCH + Duration::from_secs(1_800_000_060),
    };
    DeadLetter::new(&record.build(), &given_up)
}

/// Letters of records with these numbers, each with a key of its own.
fn letters(numbers: std::ops::Range<u64>) -> Vec<DeadLetter> {
    let letter = |number: u64| {
        let record = testing::record(number.to_string()).sequence_number(number);
        letter_of(record.partition_key(format!("user-{number}")))
    };
    numbers.map(letter).collect()
}

/// A world with one shard, whose rates are enforced.
async fn world() -> World {
    World::new(WorldOptions {
        shards: 1,
        enforce_limits: true,
        ..WorldOptions::default()
    })
    .await
}

fn sink(world: &World) -> StreamDeadLetters {
    let client = Client::new(&world.aws(""));
    let sink = StreamDeadLetters::new(client, Stream::parse("clicks").unwrap());
    sink.environment(world.servers.environment(7))
}

/// All records of the stream.
async fn records(world: &World) -> Vec<Record> {
    let mut records = Vec::new();
    for shard in world.shards().await {
        let iterator = world.kinesis.get_shard_iterator().stream_name("clicks");
        let iterator = iterator
            .shard_id(shard.shard_id())
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut next = iterator.send().await.unwrap().shard_iterator;
        while let Some(iterator) = next {
            let page = world.kinesis.get_records().shard_iterator(iterator);
            let Ok(page) = page.send().await else {
                panic!("the stream is read too fast");
            };
            let is_over = page.records().is_empty();
            records.extend(page.records);
            next = page.next_shard_iterator.filter(|_| !is_over);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
    records
}

/// The letters in the stream.
async fn stored(world: &World) -> Vec<DeadLetter> {
    let records = records(world).await;
    let letter = |record: &Record| serde_json::from_slice(record.data.as_ref()).expect("a letter");
    records.iter().map(letter).collect()
}

#[tokio::test(start_paused = true)]
async fn letters_lie_in_the_stream_as_json_under_the_keys_of_their_records() {
    let world = world().await;
    let without_key = letter_of(testing::record("x").sequence_number(77).partition_key(""));
    let written = [letters(0..3), vec![without_key]].concat();
    sink(&world).write(&written).await.unwrap();
    sink(&world).write(&[]).await.unwrap();
    assert_eq!(stored(&world).await, written);
    let records = records(&world).await;
    let keys: Vec<_> = records.iter().map(|record| record.partition_key()).collect();
    assert_eq!(
        keys,
        ["user-0", "user-1", "user-2", "clicks/shardId-000000000000/77/0"].map(Some)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_refuses_of_a_request_is_put_again() {
    let world = world().await;
    let written = letters(0..2_600);
    let start = Instant::now();
    sink(&world).write(&written).await.unwrap();
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "the shard takes a thousand a second"
    );
    let stored = stored(&world).await;
    let ids: BTreeSet<_> = stored.iter().map(|letter| letter.id().to_owned()).collect();
    assert_eq!((stored.len(), ids.len()), (2_600, 2_600));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_throttled_or_lost_is_repeated_and_what_may_be_there_twice_is_known() {
    let world = world().await;
    let faults = &world.servers.faults;
    let throttled = faults.add(Rule::on("PutRecords").times(6).fault(Fault::throttled()));
    let lost = Fault::drop_answer(Loss::Reset);
    let lost = faults.add(Rule::on("PutRecords").times(1).fault(lost));
    sink(&world).write(&letters(0..3)).await.unwrap();
    assert_eq!((faults.hits(throttled), faults.hits(lost)), (6, 1));
    let stored = stored(&world).await;
    let ids: BTreeSet<_> = stored.iter().map(DeadLetter::id).collect();
    assert_eq!((stored.len(), ids.len()), (6, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stays_away_is_an_error_in_time() {
    let world = world().await;
    for fault in [
        Fault::throttled(),
        Fault::internal_error(),
        Fault::drop_request(Loss::Hang),
        Fault::respond(400, "AccessDeniedException"),
    ] {
        let rule = world
            .servers
            .faults
            .add(Rule::on("PutRecords").fault(fault.clone()));
        let start = Instant::now();
        let error = sink(&world).write(&letters(0..3)).await.expect_err("away");
        assert!(
            start.elapsed() <= Duration::from_secs(21),
            "{fault:?}: {:?}",
            start.elapsed()
        );
        assert!(error.to_string().contains("the stream clicks failed"), "{error}");
        world.servers.faults.remove(rule);
    }
    let missing = Stream::parse("nowhere").unwrap();
    let sink = StreamDeadLetters::new(world.kinesis.clone(), missing);
    let error = sink.write(&letters(0..1)).await.expect_err("no stream");
    assert!(
        error.to_string().contains("check the name, region and account"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_too_large_is_told_before_anything_is_put() {
    let world = world().await;
    let large = letter_of(testing::record(vec![0; 1 << 20]));
    let written = [letters(0..2), vec![large.clone()]].concat();
    match sink(&world).write(&written).await {
        Err(error @ DeadLetterError::TooLarge { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains("the stream clicks takes 1048576") && text.contains(large.id()),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&world).await, []);
    // A stream that was not told to take it refuses, and says why.
    let error = sink(&world).max_record_bytes(10 << 20).write(&[large]).await;
    let text = error.expect_err("refused").to_string();
    assert!(text.contains("1024 KiB"), "{text}");
}

/// What is known of the records of the stream: payload and key.
async fn told(world: &World) -> Vec<(String, String)> {
    let records = records(world).await;
    let told = |record: &Record| {
        let text = String::from_utf8(record.data.as_ref().to_vec()).expect("text");
        (text, record.partition_key().unwrap_or_default().to_owned())
    };
    records.iter().map(told).collect()
}

fn to_stream(world: &World) -> ToStream {
    let stream = ToStream::new(Client::new(&world.aws("")), Stream::parse("clicks").unwrap());
    stream.environment(world.servers.environment(7))
}

async fn memory(letters: &[DeadLetter]) -> MemoryDeadLetters {
    let memory = MemoryDeadLetters::default();
    memory.write(letters).await.unwrap();
    memory
}

#[tokio::test(start_paused = true)]
async fn letters_are_put_back_into_the_stream_once_and_processed() {
    let world = World::with_shards(2).await;
    // The ledger's processor expects the counters of their keys.
    let lost: Vec<DeadLetter> = (0..20)
        .map(|number| {
            let key = format!("user-{}", number % 4);
            let counter = world.ledger.next_counter(&key).to_string();
            letter_of(
                testing::record(counter)
                    .sequence_number(number)
                    .partition_key(key),
            )
        })
        .collect();
    let memory = memory(&lost).await;
    let worker = world.start("w1");
    let rule = Rule::on("PutRecord").times(5).fault(Fault::throttled());
    let rule = world.servers.faults.add(rule);
    for expected in [20, 0] {
        let told = Redrive::new()
            .run(&mut memory.not_done(), &mut to_stream(&world))
            .await
            .unwrap();
        assert_eq!((told.done, told.failed), (expected, 0), "{told:?}");
    }
    assert_eq!(world.servers.faults.hits(rule), 5);
    let is_delivered = || (world.ledger.unique() == 20).then_some(());
    let describe = || format!("{} were delivered", world.ledger.unique());
    world.until(Duration::from_secs(30), is_delivered, describe).await;
    assert_eq!(world.ledger.deliveries().len(), 20);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_goes_back_under_its_keys() {
    let world = World::with_shards(4).await;
    let largest = u128::MAX.to_string();
    let of_aggregate = testing::record("user record").sequence_number(9);
    let of_aggregate = of_aggregate.sub_sequence_number(3).partition_key("k");
    let letter = letter_of(of_aggregate.explicit_hash_key(&largest));
    let memory = memory(&[letter]).await;
    let told_of = Redrive::new()
        .run(&mut memory.not_done(), &mut to_stream(&world))
        .await;
    assert_eq!(told_of.unwrap().done, 1);
    assert_eq!(told(&world).await, [("user record".to_owned(), "k".to_owned())]);
    let last = world.open_shards().await.pop().unwrap();
    let iterator = world.kinesis.get_shard_iterator().stream_name("clicks");
    let iterator = iterator
        .shard_id(last)
        .shard_iterator_type(ShardIteratorType::TrimHorizon);
    let iterator = iterator.send().await.unwrap().shard_iterator.unwrap();
    let page = world.kinesis.get_records().shard_iterator(iterator);
    assert_eq!(
        page.send().await.unwrap().records().len(),
        1,
        "where its hash key says"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_does_not_take_stays_for_the_next_time() {
    let world = world().await;
    let too_large = letter_of(testing::record(vec![b'x'; 2 << 20]).sequence_number(1_000));
    let written = [letters(0..2), vec![too_large.clone()], letters(2..4)].concat();
    let memory = memory(&written).await;
    let told_of = Redrive::new()
        .run(&mut memory.not_done(), &mut to_stream(&world))
        .await
        .unwrap();
    assert_eq!((told_of.done, told_of.failed), (4, 1), "{told_of:?}");
    assert!(
        told_of.problems[0].contains(too_large.id()) && told_of.problems[0].contains("1024 KiB"),
        "{told_of:?}"
    );
    let denied = Rule::on("PutRecord").fault(Fault::respond(400, "AccessDeniedException"));
    world.servers.faults.add(denied);
    memory.write(&letters(10..40)).await.unwrap();
    let told_of = Redrive::new()
        .run(&mut memory.not_done(), &mut to_stream(&world))
        .await
        .unwrap();
    assert_eq!((told_of.done, told_of.failed, told_of.gave_up), (0, 10, true));
    assert_eq!(told(&world).await.len(), 4);
}
