//! Reads one shard with `GetRecords`, ahead of its processor.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{Environment, ExtendedSequenceNumber, SequenceNumber};
use tokio::time::{Instant, sleep, sleep_until};

use super::buffer::{Budget, Inlet, Outlet, buffer};
use super::iterator::Cursor;
use super::pace::{Found, Pace};
use crate::aws::{CallError, ErrorClass};
use crate::config::ShardId;
use crate::consumer::ShardMonitor;
use crate::record::{Gap, Record, RecordBatch};
use crate::retry::{Hush, Retry};
use crate::stream::{Child, Discovery};

/// How shards are read.
#[derive(Debug, Clone)]
pub(crate) struct PollingOptions {
    /// Records per `GetRecords`.
    pub(crate) max_records: i32,
    /// Whether the processor wants to see reads that found nothing.
    pub(crate) wants_empty_batches: bool,
    pub(crate) min_read_interval: Duration,
    pub(crate) idle_time: Duration,
    /// Unprocessed bytes per shard.
    pub(crate) prefetch_bytes: u64,
}

/// The reader of one shard.
#[derive(Debug)]
pub(crate) struct Poller {
    shard: ShardId,
    discovery: Discovery,
    env: Environment,
    options: PollingOptions,
    monitor: Arc<ShardMonitor>,
    cursor: Cursor,
    /// Records up to this one are processed, or on their way to be.
    done: Option<ExtendedSequenceNumber>,
    iterator: Option<String>,
    /// The record with which the present iterator was asked to start, until a record arrived.
    expected: Option<SequenceNumber>,
    /// The last of the records that were left out because they are done, until others are sent behind it.
    front: Option<Record>,
    inlet: Inlet,
}

/// What one read brought.
struct Page {
    records: Vec<Record>,
    millis_behind_latest: Option<u64>,
    /// At the end of the shard: the shards that follow.
    end: Option<Vec<Child>>,
    gap: Option<Gap>,
}

/// How often a closed shard's children are looked for when Kinesis does not name them.
const LISTINGS_AT_END: u32 = 4;

impl Poller {
    /// A reader that starts at `cursor` and leaves out records up to `done`, and the end from which to take its batches.
    pub(crate) fn new(
        shard: ShardId,
        discovery: Discovery,
        options: PollingOptions,
        budget: Budget,
        monitor: Arc<ShardMonitor>,
        (cursor, done): (Cursor, Option<ExtendedSequenceNumber>),
    ) -> (Self, Outlet) {
        let (inlet, outlet) = buffer(options.prefetch_bytes, budget);
        let env = discovery.env.clone();
        (
            Self {
                shard,
                discovery,
                env,
                options,
                monitor,
                cursor,
                done,
                iterator: None,
                expected: None,
                front: None,
                inlet,
            },
            outlet,
        )
    }

    /// Reads until the shard ends or nobody takes the batches any more.
    pub(crate) async fn run(mut self) {
        let mut pace = Pace::new(self.options.min_read_interval, self.options.idle_time);
        let mut retry = Retry::new(
            self.env.clone(),
            Duration::from_millis(200),
            Duration::from_secs(10),
        );
        let mut hush = Hush::default();
        loop {
            let room = self.inlet.room().await;
            let started = Instant::now();
            let page = match self.read().await {
                Ok(page) => page,
                Err(error) => {
                    drop(room);
                    self.monitor.read_failed(&error);
                    if hush.may_speak() {
                        tracing::warn!(shard = %self.shard, %error, attempts = retry.attempts() + 1, "cannot read");
                    }
                    sleep(retry.pause()).await;
                    continue;
                }
            };
            retry.succeeded();
            hush.reset();
            let found = Found {
                records: page.records.len(),
                millis_behind_latest: page.millis_behind_latest,
            };
            let is_last = page.end.is_some();
            self.monitor
                .read(found.records, page.millis_behind_latest, self.inlet.is_empty());
            if is_last || found.records > 0 || self.options.wants_empty_batches {
                let batch =
                    RecordBatch::new(page.records, page.millis_behind_latest, is_last, self.env.now())
                        .behind(page.gap)
                        .after(self.front.take());
                if !self.inlet.send(batch, page.end.unwrap_or_default(), room) {
                    return;
                }
            } else {
                drop(room);
            }
            if is_last {
                return;
            }
            sleep_until(started + pace.after(found)).await;
        }
    }

    async fn read(&mut self) -> Result<Page, CallError> {
        match self.read_once().await {
            Err(error) if error.class == ErrorClass::Expired => {
                tracing::debug!(shard = %self.shard, "the shard iterator expired");
                self.iterator = None;
                self.read_once().await
            }
            Err(error) if error.class == ErrorClass::InvalidArgument => {
                self.iterator = None;
                Err(error)
            }
            Err(error) if error.class == ErrorClass::NotFound => {
                self.iterator = None;
                self.end_if_gone(error).await
            }
            other => other,
        }
    }

    async fn read_once(&mut self) -> Result<Page, CallError> {
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => {
                let asked_at = self.env.now();
                let (new, answered_at) = self
                    .discovery
                    .stream
                    .shard_iterator(&self.shard, self.cursor.request())
                    .await?;
                self.expected = self.cursor.request().sequence().cloned();
                self.cursor.opened(answered_at.unwrap_or(asked_at));
                self.iterator.insert(new).clone()
            }
        };
        let answer = self
            .discovery
            .stream
            .records(&iterator, self.options.max_records)
            .await?;
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
        // From here on nothing can fail: the position moves together with the records.
        self.iterator = answer.next_shard_iterator;
        let gap = self.gap_before(records.first(), end.is_some());
        let last = records.last().map(|record| record.position().clone());
        if let Some(done) = &self.done {
            // In the shard's order, so what is done comes first.
            let done = records.partition_point(|record| record.position() <= done);
            self.front = records.drain(..done).next_back().or(self.front.take());
        }
        if let Some(last) = last {
            self.cursor.read(last.sequence.clone());
            self.done = self.done.take().max(Some(last));
        }
        Ok(Page {
            records,
            millis_behind_latest,
            end,
            gap,
        })
    }

    /// An iterator starts with the last record that was read. If another one comes first, that one was trimmed.
    fn gap_before(&mut self, first: Option<&Record>, is_end: bool) -> Option<Gap> {
        let expected = self.expected.take_if(|_| first.is_some() || is_end)?;
        if first.is_some_and(|first| *first.sequence_number() == expected) {
            return None;
        }
        tracing::error!(
            shard = %self.shard, after = %expected,
            "the last record read is no longer in the stream: records behind it may have been trimmed before they were read"
        );
        Some(Gap {
            after: Some(expected),
        })
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
            let listed = self.discovery.listed_children(&self.shard).await?;
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
    /// that the wrong account or region is asked.
    async fn end_if_gone(&self, error: CallError) -> Result<Page, CallError> {
        let graph = self.discovery.stream.list_shards(None).await?;
        if graph.is_empty() || graph.get(&self.shard).is_some() {
            return Err(error);
        }
        let after = self.done.as_ref().map(|done| done.sequence.clone());
        tracing::error!(
            shard = %self.shard, after = after.as_ref().map(tracing::field::display),
            "Kinesis no longer lists this shard: records may have been trimmed before they were read"
        );
        let children = graph.children_of(&self.shard).map(Child::from).collect();
        Ok(Page {
            records: Vec::new(),
            millis_behind_latest: None,
            end: Some(children),
            gap: Some(Gap { after }),
        })
    }
}
