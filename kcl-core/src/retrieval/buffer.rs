//! Batches that were read but not processed yet, bounded per shard and, through the budget, per worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::budget::{Budget, Claim, Seat};
use crate::record::RecordBatch;
use crate::source::{Room, Wish};
use crate::stream::Child;

/// Batches per shard, whatever their size.
const MAX_BATCHES: usize = 16;

/// One batch on its way to the processor. Its memory counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: RecordBatch,
    /// With the last batch of a shard: the shards that follow.
    pub(crate) children: Vec<Child>,
    _share: Share,
}

/// The buffer of one shard: `limit` bytes, of what the worker's `budget` has left.
pub(crate) fn buffer(limit: u64, budget: &Budget) -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inlet = Inlet {
        sender,
        shard: Arc::default(),
        seat: budget.seat(),
        limit,
    };
    (inlet, Outlet { receiver })
}

#[derive(Debug, Default)]
struct ShardShare {
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Held {
    bytes: u64,
    batches: usize,
}

impl ShardShare {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch's claim on the shard's limit and on the worker's budget.
#[derive(Debug)]
struct Share {
    shard: Arc<ShardShare>,
    bytes: u64,
    _claim: Claim,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shard.held();
        held.bytes = held.bytes.saturating_sub(self.bytes);
        held.batches = held.batches.saturating_sub(1);
        drop(held);
        self.shard.freed.notify_one();
    }
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Inlet {
    sender: mpsc::UnboundedSender<Delivery>,
    shard: Arc<ShardShare>,
    seat: Seat,
    limit: u64,
}

impl Inlet {
    /// Waits until the next read may be made, and claims memory for it: what the wish is, given what a record of this stream
    /// usually takes, if any shard knows. That is told, too.
    pub(crate) async fn room(&self, wish: impl Fn(Option<u64>) -> Wish) -> (Claim, Room) {
        loop {
            let held = *self.shard.held();
            if held.bytes < self.limit && held.batches < MAX_BATCHES || held.batches == 0 {
                let (claim, usual_record) = self.seat.claim_by_size(wish).await;
                let room = Room {
                    bytes: claim.bytes(),
                    usual_record,
                };
                return (claim, room);
            }
            self.shard.freed.notified().await;
        }
    }

    /// Notes what a record takes in this shard.
    pub(crate) fn note_usual_record(&self, bytes: u64) {
        self.seat.note_usual_record(bytes);
    }

    /// Whether everything that was read has been processed.
    pub(crate) fn is_empty(&self) -> bool {
        self.shard.held().batches == 0
    }

    /// Hands a batch over; false if nobody reads any more.
    pub(crate) fn send(&mut self, batch: RecordBatch, children: Vec<Child>, mut claim: Claim) -> bool {
        let bytes = batch.weight();
        claim.settle(bytes);
        let mut held = self.shard.held();
        held.bytes += bytes;
        held.batches += 1;
        drop(held);
        let share = Share {
            shard: self.shard.clone(),
            bytes,
            _claim: claim,
        };
        let delivery = Delivery {
            batch,
            children,
            _share: share,
        };
        self.sender.send(delivery).is_ok()
    }
}

/// The processor's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    receiver: mpsc::UnboundedReceiver<Delivery>,
}

impl Outlet {
    /// The next batch; `None` when the reader is gone and everything was taken.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.receiver.recv().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::record::tests::batch;

    /// Batches of one record weigh some 200 bytes: this limit holds two of them.
    const TWO: u64 = 300;

    const ANY: Wish = Wish {
        most: 1 << 20,
        least: 1,
        is_guess: false,
    };

    async fn fill(inlet: &mut Inlet, number: u64) -> bool {
        match timeout(Duration::from_secs(1), inlet.room(|_| ANY)).await {
            Ok((claim, _)) => inlet.send(batch([number]), Vec::new(), claim),
            Err(_) => false,
        }
    }

    async fn drain(outlet: &mut Outlet) -> Delivery {
        timeout(Duration::from_secs(1), outlet.next())
            .await
            .expect("in time")
            .expect("open")
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_buffer_stops_the_reader_until_a_batch_is_processed() {
        let (mut inlet, mut outlet) = buffer(TWO, &Budget::new(1 << 30));
        assert!(fill(&mut inlet, 1).await && fill(&mut inlet, 2).await);
        assert!(!fill(&mut inlet, 3).await, "full");
        let taken = drain(&mut outlet).await;
        assert!(!fill(&mut inlet, 3).await, "taken but not processed");
        drop(taken);
        assert!(fill(&mut inlet, 3).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_batches_is_bounded_too() {
        let (mut inlet, _outlet) = buffer(1 << 30, &Budget::new(1 << 30));
        for number in 0..MAX_BATCHES as u64 {
            assert!(fill(&mut inlet, number).await);
        }
        assert!(!fill(&mut inlet, 99).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_oversized_batch_passes() {
        let (mut inlet, mut outlet) = buffer(1, &Budget::new(1024));
        let (room, _) = inlet.room(|_| ANY).await;
        assert!(inlet.send(batch(0..1000), Vec::new(), room));
        assert!(!fill(&mut inlet, 1).await, "but nothing beside it");
        assert_eq!(drain(&mut outlet).await.batch.len(), 1000);
        assert!(inlet.is_empty());
        assert!(fill(&mut inlet, 1).await, "and the next one after it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_shard_has_not_processed_counts_in_the_budget_of_all() {
        let budget = Budget::new(2_000);
        let (mut greedy, mut greedy_outlet) = buffer(1 << 30, &budget);
        let (mut modest, _modest_outlet) = buffer(1 << 30, &budget);
        let (room, _) = greedy.room(|_| ANY).await;
        assert!(greedy.send(batch(0..10), Vec::new(), room));
        assert!(
            !fill(&mut modest, 1).await,
            "the answer was larger than all there is"
        );
        drop(drain(&mut greedy_outlet).await);
        assert!(fill(&mut modest, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_learns_that_nobody_listens() {
        let (mut inlet, outlet) = buffer(TWO, &Budget::new(1 << 30));
        drop(outlet);
        assert!(!fill(&mut inlet, 1).await);
    }
}
