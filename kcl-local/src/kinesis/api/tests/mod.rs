//! Scenarios through [`Kinesis::call`], as a client sees them, in virtual time.

mod consumers;
mod formats;
mod limits;
mod listings;
mod messages;
mod puts;
mod reads;
mod resources;
mod scalings;
mod settings;
mod streams;

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::kinesis::{ApiError, Codec, Kinesis, KinesisOptions};

struct Json;

impl Codec for Json {
    fn decode<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ApiError> {
        serde_json::from_slice(body).map_err(|error| ApiError::serialization(error.to_string()))
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Bytes, ApiError> {
        let body = serde_json::to_vec(value).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Bytes::from(body))
    }
}

/// An account without streams. Needs tokio's clock, paused.
fn account() -> Kinesis {
    account_with(KinesisOptions::default())
}

fn account_with(options: KinesisOptions) -> Kinesis {
    Kinesis::new(
        Clock::starting_at(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        options,
    )
}

/// An account with a stream called `orders`.
fn account_with_stream(shards: u32) -> Kinesis {
    let kinesis = account();
    kinesis.ok(
        "CreateStream",
        json!({"StreamName": "orders", "ShardCount": shards}),
    );
    kinesis
}

async fn wait(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

impl Kinesis {
    fn ask(&self, operation: &str, request: Value) -> Result<Value, ApiError> {
        let answer = self.call(operation, &Bytes::from(request.to_string()), &Json)?;
        Ok(if answer.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&answer).unwrap()
        })
    }

    /// The answer to a request that must succeed.
    fn ok(&self, operation: &str, request: Value) -> Value {
        self.ask(operation, request).unwrap()
    }

    /// What a request must fail with: the exception and its message.
    fn told(&self, operation: &str, request: Value) -> (&'static str, String) {
        let error = self.ask(operation, request).unwrap_err();
        (error.code, error.message)
    }

    /// The exception that a request must fail with.
    fn refusal(&self, operation: &str, request: Value) -> &'static str {
        let error = self.ask(operation, request).unwrap_err();
        assert_eq!(error.status, 400, "{error}");
        assert!(!error.message.is_empty());
        error.code
    }

    fn put(&self, content: &str) -> Value {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, content);
        self.ok(
            "PutRecord",
            json!({"StreamName": "orders", "PartitionKey": "k", "Data": data}),
        )
    }

    fn iterator(&self, shard: u32, kind: &str) -> Value {
        let shard = format!("shardId-{shard:012}");
        let request = json!({"StreamName": "orders", "ShardId": shard, "ShardIteratorType": kind});
        self.ok("GetShardIterator", request)["ShardIterator"].clone()
    }

    fn shard_ids(&self, request: Value) -> Vec<String> {
        let shards = self.ok("ListShards", request)["Shards"]
            .as_array()
            .unwrap()
            .clone();
        shards
            .iter()
            .map(|shard| shard["ShardId"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn shard_ids(numbers: &[u32]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| format!("shardId-{number:012}"))
        .collect()
}
