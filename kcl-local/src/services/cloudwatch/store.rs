//! What is kept of numbers: for each metric, a summary for each minute or second.

use std::collections::BTreeMap;

/// How many metrics are kept; what comes for more is dropped, as if nobody ever asked for it.
const MOST_METRICS: usize = 10_000;
/// How many minutes or seconds of a metric are kept: two weeks of minutes.
const MOST_BUCKETS: usize = 20_160;

/// What a number is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Names and values, sorted.
    pub(super) dimensions: Vec<(String, String)>,
}

/// Numbers of one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
}

/// A time in milliseconds, and a unit.
type Bucket = (u64, String);

#[derive(Debug, Default)]
pub(super) struct Store {
    metrics: BTreeMap<Metric, BTreeMap<Bucket, Summary>>,
}

impl Summary {
    /// A value that came so often.
    pub(super) fn of(value: f64, count: f64) -> Self {
        Self {
            count,
            sum: value * count,
            minimum: value,
            maximum: value,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            minimum: self.minimum.min(other.minimum),
            maximum: self.maximum.max(other.maximum),
        }
    }

    pub(super) fn statistic(self, name: &str) -> f64 {
        match name {
            "SampleCount" => self.count,
            "Sum" => self.sum,
            "Minimum" => self.minimum,
            "Maximum" => self.maximum,
            _ if self.count == 0.0 => 0.0,
            _ => self.sum / self.count,
        }
    }
}

impl Store {
    pub(super) fn put(&mut self, metric: Metric, time: u64, unit: &str, summary: Summary) {
        if self.metrics.len() >= MOST_METRICS && !self.metrics.contains_key(&metric) {
            return;
        }
        let buckets = self.metrics.entry(metric).or_default();
        buckets
            .entry((time, unit.to_owned()))
            .and_modify(|there| *there = there.and(summary))
            .or_insert(summary);
        if buckets.len() > MOST_BUCKETS {
            buckets.pop_first();
        }
    }

    /// Every metric, in order.
    pub(super) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.keys()
    }

    /// What there is of a metric from `start` to before `end`, by periods and units.
    pub(super) fn points(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        start: u64,
        end: u64,
        period: u64,
    ) -> BTreeMap<Bucket, Summary> {
        let mut points: BTreeMap<Bucket, Summary> = BTreeMap::new();
        let buckets = self.metrics.get(metric).into_iter();
        let buckets = buckets.flat_map(|buckets| buckets.range((start, String::new())..(end, String::new())));
        for ((time, of), summary) in buckets {
            if unit.is_some_and(|unit| unit != of) {
                continue;
            }
            let period = (time - time % period, of.clone());
            points
                .entry(period)
                .and_modify(|there| *there = there.and(*summary))
                .or_insert(*summary);
        }
        points
    }
}
