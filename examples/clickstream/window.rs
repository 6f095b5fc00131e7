//! The events that wait to be put, and which of them may go together. Pure.

use std::collections::{HashSet, VecDeque};

/// Limits of PutRecords, the second with room for the request around it.
const MAX_RECORDS: usize = 500;
const MAX_BYTES: usize = 4 << 20;
/// How many events wait at most: enough to find a full request of different keys among them.
const CAPACITY: usize = 2_000;
const CAPACITY_BYTES: usize = 16 << 20;

/// A record to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) counter: u64,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// A queue that hands out at most one record of a key at a time. PutRecords may refuse some records of a request and take
/// those behind them, so two records of a key in one request could end up in the wrong order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    waiting: VecDeque<Entry>,
    bytes: usize,
}

impl Window {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= CAPACITY || self.bytes >= CAPACITY_BYTES
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.waiting.push_back(entry);
    }

    /// The next request: the oldest record of each key, as far as they fit.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        let (mut batch, mut bytes, mut kept) = (Vec::new(), 0, VecDeque::new());
        let mut keys = HashSet::new();
        while let Some(entry) = self.waiting.pop_front() {
            let fits = batch.len() < MAX_RECORDS && bytes + entry.bytes() <= MAX_BYTES;
            if !fits {
                self.waiting.push_front(entry);
                break;
            }
            if keys.insert(entry.key.clone()) {
                bytes += entry.bytes();
                batch.push(entry);
            } else {
                kept.push_back(entry);
            }
        }
        while let Some(entry) = kept.pop_back() {
            self.waiting.push_front(entry);
        }
        self.bytes -= bytes;
        batch
    }

    /// Takes back what was refused; it goes out first.
    pub(crate) fn put_back(&mut self, refused: Vec<Entry>) {
        for entry in refused.into_iter().rev() {
            self.bytes += entry.bytes();
            self.waiting.push_front(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entry(key: &str, counter: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            counter,
            data: vec![0; 10],
        }
    }

    fn window(entries: &[(&str, u64)]) -> Window {
        let mut window = Window::default();
        for (key, counter) in entries {
            window.push(entry(key, *counter));
        }
        window
    }

    #[test]
    fn a_request_has_one_record_of_a_key_and_the_others_keep_their_order() {
        let mut window = window(&[("a", 0), ("a", 1), ("b", 0), ("a", 2), ("c", 0)]);
        assert_eq!(window.take(), [entry("a", 0), entry("b", 0), entry("c", 0)]);
        assert_eq!(window.take(), [entry("a", 1)]);
        assert_eq!(window.take(), [entry("a", 2)]);
        assert!(window.is_empty());
        assert_eq!(window.bytes, 0);
    }

    #[test]
    fn what_was_refused_goes_before_what_waits() {
        let mut window = window(&[("a", 0), ("b", 0), ("a", 1), ("b", 1)]);
        let refused = window.take();
        window.put_back(refused);
        assert_eq!(window.take(), [entry("a", 0), entry("b", 0)]);
    }

    #[test]
    fn a_request_keeps_the_limits_of_the_service() {
        let mut window = Window::default();
        for key in 0..1_200 {
            window.push(entry(&key.to_string(), 0));
        }
        assert_eq!(
            [window.take().len(), window.take().len(), window.take().len()],
            [500, 500, 200]
        );
        for key in 0..6 {
            window.push(Entry {
                key: key.to_string(),
                counter: 0,
                data: vec![0; 1 << 20],
            });
        }
        assert_eq!([window.take().len(), window.take().len()], [3, 3]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_refused_each_key_stays_in_order(keys in proptest::collection::vec(0..5u8, 1..100), seed: u64) {
            let (mut window, mut issued) = (Window::default(), BTreeMap::<u8, u64>::new());
            for key in &keys {
                let counter = issued.entry(*key).or_default();
                window.push(entry(&key.to_string(), *counter));
                *counter += 1;
            }
            let (mut rng, mut next) = (fastrand::Rng::with_seed(seed), BTreeMap::<String, u64>::new());
            while !window.is_empty() {
                let (taken, refused): (Vec<_>, Vec<_>) = window.take().into_iter().partition(|_| rng.bool());
                for entry in taken {
                    let next = next.entry(entry.key).or_default();
                    proptest::prop_assert_eq!(entry.counter, *next);
                    *next += 1;
                }
                window.put_back(refused);
            }
            proptest::prop_assert_eq!(next.values().sum::<u64>(), keys.len() as u64);
        }
    }
}
