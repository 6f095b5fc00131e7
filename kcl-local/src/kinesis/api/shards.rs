//! ListShards, and shards as the service describes them.

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, rules};
use super::stream_name::StreamRef;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{
    EngineError, EpochMillis, HashKey, SequenceNumber, Shard, ShardFilter, ShardId, Stream, TokenKind,
    TokenReader, TokenWriter,
};
use crate::kinesis::{ApiError, Kinesis};

/// The greatest page, and what a request gets that names none.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html>
const MOST_SHARDS: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListShardsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
    shard_filter: Option<ShardFilterRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilterRequest {
    r#type: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListShardsResponse {
    shards: Vec<ShardDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardDescription {
    shard_id: ShardId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<ShardId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<ShardId>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HashKeyRange {
    starting_hash_key: HashKey,
    ending_hash_key: HashKey,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: SequenceNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<SequenceNumber>,
}

impl ShardDescription {
    pub(super) fn of(shard: &Shard) -> Self {
        Self {
            shard_id: shard.id(),
            parent_shard_id: shard.parents.first().copied(),
            adjacent_parent_shard_id: shard.parents.get(1).copied(),
            hash_key_range: HashKeyRange::of(shard),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: shard.starting_sequence_number(),
                ending_sequence_number: shard.ending_sequence_number(),
            },
        }
    }
}

impl HashKeyRange {
    pub(super) fn of(shard: &Shard) -> Self {
        Self {
            starting_hash_key: shard.range.start,
            ending_hash_key: shard.range.end,
        }
    }
}

impl Kinesis {
    /// Reads the id of a shard of a stream.
    ///
    /// # Errors
    /// `ResourceNotFoundException` if no shard can have it.
    pub(super) fn shard_id(&self, text: &str, stream: &str) -> Result<ShardId, ApiError> {
        text.parse().map_err(|_| {
            EngineError::NoShardId {
                stream: self.label(stream),
                shard: text.to_owned(),
            }
            .into()
        })
    }
}

/// How much a page has: as much as is asked for, but no more than the service gives.
pub(super) fn page(asked: Option<i64>, most: usize) -> usize {
    asked.map_or(most, |asked| most.min(check::checked(asked) as usize))
}

/// A listing under way: what it lists and how far it came.
struct Listing {
    stream: String,
    /// Set if the listing must go on with the very stream it began with.
    incarnation: Option<u64>,
    filter: ShardFilter,
    after: Option<ShardId>,
}

impl Listing {
    fn token(&self, incarnation: u64, last: ShardId, now: EpochMillis) -> String {
        let (kind, argument) = match self.filter {
            ShardFilter::FromTrimHorizon => (0, 0),
            ShardFilter::AtTrimHorizon => (1, 0),
            ShardFilter::AtLatest => (2, 0),
            ShardFilter::AtTimestamp(time) => (3, time.get()),
            ShardFilter::FromTimestamp(time) => (4, time.get()),
            ShardFilter::AfterShard(id) => (5, u64::from(id.number())),
        };
        TokenWriter::new(TokenKind::Shards, now)
            .number(incarnation)
            .number(kind)
            .number(argument)
            .number(u64::from(last.number()))
            .text(&self.stream)
    }

    fn from_token(token: &str, now: EpochMillis) -> Result<Self, EngineError> {
        let reader = TokenReader::next_token(TokenKind::Shards, token, now)?;
        Self::parse(reader).ok_or_else(EngineError::invalid_next_token)
    }

    fn parse(mut reader: TokenReader) -> Option<Self> {
        let incarnation = Some(reader.number()?);
        let shard = |number: u64| u32::try_from(number).ok().map(ShardId::new);
        let filter = match (reader.number()?, reader.number()?) {
            (0, _) => ShardFilter::FromTrimHorizon,
            (1, _) => ShardFilter::AtTrimHorizon,
            (2, _) => ShardFilter::AtLatest,
            (3, time) => ShardFilter::AtTimestamp(EpochMillis::new(time)),
            (4, time) => ShardFilter::FromTimestamp(EpochMillis::new(time)),
            (5, number) => ShardFilter::AfterShard(shard(number)?),
            _ => return None,
        };
        let after = Some(shard(reader.number()?)?);
        Some(Self {
            stream: reader.text()?,
            incarnation,
            filter,
            after,
        })
    }

    fn includes(&self, shard: &Shard) -> bool {
        self.after.is_none_or(|after| shard.id() > after)
    }

    fn check_incarnation(&self, stream: &Stream) -> Result<(), EngineError> {
        match self.incarnation {
            Some(incarnation) if incarnation != stream.incarnation => Err(EngineError::invalid_next_token()),
            _ => Ok(()),
        }
    }
}

impl ShardFilterRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("type", self.r#type.as_ref());
        checks.choice("type", self.r#type.as_deref(), rules::FILTER_TYPES);
        checks.text("shardId", self.shard_id.as_deref(), &rules::NAME);
    }

    fn filter(&self, kinesis: &Kinesis, stream: &str) -> Result<ShardFilter, ApiError> {
        let kind = check::present(self.r#type.as_deref(), "shardFilter.type")?;
        let needs =
            |what: &str| ApiError::invalid_argument(format!("ShardFilter of type {kind} needs {what}."));
        let time = self
            .timestamp
            .map(|timestamp| timestamp.0)
            .ok_or_else(|| needs("Timestamp"));
        match kind {
            "AT_TRIM_HORIZON" => Ok(ShardFilter::AtTrimHorizon),
            "AT_LATEST" => Ok(ShardFilter::AtLatest),
            "AT_TIMESTAMP" => time.map(ShardFilter::AtTimestamp),
            "FROM_TIMESTAMP" => time.map(ShardFilter::FromTimestamp),
            "AFTER_SHARD_ID" => {
                let id = self.shard_id.as_deref().ok_or_else(|| needs("ShardId"))?;
                kinesis.shard_id(id, stream).map(ShardFilter::AfterShard)
            }
            _ => Ok(ShardFilter::FromTrimHorizon),
        }
    }
}

impl ListShardsRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }

    /// The listing that a request without a token asks for.
    fn listing(&self, kinesis: &Kinesis, stream: &str) -> Result<Listing, ApiError> {
        let filter = self.shard_filter.as_ref();
        let filter = filter.map(|filter| filter.filter(kinesis, stream)).transpose()?;
        let after = self.exclusive_start_shard_id.as_deref();
        Ok(Listing {
            stream: stream.to_owned(),
            incarnation: None,
            filter: filter.unwrap_or(ShardFilter::FromTrimHorizon),
            after: after.map(|text| kinesis.shard_id(text, stream)).transpose()?,
        })
    }

    /// With a token, the members that only begin a listing are refused.
    fn require_only_token(&self) -> Result<(), ApiError> {
        let begins = [
            ("StreamName", self.stream_name.is_some()),
            (
                "StreamCreationTimestamp",
                self.stream_creation_timestamp.is_some(),
            ),
            ("ExclusiveStartShardId", self.exclusive_start_shard_id.is_some()),
        ];
        match begins.iter().find(|(_, given)| *given) {
            Some((member, _)) => Err(ApiError::invalid_argument(format!(
                "NextToken and {member} cannot be provided together."
            ))),
            None => Ok(()),
        }
    }
}

