//! The memory that a batch's records take, for as long as anybody holds one of them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::budget::{Claim, signed};

/// What the batches of one shard hold.
#[derive(Debug, Default)]
pub(crate) struct ShardMemory {
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Held {
    /// Of records that somebody still holds, be it the buffer, the consumer or the application.
    pub(crate) bytes: u64,
    /// Batches that are not processed yet.
    pub(crate) batches: usize,
}

impl ShardMemory {
    pub(crate) fn held(&self) -> Held {
        *self.lock()
    }

    /// Waits until something was given back, now or since the last wait.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// A batch that takes so many bytes is to be processed.
    pub(crate) fn add(&self, bytes: u64) {
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
pub(crate) struct Unprocessed(pub(crate) Arc<ShardMemory>);

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
pub(crate) struct Share {
    shard: Arc<ShardMemory>,
    total: AtomicU64,
    /// What the records take that are left.
    /// For a moment less than nothing: it grows only after user records were taken out.
    left: AtomicI64,
    /// The records are slices of one block, which stays as long as any of them.
    is_block: bool,
    claim: Mutex<Claim>,
}

impl Share {
    /// All shards that wait are looked at whenever something is given back, so it is given back in so many parts.
    const PARTS: u64 = 8;

    /// The share of a batch. What was claimed is given back together with the records, which weigh `total`; if they are slices
    /// of one block, with the last of them.
    pub(crate) fn new(shard: Arc<ShardMemory>, claim: Claim, total: u64, is_block: bool) -> Arc<Self> {
        Arc::new(Self {
            shard,
            total: AtomicU64::new(total),
            left: AtomicI64::new(signed(total)),
            is_block,
            claim: Mutex::new(claim),
        })
    }

    /// Its records turned out to take so much more.
    pub(crate) fn grow(&self, bytes: u64) {
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let held = claim.bytes();
        claim.settle(held + bytes);
        drop(claim);
        self.shard.lock().bytes += bytes;
        self.total.fetch_add(bytes, Ordering::AcqRel);
        self.left.fetch_add(signed(bytes), Ordering::AcqRel);
    }

    /// Whether its records hold all of it as long as there is one of them.
    pub(crate) fn is_block(&self) -> bool {
        self.is_block
    }

    /// A share of its own for a copy of a record, which takes so much.
    pub(crate) fn apart(&self, weight: u64) -> Arc<Self> {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let claim = claim.another(weight);
        self.shard.lock().bytes += weight;
        Self::new(self.shard.clone(), claim, weight, false)
    }

    fn release(&self, weight: u64) {
        let before = self.left.fetch_sub(signed(weight), Ordering::AcqRel);
        let after = before - signed(weight);
        if self.is_block && after > 0 {
            return;
        }
        let total = self.total.load(Ordering::Acquire);
        let part = |left: i64| {
            let left = u64::try_from(left).unwrap_or(0).min(total);
            left.saturating_mul(Self::PARTS).div_ceil(total.max(1))
        };
        if part(before) == part(after) {
            return;
        }
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.left.load(Ordering::Acquire);
        let (held, left) = (claim.bytes(), u64::try_from(left).unwrap_or(0));
        if left < held {
            claim.settle(left);
            drop(claim);
            self.shard.give_back(held - left);
        }
    }
}

/// What one record holds of its batch's share, until it is dropped. A clone holds as much once more, but all clones together never
/// more than the batch took.
#[derive(Debug)]
pub(crate) struct Holding {
    share: Arc<Share>,
    weight: u64,
}

impl Holding {
    /// A record's part: together, the parts of all records are the share.
    pub(crate) fn of(share: &Arc<Share>, weight: u64) -> Self {
        Self {
            share: share.clone(),
            weight,
        }
    }

    /// One of `parts` equal parts of it, and `more` for what that takes beside: the share has to grow by that.
    pub(crate) fn part(&mut self, parts: u64, more: u64) -> Self {
        let part = self.weight / parts.max(1);
        self.weight -= part;
        Self::of(&self.share, part + more)
    }

    /// The share that it is of.
    pub(crate) fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

impl Clone for Holding {
    fn clone(&self) -> Self {
        self.share.left.fetch_add(signed(self.weight), Ordering::AcqRel);
        Self::of(&self.share, self.weight)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.share.release(self.weight);
    }
}
