//! The memory of a worker for records, shared by its shards: a claim before each read, fairly granted.
//!
//! Half of it is promised to the shards in equal slices: whatever the others hold, a shard may fill its slice. A quarter is
//! kept for shards that hold next to nothing and need more than their slice for the least that they can read. The rest goes to
//! whoever asks first; the less of it is left, the less of it a claim gets. So shards whose processors are stuck end up with
//! what others can do without.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// The memory of a worker. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    ledger: Arc<Mutex<Ledger>>,
    /// Told when it becomes known what a record takes.
    learned: Arc<Notify>,
}

/// Who holds what, and who waits. Pure but for the senders of those who wait.
#[derive(Debug)]
struct Ledger {
    total: u64,
    /// What nobody holds; less than nothing when answers turned out larger than was claimed for them.
    free: i64,
    next_seat: u64,
    seats: BTreeMap<u64, Seated>,
    waiting: VecDeque<Waiting>,
    /// What a record of this stream usually takes, for shards that have not read any.
    usual_record: Option<u64>,
}

#[derive(Debug)]
struct Seated {
    held: u64,
    /// The shard is no longer read; what it holds is still being processed.
    has_left: bool,
}

#[derive(Debug)]
struct Waiting {
    seat: u64,
    wish: Wish,
    tell: oneshot::Sender<Claim>,
}

/// How much memory a page would like to have, and what is the least that it can do with, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) most: u64,
    pub(crate) least: u64,
    /// Nothing is known of what the page will bring.
    pub(crate) is_guess: bool,
}