impl Members for ListShardsRequest {
    fn check(&self, checks: &mut Checks) {
        let start = self.exclusive_start_shard_id.as_deref();
        checks.text("exclusiveStartShardId", start, &rules::NAME);
        checks.number("maxResults", self.max_results, rules::PAGE);
        checks.text("nextToken", self.next_token.as_deref(), &rules::NEXT_TOKEN);
        checks.structure(
            "shardFilter",
            self.shard_filter.as_ref(),
            ShardFilterRequest::check,
        );
        self.stream().check_given(checks);
    }
}

impl Kinesis {
    /// Lists the shards that a filter selects, by id, page by page.
    pub(crate) fn list_shards(&self, request: ListShardsRequest) -> Result<ListShardsResponse, ApiError> {
        let limit = page(request.max_results, MOST_SHARDS);
        match (&request.next_token, request.stream().is_given()) {
            (Some(_), _) => request.require_only_token()?,
            (None, true) => {}
            (None, false) => {
                return Err(ApiError::invalid_argument(
                    "Either NextToken or StreamName should be provided.",
                ));
            }
        }
        self.with_engine(|engine, now| {
            let listing = match &request.next_token {
                Some(token) => Listing::from_token(token, now)?,
                None => request.listing(self, self.stream_name(request.stream())?)?,
            };
            let arn = request.stream_arn.as_deref();
            let other = arn.map(|arn| self.name_in_arn(arn)).transpose()?;
            if other.is_some_and(|other| other != listing.stream) {
                return Err(EngineError::invalid_next_token().into());
            }
            let stream = engine.stream(&listing.stream, now)?;
            listing.check_incarnation(stream)?;
            let created = request.stream_creation_timestamp;
            if created.is_some_and(|created| created.0.seconds() != stream.created.seconds()) {
                return Err(EngineError::StreamNotFound(self.label(&listing.stream)).into());
            }
            stream.require_listable()?;
            stream.admit_listing(self.options().quotas.listings, now)?;
            stream.expire(now);
            let mut rest = stream
                .select(listing.filter)
                .into_iter()
                .filter(|shard| listing.includes(shard));
            let shards: Vec<_> = rest.by_ref().take(limit).map(ShardDescription::of).collect();
            let last = shards.last().filter(|_| rest.next().is_some());
            let next_token = last.map(|last| listing.token(stream.incarnation, last.shard_id, now));
            Ok(ListShardsResponse { shards, next_token })
        })
    }
}
