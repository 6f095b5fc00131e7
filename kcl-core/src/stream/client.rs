//! The Kinesis calls about one stream, with their errors classified.

use std::future::Future;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType, StreamDescriptionSummary};
use aws_smithy_types::DateTime;
use kcl_lease::{Counter, HashRange, Histogram, Labels, Metrics};
use tokio::time::Instant;

use super::children::Child;
use super::graph::{Shard, ShardGraph};
use super::reads::{Answer, CborReads, NoAnswer, Spoken};
use super::service_time::ServiceTime;
use super::starting_position::StartingPosition;
use crate::aws::{CallError, ErrorClass};
use crate::config::{InitialPosition, ReadEncoding, ShardId, Stream, StreamId};

/// For so long any call but a read is waited for, whatever the client's own time-outs are.
pub(super) const BOUND: Duration = Duration::from_secs(20);

/// Kinesis, as seen by the readers of one stream.
///
/// Every call ends: the client may have been given without any time-out, and connections may swallow what is sent.
#[derive(Debug, Clone)]
pub(crate) struct StreamClient {
    client: Client,
    /// For what brings records: how long that may take depends on what was asked for, and whether it is repeated, and in which
    /// way, is the reader's choice. Of one configuration, since the SDK keeps connections apart by their time-outs.
    unbounded: Client,
    stream: Stream,
    /// In what reads are answered.
    spoken: Spoken,
    /// In what events come.
    pushed: Spoken,
    metrics: Metrics,
}

impl StreamClient {
    pub(crate) fn new(client: Client, stream: Stream) -> Self {
        Self {
            unbounded: unbounded(&client),
            client,
            stream,
            spoken: Spoken::new(ReadEncoding::default()),
            pushed: Spoken::new(ReadEncoding::default()),
            metrics: Metrics::default(),
        }
    }

    /// The same, with its calls counted.
    pub(crate) fn counted_by(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The same, with reads in this encoding.
    pub(crate) fn reading_in(mut self, encoding: ReadEncoding) -> Self {
        self.spoken = Spoken::new(encoding);
        self.pushed = Spoken::new(encoding);
        self
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Without time-outs and retries.
    pub(super) fn unbounded(&self) -> &Client {
        &self.unbounded
    }

    pub(super) fn pushed(&self) -> &Spoken {
        &self.pushed
    }

    /// Waits for a call, but not for longer than `bound`, and counts it.
    pub(super) fn ended<T, E, R>(
        &self,
        operation: &'static str,
        bound: Duration,
        call: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> impl Future<Output = Result<T, CallError>>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let (call, started) = (ended(operation, bound, call), Instant::now());
        async move {
            let result = call.await;
            let labels = Labels::of_operation(operation);
            let code = result.as_ref().map_or_else(|error| error.class.name(), |_| "ok");
            self.metrics.add(Counter::KinesisCalls, labels.with_code(code), 1);
            self.metrics
                .took(Histogram::KinesisCallTime, labels, started.elapsed());
            result
        }
    }

    /// Asks for one shard, to learn whether the stream exists and may be read, and what time it is at the service; `None`
    /// if a server that is not Kinesis does not say.
    pub(crate) async fn probe(&self) -> Result<Option<SystemTime>, CallError> {
        let time = ServiceTime::default();
        let request = self.client.list_shards().max_results(1);
        let request = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn());
        let call = request.customize().interceptor(time.clone());
        let answer = self.ended("ListShards", BOUND, call.send()).await;
        answer.map(|_| time.last())
    }

    /// When the stream was created, in seconds since the Unix epoch; `None` if the server does not say.
    pub(crate) async fn created_at(&self) -> Result<Option<u64>, CallError> {
        let created = self
            .summary()
            .await?
            .map(|summary| summary.stream_creation_timestamp.secs());
        Ok(created
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0))
    }

    /// Which of all streams it is.
    pub(crate) async fn id(&self) -> Result<StreamId, CallError> {
        let summary = self.summary().await?;
        let told = summary.and_then(|summary| {
            let created_at = u64::try_from(summary.stream_creation_timestamp.secs()).ok()?;
            let stream = Stream::parse(&summary.stream_arn).ok()?;
            Some(StreamId::new(stream.account()?, stream.name(), created_at)).filter(|_| created_at > 0)
        });
        told.ok_or_else(|| {
            let problem = "the server does not tell the stream's ARN and when it was created, without which it cannot be one of several";
            CallError::new(ErrorClass::Other, "DescribeStreamSummary", problem)
        })
    }

    pub(super) async fn summary(&self) -> Result<Option<StreamDescriptionSummary>, CallError> {
        let request = self.client.describe_stream_summary();
        let call = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn());
        let answer = self.ended("DescribeStreamSummary", BOUND, call.send()).await?;
        Ok(answer.stream_description_summary)
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
            let page = self.ended("ListShards", BOUND, request.send()).await?;
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

    /// The first listed shards that follow one, whose hash range is given if it is known.
    pub(crate) async fn listed_children(
        &self,
        shard: &ShardId,
        range: Option<HashRange>,
    ) -> Result<Vec<Child>, CallError> {
        let graph = self.list_shards(None).await?;
        Ok(graph.heirs(shard, range).into_iter().map(Child::from).collect())
    }

