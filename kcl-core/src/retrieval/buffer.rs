//! Batches that were read but not processed yet, bounded per shard and per worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::record::RecordBatch;
use crate::stream::Child;

const KIB: u64 = 1024;
/// What one read is expected to bring before anything is known: a second of a shard at a quarter of its write limit.
const FIRST_GUESS: u64 = 256 * KIB;
/// The largest answer of `GetRecords` (limit of the service).
const LARGEST: u64 = 10 * KIB * KIB;
/// A terabyte: the largest budget that means something.
const MOST_KIB: u32 = 1 << 30;
/// Batches per shard, whatever their size.
const MAX_BATCHES: usize = 16;

/// The memory that all shards of a worker may fill with unprocessed records.
///
/// It is a share on top of one batch for each shard: a shard that has nothing undelivered may always read, so that a
/// few shards whose processors are stuck never starve the others.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    kib: Arc<Semaphore>,
    total: u32,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / KIB).unwrap_or(u32::MAX).min(MOST_KIB);
        Self {
            kib: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }
}

/// One batch on its way to the processor. Its memory counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: RecordBatch,
    /// With the last batch of a shard: the shards that follow.
    pub(crate) children: Vec<Child>,
    _share: Share,
}

/// The buffer of one shard: `limit` bytes, of which the worker's `budget` must have as much left.
pub(crate) fn buffer(limit: u64, budget: Budget) -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shard = Arc::new(ShardShare::default());
    (
        Inlet {
            sender,
            shard,
            budget,
            limit,
            guess: FIRST_GUESS,
        },
        Outlet { receiver },
    )
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
    _permit: Option<OwnedSemaphorePermit>,
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

/// Leave to read once.
#[derive(Debug)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Inlet {
    sender: mpsc::UnboundedSender<Delivery>,
    shard: Arc<ShardShare>,
    budget: Budget,
    limit: u64,
    guess: u64,
}

impl Inlet {
    /// Waits until the next read may be made.
    pub(crate) async fn room(&self) -> Room {
        // The semaphore is fair: a claim that can never be met would keep all others waiting behind it.
        let wanted = u32::try_from(self.guess.div_ceil(KIB))
            .unwrap_or(u32::MAX)
            .min(self.budget.total);
        loop {
            let held = *self.shard.held();
            if held.batches == 0 {
                return Room(self.budget.kib.clone().try_acquire_many_owned(wanted).ok());
            }
            if held.bytes >= self.limit || held.batches >= MAX_BATCHES {
                self.shard.freed.notified().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.shard.freed.notified() => {}
                permit = self.budget.kib.clone().acquire_many_owned(wanted) => return Room(permit.ok()),
            }
        }
    }

    /// Whether everything that was read has been processed.
    pub(crate) fn is_empty(&self) -> bool {
        self.shard.held().batches == 0
    }

    /// Hands a batch over; false if nobody reads any more.
    pub(crate) fn send(&mut self, batch: RecordBatch, children: Vec<Child>, room: Room) -> bool {
        let bytes = batch.weight();
        self.guess = bytes.clamp(64 * KIB, LARGEST);
        let mut held = self.shard.held();
        held.bytes += bytes;
        held.batches += 1;
        drop(held);
        let share = Share {
            shard: self.shard.clone(),
            bytes,
            _permit: self.settle(room, bytes),
        };
        self.sender
            .send(Delivery {
                batch,
                children,
                _share: share,
            })
            .is_ok()
    }

    /// Makes the claim on the budget as large as the batch: larger as far as there is room.
    fn settle(&self, room: Room, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let actual = usize::try_from(bytes.div_ceil(KIB)).unwrap_or(usize::MAX);
        let mut permit = room.0?;
        let claimed = permit.num_permits();
        if claimed > actual {
            drop(permit.split(claimed - actual));
        } else if let Ok(more) = u32::try_from(actual - claimed)
            && let Ok(more) = self.budget.kib.clone().try_acquire_many_owned(more)
        {
            permit.merge(more);
        }
        Some(permit)
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

    async fn fill(inlet: &mut Inlet, number: u64) -> bool {
        match timeout(Duration::from_secs(1), inlet.room()).await {
            Ok(room) => inlet.send(batch([number]), Vec::new(), room),
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
        let (mut inlet, mut outlet) = buffer(TWO, Budget::new(1 << 30));
        assert!(fill(&mut inlet, 1).await && fill(&mut inlet, 2).await);
        assert!(!fill(&mut inlet, 3).await, "full");
        let taken = drain(&mut outlet).await;
        assert!(!fill(&mut inlet, 3).await, "taken but not processed");
        drop(taken);
        assert!(fill(&mut inlet, 3).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_batches_is_bounded_too() {
        let (mut inlet, _outlet) = buffer(1 << 30, Budget::new(1 << 30));
        for number in 0..MAX_BATCHES as u64 {
            assert!(fill(&mut inlet, number).await);
        }
        assert!(!fill(&mut inlet, 99).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_oversized_batch_passes() {
        let (mut inlet, mut outlet) = buffer(1, Budget::new(0));
        let room = inlet.room().await;
        assert!(inlet.send(batch(0..1000), Vec::new(), room));
        assert_eq!(drain(&mut outlet).await.batch.len(), 1000);
        assert!(inlet.is_empty());
        assert!(fill(&mut inlet, 1).await, "and the next one after it");
    }

    #[tokio::test(start_paused = true)]
    async fn shards_share_the_budget_but_each_may_have_one_batch() {
        let budget = Budget::new(FIRST_GUESS);
        let (mut greedy, mut greedy_outlet) = buffer(1 << 30, budget.clone());
        let (mut modest, _modest_outlet) = buffer(1 << 30, budget);
        for number in 0..4 {
            let room = greedy.room().await;
            assert!(greedy.send(batch(number * 1000..number * 1000 + 400), Vec::new(), room));
            if number == 2 {
                break;
            }
        }
        assert!(
            fill(&mut modest, 1).await,
            "a shard without undelivered batches is never starved"
        );
        assert!(!fill(&mut modest, 2).await, "a second one is over the budget");
        while let Ok(Some(delivery)) = timeout(Duration::from_secs(1), greedy_outlet.next()).await {
            drop(delivery);
        }
        assert!(fill(&mut modest, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_learns_that_nobody_listens() {
        let (mut inlet, outlet) = buffer(TWO, Budget::new(1 << 30));
        drop(outlet);
        assert!(!fill(&mut inlet, 1).await);
    }
}
