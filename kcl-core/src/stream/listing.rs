//! The Kinesis calls about one stream, with their errors classified.

use std::time::SystemTime;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};
use aws_smithy_types::DateTime;

use super::graph::{Shard, ShardGraph};
use super::service_time::ServiceTime;
use crate::aws::{CallError, ErrorClass};
use crate::config::{InitialPosition, ShardId, Stream};
use crate::retrieval::IteratorRequest;

/// Kinesis, as seen by the readers of one stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamClient {
    client: Client,
    stream: Stream,
}

impl StreamClient {
    pub(crate) fn new(client: Client, stream: Stream) -> Self {
        Self { client, stream }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Asks for one shard, to learn whether the stream exists and may be read, and what time it is at the service; `None`
    /// if a server that is not Kinesis does not say.
    pub(crate) async fn probe(&self) -> Result<Option<SystemTime>, CallError> {
        let time = ServiceTime::default();
        let request = self.client.list_shards().max_results(1);
        let request = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn());
        request
            .customize()
            .interceptor(time.clone())
            .send()
            .await
            .map(|_| time.last())
            .map_err(|error| CallError::from_sdk("ListShards", &error))
    }

    /// When the stream was created, in seconds since the Unix epoch; `None` if the server does not say.
    pub(crate) async fn created_at(&self) -> Result<Option<u64>, CallError> {
        let request = self.client.describe_stream_summary();
        let answer = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn())
            .send()
            .await
            .map_err(|error| CallError::from_sdk("DescribeStreamSummary", &error))?;
        let summary = answer.stream_description_summary;
        let created = summary.map(|summary| summary.stream_creation_timestamp.secs());
        Ok(created
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0))
    }

    /// All shards that Kinesis still knows, or those that were open at an initial position.
    pub(crate) async fn list_shards(
        &self,
        open_at: Option<InitialPosition>,
    ) -> Result<ShardGraph, CallError> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client.list_shards();
            let request = match token.take() {
                Some(token) => request.next_token(token),
                None => request
                    .set_stream_name(self.stream.request_name())
                    .set_stream_arn(self.stream.request_arn())
                    .set_shard_filter(open_at.map(shard_filter).transpose()?),
            };
            let page = request
                .send()
                .await
                .map_err(|error| CallError::from_sdk("ListShards", &error))?;
            for shard in page.shards() {
                let shard = Shard::from_sdk(shard)
                    .map_err(|error| CallError::new(ErrorClass::Other, "ListShards", error.to_string()))?;
                shards.push(shard);
            }
            match page.next_token {
                Some(next) => token = Some(next),
                None => return Ok(ShardGraph::new(shards)),
            }
        }
    }

    /// A shard iterator, good for five minutes, and when the service answered.
    pub(crate) async fn shard_iterator(
        &self,
        shard: &ShardId,
        request: &IteratorRequest,
    ) -> Result<(String, Option<SystemTime>), CallError> {
        let time = ServiceTime::default();
        let answer = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn())
            .shard_id(shard.as_str())
            .shard_iterator_type(request.kind())
            .set_starting_sequence_number(request.sequence().map(|sequence| sequence.as_str().to_owned()))
            .set_timestamp(request.timestamp().map(DateTime::from))
            .customize()
            .interceptor(time.clone())
            .send()
            .await
            .map_err(|error| CallError::from_sdk("GetShardIterator", &error))?;
        let iterator = answer.shard_iterator.ok_or_else(|| {
            CallError::new(
                ErrorClass::Transient,
                "GetShardIterator",
                "the answer holds no iterator",
            )
        })?;
        Ok((iterator, time.last()))
    }

    /// The next records behind an iterator: at most `limit` of them and 10 MiB (limits of the service).
    pub(crate) async fn records(&self, iterator: &str, limit: i32) -> Result<GetRecordsOutput, CallError> {
        self.client
            .get_records()
            .shard_iterator(iterator)
            .set_stream_arn(self.stream.request_arn())
            .limit(limit)
            .send()
            .await
            .map_err(|error| CallError::from_sdk("GetRecords", &error))
    }
}

fn shard_filter(open_at: InitialPosition) -> Result<ShardFilter, CallError> {
    let filter = match open_at {
        InitialPosition::Latest => ShardFilter::builder().r#type(ShardFilterType::AtLatest),
        InitialPosition::TrimHorizon => ShardFilter::builder().r#type(ShardFilterType::AtTrimHorizon),
        InitialPosition::AtTimestamp(at) => ShardFilter::builder()
            .r#type(ShardFilterType::AtTimestamp)
            .timestamp(DateTime::from(at)),
    };
    filter
        .build()
        .map_err(|error| CallError::new(ErrorClass::Other, "ListShards", error.to_string()))
}
