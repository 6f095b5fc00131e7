//! The reads of one shard: iterators, what is new in an answer, gaps, and the shard's end.

use std::time::Duration;

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use kcl_lease::{Checkpoint, Environment, HashRange, SequenceNumber};
use tokio::time::{Instant, sleep};

use super::appetite::{Answer, Appetite};
use super::budget::Wish;
use super::cursor::Cursor;
use super::gap::Evidence;
use super::pace::Found;
use super::progress::Progress;
use crate::aws::{CallError, ErrorClass};
use crate::config::ShardId;
use crate::record::{Gap, Record};
use crate::retry::Retry;
use crate::stream::{Child, IteratorRequest, StreamClient};

/// How often a closed shard's children are looked for when Kinesis does not name them.
const LISTINGS_AT_END: u32 = 4;
/// How many answers without records are looked at for the oldest record of a shard.
const LOOKS_FOR_OLDEST: usize = 20;

/// Why a shard cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(
        "its lease is of another stream: {0}; nothing is read, ended or deleted. Check the names of the stream and of the \
         application. If the stream was made anew under its name, use another application name, or delete the leases"
    )]
    Foreign(String),
}

impl ReadError {
    /// Codes do not change: alarms may rely on them.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "leases-of-another-stream",
            Self::Call(error) => error.code(),
        }
    }

    /// Whether the next try may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Call(error) if matches!(error.class, ErrorClass::Transient | ErrorClass::Expired))
    }

    /// Whether it would be explained by a stream that was deleted and made anew.
    pub(crate) fn questions_the_stream(&self) -> bool {
        match self {
            Self::Foreign(_) => true,
            Self::Call(error) => matches!(error.class, ErrorClass::InvalidArgument | ErrorClass::NotFound),
        }
    }

    /// Whether another worker might fare better.
    pub(crate) fn is_of_the_worker(&self) -> bool {
        matches!(self, Self::Call(error) if error.class.is_of_the_worker())
    }

    /// Whether Kinesis says that this is too much, not that it is wrong.
    pub(crate) fn is_throttling(&self) -> bool {
        matches!(self, Self::Call(error) if error.class == ErrorClass::Throttled)
    }
}

/// Where a shard's reading begins.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) cursor: Cursor,
    pub(crate) checkpoint: Checkpoint,
    /// The shard's, as its lease tells it.
    pub(crate) hash_range: Option<HashRange>,
}

/// What one read brought.
#[derive(Debug)]
pub(crate) struct Page {
    /// Those that are new.
    pub(crate) records: Vec<Record>,
    /// All that came.
    pub(crate) found: Found,
    /// At the end of the shard: the shards that follow.
    pub(crate) end: Option<Vec<Child>>,
    pub(crate) gap: Option<Gap>,
}

/// Reads one shard, from where it got to.
#[derive(Debug)]
pub(crate) struct ShardReader {
    shard: ShardId,
    stream: StreamClient,
    env: Environment,
    appetite: Appetite,
    cursor: Cursor,
    progress: Progress,
    hash_range: Option<HashRange>,
    iterator: Option<String>,
    /// The record with which the present iterator was asked to start, until a record arrived.
    expected: Option<SequenceNumber>,
}

impl ShardReader {
    pub(crate) fn new(
        shard: ShardId,
        stream: StreamClient,
        env: Environment,
        max_records: u32,
        start: Start,
    ) -> Self {
        Self {
            shard,
            stream,
            env,
            appetite: Appetite::new(max_records),
            cursor: start.cursor,
            progress: Progress::behind(&start.checkpoint),
            hash_range: start.hash_range,
            iterator: None,
            expected: None,
        }
    }

    /// The memory that the next read needs. `usual` is what a record takes in other shards.
    pub(crate) fn wish(&self, usual: Option<u64>) -> Wish {
        self.appetite.wish(usual)
    }

    /// What a record of this shard takes, once one was read.
    pub(crate) fn per_record(&self) -> Option<u64> {
        self.appetite.per_record()
    }

