//! In real time, over sockets: workers that reach the backend as they would reach a LocalStack-like server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::Shard;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use kcl_core::{Checkpointer, FanOut, ProcessorError, RecordBatch, RecordProcessor, async_trait};
use kcl_local::Backend;
use kcl_local::transport::tcp::ListenOptions;
use kcl_local::transport::tls::Tls;
use kcl_tests::{Behaviour, Remote, Servers, World, WorldOptions, eventually, scenarios};
use tokio::sync::Semaphore;

#[tokio::test]
async fn two_workers_over_tcp_share_a_stream_and_hand_it_on() {
    let backend = Backend::start();
    let server = backend.listen("127.0.0.1:0").await.expect("a free port");
    let servers = Remote::at(&server.endpoint_url());
    let options = WorldOptions {
        shards: 2,
        ..WorldOptions::default()
    };
    scenarios::two_workers_share_a_stream_and_hand_it_on(World::on(servers, options).await).await;
    tokio::time::timeout(Duration::from_secs(10), server.shutdown())
        .await
        .expect("the listener stops");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_in_the_status_and_no_busy_loop() {
    let world = World::with_shards(1).await;
    let nowhere = Remote::at("http://127.0.0.1:9");
    let builder = world.builder("w1", Behaviour::default());
    let worker = world.run("w1", builder.aws_config(&nowhere.aws("w1")));
    worker
        .until(Duration::from_secs(30), |status| !status.problems.is_empty())
        .await;
    tokio::time::timeout(Duration::from_secs(10), worker.stop())
        .await
        .expect("it stops all the same");
}

/// Counts the bytes of each shard's records; one shard's processor waits until a gate is opened.
#[derive(Debug, Clone)]
struct Counter {
    bytes: Arc<Mutex<BTreeMap<String, usize>>>,
    gate: Arc<Semaphore>,
    stuck: &'static str,
    shard: String,
}

#[async_trait]
impl RecordProcessor for Counter {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        if self.shard == self.stuck {
            let _open = self.gate.acquire().await?;
        }
        let bytes: usize = batch.iter().map(|record| record.data().len()).sum();
        *self.bytes.lock().unwrap().entry(self.shard.clone()).or_default() += bytes;
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

/// Puts records of 100 KB into one shard.
async fn fill(world: &World<Remote>, shard: &Shard, records: usize) {
    let hash_key = shard.hash_key_range().expect("it has one").starting_hash_key();
    for _ in 0..records {
        let request = world.kinesis.put_record().stream_name("clicks");
        let request = request.partition_key("key").explicit_hash_key(hash_key);
        let data = Blob::new(vec![7; 100_000]);
        request.data(data).send().await.expect("put");
    }
}

#[tokio::test]
async fn a_subscriber_that_is_stuck_does_not_keep_the_others_from_their_share_of_the_connection() {
    let backend = Backend::start();
    let plain = backend.listen("127.0.0.1:0").await.expect("a free port");
    let tls = Tls::new(&[]).expect("a certificate");
    let options = ListenOptions {
        tls: Some(tls.clone()),
        ..ListenOptions::default()
    };
    let safe = backend.listen_with("127.0.0.1:0", options).await.expect("a port");
    let options = WorldOptions {
        shards: 8,
        ..WorldOptions::default()
    };
    let world = World::on(Remote::at(&plain.endpoint_url()), options).await;
    let shards = world.shards().await;
    fill(&world, &shards[0], 100).await;

    let trust = TrustStore::empty().with_pem_certificate(tls.authority());
    let context = TlsContext::builder().with_trust_store(trust).build();
    let provider = Provider::Rustls(CryptoMode::AwsLc);
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(provider)
        .tls_context(context.expect("a certificate that can be read"))
        .build_https();
    let aws = Remote::at(&safe.endpoint_url()).aws("one");
    let aws = aws.into_builder().http_client(client).build();
    let counter = Counter {
        bytes: Arc::default(),
        gate: Arc::new(Semaphore::new(0)),
        stuck: "shardId-000000000000",
        shard: String::new(),
    };
    let prototype = counter.clone();
    let builder = world.builder_of("one", move |shard| Counter {
        shard: shard.shard_id.to_string(),
        ..prototype.clone()
    });
    let builder = builder.aws_config(&aws).fan_out(FanOut::default());
    let worker = world.run("one", builder.prefetch_bytes_per_shard(1 << 20));
    let limit = Duration::from_secs(60);
    let has = |number: usize, records: usize| {
        let shard = format!("shardId-{number:012}");
        let bytes = counter.bytes.lock().unwrap();
        bytes.get(&shard).copied().unwrap_or(0) == records * 100_000
    };
    for round in 1..=3 {
        for shard in &shards[1..] {
            fill(&world, shard, 10).await;
        }
        let others = || (1..8).all(|number| has(number, round * 10)).then_some(());
        eventually(limit, others, || format!("{:?}", counter.bytes)).await;
    }
    assert!(has(0, 0), "it is stuck");
    counter.gate.add_permits(1);
    let all = || has(0, 100).then_some(());
    eventually(limit, all, || format!("{:?}", counter.bytes)).await;
    worker.stop().await;
}
