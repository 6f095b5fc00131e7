//! The batches of a shard as its processor is given them.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::buffer::{Delivery, Outlet};
use super::filling::{BatchLimits, Filling};
use super::unpacking::{Opened, Unpacking};
use crate::config::ShardId;
use crate::log_limiter::LogLimiter;
use crate::memory::Unprocessed;
use crate::record::{Gap, Record};
use crate::status::ShardMonitor;
use crate::stream::Child;

/// The processor's end of a buffer. Here aggregates are taken apart, and pages become batches.
#[derive(Debug)]
pub(crate) struct Batches {
    shard: ShardId,
    outlet: Outlet,
    unpacking: Unpacking,
    limits: BatchLimits,
    /// What is left of the page that came last.
    rest: Option<Rest>,
    /// What waits for more.
    filling: Option<(Filling, Arc<Unprocessed>, Span)>,
    monitor: Arc<ShardMonitor>,
    log_limiter: LogLimiter,
}

#[derive(Debug)]
struct Rest {
    opened: Opened,
    /// What is told with the first batch of it.
    gap: Option<Gap>,
    front: Option<Record>,
    children: Vec<Child>,
    unprocessed: Arc<Unprocessed>,
    span: Span,
}

impl Batches {
    pub(super) fn new(
        shard: ShardId,
        outlet: Outlet,
        unpacking: Unpacking,
        limits: BatchLimits,
        monitor: Arc<ShardMonitor>,
    ) -> Self {
        Self {
            shard,
            outlet,
            unpacking,
            limits,
            rest: None,
            filling: None,
            monitor,
            log_limiter: LogLimiter::default(),
        }
    }

    /// The next batch; `None` when the reader is gone and everything was taken. Nothing is lost if this is dropped while it
    /// waits.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(rest) = self.rest.take()
                && let Some(delivery) = self.take(rest)
            {
                return Some(delivery);
            }
            let next = match &self.filling {
                None => self.outlet.next().await,
                Some((filling, ..)) => {
                    let deadline = filling.deadline(&self.limits);
                    match timeout_at(deadline, self.outlet.next()).await {
                        Ok(Some(next)) => Some(next),
                        Ok(None) | Err(_) => return self.finish(Vec::new(), false, false),
                    }
                }
            }?;
            if self.filling.is_none() && self.is_a_batch(&next) {
                return Some(next);
            }
            self.open(next);
        }
    }

    /// Whether a page is a batch as it is.
    fn is_a_batch(&self, next: &Delivery) -> bool {
        let batch = &next.batch;
        let fits = batch.len() <= self.limits.records && self.limits.holds(batch.records());
        let waits = !self.limits.window.is_zero() && !batch.is_empty() && !batch.is_last();
        !batch.is_packed() && fits && !waits
    }

    fn open(&mut self, next: Delivery) {
        let gap = next.batch.gap().cloned();
        let (opened, front) = self.unpacking.open(next.batch);
        self.rest = Some(Rest {
            opened,
            gap,
            front,
            children: next.children,
            unprocessed: next.unprocessed,
            span: next.span,
        });
    }

    /// Takes over what there is room for; a batch, if one is full or waits no longer.
    fn take(&mut self, mut rest: Rest) -> Option<Delivery> {
        if rest.gap.is_some() && self.filling.is_some() {
            // A gap is told with the batch behind it.
            self.rest = Some(rest);
            return self.finish(Vec::new(), false, false);
        }
        let (filling, ..) = self.filling.get_or_insert_with(|| {
            let filling = Filling::new(&rest.opened, rest.gap.take(), rest.front.take(), Instant::now());
            (filling, rest.unprocessed.clone(), rest.span.clone())
        });
        filling.take(&mut rest.opened, &mut self.unpacking, &self.limits);
        let is_full = filling.is_full();
        self.tell(rest.opened.take_left_out());
        if !Unpacking::is_exhausted(&rest.opened) {
            self.rest = Some(rest);
            return self.finish(Vec::new(), false, true);
        }
        let is_last = rest.opened.page().is_last();
        if is_last || is_full || self.limits.window.is_zero() {
            return self.finish(rest.children, is_last, false);
        }
        None
    }

    fn finish(&mut self, children: Vec<Child>, is_last: bool, more_follows: bool) -> Option<Delivery> {
        let (filling, unprocessed, span) = self.filling.take()?;
        let (batch, last) = filling.finish(is_last, more_follows);
        if let Some(rest) = &mut self.rest
            && more_follows
        {
            rest.front = last;
        }
        Some(Delivery {
            batch,
            children,
            unprocessed,
            span,
        })
    }

    fn tell(&mut self, left_out: u64) {
        if left_out == 0 {
            return;
        }
        self.monitor.left_out(left_out);
        if self.log_limiter.may_log() {
            tracing::warn!(
                shard = %self.shard, left_out,
                "user records whose hash keys are not the shard's are left out of an aggregate: the Kinesis Producer Library puts them \
                 once more, where they belong; another producer must not put records of several shards together"
            );
        }
    }
}

#[cfg(test)]
mod tests;
