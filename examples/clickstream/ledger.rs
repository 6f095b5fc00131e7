//! The account of every record: what was put, what was delivered, how often and in which order. Pure.
//!
//! Kept per key and not per record, so that it stays small: the counters of a key that are yet to come, the gaps before
//! them, and the puts that no processor has seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use kcl_core::ExtendedSequenceNumber;

use crate::takeovers::Cause;

/// One processor, from the acquisition of its shard to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ownership(pub(crate) u64);

/// What a processor read.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) position: &'a ExtendedSequenceNumber,
    pub(crate) key: &'a str,
    /// The key's counter; `None` for a record that this run did not put.
    pub(crate) counter: Option<u64>,
}

/// Where Kinesis said that a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) shard: Arc<str>,
    pub(crate) sequence: String,
}

/// Why a record was delivered more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Again {
    /// Its shard changed hands, for this reason, before it was checkpointed.
    After(Cause),
    /// It is in the stream twice: the answer to a put was lost, and the put was repeated.
    PutTwice,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: HashMap<Arc<str>, KeyBook>,
    shards: BTreeMap<Arc<str>, ShardBook>,
    tenures: BTreeMap<Ownership, Tenure>,
    killed: BTreeSet<Arc<str>>,
    totals: Totals,
}

/// The sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) put: u64,
    pub(crate) put_bytes: u64,
    /// Records of this run, delivered for the first time.
    pub(crate) unique: u64,
    /// Records put by others, delivered for the first time.
    pub(crate) foreign: u64,
    pub(crate) duplicates: BTreeMap<Again, u64>,
    /// Every delivery, by worker.
    pub(crate) by_worker: BTreeMap<Arc<str>, u64>,
    /// First deliveries behind a later record of their key.
    pub(crate) overtaken: u64,
    /// Steps backwards within one ownership, of a key or of the shard.
    pub(crate) backwards: u64,
    /// The first violations of order, in words.
    pub(crate) disorder: Vec<String>,
}

#[derive(Debug, Default)]
struct KeyBook {
    issued: u64,
    /// One more than the highest counter delivered.
    next: u64,
    /// Counters below `next` that were not delivered.
    gaps: BTreeSet<u64>,
    /// Put and not delivered, in order.
    waiting: VecDeque<(u64, Receipt)>,
}

#[derive(Debug, Default)]
struct ShardBook {
    behind: u64,
    /// The furthest record that anyone was given.
    furthest: Option<ExtendedSequenceNumber>,
}

#[derive(Debug)]
struct Tenure {
    worker: Arc<str>,
    shard: Arc<str>,
    cause: Cause,
    counters: HashMap<Arc<str>, u64>,
    last: Option<ExtendedSequenceNumber>,
}

impl Ledger {
    /// The next counter of a key, for a record to be put.
    pub(crate) fn issue(&mut self, key: &str) -> u64 {
        let book = key_book(&mut self.keys, key).1;
        book.issued += 1;
        book.issued - 1
    }

    /// Kinesis has taken a record; it may have been delivered already.
    pub(crate) fn put(&mut self, key: &str, counter: u64, bytes: usize, receipt: Receipt) {
        self.totals.put += 1;
        self.totals.put_bytes += bytes as u64;
        let book = key_book(&mut self.keys, key).1;
        if counter >= book.next || book.gaps.contains(&counter) {
            self.shards.entry(receipt.shard.clone()).or_default().behind += 1;
            book.waiting.push_back((counter, receipt));
        }
    }

    /// A processor took a shard over.
    pub(crate) fn began(&mut self, ownership: Ownership, worker: &str, shard: &str, cause: Cause) {
        let killed = &self.killed;
        self.tenures
            .retain(|_, tenure| &*tenure.shard != shard || !killed.contains(&tenure.worker));
        let tenure = Tenure {
            worker: worker.into(),
            shard: shard.into(),
            cause,
            counters: HashMap::new(),
            last: None,
        };
        self.tenures.insert(ownership, tenure);
    }

    /// It will be given no more records.
    pub(crate) fn ended(&mut self, ownership: Ownership) {
        self.tenures.remove(&ownership);
    }

    /// The worker is gone with all its processors. A call that was under way may still come to its end, so what it
    /// delivers counts until the shard has a new owner.
    pub(crate) fn killed(&mut self, worker: &str) {
        self.killed.insert(worker.into());
    }