impl Budget {
    pub(crate) fn new(total: u64) -> Self {
        let ledger = Ledger {
            total,
            free: signed(total),
            next_seat: 0,
            seats: BTreeMap::new(),
            waiting: VecDeque::new(),
            usual_record: None,
        };
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
            learned: Arc::default(),
        }
    }

    /// How many bytes are claimed, and how many there are.
    pub(crate) fn used(&self) -> (u64, u64) {
        let ledger = self.ledger();
        let used = signed(ledger.total).saturating_sub(ledger.free);
        (u64::try_from(used).unwrap_or(0), ledger.total)
    }

    /// A place for one more shard.
    pub(crate) fn seat(&self) -> Seat {
        let mut ledger = self.ledger();
        let id = ledger.next_seat;
        ledger.next_seat += 1;
        ledger.seats.insert(
            id,
            Seated {
                held: 0,
                has_left: false,
            },
        );
        Seat {
            budget: self.clone(),
            id,
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ledger, and gives those who wait what that allows.
    fn change(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger();
        change(&mut ledger);
        let granted = ledger.serve();
        drop(ledger);
        for (waiting, bytes) in granted {
            // Whoever has stopped waiting gives it back by dropping it.
            let _ = waiting.tell.send(Claim {
                budget: self.clone(),
                seat: waiting.seat,
                bytes,
            });
        }
    }
}

/// One shard's place at the budget.
#[derive(Debug)]
pub(crate) struct Seat {
    budget: Budget,
    id: u64,
}

impl Seat {
    /// Waits until there is as much as the wish says at least.
    async fn claim(&self, wish: Wish) -> Claim {
        let (tell, told) = oneshot::channel();
        self.budget.change(|ledger| {
            ledger.waiting.push_back(Waiting {
                seat: self.id,
                wish,
                tell,
            });
        });
        match told.await {
            Ok(claim) => claim,
            // The budget holds the other end as long as it lives, and this place holds the budget.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for what the wish is once it is known what a record of this stream usually takes, as far as any shard knows.
    /// That is told, too: a shard that knows nothing needs so much that it should not wait for it when it could know.
    pub(crate) async fn claim_by_size(&self, wish: impl Fn(Option<u64>) -> Wish) -> (Claim, Option<u64>) {
        loop {
            let mut learned = pin!(self.budget.learned.notified());
            learned.as_mut().enable();
            let usual = self.budget.ledger().usual_record;
            tokio::select! {
                biased;
                claim = self.claim(wish(usual)) => return (claim, usual),
                () = learned, if usual.is_none() => {}
            }
        }
    }

    /// Notes what a record takes in this shard.
    pub(crate) fn note_usual_record(&self, bytes: u64) {
        let mut ledger = self.budget.ledger();
        let before = ledger.usual_record;
        let known = before.unwrap_or(bytes);
        ledger.usual_record = Some(bytes.max(known - known / 64));
        drop(ledger);
        if before.is_none() {
            self.budget.learned.notify_waiters();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.budget.change(|ledger| {
            if let Some(seated) = ledger.seats.get_mut(&self.id) {
                seated.has_left = true;
            }
            ledger.waiting.retain(|waiting| waiting.seat != self.id);
            ledger.clear_away(self.id);
        });
    }
}

/// Memory that one shard holds, given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    budget: Budget,
    seat: u64,
    bytes: u64,
}

impl Claim {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory for a copy that is there already, for the same shard.
    pub(super) fn another(&self, bytes: u64) -> Self {
        let mut claim = Self {
            budget: self.budget.clone(),
            seat: self.seat,
            bytes: 0,
        };
        claim.settle(bytes);
        claim
    }

    /// Makes it as large as what it is for turned out to be.
    pub(crate) fn settle(&mut self, bytes: u64) {
        let (seat, before) = (self.seat, self.bytes);
        self.bytes = bytes;
        self.budget.change(|ledger| ledger.hold(seat, before, bytes));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (seat, before) = (self.seat, self.bytes);
        self.budget.change(|ledger| {
            ledger.hold(seat, before, 0);
            ledger.clear_away(seat);
        });
    }
}

impl Ledger {
    /// A shard holds `after` instead of `before`.
    fn hold(&mut self, seat: u64, before: u64, after: u64) {
        self.free += signed(before) - signed(after);
        if let Some(seated) = self.seats.get_mut(&seat) {
            seated.held = (seated.held + after).saturating_sub(before);
        }
    }

    fn clear_away(&mut self, seat: u64) {
        if self
            .seats
            .get(&seat)
            .is_some_and(|seated| seated.has_left && seated.held == 0)
        {
            self.seats.remove(&seat);
        }
    }

    /// What is promised to each shard.
    fn slice(&self) -> u64 {
        let shards = self.seats.values().filter(|seated| !seated.has_left).count();
        self.total / 2 / (shards as u64).max(1)
    }

    /// Gives those who wait what there is, in the order in which they came. Behind one who waits for what nobody is
    /// promised, the others get their own slices only, and what is kept for those who hold next to nothing.
    fn serve(&mut self) -> Vec<(Waiting, u64)> {
        let mut granted = Vec::new();
        self.waiting.retain(|waiting| !waiting.tell.is_closed());
        if self.waiting.is_empty() || self.free <= 0 {
            return granted;
        }
        let slice = self.slice();
        let unfilled = |seated: &Seated| {
            if seated.has_left {
                0
            } else {
                slice.saturating_sub(seated.held)
            }
        };
        let mut promised: u64 = self.seats.values().map(unfilled).sum();
        let (mut is_pool_open, mut is_reserve_open) = (true, true);
        for waiting in std::mem::take(&mut self.waiting) {
            let Some(seated) = self.seats.get(&waiting.seat) else {
                continue;
            };
            let own = unfilled(seated);
            let may_use_reserve = seated.held <= slice / 8 && !waiting.wish.is_guess;
            let left = Left {
                total: self.total,
                free: u64::try_from(self.free).unwrap_or(0),
                own,
                others: promised - own,
                is_pool_open,
                is_reserve_open: is_reserve_open && may_use_reserve,
            };
            match left.offer(waiting.wish) {
                Some(bytes) => {
                    self.hold(waiting.seat, 0, bytes);
                    promised -= own.min(bytes);
                    granted.push((waiting, bytes));
                }
                None => {
                    is_pool_open = false;
                    is_reserve_open &= !may_use_reserve;
                    self.waiting.push_back(waiting);
                }
            }
        }
        granted
    }
}

/// What is left of a budget, as one shard sees it.
#[derive(Debug, Clone, Copy)]
struct Left {
    total: u64,
    free: u64,
    /// What of its own slice it does not hold yet.
    own: u64,
    /// What the others are promised and do not hold yet.
    others: u64,
    /// Nobody waits before it for what nobody is promised.
    is_pool_open: bool,
    /// The same, and it may have of what is kept for shards that hold next to nothing.
    is_reserve_open: bool,
}

impl Left {
    /// How much a wish gets now.
    fn offer(self, wish: Wish) -> Option<u64> {
        let reserve = self.total / 4;
        let (most, least) = (wish.most.min(reserve.max(1)), wish.least.min(reserve.max(1)));
        let own = self.own.min(self.free);
        let unpromised = self.free.saturating_sub(self.others);
        let pool = match self.is_pool_open {
            true => unpromised.saturating_sub(reserve),
            false => 0,
        };
        let kept = match self.is_reserve_open {
            true => unpromised,
            false => 0,
        };
        // Half of what is left, but never so little that it is of no use.
        let share = (pool / 2).max(least.min(pool.max(kept)));
        let offer = most.min(own.max(share));
        (offer >= least && offer > 0).then_some(offer)
    }
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
