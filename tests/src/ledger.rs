//! What was put, what was delivered, by whom and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use kcl_lease::Checkpoint;
use tokio::time::Instant;

use crate::positions::Positions;

/// One record handed to a processor.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The partition key.
    pub key: String,
    /// The key's counter, from 0.
    pub counter: u64,
    /// The worker that processed it.
    pub worker: String,
    /// The shard it was read from.
    pub shard: String,
    /// The fencing token of that ownership; for a worker that has none, a number that grows with its ownerships.
    pub token: u64,
    /// The sequence number.
    pub sequence: String,
    /// When.
    pub at: Instant,
}

/// A call of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) worker: String,
    pub(crate) shard: String,
    pub(crate) name: &'static str,
    /// How many deliveries came before.
    pub(crate) after: usize,
}

/// The account of a world. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    put: BTreeMap<String, u64>,
    /// Where they are in which shard.
    receipts: BTreeMap<String, BTreeSet<Checkpoint>>,
    deliveries: Vec<Delivery>,
    calls: Vec<Call>,
    positions: Positions,
}

/// The bottom line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records put.
    pub put: u64,
    /// Records never delivered, as `key:counter`.
    pub lost: Vec<String>,
    /// Deliveries beyond the first of a record.
    pub duplicates: u64,
    /// First deliveries of a key out of order, and any disorder within one ownership, as sentences.
    pub disorder: Vec<String>,
    /// Checkpoints that were not respected by a later owner, as sentences.
    pub rewinds: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put {}, lost {:?}, duplicates {}, disorder {:?}, rewinds {:?}",
            self.put, self.lost, self.duplicates, self.disorder, self.rewinds
        )
    }
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next counter of a key; the caller puts it.
    pub fn next_counter(&self, key: &str) -> u64 {
        let mut books = self.books();
        let next = books.put.entry(key.to_owned()).or_default();
        *next += 1;
        *next - 1
    }

    /// Kinesis has put a record into this shard.
    pub fn received(&self, shard: &str, sequence: &str) {
        let at = position(sequence);
        let mut books = self.books();
        books.receipts.entry(shard.to_owned()).or_default().insert(at);
    }

    /// Forgets that anything was put so far: a consumer that starts behind it never sees it.
    pub fn forget_puts(&self) -> BTreeMap<String, u64> {
        let mut books = self.books();
        books.receipts.clear();
        std::mem::take(&mut books.put)
    }

    /// A processor was given a record.
    pub fn deliver(&self, delivery: Delivery) {
        let at = position(&delivery.sequence);
        let mut books = self.books();
        books
            .positions
            .delivered(&delivery.worker, &delivery.shard, delivery.token, &at);
        books.deliveries.push(delivery);
    }

    /// An ownership began behind `start`, a sequence number or a sentinel.
    pub fn begin(&self, worker: &str, shard: &str, token: u64, start: &str) {
        let start = position(start);
        self.books().positions.began(worker, shard, token, start);
    }

    /// A processor was told that its checkpoint at this sequence number, or at `SHARD_END`, was written.
    pub fn confirm(&self, shard: &str, sequence: &str) {
        let at = position(sequence);
        self.books().positions.confirmed(shard, at);
    }

    /// A processor was called.
    pub fn call(&self, worker: &str, shard: &str, name: &'static str) {
        let mut books = self.books();
        let after = books.deliveries.len();
        books.calls.push(Call {
            worker: worker.to_owned(),
            shard: shard.to_owned(),
            name,
            after,
        });
    }

    /// Every delivery so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.books().deliveries.clone()
    }

    /// How often processors were called by this name.
    pub fn calls(&self, name: &str) -> usize {
        self.books().calls.iter().filter(|call| call.name == name).count()
    }

    /// Worker and shard of each call of processors by this name, in order.
    pub fn called(&self, name: &str) -> Vec<(String, String)> {
        let books = self.books();
        let calls = books.calls.iter().filter(|call| call.name == name);
        calls
            .map(|call| (call.worker.clone(), call.shard.clone()))
            .collect()
    }

    /// How many deliveries came before the first call of `name` for `shard`.
    pub fn deliveries_before(&self, name: &str, shard: &str) -> Option<usize> {
        self.books()
            .calls
            .iter()
            .find(|call| call.name == name && call.shard == shard)
            .map(|call| call.after)
    }

    /// How many different records were delivered.
    pub fn unique(&self) -> usize {
        let books = self.books();
        books
            .deliveries
            .iter()
            .map(|d| (&d.key, d.counter))
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// How many deliveries no confirmed checkpoint covers yet.
    pub fn unconfirmed(&self) -> usize {
        let books = self.books();
        let is_open = |d: &&Delivery| !books.positions.is_confirmed(&d.shard, &position(&d.sequence));
        books.deliveries.iter().filter(is_open).count()
    }

    /// How many records were put.
    pub fn put(&self) -> usize {
        usize::try_from(self.books().put.values().sum::<u64>()).expect("fits")
    }

    /// How many records of each key were put.
    pub fn puts(&self) -> BTreeMap<String, u64> {
        self.books().put.clone()
    }

    /// How many of these records, the first so many of each key, were not delivered yet.
    pub fn missing(&self, of: &BTreeMap<String, u64>) -> usize {
        let books = self.books();
        let mut missing: BTreeMap<&str, BTreeSet<u64>> = of
            .iter()
            .map(|(key, count)| (key.as_str(), (0..*count).collect()))
            .collect();
        for d in &books.deliveries {
            if let Some(missing) = missing.get_mut(d.key.as_str()) {
                missing.remove(&d.counter);
            }
        }
        missing.values().map(BTreeSet::len).sum()
    }

    /// The first delivery of a record at or after `since` on one of `shards`.
    pub fn first_since(&self, since: Instant, accept: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        self.books()
            .deliveries
            .iter()
            .find(|d| d.at >= since && accept(d))
            .cloned()
    }

    /// The shards from which not all records that were put there were delivered, or not in their order at first.
    pub fn misdelivered(&self) -> BTreeSet<String> {
        let books = self.books();
        let (mut left, mut wrong) = (books.receipts.clone(), BTreeSet::new());
        for d in &books.deliveries {
            let (at, left) = (position(&d.sequence), left.get_mut(&d.shard));
            let Some(left) = left.filter(|left| left.contains(&at)) else {
                continue;
            };
            if left.first() != Some(&at) {
                wrong.insert(d.shard.clone());
            }
            left.remove(&at);
        }
        left.retain(|_, left| !left.is_empty());
        wrong.extend(left.into_keys());
        wrong
    }

    /// Panics if a shard's records were delivered by a stale owner after its successor began.
    pub fn assert_fenced(&self) {
        let mut greatest: BTreeMap<String, u64> = BTreeMap::new();
        for d in self.deliveries() {
            let token = greatest.entry(d.shard.clone()).or_default();
            assert!(d.token >= *token, "{d:?} came after token {token}");
            *token = d.token;
        }
    }

    /// Draws the line.
    pub fn tally(&self) -> Tally {
        let books = self.books();
        let mut seen: BTreeSet<(&str, u64)> = BTreeSet::new();
        let mut next_first: BTreeMap<&str, u64> = BTreeMap::new();
        let mut in_ownership: BTreeMap<(&str, &str, &str, u64), u64> = BTreeMap::new();
        let mut tally = Tally {
            put: books.put.values().sum(),
            rewinds: books.positions.violations().to_vec(),
            ..Tally::default()
        };
        for d in &books.deliveries {
            if seen.insert((&d.key, d.counter)) {
                let next = next_first.entry(&d.key).or_insert(d.counter);
                if d.counter < *next {
                    tally.disorder.push(format!(
                        "{}:{} was first delivered after {}",
                        d.key,
                        d.counter,
                        *next - 1
                    ));
                }
                *next = (*next).max(d.counter + 1);
            } else {
                tally.duplicates += 1;
            }
            let last = in_ownership.insert((&d.worker, &d.key, &d.shard, d.token), d.counter);
            if last.is_some_and(|last| last > d.counter) {
                tally.disorder.push(format!(
                    "{}:{} went backwards within one ownership of {}",
                    d.key, d.counter, d.shard
                ));
            }
        }
        for (key, count) in &books.put {
            let missing = (0..*count).filter(|counter| !seen.contains(&(key.as_str(), *counter)));
            tally
                .lost
                .extend(missing.map(|counter| format!("{key}:{counter}")));
        }
        tally
    }
}

fn position(text: &str) -> Checkpoint {
    Checkpoint::parse(text, 0).expect("a sequence number or a sentinel")
}
