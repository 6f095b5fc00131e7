//! How many records of all shards of a worker are taken in and not done.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A bound that the shards of a worker share. A shard that has nothing undone may take one in whatever the others have, so that none
/// stands still for another's sake.
#[derive(Debug)]
pub(super) struct WorkerBound {
    most: usize,
    undone: AtomicUsize,
    freed: Notify,
}

impl WorkerBound {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            undone: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Takes places for as many of so many records as there is room for.
    pub(super) fn reserve(&self, records: usize, has_none: bool) -> usize {
        let least = usize::from(has_none).min(records);
        let mut reserved = 0;
        let _ = self
            .undone
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |undone| {
                reserved = self.most.saturating_sub(undone).min(records).max(least);
                Some(undone + reserved)
            });
        reserved
    }

    /// Takes places for records that are there anyway.
    pub(super) fn force(&self, records: usize) {
        self.undone.fetch_add(records, Ordering::AcqRel);
    }

    /// So many are done, or were not taken in after all.
    pub(super) fn release(&self, records: usize) {
        if records > 0 && self.undone.fetch_sub(records, Ordering::AcqRel) >= self.most {
            self.freed.notify_waiters();
        }
    }

    /// Completes when there is room, or may be.
    pub(super) async fn freed(&self) {
        let freed = self.freed.notified();
        if self.undone.load(Ordering::Acquire) >= self.most {
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn shards_share_what_there_is_and_one_that_has_none_gets_one_beyond() {
        let bound = WorkerBound::new(10);
        assert_eq!(bound.reserve(7, true), 7);
        assert_eq!(bound.reserve(7, true), 3);
        assert_eq!(bound.reserve(7, false), 0);
        assert_eq!(bound.reserve(7, true), 1, "it would stand still");
        assert_eq!(bound.reserve(0, true), 0);
        let freed = bound.freed();
        tokio::pin!(freed);
        assert!(freed.as_mut().now_or_never().is_none());
        bound.release(1);
        bound.release(4);
        assert!(freed.now_or_never().is_some());
        assert_eq!(bound.reserve(7, false), 4);
    }
}
