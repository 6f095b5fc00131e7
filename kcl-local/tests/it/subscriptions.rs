//! SubscribeToShard through the SDK, in virtual time.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    Consumer, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use kcl_local::Backend;
use kcl_local::faults::{
    Call, Event, EventFault, Fault, FaultInjector, FaultScript, Interruption, Loss, Rule,
};
use kcl_local::kinesis::KinesisOptions;
use tokio::time::{Instant, sleep, timeout};

const STREAM: &str = "orders";
const SHARD: &str = "shardId-000000000000";

/// A stream with a registered consumer.
struct World {
    client: Client,
    consumer: Consumer,
    faults: FaultScript,
}

impl World {
    async fn new(shards: i32) -> Self {
        Self::with(shards, KinesisOptions::default()).await
    }

    async fn with(shards: i32, options: KinesisOptions) -> Self {
        let faults = FaultScript::new();
        let backend = Backend::builder().kinesis(options).faults(faults.clone());
        Self::of(shards, backend.build(), faults).await
    }

    async fn of(shards: i32, backend: Backend, faults: FaultScript) -> Self {
        let client = Client::new(&backend.sdk_config_named("worker-1"));
        let create = client.create_stream().stream_name(STREAM).shard_count(shards);
        create.send().await.unwrap();
        let consumer = register(&client, "billing").await;
        Self {
            client,
            consumer,
            faults,
        }
    }

    async fn subscribe(&self, start: StartingPosition) -> Result<Subscription, String> {
        self.subscribe_to(SHARD, start).await
    }

    async fn subscribe_to(&self, shard: &str, start: StartingPosition) -> Result<Subscription, String> {
        let request = self
            .client
            .subscribe_to_shard()
            .consumer_arn(&self.consumer.consumer_arn)
            .shard_id(shard)
            .starting_position(start);
        match request.send().await {
            Ok(output) => Ok(Subscription(output)),
            Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
        }
    }

    /// Puts a record into the shard with the first hash keys.
    async fn put(&self, data: &str) -> String {
        let request = self.client.put_record().stream_name(STREAM).partition_key("k");
        request
            .explicit_hash_key("0")
            .data(Blob::new(data))
            .send()
            .await
            .unwrap()
            .sequence_number
    }

    async fn split(&self) {
        let split = self
            .client
            .split_shard()
            .stream_name(STREAM)
            .shard_to_split(SHARD);
        let split = split.new_starting_hash_key((1_u128 << 127).to_string());
        split.send().await.unwrap();
    }
}

async fn register(client: &Client, name: &str) -> Consumer {
    let summary = client.describe_stream_summary().stream_name(STREAM).send().await;
    let arn = summary.unwrap().stream_description_summary.unwrap().stream_arn;
    let answer = client
        .register_stream_consumer()
        .stream_arn(arn)
        .consumer_name(name);
    answer.send().await.unwrap().consumer.unwrap()
}

struct Subscription(SubscribeToShardOutput);

impl Subscription {
    /// The next event; none at the end, or the name of the exception or of the failure that ends the subscription.
    async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, String> {
        match self.0.event_stream.recv().await {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => Ok(None),
            Err(error) => Err(match error.as_service_error() {
                Some(error) => error.code().unwrap_or("no code").to_owned(),
                None => "broken".to_owned(),
            }),
        }
    }

    async fn event(&mut self) -> SubscribeToShardEvent {
        self.next().await.unwrap().unwrap()
    }

    /// The contents of the next event that has some.
    async fn contents(&mut self) -> Vec<String> {
        loop {
            let event = self.event().await;
            if !event.records.is_empty() {
                return contents(&event);
            }
        }
    }
}

fn contents(event: &SubscribeToShardEvent) -> Vec<String> {
    let text = |data: &Blob| String::from_utf8(data.as_ref().to_vec()).unwrap();
    event.records.iter().map(|record| text(&record.data)).collect()
}

fn from(kind: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(kind).build().unwrap()
}

fn horizon() -> StartingPosition {
    from(ShardIteratorType::TrimHorizon)
}

