//! The page on numbers lists all of them, and no others.
#![expect(clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;

use kcl_lease::{Counter, Gauge, Histogram};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// Names with units and labels, as the tables below a heading have them.
fn listed(heading: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading));
    let rows = section
        .expect("a section")
        .lines()
        .filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let row = |cells: Vec<&str>| {
        let labels = cells[3]
            .split(", ")
            .filter(|label| *label != "–")
            .map(str::to_owned);
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), labels.collect()))
    };
    cells.map(row).collect()
}

/// The labels that a description names: "Label: shard." or "Labels: operation, code (`ok`, or what went wrong).".
fn labels(description: &str) -> Vec<String> {
    let Some((_, named)) = description.split_once("Label") else {
        return Vec::new();
    };
    let words = named.split(|letter: char| !letter.is_ascii_alphabetic());
    let known = ["shard", "operation", "code"];
    let mut labels: Vec<String> = Vec::new();
    for word in words.filter(|word| known.contains(word)) {
        if !labels.iter().any(|label| label == word) {
            labels.push(word.to_owned());
        }
    }
    labels
}

#[test]
fn each_number_is_on_the_page_with_its_unit_and_labels() {
    let numbers = |all: Vec<(&str, &str, &str)>| -> BTreeMap<_, _> {
        let each = all.into_iter().map(|(name, unit, description)| {
            let unit = (unit.to_owned(), labels(description));
            (name.to_owned(), unit)
        });
        each.collect()
    };
    let counters = Counter::ALL
        .iter()
        .map(|it| (it.name(), it.unit(), it.description()));
    assert_eq!(listed("Counters"), numbers(counters.collect()));
    let gauges = Gauge::ALL
        .iter()
        .map(|it| (it.name(), it.unit(), it.description()));
    assert_eq!(listed("Gauges"), numbers(gauges.collect()));
    let histograms = Histogram::ALL
        .iter()
        .map(|it| (it.name(), it.unit(), it.description()));
    assert_eq!(listed("Histograms"), numbers(histograms.collect()));
}

#[test]
fn what_one_is_to_be_woken_for_is_a_number_that_there_is() {
    let names: Vec<_> = Counter::ALL
        .iter()
        .map(|it| it.name())
        .chain(Gauge::ALL.iter().map(|it| it.name()))
        .chain(Histogram::ALL.iter().map(|it| it.name()))
        .collect();
    let alarms = PAGE
        .split("\n## ")
        .filter(|section| section.starts_with("To be "));
    let rows = alarms.flat_map(|section| {
        section
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains('`'))
    });
    for row in rows {
        let condition = row.split('|').nth(1).expect("a cell");
        let quoted: Vec<_> = condition.split('`').skip(1).step_by(2).collect();
        assert!(quoted.iter().any(|word| names.contains(word)), "{row}");
    }
}
