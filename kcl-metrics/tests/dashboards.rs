//! The dashboard and the alerts are about numbers that there are.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use kcl_lease::{Counter, Gauge, Histogram};

const DASHBOARD: &str = include_str!("../../docs/dashboards/grafana.json");
const ALERTS: &str = include_str!("../../docs/dashboards/prometheus-alerts.yml");

/// The names of all numbers, as Prometheus has them.
fn all() -> BTreeSet<String> {
    let counters = Counter::ALL.iter().map(|it| it.name());
    let gauges = Gauge::ALL.iter().map(|it| it.name());
    let histograms = Histogram::ALL.iter().map(|it| it.name());
    let names = counters.chain(gauges).chain(histograms);
    names.map(|name| format!("kcl_{name}")).collect()
}

/// The names in a text that begin as those of the library do.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("kcl_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_number_is_on_the_dashboard_and_no_others_are() {
    assert_eq!(named(DASHBOARD), all());
}

#[test]
fn the_dashboard_asks_for_each_number_in_a_panel_of_its_own_place() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let distinct = |field: &str| {
        let values = panels.iter().map(|panel| panel[field].to_string());
        values.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(
        (distinct("id"), distinct("gridPos")),
        (panels.len(), panels.len())
    );
    for panel in panels {
        let targets = panel["targets"].as_array().expect("a list");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let query = target["expr"].as_str().expect("a query");
            assert!(query.contains("application=~\"$application\""), "{query}");
        }
    }
}

#[test]
fn alerts_are_about_numbers_that_there_are_and_prometheus_understands_them() {
    let unknown: Vec<_> = named(ALERTS).difference(&all()).cloned().collect();
    assert_eq!(unknown, [""; 0]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboards/prometheus-alerts.yml");
    match Command::new("promtool")
        .args(["check", "rules"])
        .arg(file)
        .output()
    {
        Ok(checked) => {
            let said = [checked.stdout, checked.stderr].concat();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
        }
        Err(error) => {
            eprintln!("SKIPPED: promtool, of Prometheus, checks the rules, and cannot be started: {error}")
        }
    }
}
