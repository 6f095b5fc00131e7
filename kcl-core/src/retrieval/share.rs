//! The memory that a batch's records take, for as long as anybody holds one of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::budget::Claim;

/// What the batches of one shard hold.
#[derive(Debug, Default)]
pub(super) struct ShardMemory {
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Held {
    /// Of records that somebody still holds, be it the buffer, the consumer or the application.
    pub(super) bytes: u64,
    /// Batches that are not processed yet.
    pub(super) batches: usize,
}

impl ShardMemory {
    pub(super) fn held(&self) -> Held {
        *self.lock()
    }

    /// Waits until something was given back, now or since the last wait.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// A batch that takes so many bytes is to be processed.
    pub(super) fn add(&self, bytes: u64) {
        let mut held = self.lock();
        held.bytes += bytes;
        held.batches += 1;
    }

    fn give_back(&self, bytes: u64) {
        let mut held = self.lock();
        held.bytes = held.bytes.saturating_sub(bytes);
        drop(held);
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that is to be processed, until this is dropped.
#[derive(Debug)]
pub(super) struct Unprocessed(pub(super) Arc<ShardMemory>);

impl Drop for Unprocessed {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        held.batches = held.batches.saturating_sub(1);
        drop(held);
        self.0.freed.notify_one();
    }
}

/// A batch's part of the shard's limit and of the worker's budget. Its records give it back as they are dropped.
#[derive(Debug)]
pub(super) struct Share {
    shard: Arc<ShardMemory>,
    total: u64,
    /// What the records take that are left.
    left: AtomicU64,
    claim: Mutex<Claim>,
}

impl Share {
    /// All shards that wait are looked at whenever something is given back, so it is given back in so many parts.
    const PARTS: u64 = 8;

    /// The share of a batch whose records take as much as was claimed.
    pub(super) fn new(shard: Arc<ShardMemory>, claim: Claim) -> Arc<Self> {
        let total = claim.bytes();
        Arc::new(Self {
            shard,
            total,
            left: AtomicU64::new(total),
            claim: Mutex::new(claim),
        })
    }

    /// The same payload, which counts as `weight` bytes until it, and every part and clone of it, is dropped.
    pub(super) fn counted(self: &Arc<Self>, data: Bytes, weight: u64) -> Bytes {
        Bytes::from_owner(Counted {
            data,
            weight,
            share: self.clone(),
        })
    }

    fn release(&self, weight: u64) {
        let before = self.left.fetch_sub(weight, Ordering::AcqRel);
        let part = |left: u64| left.saturating_mul(Self::PARTS).div_ceil(self.total.max(1));
        if part(before) == part(before.saturating_sub(weight)) {
            return;
        }
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, left) = (claim.bytes(), self.left.load(Ordering::Acquire));
        if left < held {
            claim.settle(left);
            drop(claim);
            self.shard.give_back(held - left);
        }
    }
}

/// A payload that is counted.
struct Counted {
    data: Bytes,
    weight: u64,
    share: Arc<Share>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The payload goes first, so that its memory is free when others are told so.
        self.data = Bytes::new();
        self.share.release(self.weight);
    }
}
