//! A shard of the local backend, read ahead.

use aws_sdk_kinesis::Client;
use kcl_lease::{Checkpoint, Health, Metrics};
use tokio::time::timeout;

use super::*;
use crate::config::{InitialPosition, ProcessingOptions, RetrievalOptions};
use crate::retrieval::Cursor;
use crate::stream::StreamClient;

const RECORD: usize = 64 << 10;
const RECORDS: usize = 40;

/// A stream with one shard, and records in it.
async fn filled_stream() -> StreamClient {
    let backend = kcl_local::Backend::start();
    let client = Client::new(&backend.sdk_config());
    let request = client.create_stream().stream_name("clicks").shard_count(1);
    request.send().await.expect("created");
    for number in 0..RECORDS {
        let request = client
            .put_record()
            .stream_name("clicks")
            .partition_key(number.to_string());
        let data = aws_smithy_types::Blob::new(vec![0; RECORD]);
        request.data(data).send().await.expect("put");
    }
    StreamClient::new(client, crate::config::Stream::parse("clicks").expect("a name"))
}

async fn prefetch(memory: u64) -> (Arc<ShardMonitor>, Prefetch, Batches) {
    let problems = ShardProblems::new(Health::default());
    let parts = ReaderParts {
        source: Source {
            stream: filled_stream().await,
            env: Environment::system(),
            options: RetrievalOptions::default(),
            consumer: None,
            problems: problems.clone(),
        },
        limits: BatchLimits::new(&RetrievalOptions::default(), &ProcessingOptions::default()),
        budget: Budget::new(memory),
        problems,
        doubt: Doubt::new(),
    };
    let start = Start {
        cursor: Cursor::from_checkpoint(&Checkpoint::TrimHorizon, InitialPosition::TrimHorizon)
            .expect("not ended"),
        checkpoint: Checkpoint::TrimHorizon,
        hash_range: None,
    };
    let monitor = Arc::new(ShardMonitor::new("shardId-000000000000", Metrics::default()));
    let shard = ShardId::from("shardId-000000000000");
    let (prefetch, outlet) = Prefetch::new(&parts, shard, monitor.clone(), start);
    (monitor, prefetch, outlet)
}

#[tokio::test(start_paused = true)]
async fn an_application_that_keeps_all_records_is_told_why_no_more_come() {
    let (monitor, prefetch, mut outlet) = prefetch(1 << 20).await;
    let reading = tokio::spawn(prefetch.run());
    let mut kept = Vec::new();
    let is_told = || {
        let status = monitor.status(String::new(), Duration::MAX);
        status.problem.is_some_and(|problem| problem.code == NO_MEMORY)
    };
    while !is_told() {
        if let Ok(delivery) = timeout(Duration::from_secs(1), outlet.next()).await {
            kept.extend(delivery.expect("open").batch.iter().cloned());
        }
    }
    let seen = kept.len();
    assert!(seen < RECORDS, "{seen} records were kept");
    kept.clear();
    let mut left = RECORDS - seen;
    while left > 0 {
        let delivery = timeout(Duration::from_secs(60), outlet.next()).await;
        left -= delivery.expect("in time").expect("open").batch.len();
    }
    assert!(!is_told(), "and it goes on when they are dropped");
    reading.abort();
}
