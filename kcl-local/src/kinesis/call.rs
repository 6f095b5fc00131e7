//! The boundary between wire formats and operations: one call in, one answer or one service error out.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::{Members, SubscribeToShardRequest};
use super::{Kinesis, Subscription, operations};

/// A wire format: how a request body becomes a typed request and a typed response becomes a body.
///
/// One implementation per format. Types tell formats apart by serde's `is_human_readable`.
pub trait Codec {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`ApiError::serialization`] if the body is not what the operation expects.
    fn decode<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ApiError>;

    /// Writes a response body.
    ///
    /// # Errors
    /// [`ApiError::internal`] if the value cannot be written.
    fn encode<T: Serialize>(&self, value: &T) -> Result<Bytes, ApiError>;
}

/// An error as the service reports it: an exception name, a message and an HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The exception's name, such as `ResourceNotFoundException`.
    pub code: &'static str,
    /// What went wrong, for people.
    pub message: String,
    /// The HTTP status: 400 for the caller's errors, 500 for ours.
    pub status: u16,
}

impl ApiError {
    /// An error of the caller, with status 400.
    pub fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            status: 400,
        }
    }

    /// The request body could not be read.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::client("SerializationException", message)
    }

    /// A request member is missing, too long, out of range or badly formed.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::client("ValidationException", message)
    }

    /// A request that is well formed but makes no sense for the stream as it is.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::client("InvalidArgumentException", message)
    }

    /// An operation that is not served, and why.
    pub fn unknown_operation(message: impl Into<String>) -> Self {
        Self::client("UnknownOperationException", message)
    }

    /// A fault of this backend, with status 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            code: "InternalFailure",
            message: message.into(),
            status: 500,
        }
    }
}

impl Kinesis {
    /// Runs the operation called `operation` (such as `PutRecord`) on a request body and returns the response
    /// body, which is empty for operations without a result. All but `SubscribeToShard`, see [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    /// The service's exceptions; `UnknownOperationException` for a name that this backend does not serve and
    /// `SerializationException` for a body that `codec` cannot read.
    pub fn call<C: Codec>(&self, operation: &str, body: &Bytes, codec: &C) -> Result<Bytes, ApiError> {
        self.admit_call(operation)?;
        let call = Call { body, codec };
        match operation {
            "AddTagsToStream" => call.done(|request| self.add_tags_to_stream(request)),
            "CreateStream" => call.done(|request| self.create_stream(request)),
            "DecreaseStreamRetentionPeriod" => call.done(|request| self.decrease_retention(request)),
            "DeleteResourcePolicy" => call.done(|request| self.delete_resource_policy(request)),
            "DeleteStream" => call.done(|request| self.delete_stream(request)),
            "DeregisterStreamConsumer" => call.done(|request| self.deregister_stream_consumer(request)),
            "DescribeAccountSettings" => call.answer(|request| self.describe_account_settings(request)),
            "DescribeLimits" => call.answer(|request| self.describe_limits(request)),
            "DescribeStream" => call.answer(|request| self.describe_stream(request)),
            "DescribeStreamConsumer" => call.answer(|request| self.describe_stream_consumer(request)),
            "DescribeStreamSummary" => call.answer(|request| self.describe_stream_summary(request)),
            "DisableEnhancedMonitoring" => call.answer(|request| self.disable_monitoring(request)),
            "EnableEnhancedMonitoring" => call.answer(|request| self.enable_monitoring(request)),
            "GetRecords" => call.answer(|request| self.get_records(request)),
            "GetResourcePolicy" => call.answer(|request| self.get_resource_policy(request)),
            "GetShardIterator" => call.answer(|request| self.get_shard_iterator(request)),
            "IncreaseStreamRetentionPeriod" => call.done(|request| self.increase_retention(request)),
            "ListShards" => call.answer(|request| self.list_shards(request)),
            "ListStreamConsumers" => call.answer(|request| self.list_stream_consumers(request)),
            "ListStreams" => call.answer(|request| self.list_streams(request)),
            "ListTagsForResource" => call.answer(|request| self.list_tags_for_resource(request)),
            "ListTagsForStream" => call.answer(|request| self.list_tags_for_stream(request)),
            "MergeShards" => call.done(|request| self.merge_shards(request)),
            "PutRecord" => call.answer(|request| self.put_record(request)),
            "PutRecords" => call.answer(|request| self.put_records(request)),
            "PutResourcePolicy" => call.done(|request| self.put_resource_policy(request)),
            "RegisterStreamConsumer" => call.answer(|request| self.register_stream_consumer(request)),
            "RemoveTagsFromStream" => call.done(|request| self.remove_tags_from_stream(request)),
            "SplitShard" => call.done(|request| self.split_shard(request)),
            "StartStreamEncryption" => call.done(|request| self.start_stream_encryption(request)),
            "StopStreamEncryption" => call.done(|request| self.stop_stream_encryption(request)),
            "TagResource" => call.done(|request| self.tag_resource(request)),
            "UntagResource" => call.done(|request| self.untag_resource(request)),
            "UpdateAccountSettings" => call.answer(|request| self.update_account_settings(request)),
            "UpdateMaxRecordSize" => call.done(|request| self.update_max_record_size(request)),
            "UpdateShardCount" => call.answer(|request| self.update_shard_count(request)),
            "UpdateStreamMode" => call.done(|request| self.update_stream_mode(request)),
            "UpdateStreamRecordDistributionStrategy" => {
                call.done(|request| self.update_distribution(request))
            }
            "UpdateStreamWarmThroughput" => call.answer(|request| self.update_warm_throughput(request)),
            _ => Err(operations::refusal(operation)),
        }
    }
}

