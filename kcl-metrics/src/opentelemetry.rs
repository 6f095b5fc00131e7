//! Numbers for OpenTelemetry.

use std::collections::BTreeMap;
use std::fmt;

use ::opentelemetry::metrics::{
    Counter as OtelCounter, Gauge as OtelGauge, Histogram as OtelHistogram, Meter,
};
use ::opentelemetry::{KeyValue, Value};
use kcl_lease::{Counter, Gauge, Histogram, Labels, Recorder};

/// Brings numbers to a meter of [OpenTelemetry](https://docs.rs/opentelemetry), under their names with `kcl.` in front.
///
/// Their attributes are `shard`, `operation` and `code`, as far as a number has them, and those that are set here. The gauges of a shard
/// are 0 when the worker does not have it any more: take the maximum over workers.
///
/// ```
/// use std::sync::Arc;
/// use kcl_metrics::OpenTelemetry;
///
/// let meter = opentelemetry::global::meter("kcl");
/// let recorder = Arc::new(OpenTelemetry::new(&meter).attribute("application", "orders"));
/// // Worker::builder("orders", "clicks", processors).recorder(recorder)
/// # let _: Arc<dyn kcl_lease::Recorder> = recorder;
/// ```
pub struct OpenTelemetry {
    counters: BTreeMap<Counter, OtelCounter<u64>>,
    gauges: BTreeMap<Gauge, OtelGauge<f64>>,
    histograms: BTreeMap<Histogram, OtelHistogram<f64>>,
    attributes: Vec<KeyValue>,
}

impl OpenTelemetry {
    /// Makes an instrument of the meter for each number.
    pub fn new(meter: &Meter) -> Self {
        let counter = |it: &Counter| {
            let builder = meter.u64_counter(name(it.name())).with_unit(unit(it.unit()));
            (*it, builder.with_description(it.description()).build())
        };
        let gauge = |it: &Gauge| {
            let builder = meter.f64_gauge(name(it.name())).with_unit(unit(it.unit()));
            (*it, builder.with_description(it.description()).build())
        };
        let histogram = |it: &Histogram| {
            let builder = meter.f64_histogram(name(it.name())).with_unit(unit(it.unit()));
            (*it, builder.with_description(it.description()).build())
        };
        Self {
            counters: Counter::ALL.iter().map(counter).collect(),
            gauges: Gauge::ALL.iter().map(gauge).collect(),
            histograms: Histogram::ALL.iter().map(histogram).collect(),
            attributes: Vec::new(),
        }
    }

    /// An attribute that all numbers have, such as the application's or the stream's name.
    #[must_use]
    pub fn attribute(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    fn attributes(&self, labels: Labels<'_>) -> Vec<KeyValue> {
        let stream = labels
            .stream()
            .map(|stream| KeyValue::new("stream", stream.to_owned()));
        let shard = labels.shard.map(|shard| KeyValue::new("shard", shard.to_owned()));
        let operation = labels.operation.map(|it| KeyValue::new("operation", it));
        let code = labels.code.map(|it| KeyValue::new("code", it));
        let own = [stream, shard, operation, code].into_iter().flatten();
        self.attributes.iter().cloned().chain(own).collect()
    }
}

fn name(number: &str) -> String {
    format!("kcl.{number}")
}

/// As the Unified Code for Units of Measure has it.
fn unit(unit: &str) -> String {
    match unit {
        "seconds" => "s".to_owned(),
        "milliseconds" => "ms".to_owned(),
        "bytes" => "By".to_owned(),
        counted => format!("{{{counted}}}"),
    }
}

impl Recorder for OpenTelemetry {
    fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        if let Some(instrument) = self.counters.get(&counter) {
            instrument.add(amount, &self.attributes(labels));
        }
    }

    fn set(&self, gauge: Gauge, labels: Labels<'_>, value: f64) {
        if let Some(instrument) = self.gauges.get(&gauge) {
            instrument.record(value, &self.attributes(labels));
        }
    }

    fn observe(&self, histogram: Histogram, labels: Labels<'_>, value: f64) {
        if let Some(instrument) = self.histograms.get(&histogram) {
            instrument.record(value, &self.attributes(labels));
        }
    }

    fn forget(&self, shard: &str) {
        for gauge in Gauge::ALL.iter().filter(|gauge| gauge.is_of_a_shard()) {
            self.set(*gauge, Labels::of_shard(shard), 0.0);
        }
    }
}

impl fmt::Debug for OpenTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTelemetry")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ::opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

    use super::*;

    #[test]
    fn a_meter_has_each_number_with_its_unit_and_attributes() {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .build();
        let recorder = OpenTelemetry::new(&provider.meter("kcl")).attribute("application", "orders");
        let labels = Labels::of_operation("GetRecords").with_code("ok");
        recorder.add(Counter::KinesisCalls, labels, 2);
        recorder.add(Counter::KinesisCalls, labels, 3);
        recorder.set(Gauge::SinceProgress, Labels::of_shard("shard-7"), 40.0);
        recorder.observe(Histogram::HandOffTime, Labels::of_shard("shard-7"), 0.5);
        recorder.forget("shard-7");
        provider.force_flush().expect("flushed");
        let finished = exporter.get_finished_metrics().expect("read");
        let metrics: Vec<_> = finished
            .iter()
            .flat_map(|resource| resource.scope_metrics())
            .flat_map(|scope| scope.metrics())
            .collect();
        let metric = |name: &str| {
            let mut found = metrics.iter().filter(|metric| metric.name() == name);
            found.next().unwrap_or_else(|| panic!("no {name}"))
        };
        let AggregatedMetrics::U64(MetricData::Sum(calls)) = metric("kcl.kinesis_calls").data() else {
            panic!("a counter");
        };
        let point = calls.data_points().next().expect("one");
        assert_eq!(point.value(), 5);
        let attributes: Vec<_> = point
            .attributes()
            .map(|it| format!("{}={}", it.key, it.value))
            .collect();
        for expected in ["application=orders", "operation=GetRecords", "code=ok"] {
            assert!(attributes.iter().any(|it| it == expected), "{attributes:?}");
        }
        assert_eq!(metric("kcl.hand_off_time").unit(), "s");
        assert_eq!(metric("kcl.kinesis_calls").unit(), "{calls}");
        let AggregatedMetrics::F64(MetricData::Gauge(ages)) = metric("kcl.since_progress").data() else {
            panic!("a gauge");
        };
        assert_eq!(
            ages.data_points().next().expect("one").value(),
            0.0,
            "the shard is gone"
        );
    }
}