    /// A shard iterator, good for five minutes, and when the service answered.
    pub(crate) async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &StartingPosition,
    ) -> Result<(String, Option<SystemTime>), CallError> {
        let time = ServiceTime::default();
        let call = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn())
            .shard_id(shard.as_str())
            .shard_iterator_type(at.kind())
            .set_starting_sequence_number(at.sequence().map(|sequence| sequence.as_str().to_owned()))
            .set_timestamp(at.timestamp().map(DateTime::from))
            .customize()
            .interceptor(time.clone());
        let answer = self.ended("GetShardIterator", BOUND, call.send()).await?;
        let iterator = answer.shard_iterator.ok_or_else(|| {
            CallError::new(
                ErrorClass::Transient,
                "GetShardIterator",
                "the answer holds no iterator",
            )
        })?;
        Ok((iterator, time.last()))
    }

    /// The next records behind an iterator: at most `limit` of them and 10 MiB (limits of the service), within `bound`.
    ///
    /// The client's own time-outs do not count: how long an answer may take depends on what was asked for. Nor does it
    /// repeat the call: the reader does, and asks for something else if the answer was too large or came too often.
    pub(crate) async fn records(
        &self,
        iterator: &str,
        limit: u32,
        bound: Duration,
    ) -> Result<Answer, CallError> {
        if self.spoken.is_json() {
            return self.records_in_json(iterator, limit, bound).await;
        }
        match self.records_in_cbor(iterator, limit, bound).await {
            Ok(answer) => Ok(answer),
            Err(error) if self.spoken.may_be_a_misunderstanding(&error) => {
                // If that fails as well, it is not the encoding.
                let answer = self
                    .records_in_json(iterator, limit, bound)
                    .await
                    .map_err(|_| error)?;
                self.spoken.json_is_understood();
                Ok(answer)
            }
            Err(error) => Err(error),
        }
    }

    async fn records_in_json(
        &self,
        iterator: &str,
        limit: u32,
        bound: Duration,
    ) -> Result<Answer, CallError> {
        Answer::from_sdk(self.get_records(iterator, limit, bound, None).await?)
    }

    async fn records_in_cbor(
        &self,
        iterator: &str,
        limit: u32,
        bound: Duration,
    ) -> Result<Answer, CallError> {
        let until = Instant::now() + bound;
        let reads = CborReads::default();
        let result = self
            .get_records(iterator, limit, bound, Some(reads.clone()))
            .await;
        match (result, reads.take()) {
            (Ok(_), Some(answer)) => match tokio::time::timeout_at(until, answer.read()).await {
                Ok(Ok(answer)) => {
                    self.spoken.cbor_is_understood();
                    Ok(answer)
                }
                Ok(Err(NoAnswer::Malformed(error))) => {
                    tracing::debug!(%error, "reading once more, in JSON");
                    let answer = self.records_in_json(iterator, limit, bound).await;
                    answer.inspect(|_| self.spoken.cbor_was_malformed())
                }
                Ok(Err(NoAnswer::BrokenOff(error))) => Err(CallError::new(
                    ErrorClass::Transient,
                    "GetRecords",
                    format!("the answer broke off: {error}"),
                )),
                Err(_) => Err(unanswered("GetRecords", bound)),
            },
            (Ok(output), None) => Answer::from_sdk(output),
            (Err(_), _) if reads.is_foreign() => {
                let answer = self.records_in_json(iterator, limit, bound).await;
                answer.inspect(|_| self.spoken.json_is_spoken())
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn get_records(
        &self,
        iterator: &str,
        limit: u32,
        bound: Duration,
        reads: Option<CborReads>,
    ) -> Result<GetRecordsOutput, CallError> {
        let call = self
            .unbounded
            .get_records()
            .shard_iterator(iterator)
            .set_stream_arn(self.stream.request_arn())
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .customize();
        let call = match reads {
            Some(reads) => {
                call.interceptor(reads.plug(iterator, limit, self.stream.request_arn().as_deref()))
            }
            None => call,
        };
        self.ended("GetRecords", bound, call.send()).await
    }
}

/// The same client, connections included, without time-outs but that of connecting, and without retries.
fn unbounded(client: &Client) -> Client {
    let config = client.config();
    let timeouts = config.timeout_config().map(TimeoutConfig::to_builder);
    let timeouts = timeouts
        .unwrap_or_default()
        .disable_read_timeout()
        .disable_operation_timeout()
        .disable_operation_attempt_timeout();
    let config = config
        .to_builder()
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::disabled())
        // It is normal that nothing comes in a subscription while nothing is put, or while the processor is busy.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

/// Waits for a call, but not for longer than `bound`.
///
/// The SDK's future takes 10 KB. In a box it takes them only while it is under way, and not in every shard's task for good.
pub(crate) fn ended<T, E, R>(
    operation: &'static str,
    bound: Duration,
    call: impl Future<Output = Result<T, SdkError<E, R>>>,
) -> impl Future<Output = Result<T, CallError>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let call = Box::pin(call);
    async move {
        match tokio::time::timeout(bound, call).await {
            Ok(result) => result.map_err(|error| CallError::from_sdk(operation, error)),
            Err(_) => Err(unanswered(operation, bound)),
        }
    }
}

fn unanswered(operation: &'static str, bound: Duration) -> CallError {
    CallError::new(
        ErrorClass::Transient,
        operation,
        format!("no answer within {bound:?}"),
    )
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