impl Kinesis {
    /// Begins the subscription that a `SubscribeToShard` request asks for.
    ///
    /// # Errors
    /// The service's exceptions: `ResourceInUseException` for a consumer that is not active or has subscribed to the shard
    /// a moment ago, `ResourceNotFoundException`, and others for a request that is badly formed.
    pub fn subscribe<C: Codec>(&self, body: &Bytes, codec: &C) -> Result<Subscription, ApiError> {
        let request: SubscribeToShardRequest = Call { body, codec }.request()?;
        self.subscribe_to_shard(request)
    }

    /// Accounts for a call, if any calls are limited.
    fn admit_call(&self, operation: &str) -> Result<(), ApiError> {
        if self.options().quotas.calls.is_empty() {
            return Ok(());
        }
        self.with_engine(|engine, now| engine.admit_call(operation, now))?;
        Ok(())
    }

    /// Runs `GetRecords`, but leaves the records for later and tells this lag.
    pub(crate) fn empty_page<C: Codec>(
        &self,
        body: &Bytes,
        codec: &C,
        behind: Duration,
    ) -> Result<Bytes, ApiError> {
        let call = Call { body, codec };
        call.answer(|request| self.get_no_records(request, behind))
    }
}

/// One request in flight, not yet decoded.
struct Call<'a, C> {
    body: &'a Bytes,
    codec: &'a C,
}

impl<C: Codec> Call<'_, C> {
    /// Decodes a request and checks its members.
    fn request<Q: DeserializeOwned + Members>(self) -> Result<Q, ApiError> {
        let request: Q = self.codec.decode(self.body)?;
        request.validate()?;
        Ok(request)
    }

    /// Decodes, runs and encodes an operation that has a result.
    fn answer<Q: DeserializeOwned + Members, R: Serialize>(
        self,
        operation: impl FnOnce(Q) -> Result<R, ApiError>,
    ) -> Result<Bytes, ApiError> {
        let codec = self.codec;
        let response = operation(self.request()?)?;
        codec.encode(&response)
    }

    /// Decodes and runs an operation whose success has no body.
    fn done<Q: DeserializeOwned + Members>(
        self,
        operation: impl FnOnce(Q) -> Result<(), ApiError>,
    ) -> Result<Bytes, ApiError> {
        operation(self.request()?)?;
        Ok(Bytes::new())
    }
}
