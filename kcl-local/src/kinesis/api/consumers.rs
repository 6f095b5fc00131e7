//! RegisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers, DeregisterStreamConsumer.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, rules};
use super::shards::page;
use super::stream_name::StreamRef;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{
    Consumer, Engine, EngineError, EpochMillis, TokenKind, TokenReader, TokenWriter,
};
use crate::kinesis::{ApiError, Kinesis};

/// The greatest page, and what a request gets that names none.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreamConsumers.html>
const MOST_CONSUMERS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RegisterRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    stream_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RegisterResponse {
    consumer: ConsumerMember,
}

/// A consumer by its own ARN, or by that of its stream and its name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ConsumerRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    stream_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeConsumerResponse {
    consumer_description: ConsumerDescription,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsumerDescription {
    #[serde(flatten)]
    consumer: ConsumerMember,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListConsumersRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    stream_id: Option<String>,
    stream_creation_timestamp: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListConsumersResponse {
    consumers: Vec<ConsumerMember>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsumerMember {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    consumer_creation_timestamp: Timestamp,
}

impl Members for RegisterRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("consumerName", self.consumer_name.as_ref());
        checks.text("consumerName", self.consumer_name.as_deref(), &rules::NAME);
        rules::tags(checks, self.tags.as_ref());
        checks.required("streamARN", self.stream_arn.as_ref());
        StreamRef::new(&None, &self.stream_arn, &self.stream_id).check_given(checks);
    }
}

impl Members for ConsumerRequest {
    fn check(&self, checks: &mut Checks) {
        checks.text("consumerARN", self.consumer_arn.as_deref(), &rules::CONSUMER_ARN);
        checks.text("consumerName", self.consumer_name.as_deref(), &rules::NAME);
        StreamRef::new(&None, &self.stream_arn, &self.stream_id).check_given(checks);
    }
}

impl Members for ListConsumersRequest {
    fn check(&self, checks: &mut Checks) {
        checks.number("maxResults", self.max_results, rules::PAGE);
        checks.text("nextToken", self.next_token.as_deref(), &rules::NEXT_TOKEN);
        checks.required("streamARN", self.stream_arn.as_ref());
        StreamRef::new(&None, &self.stream_arn, &self.stream_id).check_given(checks);
    }
}

/// A consumer as a request names it.
pub(super) struct Named<'a> {
    pub(super) stream: &'a str,
    name: &'a str,
    /// When the consumer that is meant was registered, in seconds, if an ARN says so.
    registered: Option<u64>,
}

impl Named<'_> {
    /// The consumer itself, to be changed.
    pub(super) fn find_mut<'e>(
        &self,
        engine: &'e mut Engine,
        now: EpochMillis,
    ) -> Result<&'e mut Consumer, EngineError> {
        self.find(engine, now)?;
        let missing = EngineError::ConsumerNotFound {
            stream: engine.label(self.stream),
            consumer: self.name.to_owned(),
        };
        let stream = engine.stream(self.stream, now)?;
        stream.consumers.get_mut(self.name).ok_or(missing)
    }

    /// The consumer itself.
    pub(super) fn find(&self, engine: &mut Engine, now: EpochMillis) -> Result<Consumer, EngineError> {
        let label = engine.label(self.stream);
        let found = engine.stream(self.stream, now)?.consumers.at(now).get(self.name);
        let is_it = |consumer: &&Consumer| {
            self.registered
                .is_none_or(|seconds| consumer.created.get() / 1_000 == seconds)
        };
        let missing = || EngineError::ConsumerNotFound {
            stream: label.clone(),
            consumer: self.name.to_owned(),
        };
        found.filter(is_it).cloned().ok_or_else(missing)
    }
}

