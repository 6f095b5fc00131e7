//! Reads one shard above any feed: what is new in a page, gaps, and the shard's end.

use std::time::Duration;

use kcl_lease::{Checkpoint, HashRange, SequenceNumber};

use super::cursor::Cursor;
use super::inquiry::Inquiry;
use super::progress::Progress;
use super::read_error::ReadError;
use crate::aws::{CallError, ErrorClass};
use crate::config::Stream;
use crate::memory::Wish;
use crate::record::{Gap, Record};
use crate::source::{Feed, Page, Pause, Room};
use crate::stream::Child;

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
pub(super) struct Reading {
    /// Those that are new.
    pub(super) records: Vec<Record>,
    /// Whether any came, new or not.
    pub(super) found_any: bool,
    pub(super) millis_behind_latest: Option<u64>,
    /// At the end of the shard: the shards that follow.
    pub(super) end: Option<Vec<Child>>,
    pub(super) gap: Option<Gap>,
    /// The bytes of which the records are slices, if they are.
    pub(super) block: Option<u64>,
    /// When to read again.
    pub(super) pause: Pause,
}

/// Reads one shard, from where it got to.
#[derive(Debug)]
pub(super) struct ShardReader {
    feed: Box<dyn Feed>,
    inquiry: Inquiry,
    cursor: Cursor,
    progress: Progress,
    /// The record at which the feed was opened, until a record arrived.
    expected: Option<SequenceNumber>,
    /// Whether aggregates are taken apart.
    deaggregates: bool,
    /// How waiting for something to read failed.
    failure: Option<CallError>,
}

impl ShardReader {
    pub(super) fn new(feed: Box<dyn Feed>, inquiry: Inquiry, start: Start, deaggregates: bool) -> Self {
        Self {
            feed,
            inquiry,
            cursor: start.cursor,
            progress: Progress::behind(&start.checkpoint),
            expected: None,
            deaggregates,
            failure: None,
        }
    }

    /// What is read.
    pub(super) fn stream(&self) -> &Stream {
        self.inquiry.stream.stream()
    }

    /// The memory that the next read needs. `usual_record` is what a record takes in other shards.
    pub(super) fn wish(&self, usual_record: Option<u64>) -> Wish {
        self.feed.wish(usual_record)
    }

    /// What a record of this shard takes, once one was read.
    pub(super) fn usual_record(&self) -> Option<u64> {
        self.feed.usual_record()
    }

    /// How long to wait after a read that was over a limit of Kinesis.
    pub(super) fn throttled(&mut self) -> Duration {
        self.feed.throttled()
    }

    /// The record in front of those that were read last, if a page held it.
    pub(super) fn take_front(&mut self) -> Option<Record> {
        self.progress.take_front()
    }

    /// Waits until there is something to read, as far as the source tells that. If it fails, the next read does.
    pub(super) async fn ready(&mut self) {
        if self.feed.is_open() && self.failure.is_none() {
            self.failure = self.feed.ready().await.err();
        }
    }

    /// For how long the source may be left waiting with what it holds, if it holds anything.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.feed.patience()
    }

    /// Nothing is read for a while.
    pub(super) fn rest(&mut self) {
        self.feed.rest();
    }

    /// The next records, as many as fit into the memory claimed.
    pub(super) async fn read(&mut self, room: Room) -> Result<Reading, ReadError> {
        let page = match self.next_page(room).await {
            Err(error) if error.class == ErrorClass::Expired => {
                tracing::debug!(shard = %self.inquiry.shard, "the shard iterator expired");
                self.next_page(room).await
            }
            result => result,
        };
        match page {
            Ok(page) => self.take(page).await.map_err(ReadError::from),
            Err(error) if error.class == ErrorClass::InvalidArgument => Err(self
                .inquiry
                .refused(error, self.cursor.position().sequence())
                .await),
            Err(error) if error.class == ErrorClass::NotFound => self.end_if_gone(error).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn next_page(&mut self, room: Room) -> Result<Page, CallError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if !self.feed.is_open() {
            let asked_at = self.inquiry.env.now();
            let answered_at = self.feed.open(self.cursor.position()).await?;
            self.expected = self.cursor.position().sequence().cloned();
            self.cursor.opened(answered_at.unwrap_or(asked_at));
        }
        self.feed.next(room).await
    }

    /// Leaves what is new of a page. If what else has to be known cannot be found out, the page is read again.
    async fn take(&mut self, page: Page) -> Result<Reading, CallError> {
        match self.complete(page).await {
            Ok(reading) => Ok(reading),
            Err(error) => {
                self.feed.close();
                Err(error)
            }
        }
    }

    async fn complete(&mut self, page: Page) -> Result<Reading, CallError> {
        let Page {
            mut records,
            millis_behind_latest,
            end,
            block,
            pause,
        } = page;
        let end = match end {
            Some(named) => Some(self.inquiry.children(named).await?),
            None => None,
        };
        let says_something = !records.is_empty() || end.is_some();
        let gap = match self.expected.as_ref().filter(|_| says_something) {
            Some(expected) => {
                let feed = self.feed.as_ref();
                self.inquiry.gap_before(records.first(), expected, feed).await?
            }
            None => None,
        };
        // From here on nothing can fail: the position moves together with the records.
        if says_something {
            self.expected = None;
        }
        let last = records.last().map(|record| record.sequence_number().clone());
        for record in &mut records {
            record.look_inside(self.deaggregates);
        }
        self.progress.advance(&mut records);
        let found_any = last.is_some();
        if let Some(last) = last {
            self.cursor.read(last);
        }
        Ok(Reading {
            records,
            found_any,
            millis_behind_latest,
            end,
            gap,
            block,
            pause,
        })
    }

    /// Kinesis does not know the shard. If it is gone, reading ends with it.
    async fn end_if_gone(&mut self, error: CallError) -> Result<Reading, ReadError> {
        let heirs = self.inquiry.heirs_if_gone(error).await?;
        let after = self.progress.done().map(|done| done.sequence.clone());
        tracing::error!(
            shard = %self.inquiry.shard, after = after.as_ref().map(tracing::field::display),
            "Kinesis no longer lists this shard: records may have been trimmed before they were read"
        );
        Ok(Reading {
            records: Vec::new(),
            found_any: false,
            millis_behind_latest: None,
            end: Some(heirs),
            gap: Some(Gap { after }),
            block: None,
            pause: Pause::default(),
        })
    }
}

#[cfg(test)]
mod tests;
