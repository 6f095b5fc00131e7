use super::super::Level;
use super::*;

impl Gathering {
    /// Ends a minute; its data.
    pub(crate) fn take(&mut self) -> Vec<Datum> {
        let windows = self.end_minute();
        self.series.data(&windows)
    }
}

fn series(level: Level, by_shard: usize) -> Series {
    Series {
        level,
        by_shard,
        worker_id: Some("w1".to_owned()),
        stream_id: None,
    }
}

/// The figures of a metric: how many, their sum, the least and the most.
fn figures(data: &[Datum], name: &str, dimensions: &str) -> Option<(u64, f64, f64, f64)> {
    let text = |datum: &Datum| {
        let each = datum
            .dimensions
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        each.collect::<Vec<_>>().join(" ")
    };
    let found = data
        .iter()
        .find(|datum| datum.name == name && text(datum) == dimensions)?;
    let it = found.statistics;
    Some((it.samples, it.sum, it.least, it.most))
}

fn processed(gathering: &mut Gathering, shard: &str, records: u64) {
    gathering.add(Counter::RecordsProcessed, Labels::of_shard(shard), records);
}

const PROCESS: &str = "Operation=ProcessTask";

#[test]
fn a_minute_of_many_shards_is_one_datum_for_each_metric() {
    let mut gathering = Gathering::new(series(Level::Summary, 0));
    for shard in 0..100 {
        processed(&mut gathering, &format!("shard-{shard}"), shard);
    }
    let data = gathering.take();
    assert_eq!(
        figures(&data, "RecordsProcessed", PROCESS),
        Some((100, 4950.0, 0.0, 99.0))
    );
    assert!(
        data.iter()
            .all(|datum| !datum.dimensions.iter().any(|it| it.0 == "ShardId"))
    );
    let next = gathering.take();
    assert_eq!(
        figures(&next, "RecordsProcessed", PROCESS),
        Some((1, 0.0, 0.0, 0.0)),
        "nothing is told as zero"
    );
}

#[test]
fn by_choice_each_shard_has_metrics_of_its_own_up_to_a_bound() {
    let mut gathering = Gathering::new(series(Level::Summary, 2));
    for shard in ["a", "b", "c", "a"] {
        processed(&mut gathering, shard, 10);
    }
    let data = gathering.take();
    let own = |shard: &str| figures(&data, "RecordsProcessed", &format!("{PROCESS} ShardId={shard}"));
    assert_eq!(
        (own("a"), own("b")),
        (Some((2, 20.0, 10.0, 10.0)), Some((1, 10.0, 10.0, 10.0)))
    );
    assert_eq!(own("c"), None);
    assert_eq!(
        figures(&data, "RecordsProcessed", PROCESS),
        Some((4, 40.0, 10.0, 10.0))
    );
    assert_eq!(gathering.take_left_out(), LeftOut { values: 0, shards: 1 });
    // When one goes another may come.
    gathering.forget("a");
    gathering.take();
    processed(&mut gathering, "d", 7);
    let data = gathering.take();
    let own = |shard: &str| figures(&data, "RecordsProcessed", &format!("{PROCESS} ShardId={shard}"));
    assert_eq!((own("a"), own("d")), (None, Some((1, 7.0, 7.0, 7.0))));
}

#[test]
fn a_gauge_holds_until_it_is_told_another_value_or_the_shard_is_gone() {
    let mut gathering = Gathering::new(series(Level::Summary, 1));
    let stalled = |gathering: &mut Gathering, value| {
        gathering.set(Gauge::Stalled, Labels::of_shard("a"), value);
    };
    stalled(&mut gathering, 0.0);
    stalled(&mut gathering, 1.0);
    assert_eq!(
        figures(&gathering.take(), "Stalled", PROCESS),
        Some((2, 1.0, 0.0, 1.0))
    );
    for _ in 0..3 {
        let data = gathering.take();
        assert_eq!(figures(&data, "Stalled", PROCESS), Some((1, 1.0, 1.0, 1.0)));
        let own = figures(&data, "Stalled", &format!("{PROCESS} ShardId=a"));
        assert_eq!(own, Some((1, 1.0, 1.0, 1.0)));
    }
    gathering.forget("a");
    assert_eq!(figures(&gathering.take(), "Stalled", PROCESS), None);
}

#[test]
fn the_shard_furthest_behind_is_told_of_the_application() {
    let mut gathering = Gathering::new(series(Level::Summary, 0));
    for (shard, millis) in [("a", 10.0), ("b", 90_000.0)] {
        gathering.set(Gauge::MillisBehindLatest, Labels::of_shard(shard), millis);
    }
    for _ in 0..2 {
        let data = gathering.take();
        let furthest = figures(&data, "MillisBehindLatest", "Operation=ApplicationTracker");
        assert_eq!(furthest, Some((2, 90_010.0, 10.0, 90_000.0)));
    }
}

