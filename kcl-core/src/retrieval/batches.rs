//! The batches of a shard as its processor is given them.

use std::sync::Arc;

use super::buffer::{Delivery, Outlet};
use super::unpacking::{Packed, Unpacked, Unpacking};
use crate::config::ShardId;
use crate::log_limiter::LogLimiter;
use crate::memory::Unprocessed;
use crate::status::ShardMonitor;
use crate::stream::Child;

/// The processor's end of a buffer: aggregates are taken apart here.
#[derive(Debug)]
pub(crate) struct Batches {
    shard: ShardId,
    outlet: Outlet,
    unpacking: Unpacking,
    rest: Option<Rest>,
    monitor: Arc<ShardMonitor>,
    log_limiter: LogLimiter,
}

/// What is left of a delivery.
#[derive(Debug)]
struct Rest {
    packed: Packed,
    children: Vec<Child>,
    unprocessed: Arc<Unprocessed>,
}

impl Batches {
    pub(super) fn new(
        shard: ShardId,
        outlet: Outlet,
        unpacking: Unpacking,
        monitor: Arc<ShardMonitor>,
    ) -> Self {
        Self {
            shard,
            outlet,
            unpacking,
            rest: None,
            monitor,
            log_limiter: LogLimiter::default(),
        }
    }

    /// The next batch; `None` when the reader is gone and everything was taken. Nothing is lost if this is dropped while it
    /// waits.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        let rest = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let delivery = self.outlet.next().await?;
                if !delivery.batch.is_packed() {
                    return Some(delivery);
                }
                Rest {
                    packed: Packed::new(delivery.batch),
                    children: delivery.children,
                    unprocessed: delivery.unprocessed,
                }
            }
        };
        Some(self.unpack(rest))
    }

    fn unpack(&mut self, rest: Rest) -> Delivery {
        let Rest {
            packed,
            mut children,
            unprocessed,
        } = rest;
        let Unpacked {
            batch,
            left_out,
            rest,
        } = self.unpacking.next(packed);
        if left_out > 0 {
            self.monitor.left_out(left_out);
            if self.log_limiter.may_log() {
                tracing::warn!(
                    shard = %self.shard, left_out,
                    "user records whose hash keys are not the shard's are left out of an aggregate: the Kinesis Producer Library puts them \
                     once more, where they belong; another producer must not put records of several shards together"
                );
            }
        }
        let mut delivery = Delivery {
            batch,
            children: Vec::new(),
            unprocessed: unprocessed.clone(),
        };
        match rest {
            Some(packed) => {
                self.rest = Some(Rest {
                    packed,
                    children,
                    unprocessed,
                });
            }
            None => delivery.children.append(&mut children),
        }
        delivery
    }
}
