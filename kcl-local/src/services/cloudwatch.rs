//! Amazon CloudWatch: numbers that are put, listed and summed up.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html>

mod store;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Refusal, Shape};
use crate::clock::Clock;
use store::{Metric, Store, Summary};

/// How many metrics a listing has at once, as with the service.
const PAGE: usize = 500;
/// How many numbers a request may have, as with the service.
const MOST_DATA: usize = 1_000;
/// How many periods an answer may have, as with the service.
const MOST_POINTS: u64 = 1_440;
/// How many values a number may stand for, as with the service.
const MOST_VALUES: usize = 150;
/// How many dimensions a metric may have, as with the service.
const MOST_DIMENSIONS: usize = 30;

/// The numbers that were reported. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct CloudWatch {
    clock: Clock,
    store: Arc<Mutex<Store>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutMetricData {
    namespace: Option<String>,
    #[serde(default)]
    metric_data: Vec<Datum>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datum {
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    timestamp: Option<Moment>,
    value: Option<Number>,
    statistic_values: Option<StatisticSet>,
    #[serde(default)]
    values: Vec<Number>,
    #[serde(default)]
    counts: Vec<Number>,
    unit: Option<String>,
    storage_resolution: Option<Number>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: Number,
    sum: Number,
    minimum: Number,
    maximum: Number,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListMetrics {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetMetricStatistics {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    start_time: Option<Moment>,
    end_time: Option<Moment>,
    period: Option<Number>,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
    unit: Option<String>,
}

/// A number; in a form it is a text.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Number(f64);

/// A time in milliseconds since the epoch: in seconds, or in a form as RFC 3339 has it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment(u64);

impl CloudWatch {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            store: Arc::default(),
        }
    }

    pub(super) fn clear(&self) {
        *self.store() = Store::default();
    }

    /// Takes numbers: all of a request, or none.
    pub(super) fn put(&self, request: PutMetricData) -> Result<Shape, Refusal> {
        let namespace = required(request.namespace, "Namespace")?;
        if request.metric_data.is_empty() {
            return Err(missing("MetricData"));
        }
        if request.metric_data.len() > MOST_DATA {
            return Err(invalid(format!("MetricData has {MOST_DATA} members at most.")));
        }
        let now = self.clock.now_millis();
        let data = request.metric_data.into_iter();
        let data = data
            .map(|datum| datum.read(&namespace, now))
            .collect::<Result<Vec<_>, _>>()?;
        let mut store = self.store();
        for (metric, bucket, unit, summary) in data {
            store.put(metric, bucket, &unit, summary);
        }
        Ok(Shape::Map(Vec::new()))
    }

    pub(super) fn list(&self, request: &ListMetrics) -> Result<Shape, Refusal> {
        let from: usize = match &request.next_token {
            Some(token) => token.parse().map_err(|_| invalid("NextToken is none of ours."))?,
            None => 0,
        };
        let store = self.store();
        let is_wanted = |metric: &&Metric| {
            let has = |wanted: &Dimension| {
                metric.dimensions.iter().any(|(name, value)| {
                    *name == wanted.name && wanted.value.as_ref().is_none_or(|wanted| wanted == value)
                })
            };
            request
                .namespace
                .as_ref()
                .is_none_or(|it| *it == metric.namespace)
                && request.metric_name.as_ref().is_none_or(|it| *it == metric.name)
                && request.dimensions.iter().all(has)
        };
        let mut wanted = store.metrics().filter(is_wanted).skip(from);
        let page: Vec<Shape> = wanted.by_ref().take(PAGE).map(described).collect();
        let mut answer = vec![("Metrics", Shape::List(page))];
        if wanted.next().is_some() {
            answer.push(("NextToken", Shape::text((from + PAGE).to_string())));
        }
        Ok(Shape::Map(answer))
    }

    pub(super) fn statistics(&self, request: &GetMetricStatistics) -> Result<Shape, Refusal> {
        let metric = Metric {
            namespace: required(request.namespace.clone(), "Namespace")?,
            name: required(request.metric_name.clone(), "MetricName")?,
            dimensions: dimensions(&request.dimensions)?,
        };
        let Moment(start) = request.start_time.ok_or_else(|| missing("StartTime"))?;
        let Moment(end) = request.end_time.ok_or_else(|| missing("EndTime"))?;
        let period = request.period.ok_or_else(|| missing("Period"))?.seconds()?;
        if !(matches!(period, 1 | 5 | 10 | 20 | 30) || (period > 0 && period % 60 == 0)) {
            return Err(invalid("Period is 1, 5, 10, 20, 30 or a multiple of 60."));
        }
        if !request.extended_statistics.is_empty() {
            return Err(invalid("kcl-local keeps no percentiles: ask for Statistics."));
        }
        if request.statistics.is_empty() {
            return Err(missing("Statistics"));
        }
        if let Some(unknown) = request
            .statistics
            .iter()
            .find(|name| !STATISTICS.contains(&name.as_str()))
        {
            return Err(invalid(format!(
                "{unknown} is not one of {}.",
                STATISTICS.join(", ")
            )));
        }
        if start >= end {
            return Err(invalid("StartTime is before EndTime."));
        }
        if (end - start) / (period * 1_000) > MOST_POINTS {
            return Err(Refusal::new(
                "InvalidParameterCombination",
                format!(
                    "An answer has {MOST_POINTS} datapoints at most: ask for less time or longer periods."
                ),
            ));
        }
        let store = self.store();
        let points = store.points(&metric, request.unit.as_deref(), start, end, period * 1_000);
        let points = points.into_iter().map(|((time, unit), summary)| {
            let mut point = vec![("Timestamp", Shape::Time(time)), ("Unit", Shape::text(unit))];
            for name in STATISTICS {
                if request.statistics.iter().any(|wanted| wanted == name) {
                    point.push((name, Shape::Number(summary.statistic(name))));
                }
            }
            Shape::Map(point)
        });
        Ok(Shape::Map(vec![
            ("Label", Shape::text(metric.name.clone())),
            ("Datapoints", Shape::List(points.collect())),
        ]))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Nothing panics while it is held.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can be asked for.
const STATISTICS: [&str; 5] = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"];

impl Datum {
    /// The metric, the bucket of time in milliseconds, the unit, and what is to be added there.
    fn read(self, namespace: &str, now: u64) -> Result<(Metric, u64, String, Summary), Refusal> {
        let metric = Metric {
            namespace: namespace.to_owned(),
            name: required(self.metric_name, "MetricName")?,
            dimensions: dimensions(&self.dimensions)?,
        };
        let finite = |Number(value): Number| {
            let is_good = value.is_finite();
            is_good
                .then_some(value)
                .ok_or_else(|| invalid("A value is a finite number."))
        };
        let summary = match (self.value, self.statistic_values, self.values.is_empty()) {
            (Some(value), None, true) => Summary::of(finite(value)?, 1.0),
            (None, Some(set), true) => Summary {
                count: finite(set.sample_count)?,
                sum: finite(set.sum)?,
                minimum: finite(set.minimum)?,
                maximum: finite(set.maximum)?,
            },
            (None, None, false) => {
                if self.values.len() > MOST_VALUES {
                    return Err(invalid(format!("Values has {MOST_VALUES} members at most.")));
                }
                if !self.counts.is_empty() && self.counts.len() != self.values.len() {
                    return Err(invalid("Counts has as many members as Values."));
                }
                let counts = self.counts.into_iter().chain(std::iter::repeat(Number(1.0)));
                let mut all: Option<Summary> = None;
                for (value, count) in self.values.into_iter().zip(counts) {
                    let one = Summary::of(finite(value)?, finite(count)?);
                    all = Some(all.map_or(one, |all| all.and(one)));
                }
                all.ok_or_else(|| missing("Values"))?
            }
            _ => {
                return Err(Refusal::new(
                    "InvalidParameterCombination",
                    "A metric has one of Value, Values and StatisticValues.",
                ));
            }
        };
        let resolution = if self.storage_resolution == Some(Number(1.0)) {
            1_000
        } else {
            60_000
        };
        let time = self.timestamp.map_or(now, |Moment(time)| time);
        let unit = self.unit.unwrap_or_else(|| "None".to_owned());
        if unit.len() > 32 {
            return Err(invalid("Unit is one of the units that CloudWatch has."));
        }
        Ok((metric, time - time % resolution, unit, summary))
    }
}

fn dimensions(given: &[Dimension]) -> Result<Vec<(String, String)>, Refusal> {
    if given.len() > MOST_DIMENSIONS {
        return Err(invalid(format!(
            "Dimensions has {MOST_DIMENSIONS} members at most."
        )));
    }
    let mut dimensions = given
        .iter()
        .map(|one| Ok((short(&one.name)?, required(one.value.clone(), "Value")?)))
        .collect::<Result<Vec<_>, Refusal>>()?;
    dimensions.sort();
    Ok(dimensions)
}

fn described(metric: &Metric) -> Shape {
    let dimensions = metric.dimensions.iter().map(|(name, value)| {
        Shape::Map(vec![
            ("Name", Shape::text(name.as_str())),
            ("Value", Shape::text(value.as_str())),
        ])
    });
    Shape::Map(vec![
        ("Namespace", Shape::text(metric.namespace.as_str())),
        ("MetricName", Shape::text(metric.name.as_str())),
        ("Dimensions", Shape::List(dimensions.collect())),
    ])
}

fn required(value: Option<String>, name: &str) -> Result<String, Refusal> {
    let value = value.filter(|value| !value.is_empty());
    short(&value.ok_or_else(|| missing(name))?)
}

fn short(text: &str) -> Result<String, Refusal> {
    if text.len() > 1_024 {
        return Err(invalid("Names and values have 1,024 letters at most."));
    }
    Ok(text.to_owned())
}

fn missing(name: &str) -> Refusal {
    Refusal::new("MissingParameter", format!("The parameter {name} is required."))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterValue", message)
}

impl Number {
    fn seconds(self) -> Result<u64, Refusal> {
        let Self(seconds) = self;
        let is_good = seconds.fract() == 0.0 && (1.0..=1e9).contains(&seconds);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        is_good
            .then_some(seconds as u64)
            .ok_or_else(|| invalid("Period is a number of seconds."))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNumber;
        impl Visitor<'_> for AnyNumber {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }
            #[expect(clippy::cast_precision_loss, reason = "the service keeps doubles as well")]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
            #[expect(clippy::cast_precision_loss, reason = "the service keeps doubles as well")]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse()
                    .map(Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(AnyNumber)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyTime;
        impl Visitor<'_> for AnyTime {
            type Value = Moment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Moment, E> {
                // Until the year 9999.
                if !(0.0..=253_402_300_799.0).contains(&seconds) {
                    return Err(E::invalid_value(de::Unexpected::Float(seconds), &self));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked above"
                )]
                let millis = (seconds * 1_000.0).round() as u64;
                Ok(Moment(millis))
            }
            #[expect(clippy::cast_precision_loss, reason = "what is too large is refused")]
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Moment, E> {
                self.visit_f64(seconds as f64)
            }
            #[expect(clippy::cast_precision_loss, reason = "what is too large is refused")]
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Moment, E> {
                self.visit_f64(seconds as f64)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                let time = aws_smithy_types::DateTime::from_str(
                    text,
                    aws_smithy_types::date_time::Format::DateTimeWithOffset,
                )
                .map_err(|_| wrong())?;
                let millis = time
                    .to_millis()
                    .ok()
                    .and_then(|millis| u64::try_from(millis).ok());
                millis.map(Moment).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(AnyTime)
    }
}

#[cfg(test)]
mod tests;