fn after(number: &str) -> StartingPosition {
    let kind = ShardIteratorType::AfterSequenceNumber;
    StartingPosition::builder()
        .r#type(kind)
        .sequence_number(number)
        .build()
        .unwrap()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_is_pushed_without_any_delay() {
    let world = World::new(1).await;
    let first = world.put("a").await;
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    let event = subscription.event().await;
    assert_eq!(contents(&event), ["a"]);
    assert_eq!(
        (event.continuation_sequence_number, event.millis_behind_latest),
        (first, 0)
    );
    assert!(event.child_shards.is_none());
    for content in ["b", "c"] {
        sleep(seconds(1)).await;
        let before = Instant::now();
        let (put, event) = tokio::join!(world.put(content), subscription.event());
        assert_eq!(contents(&event), [content]);
        assert_eq!(event.continuation_sequence_number, put);
        assert_eq!(before.elapsed(), Duration::ZERO, "pushed at once");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_every_five_seconds() {
    let world = World::new(1).await;
    let begin = Instant::now();
    let mut subscription = world.subscribe(from(ShardIteratorType::Latest)).await.unwrap();
    let first = subscription.event().await;
    let second = subscription.event().await;
    assert_eq!(begin.elapsed(), seconds(10));
    assert!(first.records.is_empty() && second.records.is_empty());
    let (first, second) = (
        first.continuation_sequence_number,
        second.continuation_sequence_number,
    );
    assert!(first < second, "progress is told although there is no record");
    world.put("a").await;
    drop(subscription);
    let mut again = world.subscribe(after(&first)).await.unwrap();
    assert_eq!(again.contents().await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_after_five_minutes_and_is_renewed_without_loss() {
    let world = World::new(1).await;
    let writer = async {
        for number in 0..200 {
            world.put(&number.to_string()).await;
            sleep(Duration::from_millis(3_700)).await;
        }
    };
    let reader = async {
        let (mut seen, mut start, mut lives) = (Vec::new(), horizon(), 0);
        while seen.len() < 200 {
            let begin = Instant::now();
            let mut subscription = world.subscribe(start.clone()).await.unwrap();
            lives += 1;
            while let Some(event) = subscription.next().await.unwrap() {
                seen.extend(contents(&event));
                start = after(&event.continuation_sequence_number);
                if seen.len() == 200 {
                    return (seen, lives);
                }
            }
            assert_eq!(begin.elapsed(), seconds(300));
        }
        (seen, lives)
    };
    let ((), (seen, lives)) = tokio::join!(writer, reader);
    assert_eq!(
        seen,
        (0..200).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(lives, 3);
}

#[tokio::test(start_paused = true)]
async fn for_five_seconds_a_consumer_keeps_its_shard_and_then_the_next_one_takes_it() {
    let world = World::new(2).await;
    let mut first = world.subscribe(horizon()).await.unwrap();
    sleep(Duration::from_millis(4_999)).await;
    assert_eq!(
        world.subscribe(horizon()).await.err().unwrap(),
        "ResourceInUseException"
    );
    world
        .subscribe_to("shardId-000000000001", horizon())
        .await
        .unwrap();
    sleep(Duration::from_millis(1)).await;
    let mut second = world.subscribe(horizon()).await.unwrap();
    let heartbeat = first.next().await;
    assert!(
        heartbeat.is_err_and(|error| error == "ResourceInUseException"),
        "the first one has been taken over"
    );
    assert_eq!(first.next().await.unwrap(), None);
    world.put("a").await;
    assert_eq!(second.contents().await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_subscribe_is_told_before_anything_begins() {
    let options = KinesisOptions {
        consumer_delay: seconds(10),
        ..KinesisOptions::default()
    };
    let mut world = World::with(1, options).await;
    let refusal = async |world: &World, shard, start| world.subscribe_to(shard, start).await.err().unwrap();
    let creating = refusal(&world, SHARD, horizon()).await;
    assert_eq!(
        creating, "ResourceInUseException",
        "the consumer is being created"
    );
    sleep(seconds(10)).await;
    for (shard, start, code) in [
        ("shardId-000000000007", horizon(), "ResourceNotFoundException"),
        ("nonsense", horizon(), "ResourceNotFoundException"),
        ("a b", horizon(), "ValidationException"),
        (
            SHARD,
            from(ShardIteratorType::AtSequenceNumber),
            "InvalidArgumentException",
        ),
        (SHARD, after("1"), "InvalidArgumentException"),
        (SHARD, from("SOMEWHERE".into()), "ValidationException"),
    ] {
        assert_eq!(refusal(&world, shard, start.clone()).await, code, "{start:?}");
    }
    world.subscribe(horizon()).await.unwrap();
    world.consumer.consumer_arn = world.consumer.consumer_arn.replace("billing", "nobody");
    assert_eq!(
        refusal(&world, SHARD, horizon()).await,
        "ResourceNotFoundException"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_split_ends_with_its_children() {
    let world = World::new(1).await;
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    world.put("a").await;
    let event = subscription.event().await;
    let (_, last) = tokio::join!(world.split(), subscription.event());
    assert!(last.records.is_empty());
    assert_eq!(last.continuation_sequence_number, "", "left out");
    let children = last.child_shards.unwrap();
    let ids: Vec<_> = children.iter().map(|child| child.shard_id.as_str()).collect();
    assert_eq!(ids, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(children.iter().all(|child| child.parent_shards == [SHARD]));
    assert_eq!(subscription.next().await, Ok(None));

    sleep(seconds(5)).await;
    let mut again = world
        .subscribe(after(&event.continuation_sequence_number))
        .await
        .unwrap();
    assert_eq!(again.event().await.child_shards.unwrap(), children, "told again");
    assert_eq!(again.next().await, Ok(None));
    sleep(seconds(5)).await;
    let mut whole = world.subscribe(horizon()).await.unwrap();
    let whole = whole.event().await;
    assert_eq!(contents(&whole), ["a"]);
    assert_eq!(whole.child_shards.unwrap(), children);
}

#[tokio::test(start_paused = true)]
async fn shards_that_are_merged_end_with_the_same_child() {
    let options = KinesisOptions {
        update_delay: seconds(3),
        ..KinesisOptions::default()
    };
    let world = World::with(2, options).await;
    let mut first = world.subscribe(horizon()).await.unwrap();
    let mut second = world
        .subscribe_to("shardId-000000000001", horizon())
        .await
        .unwrap();
    let merge = world
        .client
        .merge_shards()
        .stream_name(STREAM)
        .shard_to_merge(SHARD);
    let merge = merge.adjacent_shard_to_merge("shardId-000000000001");
    merge.send().await.unwrap();
    let begin = Instant::now();
    for subscription in [&mut first, &mut second] {
        let children = subscription.event().await.child_shards.unwrap();
        assert_eq!(begin.elapsed(), seconds(3), "when the merge is done");
        assert_eq!(children.len(), 1);
        assert_eq!(children[0].shard_id, "shardId-000000000002");
        assert_eq!(children[0].parent_shards, [SHARD, "shardId-000000000001"]);
        assert_eq!(subscription.next().await, Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_and_a_deregistered_consumer_end_their_subscriptions() {
    let world = World::new(1).await;
    let begin = Instant::now();
    let other = register(&world.client, "audit").await;
    let subscribe = world.client.subscribe_to_shard().shard_id(SHARD);
    let subscribe = subscribe
        .consumer_arn(&other.consumer_arn)
        .starting_position(horizon());
    let mut audit = Subscription(subscribe.send().await.unwrap());
    let mut billing = world.subscribe(horizon()).await.unwrap();

    let deregister = world.client.deregister_stream_consumer();
    let deregister = deregister.consumer_arn(&other.consumer_arn);
    let (_, ended) = tokio::join!(deregister.send(), audit.next());
    assert_eq!(ended, Err("ResourceNotFoundException".to_owned()));
    let delete = world.client.delete_stream().stream_name(STREAM);
    let (_, ended) = tokio::join!(delete.enforce_consumer_deletion(true).send(), billing.next());
    assert_eq!(ended, Err("ResourceNotFoundException".to_owned()));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(billing.next().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_made_anew_under_the_name_is_not_subscribed() {
    let world = World::new(1).await;
    let mut billing = world.subscribe(horizon()).await.unwrap();
    let delete = world.client.delete_stream().stream_name(STREAM);
    delete.enforce_consumer_deletion(true).send().await.unwrap();
    let create = world.client.create_stream().stream_name(STREAM).shard_count(1);
    create.send().await.unwrap();
    register(&world.client, "billing").await;
    world.put("of the new stream").await;
    assert_eq!(billing.next().await, Err("ResourceNotFoundException".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn with_limits_a_consumer_gets_two_mebibytes_per_second() {
    let options = KinesisOptions {
        enforce_limits: true,
        ..KinesisOptions::default()
    };
    let world = World::with(1, options).await;
    for _ in 0..12 {
        world.put(&"x".repeat(1_000_000)).await;
        sleep(seconds(1)).await;
    }
    let begin = Instant::now();
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 12 {
        sizes.push(subscription.event().await.records.len());
    }
    assert_eq!(sizes, [2; 6]);
    let took = begin.elapsed().as_millis();
    // What one second allows comes at once, and the last event when those before it are paid.
    assert!((3_700..3_900).contains(&took), "{took} ms for 12 MB");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_finds_everything_in_order_when_it_goes_on() {
    let world = World::new(1).await;
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    for number in 0..50 {
        world.put(&number.to_string()).await;
        sleep(seconds(1)).await;
    }
    let event = subscription.event().await;
    assert_eq!(
        contents(&event).len(),
        50,
        "made when it was asked for, not before"
    );
    world.put("more").await;
    assert_eq!(subscription.contents().await, ["more"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_interrupted_as_a_fault_says() {
    let world = World::new(1).await;
    let cases = [
        (Interruption::Cut, Err("broken")),
        (Interruption::End, Ok(None)),
        (
            Interruption::exception("InternalFailureException"),
            Err("InternalFailureException"),
        ),
    ];
    for (how, end) in cases {
        world.faults.add(
            Rule::on("SubscribeToShard")
                .times(1)
                .fault(Fault::interrupted(seconds(7), how)),
        );
        let begin = Instant::now();
        let mut subscription = world.subscribe(horizon()).await.unwrap();
        assert!(subscription.event().await.records.is_empty());
        assert_eq!(subscription.next().await, end.map_err(str::to_owned));
        assert_eq!(begin.elapsed(), seconds(7));
    }
    let stall = Fault::interrupted(seconds(7), Interruption::Stall);
    world
        .faults
        .add(Rule::on("SubscribeToShard").times(1).fault(stall));
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    subscription.event().await;
    assert!(timeout(seconds(1_000), subscription.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_hears_nothing_any_more() {
    let world = World::new(1).await;
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    subscription.event().await;
    world.faults.cut("worker-1");
    assert!(timeout(seconds(60), subscription.next()).await.is_err());
    world.faults.heal("worker-1");
    assert!(timeout(seconds(60), subscription.next()).await.is_err());
    let mut again = world.subscribe(horizon()).await.unwrap();
    assert!(again.event().await.records.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_leaves_the_consumer_subscribed() {
    let world = World::new(1).await;
    let lost = Fault::drop_answer(Loss::Reset);
    world
        .faults
        .add(Rule::on("SubscribeToShard").times(1).fault(lost));
    let refused = world.subscribe(horizon()).await.err().unwrap();
    assert_eq!(
        refused, "ResourceInUseException",
        "what the SDK's second attempt meets"
    );
    sleep(seconds(5)).await;
    world.subscribe(horizon()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_no_effect() {
    let world = World::new(1).await;
    for code in ["LimitExceededException", "ResourceInUseException"] {
        let refusal = Fault::respond(400, code);
        let rule = world.faults.add(Rule::on("SubscribeToShard").fault(refusal));
        assert_eq!(world.subscribe(horizon()).await.err().unwrap(), code);
        world.faults.remove(rule);
    }
    world.subscribe(horizon()).await.unwrap();
}

/// Each event takes two seconds, the third is lost with its connection, and what arrives is written down.
#[derive(Debug, Clone, Default)]
struct Slow {
    sent: Arc<Mutex<u32>>,
    arrived: Arc<Mutex<Vec<bytes::Bytes>>>,
}

impl FaultInjector for Slow {
    fn decide(&self, _: &Call<'_>) -> Fault {
        Fault::none()
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        assert_eq!(event.client, "worker-1");
        let mut sent = self.sent.lock().unwrap();
        *sent += 1;
        match *sent {
            3 => EventFault::interrupted(Interruption::Cut),
            _ => EventFault::delayed(seconds(2)),
        }
    }

    fn event_arrived(&self, event: &Event<'_>) {
        self.arrived.lock().unwrap().push(event.payload.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn an_injector_decides_on_each_event_and_sees_those_that_arrive() {
    let slow = Slow::default();
    let backend = Backend::builder().faults(slow.clone()).build();
    let world = World::of(1, backend, FaultScript::new()).await;
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    for content in ["a", "b"] {
        let before = Instant::now();
        world.put(content).await;
        assert_eq!(contents(&subscription.event().await), [content]);
        assert_eq!(before.elapsed(), seconds(2));
    }
    world.put("c").await;
    assert_eq!(subscription.next().await, Err("broken".to_owned()));
    let arrived: Vec<serde_json::Value> = {
        let arrived = slow.arrived.lock().unwrap();
        arrived
            .iter()
            .map(|payload| serde_json::from_slice(payload).unwrap())
            .collect()
    };
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0]["Records"][0]["Data"], "YQ==");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_at_once_opens_nothing_but_counts() {
    let world = World::new(1).await;
    let cut = Fault::interrupted(Duration::ZERO, Interruption::Cut);
    world.faults.add(Rule::on("SubscribeToShard").times(1).fault(cut));
    assert_eq!(world.subscribe(horizon()).await.err().unwrap(), "no answer");
    assert_eq!(
        world.subscribe(horizon()).await.err().unwrap(),
        "ResourceInUseException"
    );
}

#[tokio::test(start_paused = true)]
async fn over_a_thin_link_an_event_takes_its_time() {
    let world = World::new(1).await;
    let link = Fault::none().over_link(NonZeroU64::new(100_000).unwrap());
    world.faults.add(Rule::on("SubscribeToShard").fault(link));
    let mut subscription = world.subscribe(horizon()).await.unwrap();
    let before = Instant::now();
    world.put(&"x".repeat(750_000)).await;
    subscription.contents().await;
    // In JSON a third is added.
    let took = before.elapsed();
    assert!((seconds(10)..seconds(11)).contains(&took), "{took:?}");
}
