//! Gathers a worker's numbers for a minute. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kcl_lease::{Counter, Gauge, Histogram, Labels};

use super::metric::{Metric, Of, Silence, Unit};
use super::statistics::Statistics;
use super::translation::{self, Values};
use super::{Series, words};

/// Shards that are told from each other. A worker has fewer; whatever a caller does, there are no more.
const MOST_SHARDS: usize = 4096;
/// A shard of which nothing was told for so many minutes is forgotten, although nobody said that it is gone.
const FORGOTTEN: u32 = 60;

/// A dimension's name and value.
pub(crate) type Dimension = (&'static str, String);

/// What is known of one metric after a minute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) statistics: Statistics,
}

/// A metric's minute, of all shards or of one.
#[derive(Debug)]
pub(crate) struct Window {
    metric: Metric,
    shard: Option<Arc<str>>,
    statistics: Statistics,
}

/// What could not be gathered since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LeftOut {
    /// Values that are no numbers, or that are too large.
    pub(crate) values: u64,
    /// Shards that have no metrics of their own, although they are asked for.
    pub(crate) shards: u64,
}

/// The numbers of one worker since they were last taken.
#[derive(Debug)]
pub(crate) struct Gathering {
    series: Series,
    /// By metric.
    windows: Vec<Statistics>,
    gauges: BTreeMap<Gauge, Gauged>,
    shards: BTreeMap<Arc<str>, Shard>,
    /// How many of them have metrics of their own.
    with_own: usize,
    left_out: LeftOut,
}

/// A gauge keeps its value until it is told another.
#[derive(Debug, Clone, Copy)]
struct Gauged {
    value: f64,
    is_told: bool,
}

#[derive(Debug, Default)]
struct Shard {
    gauges: BTreeMap<Gauge, Gauged>,
    /// By metric, if the shard has metrics of its own.
    own: Option<Vec<Statistics>>,
    is_gone: bool,
    quiet: u32,
}

impl Gathering {
    pub(crate) fn new(series: Series) -> Self {
        Self {
            series,
            windows: vec![Statistics::NONE; Metric::ALL.len()],
            gauges: BTreeMap::new(),
            shards: BTreeMap::new(),
            with_own: 0,
            left_out: LeftOut::default(),
        }
    }

    pub(crate) fn add(&mut self, counter: Counter, labels: Labels<'_>, amount: u64) {
        let told = translation::counted(counter, labels, amount);
        self.apply(labels.shard, told.values, told.times);
    }

    pub(crate) fn observe(&mut self, histogram: Histogram, labels: Labels<'_>, value: f64) {
        let values = translation::observed(histogram, labels, value);
        self.apply(labels.shard, values, 1);
    }

    pub(crate) fn set(&mut self, gauge: Gauge, labels: Labels<'_>, value: f64) {
        if translation::is_of_the_leader(gauge) && !self.leads() {
            return;
        }
        if gauge == Gauge::Leads && value == 0.0 {
            self.gauges
                .retain(|gauge, _| !translation::is_of_the_leader(*gauge));
        }
        let gauged = Gauged { value, is_told: true };
        match labels.shard {
            // By code, each is told for as long as it is there.
            _ if gauge == Gauge::Problems => {}
            None => {
                self.gauges.insert(gauge, gauged);
            }
            Some(shard) => {
                if let Some(shard) = self.shard(shard) {
                    shard.gauges.insert(gauge, gauged);
                }
            }
        }
        self.apply(labels.shard, translation::set(gauge, value), 1);
    }

    /// What gauges said of a shard does not hold any more. What was counted does.
    pub(crate) fn forget(&mut self, shard: &str) {
        if let Some(shard) = self.shards.get_mut(words::beginning(shard)) {
            shard.gauges.clear();
            shard.is_gone = true;
        }
    }

    fn leads(&self) -> bool {
        self.gauges
            .get(&Gauge::Leads)
            .is_some_and(|leads| leads.value != 0.0)
    }

    fn apply(&mut self, shard: Option<&str>, values: Values, times: u64) {
        for (metric, value) in values.into_iter().flatten() {
            if metric.level() > self.series.level {
                continue;
            }
            if !self.windows[metric.index()].take(value, times) {
                self.left_out.values += 1;
                continue;
            }
            if metric.of() == Of::Stream
                && self.series.by_shard > 0
                && let Some(own) = shard
                    .and_then(|shard| self.shard(shard))
                    .and_then(|shard| shard.own.as_mut())
            {
                own[metric.index()].take(value, times);
            }
        }
    }