#[test]
fn only_the_leader_tells_of_the_fleet() {
    let mut gathering = Gathering::new(series(Level::Summary, 0));
    let fleet = |gathering: &mut Gathering, leases: f64| {
        gathering.set(Gauge::FleetLeases, Labels::NONE, leases);
    };
    let total = |gathering: &mut Gathering| {
        figures(
            &gathering.take(),
            "TotalLeases",
            "Operation=LeaseAssignmentManager",
        )
    };
    fleet(&mut gathering, 0.0);
    assert_eq!(total(&mut gathering), None);
    gathering.set(Gauge::Leads, Labels::NONE, 1.0);
    fleet(&mut gathering, 8.0);
    assert_eq!(total(&mut gathering), Some((1, 8.0, 8.0, 8.0)));
    assert_eq!(total(&mut gathering), Some((1, 8.0, 8.0, 8.0)), "it still leads");
    gathering.set(Gauge::Leads, Labels::NONE, 0.0);
    fleet(&mut gathering, 0.0);
    assert_eq!(total(&mut gathering), None);
}

#[test]
fn levels_say_how_much_is_told() {
    let told = |level| {
        let mut gathering = Gathering::new(series(level, 0));
        gathering.add(Counter::Checkpoints, Labels::of_shard("a").with_code("ok"), 1);
        processed(&mut gathering, "a", 1);
        let data = gathering.take();
        ["RecordsProcessed", "UpdateLease.Success"].map(|name| figures(&data, name, PROCESS).is_some())
    };
    assert_eq!(told(Level::None), [false, false]);
    assert_eq!(told(Level::Summary), [true, false]);
    assert_eq!(told(Level::Detailed), [true, true]);
}

#[test]
fn workers_and_streams_are_named_where_java_names_them() {
    let mut series = series(Level::Summary, 1);
    series.stream_id = Some("123456789012:clicks:17".to_owned());
    let mut gathering = Gathering::new(series);
    processed(&mut gathering, "a", 1);
    gathering.set(Gauge::LeasesHeld, Labels::NONE, 3.0);
    let data = gathering.take();
    for (name, dimensions) in [
        (
            "RecordsProcessed",
            "Operation=ProcessTask StreamId=123456789012:clicks:17",
        ),
        (
            "RecordsProcessed",
            "Operation=ProcessTask StreamId=123456789012:clicks:17 ShardId=a",
        ),
        ("CurrentLeases", "Operation=RenewAllLeases WorkerIdentifier=w1"),
    ] {
        assert!(figures(&data, name, dimensions).is_some(), "{name} {dimensions}");
    }
}

#[test]
fn hostile_values_are_left_out_and_counted() {
    let mut gathering = Gathering::new(series(Level::Summary, 0));
    for value in [f64::NAN, f64::INFINITY, f64::MIN] {
        gathering.set(Gauge::LeasesHeld, Labels::NONE, value);
        gathering.observe(Histogram::RenewalDelay, Labels::NONE, value);
    }
    gathering.observe(Histogram::RenewalDelay, Labels::NONE, 0.5);
    assert_eq!(gathering.take_left_out().values, 6);
    let data = gathering.take();
    let worker = "Operation=RenewAllLeases WorkerIdentifier=w1";
    assert_eq!(
        figures(&data, "RenewalDelay", worker),
        Some((1, 500.0, 500.0, 500.0))
    );
    assert_eq!(figures(&data, "CurrentLeases", worker), None);
}

#[test]
fn a_flood_of_shards_with_long_names_is_bounded_and_still_summed() {
    let mut gathering = Gathering::new(series(Level::Summary, 10));
    for shard in 0..20_000 {
        let name = format!("{shard}{}", "x".repeat(10_240));
        processed(&mut gathering, &name, 1);
        gathering.set(Gauge::SinceProgress, Labels::of_shard(&name), 1.0);
    }
    assert_eq!(gathering.shards.len(), MOST_SHARDS);
    assert!(gathering.shards.keys().all(|key| key.len() <= 1024));
    let data = gathering.take();
    let of_shards = data
        .iter()
        .filter(|datum| datum.dimensions.iter().any(|it| it.0 == "ShardId"));
    assert_eq!(of_shards.count(), 20, "two metrics for each of ten");
    assert_eq!(
        figures(&data, "RecordsProcessed", PROCESS).map(|it| it.1),
        Some(20_000.0)
    );
    for _ in 0..FORGOTTEN {
        gathering.take();
    }
    assert!(
        gathering.shards.is_empty(),
        "they are forgotten when nothing is told of them"
    );
}
