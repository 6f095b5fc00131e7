//! Batches that were read but not processed yet, bounded per shard and, through the budget, per worker.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::Span;

use crate::memory::{Budget, Claim, Seat, ShardMemory, Share, Unprocessed, Wish};
use crate::record::RecordBatch;
use crate::source::Room;
use crate::stream::Child;

/// Batches per shard, whatever their size.
const MAX_BATCHES: usize = 16;

/// One batch on its way to the processor. It is unprocessed until it is dropped; its records count for as long as anybody
/// holds them.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: RecordBatch,
    /// With the last batch of a shard: the shards that follow.
    pub(crate) children: Vec<Child>,
    pub(super) unprocessed: Arc<Unprocessed>,
    /// The read that brought it, and the batch once its consumer has it. It lasts as long as this.
    pub(crate) span: Span,
}

/// The buffer of one shard: `limit` bytes, of what the worker's `budget` has left.
pub(crate) fn buffer(limit: u64, budget: &Budget) -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inlet = Inlet {
        sender,
        memory: Arc::default(),
        seat: budget.seat(),
        limit,
    };
    (inlet, Outlet { receiver })
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Inlet {
    sender: mpsc::UnboundedSender<Box<Delivery>>,
    memory: Arc<ShardMemory>,
    seat: Seat,
    limit: u64,
}

impl Inlet {
    /// Waits until the next read may be made, and claims memory for it: what the wish is, given what a record of this stream
    /// usually takes, if any shard knows. That is told, too.
    pub(crate) async fn room(&self, wish: impl Fn(Option<u64>) -> Wish) -> (Claim, Room) {
        loop {
            let held = self.memory.held();
            if held.bytes < self.limit && held.batches < MAX_BATCHES || held.batches == 0 {
                let (claim, usual_record) = self.seat.claim_by_size(wish).await;
                let room = Room {
                    bytes: claim.bytes(),
                    usual_record,
                };
                return (claim, room);
            }
            self.memory.freed().await;
        }
    }

    /// Notes what a record takes in this shard.
    pub(crate) fn note_usual_record(&self, bytes: u64) {
        self.seat.note_usual_record(bytes);
    }

    /// Whether everything that was read has been processed.
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.held().batches == 0
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> u64 {
        self.memory.held().bytes
    }

    /// Hands a batch over; false if nobody reads any more.
    pub(crate) fn send(
        &mut self,
        mut batch: RecordBatch,
        children: Vec<Child>,
        mut claim: Claim,
        span: Span,
    ) -> bool {
        let bytes = batch.footprint();
        claim.settle(bytes);
        self.memory.add(bytes);
        let share = Share::new(self.memory.clone(), claim, batch.weight(), batch.is_block());
        batch.hold(&share);
        let delivery = Delivery {
            batch,
            children,
            unprocessed: Arc::new(Unprocessed(self.memory.clone())),
            span,
        };
        self.sender.send(Box::new(delivery)).is_ok()
    }
}

/// The processor's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// A channel keeps room for 32 messages, and most shards have none: therefore the boxes.
    receiver: mpsc::UnboundedReceiver<Box<Delivery>>,
}

impl Outlet {
    /// The next batch; `None` when the reader is gone and everything was taken.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.receiver.recv().await.map(|delivery| *delivery)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::record::Record;
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
            Ok((claim, _)) => inlet.send(batch([number]), Vec::new(), claim, Span::none()),
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
        assert!(inlet.send(batch(0..1000), Vec::new(), room, Span::none()));
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
        assert!(greedy.send(batch(0..10), Vec::new(), room, Span::none()));
        assert!(
            !fill(&mut modest, 1).await,
            "the answer was larger than all there is"
        );
        drop(drain(&mut greedy_outlet).await);
        assert!(fill(&mut modest, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_are_kept_hold_their_memory_and_detached_ones_do_not() {
        let budget = Budget::new(2_000);
        let (mut inlet, mut outlet) = buffer(1 << 30, &budget);
        let (room, _) = inlet.room(|_| ANY).await;
        assert!(inlet.send(batch(0..10), Vec::new(), room, Span::none()));
        let delivery = drain(&mut outlet).await;
        let kept: Vec<_> = delivery.batch.iter().cloned().collect();
        let detached: Vec<_> = delivery.batch.iter().map(Record::detach).collect();
        drop(delivery);
        assert!(inlet.is_empty(), "it is processed");
        assert!(!fill(&mut inlet, 1).await, "but the records are kept");
        drop(kept);
        assert!(fill(&mut inlet, 1).await, "the copies do not count");
        assert_eq!(detached.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_is_set_apart_holds_what_it_takes_and_not_its_answer() {
        const ANSWER: u64 = 1 << 20;
        let budget = Budget::new(1 << 30);
        let (mut inlet, mut outlet) = buffer(1 << 30, &budget);
        let (room, _) = inlet.room(|_| ANY).await;
        assert!(inlet.send(
            batch(0..10).of_block(Some(ANSWER)),
            Vec::new(),
            room,
            Span::none()
        ));
        let delivery = drain(&mut outlet).await;
        let mut kept = delivery.batch.records()[3].clone();
        drop(delivery);
        assert!(inlet.held_bytes() >= ANSWER);
        kept.set_apart();
        assert_eq!(inlet.held_bytes(), kept.weight());
        kept.set_apart();
        assert_eq!(inlet.held_bytes(), kept.weight(), "it is apart already");
        drop(kept);
        assert_eq!(inlet.held_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_of_a_batch_comes_back_before_the_rest() {
        let (mut inlet, mut outlet) = buffer(1 << 30, &Budget::new(1 << 30));
        let (room, _) = inlet.room(|_| ANY).await;
        assert!(inlet.send(batch(0..10), Vec::new(), room, Span::none()));
        let delivery = drain(&mut outlet).await;
        let mut kept: Vec<_> = delivery.batch.iter().cloned().collect();
        drop(delivery);
        let all = inlet.memory.held().bytes;
        kept.truncate(5);
        let half = inlet.memory.held().bytes;
        assert!(half * 2 >= all && half * 8 <= all * 5, "{half} of {all}");
        kept.clear();
        assert_eq!(inlet.memory.held().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_learns_that_nobody_listens() {
        let (mut inlet, outlet) = buffer(TWO, &Budget::new(1 << 30));
        drop(outlet);
        assert!(!fill(&mut inlet, 1).await);
    }
}