    pub(crate) fn delivered(&mut self, ownership: Ownership, record: &Delivery<'_>) {
        let Some(tenure) = self.tenures.get_mut(&ownership) else {
            return;
        };
        *self.totals.by_worker.entry(tenure.worker.clone()).or_default() += 1;
        if tenure.last.as_ref().is_some_and(|last| last >= record.position) {
            self.totals.backwards += 1;
            remember(&mut self.totals.disorder, || {
                format!(
                    "{} went backwards to {} at {}",
                    tenure.shard, record.position, tenure.worker
                )
            });
        }
        tenure.last = Some(record.position.clone());
        let shard = self.shards.entry(tenure.shard.clone()).or_default();
        let is_ahead = shard
            .furthest
            .as_ref()
            .is_none_or(|furthest| furthest < record.position);
        if is_ahead {
            shard.furthest = Some(record.position.clone());
        }
        let again = if is_ahead {
            Again::PutTwice
        } else {
            Again::After(tenure.cause)
        };

        let issued = self.keys.get(record.key).map_or(0, |book| book.issued);
        let Some(counter) = record.counter.filter(|counter| *counter < issued) else {
            if is_ahead {
                self.totals.foreign += 1;
            } else {
                *self.totals.duplicates.entry(again).or_default() += 1;
            }
            return;
        };
        let (key, book) = key_book(&mut self.keys, record.key);
        // The second copy of a record that was put twice is a duplicate, not a step backwards.
        let is_known = counter < book.next && !book.gaps.contains(&counter);
        let last = tenure.counters.entry(key.clone()).or_insert(counter);
        if *last > counter && !(is_known && is_ahead) {
            self.totals.backwards += 1;
            remember(&mut self.totals.disorder, || {
                format!(
                    "{key} went from {last} back to {counter} in {} at {}",
                    tenure.shard, tenure.worker
                )
            });
        }
        *last = counter;

        if is_known {
            *self.totals.duplicates.entry(again).or_default() += 1;
            return;
        }
        self.totals.unique += 1;
        if counter < book.next {
            book.gaps.remove(&counter);
            self.totals.overtaken += 1;
            remember(&mut self.totals.disorder, || {
                format!("{key}: {counter} came after {} ({})", book.next - 1, tenure.shard)
            });
        } else {
            book.gaps.extend(book.next..counter);
            book.next = counter + 1;
        }
        if let Some(index) = book.waiting.iter().position(|(waiting, _)| *waiting == counter)
            && let Some((_, receipt)) = book.waiting.remove(index)
            && let Some(shard) = self.shards.get_mut(&receipt.shard)
        {
            shard.behind -= 1;
        }
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Records put and not delivered yet: at the end, the lost ones.
    pub(crate) fn behind(&self) -> u64 {
        self.shards.values().map(|shard| shard.behind).sum()
    }

    /// The same, of one shard.
    pub(crate) fn behind_in(&self, shard: &str) -> u64 {
        self.shards.get(shard).map_or(0, |shard| shard.behind)
    }

    /// Some of those records, in words.
    pub(crate) fn missing(&self, limit: usize) -> Vec<String> {
        let mut waiting: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, book)| !book.waiting.is_empty())
            .collect();
        waiting.sort_by_key(|(key, _)| *key);
        let records = waiting.into_iter().flat_map(|(key, book)| {
            book.waiting.iter().map(move |(counter, receipt)| {
                format!(
                    "{key}: {counter}, put as {} into {}",
                    receipt.sequence, receipt.shard
                )
            })
        });
        records.take(limit).collect()
    }

    /// How many keys there were.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }
}

fn key_book<'a>(keys: &'a mut HashMap<Arc<str>, KeyBook>, key: &str) -> (Arc<str>, &'a mut KeyBook) {
    let name = keys
        .get_key_value(key)
        .map_or_else(|| key.into(), |(name, _)| name.clone());
    (name.clone(), keys.entry(name).or_default())
}

fn remember(disorder: &mut Vec<String>, describe: impl FnOnce() -> String) {
    const KEPT: usize = 5;
    if disorder.len() < KEPT {
        disorder.push(describe());
    }
}

#[cfg(test)]
mod tests;