    /// A shard, unless there are too many.
    fn shard(&mut self, id: &str) -> Option<&mut Shard> {
        let id = words::beginning(id);
        if !self.shards.contains_key(id) {
            let has_own = self.with_own < self.series.by_shard;
            if self.series.by_shard > 0 && !has_own {
                self.left_out.shards += 1;
            }
            if self.shards.len() >= MOST_SHARDS {
                return None;
            }
            self.with_own += usize::from(has_own);
            let own = has_own.then(|| vec![Statistics::NONE; Metric::ALL.len()]);
            let shard = Shard {
                own,
                ..Shard::default()
            };
            self.shards.insert(id.into(), shard);
        }
        let shard = self.shards.get_mut(id)?;
        (shard.is_gone, shard.quiet) = (false, 0);
        Some(shard)
    }

    /// Ends a minute: what was gathered in it, and what still holds. No text is made here, since whoever tells a number waits meanwhile.
    pub(crate) fn end_minute(&mut self) -> Vec<Window> {
        self.repeat_gauges();
        self.tell_zeros();
        let mut ended = Vec::new();
        let mut end = |windows: &mut Vec<Statistics>, shard: Option<&Arc<str>>| {
            for metric in Metric::ALL {
                let statistics = std::mem::replace(&mut windows[metric.index()], Statistics::NONE);
                if !statistics.is_empty() {
                    ended.push(Window {
                        metric: *metric,
                        shard: shard.cloned(),
                        statistics,
                    });
                }
            }
        };
        end(&mut self.windows, None);
        for (id, shard) in &mut self.shards {
            if let Some(own) = &mut shard.own {
                end(own, Some(id));
            }
            shard.quiet += 1;
        }
        self.shards
            .retain(|_, shard| !shard.is_gone && shard.quiet < FORGOTTEN);
        self.with_own = self.shards.values().filter(|shard| shard.own.is_some()).count();
        ended
    }

    pub(crate) fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    /// What a gauge said last holds in a minute in which it says nothing.
    fn repeat_gauges(&mut self) {
        let mut silent = Vec::new();
        let mut look = |shard: Option<&str>, gauges: &mut BTreeMap<Gauge, Gauged>| {
            for (gauge, gauged) in gauges {
                if !std::mem::take(&mut gauged.is_told) {
                    silent.push((shard.map(str::to_owned), *gauge, gauged.value));
                }
            }
        };
        look(None, &mut self.gauges);
        for (id, shard) in &mut self.shards {
            look(Some(id), &mut shard.gauges);
        }
        for (shard, gauge, value) in silent {
            let quiet = shard
                .as_deref()
                .and_then(|id| self.shards.get(id))
                .map(|it| it.quiet);
            self.apply(shard.as_deref(), translation::set(gauge, value), 1);
            // That was not told now.
            if let (Some(id), Some(quiet)) = (shard, quiet)
                && let Some(shard) = self.shards.get_mut(id.as_str())
            {
                shard.quiet = quiet;
            }
        }
    }

    fn tell_zeros(&mut self) {
        let zero = |window: &mut Statistics| {
            if window.is_empty() {
                window.take(0.0, 1);
            }
        };
        let level = self.series.level;
        let told = Metric::ALL
            .iter()
            .filter(|it| it.silence() == Silence::Zero && it.level() <= level);
        for metric in told {
            zero(&mut self.windows[metric.index()]);
            let owns = self
                .shards
                .values_mut()
                .filter(|shard| metric.of() == Of::Stream && !shard.is_gone);
            for own in owns.filter_map(|shard| shard.own.as_mut()) {
                zero(&mut own[metric.index()]);
            }
        }
    }
}

impl Series {
    /// Metrics with their dimensions.
    pub(crate) fn data(&self, windows: &[Window]) -> Vec<Datum> {
        windows.iter().map(|window| self.datum(window)).collect()
    }

    fn datum(&self, window: &Window) -> Datum {
        let metric = window.metric;
        let mut dimensions = vec![("Operation", metric.operation().to_owned())];
        if let Some(stream) = self.stream_id.as_ref().filter(|_| metric.of() == Of::Stream) {
            dimensions.push(("StreamId", stream.clone()));
        }
        if let Some(shard) = &window.shard {
            dimensions.push(("ShardId", words::dimension_value(shard)));
        }
        if let Some(worker) = self.worker_id.as_ref().filter(|_| metric.of() == Of::Worker) {
            dimensions.push(("WorkerIdentifier", worker.clone()));
        }
        Datum {
            name: metric.name(),
            unit: metric.unit(),
            dimensions,
            statistics: window.statistics,
        }
    }
}

#[cfg(test)]
mod tests;
