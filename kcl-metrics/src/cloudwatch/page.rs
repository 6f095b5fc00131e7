//! The page on CloudWatch, and the dashboard, are about the metrics that there are, and what they cost.
#![expect(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::UNIX_EPOCH;

use kcl_lease::{Counter, Gauge, Histogram, Labels};
use serde_json::Value;

use super::emf::lines;
use super::gathering::{Datum, Gathering};
use super::metric::{Metric, Of};
use super::requests::requests;
use super::{Level, Series};

const PAGE: &str = include_str!("../../../docs/cloudwatch.md");
const DASHBOARD: &str = include_str!("../../../docs/dashboards/cloudwatch.json");

/// What a worker tells in a minute in which everything happens that can.
fn told(level: Level, worker: usize, shards: Range<usize>, by_shard: usize) -> Vec<Datum> {
    let mut gathering = Gathering::new(Series {
        level,
        by_shard,
        worker_id: Some(format!("ip-10-0-0-{worker}.ec2.internal")),
        stream_id: None,
    });
    let operations = [
        "process_records",
        "initialize",
        "shutdown_requested",
        "GetRecords",
        "GetShardIterator",
        "looking for assignments",
        "reporting the worker",
    ];
    gathering.set(Gauge::Leads, Labels::NONE, 1.0);
    for gauge in Gauge::ALL.iter().filter(|gauge| !gauge.is_of_a_shard()) {
        gathering.set(*gauge, Labels::NONE, 1.0);
    }
    for shard in shards {
        let shard = format!("shardId-{shard:012}");
        for gauge in Gauge::ALL.iter().filter(|gauge| gauge.is_of_a_shard()) {
            gathering.set(*gauge, Labels::of_shard(&shard), 1.0);
        }
        for operation in operations {
            for code in ["ok", "expired", "throttled"] {
                let mut labels = Labels::of_shard(&shard).with_code(code);
                labels.operation = Some(operation);
                for counter in Counter::ALL {
                    gathering.add(*counter, labels, 123);
                }
                for histogram in Histogram::ALL {
                    gathering.observe(*histogram, labels, 0.123);
                }
            }
        }
    }
    gathering.take()
}

/// The metric, without its values.
fn identity(datum: &Datum) -> String {
    format!("{} {:?}", datum.name, datum.dimensions)
}

fn section(heading: &str) -> &'static str {
    let found = PAGE.split("\n## ").find(|section| section.starts_with(heading));
    found.expect("a section")
}

