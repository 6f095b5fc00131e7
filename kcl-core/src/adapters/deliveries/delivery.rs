//! One record that is handed out until it is said what came of it.

use std::fmt;
use std::sync::Arc;

use kcl_lease::FencingToken;

use super::hub::Hub;
use crate::adapters::keyed::{Started, Ticket};
use crate::adapters::shard::{Shard, Undone};
use crate::processor_error::ProcessorError;
use crate::record::Record;

/// A record that is to be [acknowledged](Self::ack) or [failed](Self::fail), by anybody at any time, from any thread. One that is dropped
/// counts as failed. See [`deliveries`](crate::deliveries()).
#[must_use = "a delivery that is dropped counts as failed, and comes again"]
pub struct Delivery {
    /// There until it is settled.
    open: Option<Open>,
    shard: Arc<Shard>,
    hub: Arc<Hub>,
}

struct Open {
    ticket: Ticket,
    content: Undone,
}

impl Delivery {
    pub(super) fn new(started: Started<Undone>, shard: Arc<Shard>, hub: Arc<Hub>) -> Self {
        let Started { ticket, content } = started;
        Self {
            open: Some(Open { ticket, content }),
            shard,
            hub,
        }
    }

    /// The record. Clones of it may be kept.
    ///
    /// # Panics
    /// Never: a delivery that is settled is gone.
    #[expect(clippy::expect_used, reason = "what settles a delivery takes it by value")]
    pub fn record(&self) -> &Record {
        &self.open.as_ref().expect("not settled").content.record
    }

    /// The shard that it was read from.
    pub fn shard_id(&self) -> &str {
        self.shard.checkpointer.shard().as_str()
    }

    /// How often it failed before, since this worker has the shard.
    pub fn failures(&self) -> u32 {
        self.open
            .as_ref()
            .map_or(0, |open| open.content.failed_attempts())
    }

    /// Whether the shard's lease is held and was renewed within the fail-over time. Once false, another worker may be handling the
    /// same record: look at it before effects that must not happen twice.
    pub fn is_lease_valid(&self) -> bool {
        self.shard.checkpointer.is_lease_valid()
    }

    /// Grows with every change of the shard's owner: for sinks that must refuse a stale one.
    pub fn fencing_token(&self) -> FencingToken {
        self.shard.checkpointer.fencing_token()
    }

    /// The record is done, and will not come again once a checkpoint covers it.
    pub fn ack(mut self) {
        if let Some(Open { ticket, content }) = self.open.take() {
            self.shard.done(ticket, content);
            self.shard.offer();
            self.hub.settled();
        }
    }

    /// The record is not done: it comes again later, or what the worker's [`FailurePolicy`](crate::FailurePolicy) says is done with it.
    pub fn fail(mut self, error: impl Into<ProcessorError>) {
        self.settle_as_failed(error.into());
    }

    fn settle_as_failed(&mut self, error: ProcessorError) {
        if let Some(Open { ticket, content }) = self.open.take() {
            let shard = self.shard.clone();
            self.shard.runtime().spawn(async move {
                shard.failed(ticket, content, &error).await;
                // If it is given up, another one of its key may be next.
                shard.offer();
            });
            self.hub.settled();
        }
    }
}

impl AsRef<Record> for Delivery {
    fn as_ref(&self) -> &Record {
        self.record()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.open.is_some() {
            self.settle_as_failed("the delivery was dropped without having been acknowledged".into());
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("shard_id", &self.shard_id())
            .field("record", &self.open.as_ref().map(|open| &open.content.record))
            .finish_non_exhaustive()
    }
}
