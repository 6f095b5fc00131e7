//! Keeps reading one shard, ahead of its processor.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kcl_lease::Environment;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::batches::Batches;
use super::buffer::{Inlet, buffer};
use super::filling::BatchLimits;
use super::inquiry::Inquiry;
use super::read_error::ReadError;
use super::reader::{ShardReader, Start};
use super::unpacking::Unpacking;
use crate::config::ShardId;
use crate::log_limiter::LogLimiter;
use crate::memory::{Budget, Claim};
use crate::record::RecordBatch;
use crate::retry::Retry;
use crate::source::{Room, Source};
use crate::spans;
use crate::status::ShardMonitor;
use crate::stream::{Doubt, ShardProblems};

/// What the readers of a worker share.
#[derive(Debug, Clone)]
pub(crate) struct ReaderParts {
    pub(crate) source: Source,
    pub(crate) limits: BatchLimits,
    pub(crate) budget: Budget,
    /// What they fail at for reasons that no retry mends.
    pub(crate) problems: ShardProblems,
    /// Where to ask whether the stream is still the same.
    pub(crate) doubt: Doubt,
}

/// Reads one shard into its buffer.
#[derive(Debug)]
pub(crate) struct Prefetch {
    shard: ShardId,
    reader: ShardReader,
    problems: ShardProblems,
    doubt: Doubt,
    env: Environment,
    wants_empty_batches: bool,
    monitor: Arc<ShardMonitor>,
    inlet: Inlet,
}

/// Failures in a row that are not mentioned: that a call is lost now and then is nothing special.
const UNMENTIONED: u32 = 2;
/// A failure that lasts for so long is mentioned, however few calls that were.
const MENTIONED: Duration = Duration::from_secs(5);
/// Throttling, or a lack of memory, that keeps a shard from being read for so long is a problem, not a pace.
const STARVED: Duration = Duration::from_secs(60);

/// All memory for records is held elsewhere.
const NO_MEMORY: &str = "no-memory";
const WAITS_FOR_MEMORY: &str = "reading waits for memory: other shards' records that are not processed, or records that the \
     application keeps, take all of prefetch_bytes_per_worker. Records that are kept should be detached (Record::detach)";

/// How often a shard whose lease is of another stream is looked at.
const FOREIGN: Duration = Duration::from_secs(60);

/// How reading fails, if it does.
struct Trouble {
    retry: Retry,
    log_limiter: LogLimiter,
    /// When the first read of those that failed was begun.
    since: Option<Instant>,
    throttled_since: Option<Instant>,
}

impl Prefetch {
    /// A reader that begins at `start`, and the end from which to take its batches.
    pub(crate) fn new(
        parts: &ReaderParts,
        shard: ShardId,
        monitor: Arc<ShardMonitor>,
        start: Start,
    ) -> (Self, Batches) {
        let (inlet, outlet) = buffer(parts.source.options.prefetch_bytes_per_shard, &parts.budget);
        let Source {
            stream, env, options, ..
        } = &parts.source;
        let feed = parts.source.feed(&shard);
        let inquiry = Inquiry {
            shard: shard.clone(),
            stream: stream.clone(),
            env: env.clone(),
            hash_range: start.hash_range,
        };
        let unpacking = Unpacking::new(start.hash_range);
        let batches = Batches::new(shard.clone(), outlet, unpacking, parts.limits, monitor.clone());
        let prefetch = Self {
            shard,
            reader: ShardReader::new(feed, inquiry, start, options.deaggregate),
            problems: parts.problems.clone(),
            doubt: parts.doubt.clone(),
            env: env.clone(),
            wants_empty_batches: options.empty_batches,
            monitor,
            inlet,
        };
        (prefetch, batches)
    }