impl Kinesis {
    /// Registers a consumer, which may subscribe to shards as soon as it is `ACTIVE`.
    pub(crate) fn register_stream_consumer(
        &self,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, ApiError> {
        let arn = check::present(request.stream_arn, "streamARN")?;
        let stream = self.name_in_arn(&arn)?;
        let name = check::present(request.consumer_name, "consumerName")?;
        let added = request.tags.unwrap_or_default();
        let mut tags = BTreeMap::new();
        super::tags::add(&mut tags, added, &format!("consumer {name}"))?;
        self.with_engine(|engine, now| {
            let consumer = engine.register(stream, &name, tags, now)?;
            Ok(RegisterResponse {
                consumer: self.consumer(stream, &consumer, now),
            })
        })
    }

    /// Describes one consumer.
    pub(crate) fn describe_stream_consumer(
        &self,
        request: ConsumerRequest,
    ) -> Result<DescribeConsumerResponse, ApiError> {
        let named = self.named_consumer(&request)?;
        self.with_engine(|engine, now| {
            let consumer = named.find(engine, now)?;
            Ok(DescribeConsumerResponse {
                consumer_description: ConsumerDescription {
                    consumer: self.consumer(named.stream, &consumer, now),
                    stream_arn: self.stream_arn(named.stream),
                },
            })
        })
    }

    /// Lists a stream's consumers by name, page by page.
    pub(crate) fn list_stream_consumers(
        &self,
        request: ListConsumersRequest,
    ) -> Result<ListConsumersResponse, ApiError> {
        let arn = check::present(request.stream_arn, "streamARN")?;
        let stream = self.name_in_arn(&arn)?;
        let limit = page(request.max_results, MOST_CONSUMERS);
        self.with_engine(|engine, now| {
            let after = match request.next_token {
                Some(token) => {
                    let name = TokenReader::next_token(TokenKind::Consumers, &token, now)?.text();
                    Some(name.ok_or_else(EngineError::invalid_next_token)?)
                }
                None => None,
            };
            let found = engine.stream(stream, now)?;
            if let Some(created) = request.stream_creation_timestamp
                && created != Timestamp(found.created)
            {
                return Err(EngineError::StreamNotFound(self.label(stream)).into());
            }
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut rest = found.consumers.at(now).range::<str, _>((start, Bound::Unbounded));
            let consumers: Vec<_> = rest
                .by_ref()
                .take(limit)
                .map(|(_, consumer)| self.consumer(stream, consumer, now))
                .collect();
            let has_more = rest.next().is_some();
            let last = consumers.last().filter(|_| has_more);
            let next_token =
                last.map(|last| TokenWriter::new(TokenKind::Consumers, now).text(&last.consumer_name));
            Ok(ListConsumersResponse {
                consumers,
                next_token,
            })
        })
    }

    /// Deletes a consumer.
    pub(crate) fn deregister_stream_consumer(&self, request: ConsumerRequest) -> Result<(), ApiError> {
        let named = self.named_consumer(&request)?;
        let delay = self.options().consumer_delay;
        self.with_engine(|engine, now| {
            named.find(engine, now)?;
            let stream = engine.stream(named.stream, now)?;
            stream.consumers.deregister(named.name, delay, now);
            stream.wake_subscribers();
            Ok(())
        })
    }

    fn consumer(&self, stream: &str, consumer: &Consumer, now: EpochMillis) -> ConsumerMember {
        let (stream, seconds) = (self.stream_arn(stream), consumer.created.get() / 1_000);
        ConsumerMember {
            consumer_name: consumer.name.clone(),
            consumer_arn: format!("{stream}/consumer/{}:{seconds}", consumer.name),
            consumer_status: consumer.status(now).as_str(),
            consumer_creation_timestamp: Timestamp(consumer.created),
        }
    }

    fn named_consumer<'a>(&self, request: &'a ConsumerRequest) -> Result<Named<'a>, ApiError> {
        let stream = request.stream_arn.as_deref();
        let stream = stream.map(|arn| self.name_in_arn(arn)).transpose()?;
        let by_arn = request.consumer_arn.as_deref();
        let by_arn = by_arn.map(|arn| self.consumer_in_arn(arn)).transpose()?;
        match (by_arn, stream, request.consumer_name.as_deref()) {
            (Some(named), stream, name) => {
                let is_other = stream.is_some_and(|stream| stream != named.stream)
                    || name.is_some_and(|name| name != named.name);
                if is_other {
                    return Err(ApiError::invalid_argument(
                        "ConsumerARN is not of the consumer that StreamARN and ConsumerName mean.",
                    ));
                }
                Ok(named)
            }
            (None, Some(stream), Some(name)) => Ok(Named {
                stream,
                name,
                registered: None,
            }),
            (None, ..) => Err(ApiError::invalid_argument(
                "Give ConsumerARN, or StreamARN and ConsumerName.",
            )),
        }
    }

    /// The consumer with this ARN.
    pub(super) fn consumer_in_arn<'a>(&self, arn: &'a str) -> Result<Named<'a>, ApiError> {
        let malformed = || ApiError::invalid_argument(format!("{arn} is not the ARN of a consumer."));
        let (stream, consumer) = arn.split_once("/consumer/").ok_or_else(malformed)?;
        let (name, seconds) = consumer.split_once(':').ok_or_else(malformed)?;
        Ok(Named {
            stream: self.name_in_arn(stream)?,
            name,
            registered: Some(seconds.parse().map_err(|_| malformed())?),
        })
    }
}
