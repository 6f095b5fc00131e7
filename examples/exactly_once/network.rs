//! A network between a worker and its database, that delivers late and loses answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::{ExtendedSequenceNumber, ShardId, async_trait};
use kcl_examples::exactly_once::{Applied, Batch, Claimed, Database, DatabaseError, Owner, Refused, Totals};
use tokio::time::sleep;

/// One answer in so many is lost.
const LOST: u32 = 100;

/// What became of the writes of all workers.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) committed: AtomicUsize,
    /// Refused, because there was a later owner.
    pub(crate) refused: AtomicUsize,
    /// Committed, but the worker was not told.
    pub(crate) unanswered: AtomicUsize,
    /// Records that came again after they had been committed.
    pub(crate) skipped: AtomicUsize,
}

/// The network of one worker.
pub(crate) struct Network {
    writes: Arc<Writes>,
    dice: Mutex<fastrand::Rng>,
    is_stuck: AtomicBool,
    delay: Duration,
}

impl Network {
    /// When it is stuck, writes arrive after this time.
    pub(crate) fn new(writes: &Arc<Writes>, seed: u64, delay: Duration) -> Arc<Self> {
        Arc::new(Self {
            writes: writes.clone(),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            is_stuck: AtomicBool::new(false),
            delay,
        })
    }

    /// From now on writes arrive late.
    pub(crate) fn get_stuck(&self) {
        self.is_stuck.store(true, Ordering::Relaxed);
    }

    /// A database behind it.
    pub(crate) fn to(self: &Arc<Self>, database: Box<dyn Database>) -> Box<dyn Database> {
        Box::new(Distant {
            network: self.clone(),
            database: Arc::new(tokio::sync::Mutex::new(database)),
        })
    }

    fn loses_an_answer(&self) -> bool {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.u32(..LOST) == 0
    }

    fn count(&self, answer: &Result<Applied, DatabaseError>) {
        match answer {
            Ok(applied) => {
                self.writes.committed.fetch_add(1, Ordering::Relaxed);
                self.writes.skipped.fetch_add(applied.skipped, Ordering::Relaxed);
            }
            Err(DatabaseError::Refused(Refused::Stale { .. })) => {
                self.writes.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }
}

struct Distant {
    network: Arc<Network>,
    database: Arc<tokio::sync::Mutex<Box<dyn Database>>>,
}

#[async_trait]
impl Database for Distant {
    async fn claim(&mut self, owner: &Owner, parents: &[ShardId]) -> Result<Claimed, DatabaseError> {
        self.database.lock().await.claim(owner, parents).await
    }

    async fn apply(
        &mut self,
        owner: &Owner,
        known: Option<&ExtendedSequenceNumber>,
        batch: Batch,
    ) -> Result<Applied, DatabaseError> {
        let (network, database) = (self.network.clone(), self.database.clone());
        let (owner, known) = (owner.clone(), known.cloned());
        let delay = Some(network.delay).filter(|_| network.is_stuck.load(Ordering::Relaxed));
        // What was sent goes on when the worker that waits for the answer is killed.
        let sent = tokio::spawn(async move {
            sleep(delay.unwrap_or_default()).await;
            let answer = database.lock().await.apply(&owner, known.as_ref(), batch).await;
            network.count(&answer);
            answer
        });
        let applied = sent.await??;
        if self.network.loses_an_answer() {
            self.network.writes.unanswered.fetch_add(1, Ordering::Relaxed);
            return Err(DatabaseError::Silent(self.network.delay));
        }
        Ok(applied)
    }

    async fn end(
        &mut self,
        owner: &Owner,
        known: Option<&ExtendedSequenceNumber>,
    ) -> Result<(), DatabaseError> {
        self.database.lock().await.end(owner, known).await
    }

    async fn totals(&mut self) -> Result<Totals, DatabaseError> {
        self.database.lock().await.totals().await
    }
}
