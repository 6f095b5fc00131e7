//! What is read behind each kind of checkpoint, and what the processor is told: the rows of docs/positions.md.

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use kcl_aggregation::{Aggregator, Bytes, UserRecord};
use kcl_core::{Checkpoint, Checkpointer, ProcessorError, RecordBatch, RecordProcessor, async_trait};
use kcl_tests::World;
use tokio::time::sleep;

use crate::witness::{Notes, builder, lease, set_checkpoint};

const SHARD: &str = "shardId-000000000000";
const BEYOND_RETENTION: Duration = Duration::from_secs(25 * 3600);

/// Three user records in one, as the Kinesis Producer Library writes them.
fn three_lines() -> Bytes {
    aggregate((0..3).map(|n| UserRecord::new(format!("pk-{n}"), format!("line {n}"))))
}

fn aggregate(user_records: impl IntoIterator<Item = UserRecord>) -> Bytes {
    let mut aggregator = Aggregator::default();
    for user_record in user_records {
        aggregator.push(user_record).expect("valid");
    }
    aggregator.finish().expect("something was pushed").data
}

/// A stream of one shard, and an application that began at its latest record and was stopped.
async fn application() -> World {
    let world = World::with_shards(1).await;
    run_for(&world, "first", Duration::from_secs(5)).await;
    world
}

/// Runs a worker for some time; what it was given.
async fn run_for(world: &World, id: &str, time: Duration) -> Notes {
    let notes = Notes::default();
    let worker = world.run(id, builder(world, id, &notes));
    sleep(time).await;
    worker.stop().await;
    notes
}

async fn put(world: &World, data: impl Into<Vec<u8>>) -> String {
    let request = world
        .kinesis
        .put_record()
        .stream_name("clicks")
        .partition_key("k");
    let answer = request.data(Blob::new(data)).send().await.expect("put");
    answer.sequence_number().to_owned()
}

async fn put_five(world: &World) -> Vec<String> {
    let mut numbers = Vec::new();
    for n in 0..5 {
        numbers.push(put(world, n.to_string()).await);
        sleep(Duration::from_secs(2)).await;
    }
    numbers
}

fn at(number: &str, sub_sequence: u64) -> Checkpoint {
    Checkpoint::parse(number, sub_sequence).expect("a number")
}

/// The shard's own first and last numbers.
async fn ends(world: &World, shard: &str) -> (String, Option<String>) {
    let shards = world.shards().await;
    let shard = shards
        .iter()
        .find(|listed| listed.shard_id() == shard)
        .expect("listed");
    let range = shard.sequence_number_range().expect("a range");
    (
        range.starting_sequence_number().to_owned(),
        range.ending_sequence_number().map(ToOwned::to_owned),
    )
}

/// What is delivered behind a checkpoint, without a gap.
async fn behind(world: &World, checkpoint: Checkpoint) -> Vec<String> {
    set_checkpoint(world, SHARD, checkpoint).await;
    let notes = run_for(world, "second", Duration::from_secs(20)).await;
    assert_eq!(notes.gaps(), [], "nothing is missing");
    notes.records()
}

#[tokio::test(start_paused = true)]
async fn a_record_s_number_continues_behind_it() {
    let world = application().await;
    let numbers = put_five(&world).await;
    assert_eq!(behind(&world, at(&numbers[1], 0)).await, numbers[2..]);
}

#[tokio::test(start_paused = true)]
async fn inside_a_record_that_somebody_else_took_apart_it_is_delivered_again_and_then_no_more() {
    let world = application().await;
    let numbers = put_five(&world).await;
    let again = vec![format!("{}:1", numbers[1])];
    assert_eq!(
        behind(&world, at(&numbers[1], 1)).await,
        [&again, &numbers[2..]].concat()
    );
    let again = run_for(&world, "third", Duration::from_secs(20)).await;
    assert_eq!(again.records(), [""; 0]);
}

