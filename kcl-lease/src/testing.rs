//! For tests: leases that are lost, and a recorder that remembers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::keeper::{HeldLease, LossReason};
use crate::metrics::{Counter, Gauge, Histogram, Labels, Recorder};

/// Lets a lease be lost, as if the table said so.
pub fn lose(held: &HeldLease, reason: LossReason) {
    held.lose(reason);
}

/// Remembers the numbers that it is told.
///
/// ```
/// use kcl_lease::testing::Remembering;
/// use kcl_lease::{Counter, Labels, Recorder};
///
/// let seen = Remembering::default();
/// seen.add(Counter::TableCalls, Labels::of_operation("scanning").with_code("ok"), 2);
/// assert_eq!(seen.value("table_calls"), 2.0);
/// assert_eq!(seen.value("table_calls.scanning.ok"), 2.0);
/// ```
#[derive(Debug, Default)]
pub struct Remembering(Mutex<BTreeMap<String, f64>>);

impl Remembering {
    /// What was counted or set last: under a name and, behind dots, its labels (shard, operation, code, as far as there are any); under
    /// the same without the shard, for all shards; or under the bare name, for all there is. Of a histogram, how often it was told
    /// something. Under `forgotten` and a shard's id, how often it was said that the worker does not have it any more. 0 if there is
    /// nothing.
    pub fn value(&self, name: &str) -> f64 {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(name).copied().unwrap_or(0.0)
    }

    fn note(&self, name: &str, labels: Labels<'_>, change: impl Fn(&mut f64)) {
        let whole = [Some(name), labels.shard, labels.operation, labels.code];
        let of_all_shards = [Some(name), None, labels.operation, labels.code];
        let keys = [whole, of_all_shards, [Some(name), None, None, None]];
        let keys = keys.map(|parts| parts.into_iter().flatten().collect::<Vec<_>>().join("."));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in std::collections::BTreeSet::from(keys) {
            change(seen.entry(key).or_default());
        }
    }
}

impl Recorder for Remembering {
    fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        self.note(counter.name(), labels, |value| *value += amount as f64);
    }

    fn set(&self, gauge: Gauge, labels: Labels<'_>, new: f64) {
        self.note(gauge.name(), labels, |value| *value = new);
    }

    fn observe(&self, histogram: Histogram, labels: Labels<'_>, _value: f64) {
        self.note(histogram.name(), labels, |value| *value += 1.0);
    }

    fn forget(&self, shard: &str) {
        self.note("forgotten", Labels::of_shard(shard), |value| *value += 1.0);
    }
}
