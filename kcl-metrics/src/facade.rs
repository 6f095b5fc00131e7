//! Numbers for the crate `metrics`.

use kcl_lease::{Counter, Gauge, Histogram, Labels, Recorder};
use metrics::{Key, Label, Level, Metadata, SharedString, Unit, with_recorder};

static METADATA: Metadata<'static> = Metadata::new("kcl", Level::INFO, Some(module_path!()));

/// Brings numbers to the recorder that the crate [`metrics`] has at that moment, under their names with `kcl_` in front.
///
/// Their labels are `shard`, `operation` and `code`, as far as a number has them, and those that are set here. The gauges of a shard are 0
/// when the worker does not have it any more: take the maximum over workers.
///
/// ```
/// use std::sync::Arc;
/// use kcl_metrics::Facade;
///
/// // Once the recorder is installed, such as metrics_exporter_prometheus::PrometheusBuilder::new().install():
/// let recorder = Arc::new(Facade::new().label("application", "orders"));
/// // Worker::builder("orders", "clicks", processors).recorder(recorder)
/// # let _: Arc<dyn kcl_lease::Recorder> = recorder;
/// ```
#[derive(Debug, Clone)]
pub struct Facade {
    labels: Vec<Label>,
}

impl Default for Facade {
    fn default() -> Self {
        Self::new()
    }
}

impl Facade {
    /// Describes all numbers to the recorder that is installed, and has no labels of its own.
    pub fn new() -> Self {
        with_recorder(|recorder| {
            for it in Counter::ALL {
                recorder.describe_counter(name(it.name()).into(), unit(it.unit()), it.description().into());
            }
            for it in Gauge::ALL {
                recorder.describe_gauge(name(it.name()).into(), unit(it.unit()), it.description().into());
            }
            for it in Histogram::ALL {
                recorder.describe_histogram(name(it.name()).into(), unit(it.unit()), it.description().into());
            }
        });
        Self { labels: Vec::new() }
    }

    /// A label that all numbers have, such as the application's or the stream's name.
    #[must_use]
    pub fn label(mut self, key: impl Into<SharedString>, value: impl Into<SharedString>) -> Self {
        self.labels.push(Label::new(key, value));
        self
    }

    fn key(&self, number: &str, labels: Labels<'_>) -> Key {
        let stream = labels
            .stream()
            .map(|stream| Label::new("stream", stream.to_owned()));
        let shard = labels.shard.map(|shard| Label::new("shard", shard.to_owned()));
        let operation = labels
            .operation
            .map(|it| Label::from_static_parts("operation", it));
        let code = labels.code.map(|it| Label::from_static_parts("code", it));
        let own = [stream, shard, operation, code].into_iter().flatten();
        Key::from_parts(
            name(number),
            self.labels.iter().cloned().chain(own).collect::<Vec<_>>(),
        )
    }
}

fn name(number: &str) -> String {
    format!("kcl_{number}")
}

fn unit(unit: &str) -> Option<Unit> {
    match unit {
        "seconds" => Some(Unit::Seconds),
        "milliseconds" => Some(Unit::Milliseconds),
        "bytes" => Some(Unit::Bytes),
        _ => Some(Unit::Count),
    }
}

impl Recorder for Facade {
    fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        let key = self.key(counter.name(), labels);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(amount));
    }

    fn set(&self, gauge: Gauge, labels: Labels<'_>, value: f64) {
        let key = self.key(gauge.name(), labels);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(value));
    }

    fn observe(&self, histogram: Histogram, labels: Labels<'_>, value: f64) {
        let key = self.key(histogram.name(), labels);
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(value));
    }

    fn forget(&self, shard: &str) {
        for gauge in Gauge::ALL.iter().filter(|gauge| gauge.is_of_a_shard()) {
            self.set(*gauge, Labels::of_shard(shard), 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    /// What a recorder has seen, each number with its labels.
    fn seen(tell: impl FnOnce(&Facade)) -> Vec<(String, DebugValue)> {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || tell(&Facade::new().label("application", "orders")));
        let snapshot = snapshotter.snapshot().into_vec();
        let each = snapshot.into_iter().map(|(key, _, _, value)| {
            let labels = key.key().labels();
            let labels: Vec<_> = labels.map(|it| format!("{}={}", it.key(), it.value())).collect();
            (format!("{}[{}]", key.key().name(), labels.join(",")), value)
        });
        each.collect()
    }

    #[test]
    fn a_number_has_its_labels_and_those_of_all() {
        let seen = seen(|facade| {
            let labels = Labels::of_operation("GetRecords").with_code("ok");
            facade.add(Counter::KinesisCalls, labels, 2);
            facade.add(Counter::KinesisCalls, labels, 3);
            facade.set(Gauge::MillisBehindLatest, Labels::of_shard("shard-7"), 40.0);
            let of_several = Labels::of_shard("123456789012:clicks:1:shard-7");
            facade.set(Gauge::MillisBehindLatest, of_several, 50.0);
            facade.observe(Histogram::RenewalDelay, Labels::NONE, 0.5);
        });
        let value = |name: &str| {
            let found = seen.iter().find(|(seen, _)| seen == name);
            &found.unwrap_or_else(|| panic!("{name} is not among {seen:?}")).1
        };
        assert_eq!(
            *value("kcl_kinesis_calls[application=orders,operation=GetRecords,code=ok]"),
            DebugValue::Counter(5)
        );
        assert_eq!(
            *value("kcl_millis_behind_latest[application=orders,shard=shard-7]"),
            DebugValue::Gauge(40.0.into())
        );
        assert_eq!(
            *value(
                "kcl_millis_behind_latest[application=orders,stream=123456789012:clicks:1,shard=123456789012:clicks:1:shard-7]"
            ),
            DebugValue::Gauge(50.0.into())
        );
        assert_eq!(
            *value("kcl_renewal_delay[application=orders]"),
            DebugValue::Histogram(vec![0.5.into()])
        );
    }

    #[test]
    fn a_shard_that_is_gone_is_behind_no_more() {
        let seen = seen(|facade| {
            facade.set(Gauge::Stalled, Labels::of_shard("shard-7"), 1.0);
            facade.set(Gauge::MemoryUsed, Labels::NONE, 9.0);
            facade.forget("shard-7");
        });
        let gauges: Vec<_> = seen.iter().filter(|(name, _)| name.contains("shard-7")).collect();
        assert_eq!(
            gauges.len(),
            Gauge::ALL.iter().filter(|gauge| gauge.is_of_a_shard()).count()
        );
        assert!(
            gauges
                .iter()
                .all(|(_, value)| *value == DebugValue::Gauge(0.0.into()))
        );
        let memory = seen
            .iter()
            .find(|(name, _)| name.contains("memory_used"))
            .expect("told");
        assert_eq!(memory.1, DebugValue::Gauge(9.0.into()));
    }

    #[test]
    fn all_numbers_are_described_with_their_units() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let facade = Facade::new();
            facade.observe(Histogram::HandOffTime, Labels::of_shard("s"), 1.0);
        });
        let snapshot = snapshotter.snapshot().into_vec();
        let (_, unit, description, _) = snapshot.first().expect("one");
        assert_eq!(*unit, Some(Unit::Seconds));
        let description = description.as_ref().expect("described");
        assert!(
            description.starts_with("How long a lease took to be given up"),
            "{description}"
        );
    }
}