    /// The record in front of those that were read last, if an answer held it.
    pub(crate) fn take_front(&mut self) -> Option<Record> {
        self.progress.take_front()
    }

    /// The next records, as many as fit into the memory claimed.
    pub(crate) async fn read(&mut self, claimed: u64, usual: Option<u64>) -> Result<Page, ReadError> {
        let limit = self.appetite.limit(claimed, usual);
        match self.read_once(limit).await {
            Err(ReadError::Call(error)) if error.class == ErrorClass::Expired => {
                tracing::debug!(shard = %self.shard, "the shard iterator expired");
                self.iterator = None;
                self.read_once(limit).await
            }
            Err(ReadError::Call(error)) if error.class == ErrorClass::InvalidArgument => {
                self.iterator = None;
                Err(self.refused(error).await)
            }
            Err(ReadError::Call(error)) if error.class == ErrorClass::NotFound => {
                self.iterator = None;
                self.end_if_gone(error).await
            }
            other => other,
        }
    }

    async fn read_once(&mut self, limit: u32) -> Result<Page, ReadError> {
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => {
                let asked_at = self.env.now();
                let (new, answered_at) = self
                    .stream
                    .shard_iterator(&self.shard, self.cursor.request())
                    .await?;
                self.expected = self.cursor.request().sequence().cloned();
                self.cursor.opened(answered_at.unwrap_or(asked_at));
                self.iterator.insert(new).clone()
            }
        };
        let answer = self.ask(&iterator, limit).await?;
        let millis_behind_latest = answer
            .millis_behind_latest
            .and_then(|millis| u64::try_from(millis).ok());
        let mut records = answer
            .records
            .into_iter()
            .map(Record::from_sdk)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CallError::new(ErrorClass::Other, "GetRecords", error.to_string()))?;
        let end = match &answer.next_shard_iterator {
            Some(_) => None,
            None => Some(
                self.children(answer.child_shards.as_deref().unwrap_or_default())
                    .await?,
            ),
        };
        let gap = self.gap_before(records.first(), end.is_some()).await?;
        // From here on nothing can fail: the position moves together with the records.
        self.iterator = answer.next_shard_iterator;
        if !records.is_empty() || end.is_some() {
            self.expected = None;
        }
        let found = Found {
            records: records.len(),
            bytes: records.iter().map(Record::size).sum(),
            millis_behind_latest,
        };
        let last = records.last().map(|record| record.sequence_number().clone());
        self.progress.advance(&mut records);
        if let Some(last) = last {
            self.cursor.read(last);
        }
        Ok(Page {
            records,
            found,
            end,
            gap,
        })
    }

    /// Makes the call, and learns from it how large the next one should be.
    async fn ask(&mut self, iterator: &str, limit: u32) -> Result<GetRecordsOutput, CallError> {
        let (asked, bound) = (Instant::now(), self.appetite.bound());
        let result = self.stream.records(iterator, limit, bound).await;
        let took = asked.elapsed();
        match &result {
            Ok(answer) => {
                let weights = answer.records.iter().map(Record::weight_of_sdk);
                let found = Answer {
                    records: answer.records.len() as u64,
                    bytes: weights.sum(),
                    is_behind: answer.millis_behind_latest.is_some_and(|millis| millis > 0),
                };
                self.appetite.answered(limit, found, took);
            }
            Err(_) if took >= bound => {
                self.appetite.timed_out(limit);
                tracing::debug!(shard = %self.shard, limit, ?bound, "a read was not answered in time; asking for less");
            }
            Err(_) => {}
        }
        result
    }

    /// An iterator starts with the last record that was read. If another one comes first, that one may have been trimmed,
    /// and others behind it.
    async fn gap_before(&self, first: Option<&Record>, is_end: bool) -> Result<Option<Gap>, CallError> {
        let Some(expected) = self.expected.as_ref().filter(|_| first.is_some() || is_end) else {
            return Ok(None);
        };
        if first.is_some_and(|first| first.sequence_number() == expected) {
            return Ok(None);
        }
        let graph = self.stream.list_shards(None).await?;
        let oldest = self.oldest_record().await?;
        let evidence = Evidence {
            after: expected,
            shard: graph.get(&self.shard),
            oldest: oldest.as_ref(),
        };
        if !evidence.shows_a_gap() {
            return Ok(None);
        }
        tracing::error!(
            shard = %self.shard, after = %expected,
            "the last record read is no longer in the stream: records behind it may have been trimmed before they were read"
        );
        Ok(Some(Gap {
            after: Some(expected.clone()),
        }))
    }

    /// The number of the oldest record that is left in the shard, if there is one.
    async fn oldest_record(&self) -> Result<Option<SequenceNumber>, CallError> {
        let stream = &self.stream;
        let (mut iterator, _) = stream
            .shard_iterator(&self.shard, &IteratorRequest::TrimHorizon)
            .await?;
        for _ in 0..LOOKS_FOR_OLDEST {
            // The shard's reads are limited; this one is made beside the regular ones.
            sleep(Duration::from_millis(200)).await;
            let answer = stream.records(&iterator, 1, self.appetite.bound()).await?;
            if let Some(record) = answer.records.first() {
                return Ok(SequenceNumber::parse(record.sequence_number()).ok());
            }
            match answer.next_shard_iterator {
                Some(next) if answer.millis_behind_latest != Some(0) => iterator = next,
                _ => break,
            }
        }
        Ok(None)
    }

    /// The children of the closed shard. Kinesis names them with the last answer; for backends that do not, the shards
    /// are listed.
    async fn children(&self, named: &[aws_sdk_kinesis::types::ChildShard]) -> Result<Vec<Child>, CallError> {
        if !named.is_empty() {
            return Ok(named.iter().map(Child::from_sdk).collect());
        }
        let mut pauses = Retry::new(
            self.env.clone(),
            Duration::from_millis(500),
            Duration::from_secs(2),
        );
        loop {
            let listed = self.stream.listed_children(&self.shard, self.hash_range).await?;
            if !listed.is_empty() {
                return Ok(listed);
            }
            let pause = pauses.pause();
            if pauses.attempts() >= LISTINGS_AT_END {
                tracing::warn!(
                    shard = %self.shard,
                    "the shard is closed, but Kinesis names no shards that follow it; the leader's audit looks on"
                );
                return Ok(Vec::new());
            }
            sleep(pause).await;
        }
    }

    /// Kinesis does not know the shard. Only a listing of the same stream that lacks it proves that it is gone, and not
    /// that the wrong account, region or stream is asked.
    async fn end_if_gone(&self, error: CallError) -> Result<Page, ReadError> {
        let graph = self.stream.list_shards(None).await?;
        if graph.is_foreign(&self.shard) {
            return Err(ReadError::Foreign(
                "the stream has only had shards of lower numbers".to_owned(),
            ));
        }
        if !graph.has_lost(&self.shard) {
            return Err(error.into());
        }
        let after = self.progress.done().map(|done| done.sequence.clone());
        tracing::error!(
            shard = %self.shard, after = after.as_ref().map(tracing::field::display),
            "Kinesis no longer lists this shard: records may have been trimmed before they were read"
        );
        let heirs = graph.heirs(&self.shard, self.hash_range);
        Ok(Page {
            records: Vec::new(),
            found: Found {
                records: 0,
                bytes: 0,
                millis_behind_latest: None,
            },
            end: Some(heirs.into_iter().map(Child::from).collect()),
            gap: Some(Gap { after }),
        })
    }

    /// Kinesis refuses the position: perhaps the checkpoint cannot lie in this shard.
    async fn refused(&self, error: CallError) -> ReadError {
        let Some(sequence) = self.cursor.request().sequence() else {
            return error.into();
        };
        match self.stream.list_shards(None).await {
            Ok(graph) => match graph.get(&self.shard) {
                Some(shard) if !shard.may_hold(sequence) => ReadError::Foreign(format!(
                    "its checkpoint {sequence} does not lie between the shard's first and last numbers"
                )),
                _ => error.into(),
            },
            Err(_) => error.into(),
        }
    }
}