    /// Reads until the shard ends or nobody takes the batches any more.
    pub(crate) async fn run(mut self) {
        let mut trouble = Trouble {
            retry: Retry::new(
                self.env.clone(),
                Duration::from_millis(200),
                Duration::from_secs(10),
            ),
            log_limiter: LogLimiter::default(),
            since: None,
            throttled_since: None,
        };
        loop {
            if let Some(error) = self.doubt.gone() {
                self.monitor.read_failed(error.code(), error.to_string());
            }
            self.reader.ready().await;
            self.doubt.until_there().await;
            self.monitor.waits_for_memory(true);
            let (claim, room) = self.room().await;
            self.monitor.waits_for_memory(false);
            let started = Instant::now();
            let result = self.reader.read(room).await;
            let failure = result.as_ref().err().map(ReadError::code);
            let took = started.elapsed();
            self.monitor.read_took(took, failure);
            let reading = match result {
                Ok(reading) => reading,
                Err(error) => {
                    drop(claim);
                    if error.is_of_the_worker() {
                        self.monitor.cannot_read(error.to_string(), started);
                    }
                    let question = error.questions_the_stream().then(|| self.doubt.raise());
                    trouble.since.get_or_insert(started);
                    sleep(self.pause_after(&error, &mut trouble)).await;
                    if let Some(question) = question {
                        // With what the lease says another stream would be read.
                        self.doubt.settled(question).await;
                    }
                    continue;
                }
            };
            self.succeeded(&mut trouble);
            if let Some(bytes) = self.reader.usual_record().filter(|_| reading.found_any) {
                self.inlet.note_usual_record(bytes);
            }
            let is_last = reading.end.is_some();
            let behind = reading.millis_behind_latest;
            self.monitor
                .read(reading.records.len(), behind, self.inlet.is_empty());
            let pause = reading.pause;
            let next = (started + pause.after_asking).max(Instant::now() + pause.after_answer);
            if is_last || !reading.records.is_empty() || self.wants_empty_batches {
                let batch = RecordBatch::new(reading.records, behind, is_last, self.env.now())
                    .of_block(reading.block)
                    .behind(reading.gap)
                    .after(self.reader.take_front());
                let span = spans::read(self.reader.stream(), &self.shard, &batch, took);
                if !self
                    .inlet
                    .send(batch, reading.end.unwrap_or_default(), claim, span)
                {
                    return;
                }
            } else {
                drop(claim);
            }
            if is_last {
                return;
            }
            sleep_until(next).await;
        }
    }

    /// Memory for the next read. If it is a long wait, the source rests, and if it is not for this shard's processor, that is told.
    async fn room(&mut self) -> (Claim, Room) {
        if let Some(patience) = self.reader.patience() {
            let room = self.inlet.room(|usual| self.reader.wish(usual));
            match timeout(patience, room).await {
                Ok(room) => return room,
                Err(_) => self.reader.rest(),
            }
        }
        let mut room = pin!(self.inlet.room(|usual| self.reader.wish(usual)));
        loop {
            tokio::select! {
                biased;
                room = &mut room => return room,
                () = sleep(STARVED) => {}
            }
            if self.inlet.is_empty() {
                self.monitor.read_failed(NO_MEMORY, WAITS_FOR_MEMORY.to_owned());
            }
        }
    }

    fn succeeded(&self, trouble: &mut Trouble) {
        if trouble.retry.attempts() > 0 || trouble.throttled_since.is_some() {
            self.problems.settle(&self.shard);
        }
        trouble.retry.succeeded();
        trouble.log_limiter.reset();
        trouble.since = None;
        trouble.throttled_since = None;
    }

    /// Tells of a failure, unless it is merely the pace that is wrong; how long to wait.
    fn pause_after(&mut self, error: &ReadError, trouble: &mut Trouble) -> Duration {
        if error.is_throttling() {
            let since = *trouble.throttled_since.get_or_insert_with(Instant::now);
            let pause = self.reader.throttled();
            tracing::debug!(shard = %self.shard, ?pause, "reads are over a limit of Kinesis; reading more slowly");
            if since.elapsed() >= STARVED {
                self.monitor.read_failed(error.code(), error.to_string());
                self.problems.raise(error.code(), &self.shard, &error.to_string());
            }
            return self.env.jittered(pause, 0.25);
        }
        let pause = trouble.retry.pause();
        let attempts = trouble.retry.attempts();
        let is_new = trouble.since.is_none_or(|since| since.elapsed() < MENTIONED);
        if attempts <= UNMENTIONED && is_new && error.is_transient() {
            tracing::debug!(shard = %self.shard, %error, attempts, "cannot read");
            return pause;
        }
        self.monitor.read_failed(error.code(), error.to_string());
        if let ReadError::Foreign(_) = error {
            self.problems.raise(error.code(), &self.shard, &error.to_string());
            // Each look at it lists the stream's shards, and nothing but an operator changes it.
            return self.env.jittered(FOREIGN, 0.5);
        } else if trouble.log_limiter.may_log() {
            tracing::warn!(shard = %self.shard, code = error.code(), %error, attempts, "cannot read");
        }
        pause
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.problems.settle(&self.shard);
    }
}

#[cfg(test)]
mod tests;