fn rows(section: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn each_metric_is_on_the_page_with_what_it_is() {
    let listed: BTreeSet<_> = rows(section("Metrics"))
        .filter(|row| row.len() >= 6 && row[0].starts_with('`'))
        .map(|row| row[..5].join(" ").replace('`', ""))
        .collect();
    let described = Metric::ALL.iter().map(|it| {
        let level = match it.level() {
            Level::None => "NONE",
            Level::Summary => "SUMMARY",
            Level::Detailed => "DETAILED",
        };
        let of = match it.of() {
            Of::Application => "application",
            Of::Worker => "worker",
            Of::Stream => "stream",
        };
        let unit = it.unit().as_str();
        format!("{} {} {unit} {level} {of}", it.operation(), it.name())
    });
    assert_eq!(listed, described.collect());
}

#[test]
fn each_row_names_the_number_that_it_comes_of() {
    let counters = Counter::ALL.iter().map(|it| it.name());
    let gauges = Gauge::ALL.iter().map(|it| it.name());
    let histograms = Histogram::ALL.iter().map(|it| it.name());
    let names: BTreeSet<_> = counters.chain(gauges).chain(histograms).collect();
    let mut named = BTreeSet::new();
    for row in rows(section("Metrics")).filter(|row| row.len() >= 6 && row[0].starts_with('`')) {
        let words = row[5].split('`').skip(1).step_by(2);
        let found: Vec<_> = words.filter(|word| names.contains(word)).collect();
        let repeats = row[5].starts_with("the same as") || row[5] == "`table_call_time` of these";
        assert!(!found.is_empty() || repeats, "{row:?}");
        named.extend(found);
    }
    let silent: Vec<_> = names.difference(&named).copied().collect();
    assert_eq!(silent, super::translation::LEFT_OUT);
}

#[test]
fn what_it_costs_is_computed() {
    let listed: Vec<String> = rows(section("Cost"))
        .filter(|row| row[0].parse::<usize>().is_ok())
        .map(|row| row.join(" | "))
        .collect();
    let mut computed = Vec::new();
    for level in [Level::None, Level::Summary, Level::Detailed] {
        for (workers, shards, by_shard) in
            [(1, 100, false), (10, 100, false), (1, 100, true), (10, 100, true)]
        {
            if level != Level::None || !by_shard {
                computed.push(cost(level, workers, shards, by_shard));
            }
        }
    }
    assert_eq!(listed, computed, "\n| {} |\n", computed.join(" |\n| "));
}

/// A row of the table.
fn cost(level: Level, workers: usize, shards: usize, by_shard: bool) -> String {
    const MINUTES: f64 = 730.0 * 60.0;
    let mut metrics = BTreeSet::new();
    let (mut requested, mut bytes) = (0, 0);
    for worker in 0..workers {
        let share = shards / workers;
        let own = worker * share..(worker + 1) * share;
        let data = told(level, worker, own, if by_shard { share } else { 0 });
        requested += requests(&data).count();
        let lines = lines("orders", UNIX_EPOCH, &data);
        bytes += lines.iter().map(|line| line.body.len()).sum::<usize>();
        metrics.extend(data.iter().map(identity));
    }
    let of_metrics = metrics.len() as f64 * 0.30;
    let by_api = of_metrics + requested as f64 * MINUTES * 0.01 / 1000.0;
    let by_lines = of_metrics + bytes as f64 * MINUTES * 0.50 / 1e9;
    let (level, by_shard) = match (level, by_shard) {
        (Level::None, _) => ("NONE", "no"),
        (Level::Summary, false) => ("SUMMARY", "no"),
        (Level::Summary, true) => ("SUMMARY", "yes"),
        (Level::Detailed, false) => ("DETAILED", "no"),
        (Level::Detailed, true) => ("DETAILED", "yes"),
    };
    let count = metrics.len();
    format!(
        "{workers} | {shards} | {level} | {by_shard} | {count} | {requested} | {by_api:.0} | {by_lines:.0}"
    )
}

/// Names with their dimensions, as a widget has them: a value of `*` stands for each.
fn asked(metric: &Value) -> (String, BTreeMap<String, String>) {
    let parts: Vec<&str> = metric
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if let [namespace, name, dimensions @ ..] = parts.as_slice() {
        assert_eq!(*namespace, "APPLICATION");
        let pairs = dimensions
            .chunks(2)
            .map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
        return ((*name).to_owned(), pairs.collect());
    }
    let expression = metric[0]["expression"].as_str().expect("a search");
    let inside = expression
        .strip_prefix("SEARCH('{APPLICATION,")
        .expect("of the namespace");
    let (dimensions, rest) = inside.split_once("} ").expect("dimensions");
    let value = |key: &str| {
        let (_, rest) = rest.split_once(&format!("{key}=\""))?;
        rest.split('"').next()
    };
    let of = |name: &str| (name.to_owned(), value(name).unwrap_or("*").to_owned());
    let name = value("MetricName").expect("a name").to_owned();
    (name, dimensions.split(',').map(of).collect())
}

#[test]
fn the_dashboard_asks_for_what_is_told_by_default() {
    let told = told(Level::default(), 1, 0..1, 0);
    let is_told = |(name, dimensions): &(String, BTreeMap<String, String>)| {
        told.iter().any(|datum| {
            let same = |(key, value): &(&str, String)| {
                let asked = dimensions.get(*key);
                asked.is_some_and(|asked| asked == "*" || asked == value)
            };
            datum.name == name
                && datum.dimensions.len() == dimensions.len()
                && datum.dimensions.iter().all(same)
        })
    };
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let widgets = dashboard["widgets"].as_array().expect("a list");
    let mut places = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for widget in widgets {
        assert!(
            places.insert((widget["x"].as_u64(), widget["y"].as_u64())),
            "{widget}"
        );
        let properties = &widget["properties"];
        assert_eq!(properties["region"], "REGION");
        let metrics = properties["metrics"].as_array().expect("a list");
        assert!(!metrics.is_empty(), "{widget}");
        for metric in metrics {
            let asked = asked(metric);
            assert!(is_told(&asked), "{asked:?} is not told");
            seen.insert((asked.1["Operation"].clone(), asked.0));
        }
    }
    // What is told by default is there, but for what repeats itself.
    let repeats = [
        ("ProcessTask", "MillisBehindLatest"),
        ("ProcessTask", "Time"),
        ("LeaseDiscovery", "Success"),
        ("WorkerMetricStatsReporter", "Success"),
    ];
    for metric in Metric::ALL.iter().filter(|it| it.level() == Level::Summary) {
        let key = (metric.operation().to_owned(), metric.name().to_owned());
        let is_repeated = repeats.contains(&(metric.operation(), metric.name()));
        assert_ne!(seen.contains(&key), is_repeated, "{key:?}");
    }
}