/// The positions of an aggregate's user records from an index on.
fn user_records(aggregate: &str, indexes: std::ops::Range<u64>) -> Vec<String> {
    indexes
        .map(|index| match index {
            0 => aggregate.to_owned(),
            index => format!("{aggregate}:{index}"),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn inside_an_aggregate_reading_goes_on_behind_the_user_record_that_was_checkpointed() {
    // As our own workers leave it, or those of Java.
    for done in 0..=2 {
        let world = application().await;
        let aggregate = put(&world, three_lines()).await;
        let next = put(&world, "next").await;
        let delivered = behind(&world, at(&aggregate, done)).await;
        let expected = [user_records(&aggregate, done + 1..3), vec![next]].concat();
        assert_eq!(delivered, expected, "sub-sequence {done}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_is_taken_apart_and_done_with_its_last_user_record() {
    let world = application().await;
    let aggregate = put(&world, three_lines()).await;
    let first = run_for(&world, "second", Duration::from_secs(10)).await;
    assert_eq!(first.records(), user_records(&aggregate, 0..3));
    assert_eq!(lease(&world, SHARD).await.checkpoint, at(&aggregate, 2));
    let again = run_for(&world, "third", Duration::from_secs(10)).await;
    assert_eq!(again.records(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_that_is_not_taken_apart_is_delivered_again_until_all_of_it_is_done() {
    for (done, is_done) in [(0, false), (1, false), (2, true)] {
        let world = application().await;
        let aggregate = put(&world, three_lines()).await;
        set_checkpoint(&world, SHARD, at(&aggregate, done)).await;
        let notes = Notes::default();
        let worker = world.run("second", builder(&world, "second", &notes).deaggregate(false));
        sleep(Duration::from_secs(10)).await;
        worker.stop().await;
        let whole = [format!("{aggregate}:2")];
        assert_eq!(
            notes.records(),
            whole[usize::from(is_done)..],
            "sub-sequence {done}"
        );
        assert_eq!(lease(&world, SHARD).await.checkpoint, at(&aggregate, 2));
    }
}

/// Checkpoints at the second user record of three, and is killed.
struct StopsInside;

#[async_trait]
impl RecordProcessor for StopsInside {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch.iter().filter(|record| record.sub_sequence_number() == 1) {
            assert!(record.is_aggregated() && record.partition_key() == "pk-1");
            checkpointer.checkpoint_at(record).await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_may_checkpoint_inside_an_aggregate() {
    let world = application().await;
    let aggregate = put(&world, three_lines()).await;
    let worker = world.run("second", world.builder_of("second", |_| StopsInside));
    sleep(Duration::from_secs(10)).await;
    worker.kill().await;
    assert_eq!(lease(&world, SHARD).await.checkpoint, at(&aggregate, 1));
    let rest = run_for(&world, "third", Duration::from_secs(60)).await;
    assert_eq!(rest.records(), user_records(&aggregate, 2..3));
}

#[tokio::test(start_paused = true)]
async fn user_records_that_a_split_left_in_the_wrong_shard_are_left_to_their_producer() {
    let world = World::with_shards(2).await;
    let notes = Notes::default();
    let worker = world.run("first", builder(&world, "first", &notes));
    sleep(Duration::from_secs(5)).await;
    // The digest of "a" lies in the first shard, that of "b" in the second.
    let data = aggregate(["b", "a", "b", "a"].map(|key| UserRecord::new(key, "x")));
    let request = world.kinesis.put_record().stream_name("clicks");
    let request = request.partition_key("a").data(Blob::new(data));
    let sequence = request.send().await.expect("put").sequence_number;
    sleep(Duration::from_secs(10)).await;
    worker.stop().await;
    assert_eq!(
        notes.records(),
        [format!("{sequence}:1"), format!("{sequence}:3")]
    );
}

#[tokio::test(start_paused = true)]
async fn the_shard_s_first_number_continues_with_its_first_record() {
    let world = application().await;
    let numbers = put_five(&world).await;
    let (first, _) = ends(&world, SHARD).await;
    assert_eq!(behind(&world, at(&first, 0)).await, numbers);
}

#[tokio::test(start_paused = true)]
async fn a_number_between_two_records_continues_with_the_later_one() {
    let world = application().await;
    let numbers = put_five(&world).await;
    // In the backend as in the service, the low bits hold the second of writing: a later one is between two records.
    let between = (|| {
        let digits: Vec<u32> = numbers[1]
            .chars()
            .map(|digit| digit.to_digit(10))
            .collect::<Option<_>>()?;
        let mut carry = 1_u64 << 36;
        let sum: Vec<u32> = digits
            .iter()
            .rev()
            .map(|digit| {
                let sum = u64::from(*digit) + carry % 10;
                carry = carry / 10 + sum / 10;
                (sum % 10) as u32
            })
            .collect();
        sum.iter()
            .rev()
            .map(|digit| char::from_digit(*digit, 10))
            .collect::<Option<String>>()
    })();
    let between = between.expect("digits");
    assert!(numbers[1] < between && between < numbers[2]);
    assert_eq!(behind(&world, at(&between, 0)).await, numbers[2..]);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_a_closed_shard_only_the_end_is_left() {
    for is_last_record in [true, false] {
        let world = application().await;
        let numbers = put_five(&world).await;
        world.split(SHARD).await;
        let (_, end) = ends(&world, SHARD).await;
        let checkpoint = if is_last_record {
            numbers[4].clone()
        } else {
            end.expect("closed")
        };
        assert_eq!(behind(&world, at(&checkpoint, 0)).await, [""; 0]);
        assert_eq!(lease(&world, SHARD).await.checkpoint, Checkpoint::ShardEnd);
        let following = put(&world, "later").await;
        let notes = run_for(&world, "third", Duration::from_secs(10)).await;
        assert_eq!(notes.records(), [following]);
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_were_trimmed_are_told() {
    let world = application().await;
    let numbers = put_five(&world).await;
    set_checkpoint(&world, SHARD, at(&numbers[1], 0)).await;
    sleep(BEYOND_RETENTION).await;
    let later = put(&world, "later").await;
    let notes = run_for(&world, "second", Duration::from_secs(10)).await;
    assert_eq!(notes.records(), [later]);
    let gaps = notes.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(
        gaps[0].after.as_ref().map(ToString::to_string),
        Some(numbers[1].clone())
    );
}

#[tokio::test(start_paused = true)]
async fn when_a_shard_is_gone_with_its_children_the_first_that_follow_are_read_from_their_beginning() {
    for has_ended in [false, true] {
        let world = application().await;
        let numbers = put_five(&world).await;
        let checkpoint = if has_ended {
            Checkpoint::ShardEnd
        } else {
            at(&numbers[4], 0)
        };
        set_checkpoint(&world, SHARD, checkpoint).await;
        world.split(SHARD).await;
        world.merge("shardId-000000000001", "shardId-000000000002").await;
        sleep(BEYOND_RETENTION).await;
        let mut later = Vec::new();
        for n in 0..30 {
            later.push(put(&world, n.to_string()).await);
        }
        let listed: Vec<_> = world
            .shards()
            .await
            .iter()
            .map(|shard| shard.shard_id().to_owned())
            .collect();
        assert_eq!(listed, ["shardId-000000000003"]);
        let notes = run_for(&world, "second", Duration::from_secs(240)).await;
        assert_eq!(notes.records(), later, "has ended: {has_ended}");
        assert_eq!(notes.gaps().len(), usize::from(!has_ended), "{:?}", notes.all());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_at_a_time_that_the_service_has_not_reached_begins_when_it_has() {
    for ahead in [Duration::from_millis(1_700), Duration::from_secs(3_600)] {
        let world = World::with_shards(1).await;
        let from = world.servers.backend.clock().now() + ahead;
        let notes = Notes::default();
        let builder =
            builder(&world, "w1", &notes).initial_position(kcl_core::InitialPosition::AtTimestamp(from));
        let worker = world.run("w1", builder);
        put(&world, "before").await;
        sleep(ahead + Duration::from_secs(30)).await;
        let after = put(&world, "after").await;
        notes.until(1).await;
        assert_eq!(notes.records(), [after], "{ahead:?} ahead");
        let status = worker.handle.status();
        assert!(
            status.problems.is_empty() && status.shards[0].problem.is_none(),
            "{status:?}"
        );
        worker.stop().await;
    }
}
