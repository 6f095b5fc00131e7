//! The Kinesis Producer Library puts, and a worker takes apart.
//!
//! The library speaks HTTPS only, by a native program of its own that ends with its Java process.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_aggregation::{Aggregate, Aggregator, Bytes, Limits, UserRecord};
use kcl_core::{Checkpointer, ProcessorError, Record, RecordBatch, RecordProcessor, async_trait};
use kcl_local::transport::tcp::ListenOptions;
use kcl_local::transport::tls::Tls;
use kcl_tests::{Running, World, WorldOptions};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::user_records::{Told, assert_same, seen, user_records};
use crate::{Producer, java, record, sets, told};

const STREAM: &str = "clicks";
/// How long the worker may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is in each record of the stream: by shard and sequence number, and in no order, since the KPL keeps none.
type Contents = BTreeMap<(String, String), Vec<Told>>;

/// Hands on what a worker delivers.
struct Collector {
    shard: String,
    delivered: mpsc::UnboundedSender<(String, Record)>,
}

#[async_trait]
impl RecordProcessor for Collector {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            self.delivered.send((self.shard.clone(), record.clone()))?;
        }
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

/// Has the KPL put these; which of them went into which record of the stream.
fn put(kpl: &mut Producer, records: &[UserRecord]) -> Contents {
    let answer = kpl.ask(&json!({ "together": told(records) }));
    let places: Vec<(String, String)> = serde_json::from_value(answer).expect("shards and numbers");
    assert_eq!(places.len(), records.len());
    let mut contents = Contents::new();
    for (place, it) in places.into_iter().zip(records) {
        contents.entry(place).or_default().push(seen(it));
    }
    contents
}

/// The KPL puts records one by one until it has learned of the stream's shards.
fn until_it_aggregates(kpl: &mut Producer) -> Contents {
    let two = [record("early", None, b"1"), record("early", None, b"2")];
    let (mut all, start) = (Contents::new(), Instant::now());
    loop {
        let put = put(kpl, &two);
        let is_together = put.len() == 1;
        all.extend(put);
        if is_together {
            return all;
        }
        assert!(start.elapsed() < PATIENCE, "the KPL does not aggregate");
    }
}

/// The stream's records as they are.
async fn raw(world: &World) -> Vec<Bytes> {
    let mut data = Vec::new();
    for shard in world.shards().await {
        let iterator = world.kinesis.get_shard_iterator().stream_name(STREAM);
        let iterator = iterator
            .shard_id(shard.shard_id())
            .shard_iterator_type("TRIM_HORIZON".into());
        let mut next = iterator.send().await.expect("an iterator").shard_iterator;
        loop {
            let page = world.kinesis.get_records().set_shard_iterator(next);
            let page = page.send().await.expect("records");
            data.extend(
                page.records
                    .into_iter()
                    .map(|it| Bytes::from(it.data.into_inner())),
            );
            if page.millis_behind_latest == Some(0) {
                break;
            }
            next = page.next_shard_iterator;
        }
    }
    data
}

/// What our aggregator makes of an aggregate's user records.
fn by_ours(aggregate: &Aggregate) -> Bytes {
    let mut aggregator = Aggregator::new(Limits {
        max_bytes: 1 << 20,
        ..Limits::default()
    });
    for record in aggregate.user_records() {
        assert_eq!(aggregator.push(record), Ok(None), "there is room");
    }
    aggregator.finish().expect("something was pushed").data
}

/// The worker delivers what was put, in the records of the stream of which the KPL told, and our aggregator would have put the same.
pub(crate) async fn is_understood() {
    let world = World::new(WorldOptions {
        stream: STREAM,
        shards: 2,
        is_policed: false,
        machine_time: true,
        ..WorldOptions::default()
    })
    .await;
    let (sender, deliveries) = mpsc::unbounded_channel();
    let worker = world.builder_of("w1", move |shard| Collector {
        shard: shard.shard_id.to_string(),
        delivered: sender.clone(),
    });
    let worker = world.run("w1", worker);

    let mut expected = put_all(&world).await;
    let is_mixed = |records: &&Vec<Told>| {
        let with = records.iter().filter(|it| it.1.is_some()).count();
        0 < with && with < records.len()
    };
    let mixed = expected.values().filter(is_mixed).count();
    assert!(mixed >= 4, "the KPL puts together what belongs together");
    for records in expected.values_mut() {
        // Of a record that is put alone nobody learns the explicit hash key.
        if let [alone] = &mut records[..] {
            alone.1 = None;
        }
        records.sort();
    }

    let delivered = delivered(deliveries, &expected, worker).await;
    for (place, records) in &expected {
        let delivered = delivered.get(place).map_or(&[][..], Vec::as_slice);
        assert_same(&format!("{place:?}"), delivered, records);
    }
    assert_eq!(delivered.len(), expected.len(), "nothing from elsewhere");

    let raw = raw(&world).await;
    assert_eq!(raw.len(), expected.len());
    let mut same = 0;
    for data in raw {
        if let Some(aggregate) = Aggregate::parse(&data) {
            assert!(by_ours(&aggregate) == data, "ours is the same, byte for byte");
            same += 1;
        }
    }
    let together = expected.values().filter(|records| records.len() > 1).count();
    assert_eq!(same, together);
}

/// Has the KPL put everything, over HTTPS.
async fn put_all(world: &World) -> Contents {
    let tls = Tls::new(&[]).expect("a certificate");
    let authority = java::home().join("authority.pem");
    std::fs::write(&authority, tls.authority()).expect("written");
    let options = ListenOptions {
        tls: Some(tls),
        ..ListenOptions::default()
    };
    let server = world
        .servers
        .backend
        .listen_with("127.0.0.1:0", options)
        .await
        .expect("a free port");
    let mut kpl = java::program("Kpl");
    kpl.arg(server.local_addr().port().to_string())
        .args([&authority, &java::home()])
        .arg(STREAM);
    let mut kpl = Producer::start(&mut kpl);
    let mut contents = until_it_aggregates(&mut kpl);
    contents.extend(put(&mut kpl, &user_records()));
    for records in sets() {
        contents.extend(put(&mut kpl, &records));
    }
    kpl.finish();
    server.shutdown().await;
    contents
}

/// What the worker delivers, until it is as many user records as are expected, and has stopped.
async fn delivered(
    mut deliveries: mpsc::UnboundedReceiver<(String, Record)>,
    expected: &Contents,
    worker: Running,
) -> Contents {
    let count: usize = expected.values().map(Vec::len).sum();
    let mut contents = Contents::new();
    for _ in 0..count {
        // If one does not come, what did come shows which.
        let Ok(Some((shard, record))) = timeout(PATIENCE, deliveries.recv()).await else {
            break;
        };
        let place = (shard, record.sequence_number().to_string());
        contents.entry(place).or_default().push((
            record.partition_key().to_owned(),
            record.explicit_hash_key().map(str::to_owned),
            record.data().clone(),
        ));
    }
    worker.stop().await;
    assert!(deliveries.recv().await.is_none(), "nothing more is delivered");
    contents.values_mut().for_each(|records| records.sort());
    contents
}
