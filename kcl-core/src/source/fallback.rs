//! Polls a shard for as long as it cannot be subscribed to.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use kcl_lease::{Environment, SequenceNumber};
use tokio::time::Instant;

use super::fan_out::FanOut;
use super::feed::{Feed, Page, Room};
use super::polling::Polling;
use crate::aws::{CallError, ErrorClass};
use crate::config::ShardId;
use crate::memory::Wish;
use crate::stream::{ShardProblems, StartingPosition};

/// Fan-out that fails for so long is given up for a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long after that it is tried again, and ever more rarely: nothing is read while it is.
const RETRIED: Duration = Duration::from_secs(60);
const RETRIED_AT_LEAST: Duration = Duration::from_secs(480);
const UNAVAILABLE: &str = "fan-out-unavailable";

/// Fan-out, or polling while that fails. Each goes on where the reader above is, with the last record once more.
#[derive(Debug)]
pub(crate) struct Fallback {
    shard: ShardId,
    fan_out: FanOut,
    polling: Polling,
    env: Environment,
    problems: ShardProblems,
    /// When fan-out is tried again; `None` while it is used.
    retried_at: Option<Instant>,
    /// For how long it is given up next.
    pause: Duration,
    /// Since when it has failed.
    failing_since: Option<Instant>,
}

impl Fallback {
    pub(crate) fn new(
        shard: ShardId,
        fan_out: FanOut,
        polling: Polling,
        env: Environment,
        problems: ShardProblems,
    ) -> Self {
        Self {
            shard,
            fan_out,
            polling,
            env,
            problems,
            retried_at: None,
            pause: RETRIED,
            failing_since: None,
        }
    }

    fn used(&mut self) -> &mut dyn Feed {
        match self.retried_at {
            None => &mut self.fan_out,
            Some(_) => &mut self.polling,
        }
    }

    fn looked_at(&self) -> &dyn Feed {
        match self.retried_at {
            None => &self.fan_out,
            Some(_) => &self.polling,
        }
    }

    fn is_due(&self) -> bool {
        self.retried_at.is_some_and(|at| at <= Instant::now())
    }

    fn succeeded(&mut self) {
        if self.retried_at.is_none() && self.failing_since.take().is_some() {
            self.problems.settle(&self.shard);
            self.pause = RETRIED;
        }
    }

    /// Fan-out failed: whether to poll from now on.
    fn gives_up(&mut self, error: &CallError) -> bool {
        if self.retried_at.is_some() {
            return false;
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let is_hopeless = matches!(error.class, ErrorClass::AccessDenied | ErrorClass::Other);
        // A position that is too old says nothing of fan-out, and what cannot be signed fails in polling, too.
        let is_of_fan_out = !matches!(error.class, ErrorClass::Expired | ErrorClass::NotSigned(_));
        is_of_fan_out && (is_hopeless || since.elapsed() >= PATIENCE)
    }

    fn poll(&mut self, error: &CallError) {
        if !self.problems.has(UNAVAILABLE, &self.shard) {
            tracing::warn!(shard = %self.shard, %error, "cannot be subscribed to; polling until that works again");
        }
        let text = format!("it is polled, because it cannot be subscribed to: {error}");
        self.problems.raise(UNAVAILABLE, &self.shard, &text);
        self.fan_out.close();
        self.polling.close();
        self.retried_at = Some(Instant::now() + self.env.jittered(self.pause, 0.25));
        self.pause = (self.pause * 2).min(RETRIED_AT_LEAST);
    }
}

#[async_trait]
impl Feed for Fallback {
    fn is_open(&self) -> bool {
        self.looked_at().is_open() && !self.is_due()
    }

    async fn ready(&mut self) -> Result<(), CallError> {
        let result = self.used().ready().await;
        if let Err(error) = &result
            && self.gives_up(error)
        {
            self.poll(error);
            return Ok(());
        }
        result
    }

    fn patience(&self) -> Option<Duration> {
        self.looked_at().patience()
    }

    fn rest(&mut self) {
        self.used().rest();
    }

    async fn open(&mut self, at: &StartingPosition) -> Result<Option<SystemTime>, CallError> {
        if self.is_due() {
            self.retried_at = None;
            self.polling.close();
        }
        match self.used().open(at).await {
            Err(error) if self.gives_up(&error) => {
                self.poll(&error);
                self.polling.open(at).await
            }
            result => result,
        }
    }

    fn close(&mut self) {
        self.fan_out.close();
        self.polling.close();
    }

    async fn next(&mut self, room: Room) -> Result<Page, CallError> {
        let result = self.used().next(room).await;
        match &result {
            Ok(page) if !page.records.is_empty() || page.millis_behind_latest.is_some() => self.succeeded(),
            Ok(_) => {}
            Err(error) => {
                if self.gives_up(error) {
                    self.poll(error);
                }
            }
        }
        result
    }

    fn wish(&self, usual_record: Option<u64>) -> Wish {
        self.looked_at().wish(usual_record)
    }

    fn usual_record(&self) -> Option<u64> {
        self.looked_at().usual_record()
    }

    fn throttled(&mut self) -> Duration {
        self.used().throttled()
    }

    async fn oldest(&self) -> Result<Option<SequenceNumber>, CallError> {
        self.looked_at().oldest().await
    }
}

impl Drop for Fallback {
    fn drop(&mut self) {
        self.problems.settle(&self.shard);
    }
}
