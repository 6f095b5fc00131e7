//! Which of our numbers become which metrics. Pure.

use kcl_lease::{Counter, Gauge, Histogram, Labels};

use super::metric::Metric;

/// What a number becomes: nothing, or values of up to three metrics.
pub(crate) type Values = [Option<(Metric, f64)>; 3];

const NONE: Values = [None; 3];

fn one(metric: Metric, value: f64) -> Values {
    [Some((metric, value)), None, None]
}

fn two(first: Metric, second: Metric, value: f64) -> Values {
    [Some((first, value)), Some((second, value)), None]
}

/// Whether it went well: 1, or 0. That is told once for each time.
fn success(labels: Labels<'_>) -> f64 {
    f64::from(u8::from(labels.code == Some("ok")))
}

/// Durations are told in seconds, and CloudWatch is given milliseconds, as by Java.
fn millis(seconds: f64) -> f64 {
    seconds * 1000.0
}

/// How often what happened is told, where a metric is of single events.
pub(crate) struct Repeated {
    pub(crate) values: Values,
    pub(crate) times: u64,
}

pub(crate) fn counted(counter: Counter, labels: Labels<'_>, amount: u64) -> Repeated {
    let sum = amount as f64;
    let once = |values| Repeated { values, times: 1 };
    let each = |values| Repeated {
        values,
        times: amount,
    };
    match counter {
        Counter::RecordsProcessed => once(one(Metric::RecordsProcessed, sum)),
        Counter::BytesProcessed => once(one(Metric::DataBytesProcessed, sum)),
        Counter::RecordsSkipped => once(one(Metric::RecordsSkipped, sum)),
        Counter::RecordsDeadLettered => once(one(Metric::RecordsDeadLettered, sum)),
        Counter::UserRecordsLeftOut => once(one(Metric::UserRecordsLeftOut, sum)),
        Counter::StepFailures => once(one(Metric::StepFailures, sum)),
        Counter::ReadFailures => once(one(Metric::ReadFailures, sum)),
        Counter::LeasesAcquired => once(one(Metric::NewLeases, sum)),
        // A lease that is given up is not lost: Java does not count it either.
        Counter::LeasesLost if labels.code == Some("given-up") => once(NONE),
        Counter::LeasesLost => once(one(Metric::LostLeases, sum)),
        Counter::Renewals => each(two(
            Metric::RenewAllSuccess,
            Metric::RenewLeaseSuccess,
            success(labels),
        )),
        Counter::LeaderPasses => each(one(Metric::AssignmentSuccess, success(labels))),
        Counter::Checkpoints => each(one(Metric::UpdateLeaseSuccess, success(labels))),
        Counter::ProcessorCalls if labels.operation == Some("process_records") => {
            each(one(Metric::ProcessSuccess, success(labels)))
        }
        Counter::KinesisCalls => match labels.operation {
            Some("GetRecords") => {
                let is = |code| labels.code == Some(code);
                let expired = is("expired").then_some((Metric::ExpiredIterator, 1.0));
                let throttled = is("throttled").then_some((Metric::ReadsThrottled, 1.0));
                let success = Some((Metric::GetRecordsSuccess, success(labels)));
                each([success, expired, throttled])
            }
            Some("GetShardIterator") => each(one(Metric::GetIteratorSuccess, success(labels))),
            _ => once(NONE),
        },
        Counter::TableCalls => {
            let throttled = (labels.code == Some("throttled")).then_some((Metric::TableThrottled, 1.0));
            let success = match labels.operation {
                Some("looking for assignments") => Some((Metric::DiscoverySuccess, success(labels))),
                Some("reporting the worker") => Some((Metric::ReporterSuccess, success(labels))),
                _ => None,
            };
            each([success, throttled, None])
        }
        _ => once(NONE),
    }
}

pub(crate) fn set(gauge: Gauge, value: f64) -> Values {
    match gauge {
        Gauge::LeasesHeld => one(Metric::CurrentLeases, value),
        Gauge::Stalled => one(Metric::StalledShards, value),
        Gauge::Leads => one(Metric::IsLeader, value),
        Gauge::MillisBehindLatest => two(Metric::MillisBehindLatest, Metric::FurthestBehind, value),
        Gauge::SinceProgress => one(Metric::SinceProgress, millis(value)),
        Gauge::Problems => one(Metric::Problems, value),
        Gauge::FleetWorkers => one(Metric::NumWorkers, value),
        Gauge::FleetLeases => one(Metric::TotalLeases, value),
        Gauge::FleetLeasesWaiting => one(Metric::ExpiredLeases, value),
        Gauge::MemoryUsed => one(Metric::MemoryUsed, value),
        _ => NONE,
    }
}

/// Whether only the leader's word counts: the others say 0.
pub(crate) fn is_of_the_leader(gauge: Gauge) -> bool {
    matches!(
        gauge,
        Gauge::FleetWorkers | Gauge::FleetLeases | Gauge::FleetLeasesWaiting
    )
}

pub(crate) fn observed(histogram: Histogram, labels: Labels<'_>, value: f64) -> Values {
    let time = millis(value);
    match (histogram, labels.operation) {
        (Histogram::ProcessorCallTime, Some("process_records")) => {
            two(Metric::ProcessRecordsTime, Metric::ProcessTime, time)
        }
        (Histogram::ProcessorCallTime, Some("initialize")) => one(Metric::InitializeTime, time),
        (Histogram::ProcessorCallTime, Some("shard_ended" | "lease_lost" | "shutdown_requested")) => {
            one(Metric::ShutdownTime, time)
        }
        (Histogram::KinesisCallTime, Some("GetRecords")) => one(Metric::GetRecordsTime, time),
        (Histogram::KinesisCallTime, Some("GetShardIterator")) => one(Metric::GetIteratorTime, time),
        (Histogram::TableCallTime, Some("looking for assignments")) => one(Metric::DiscoveryTime, time),
        (Histogram::TableCallTime, Some("reporting the worker")) => one(Metric::ReporterTime, time),
        (Histogram::CheckpointTime, _) => one(Metric::UpdateLeaseTime, time),
        (Histogram::RenewalTime, _) => one(Metric::RenewLeaseTime, time),
        (Histogram::RenewalDelay, _) => one(Metric::RenewalDelay, time),
        (Histogram::LeaderPassTime, _) => one(Metric::AssignmentTime, time),
        (Histogram::HandOffTime, _) => one(Metric::HandOffTime, time),
        _ => NONE,
    }
}

/// Numbers that CloudWatch is not given, each with the reason in `docs/cloudwatch.md`.
#[cfg(test)]
pub(crate) const LEFT_OUT: [&str; 2] = ["memory_bound", "read_time"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each number with each operation that it is told of.
    fn everything() -> Vec<(&'static str, Values)> {
        let operations = [
            "process_records",
            "initialize",
            "shard_ended",
            "GetRecords",
            "GetShardIterator",
            "looking for assignments",
            "reporting the worker",
        ];
        let codes = ["ok", "expired", "throttled", "taken"];
        let mut all = Vec::new();
        for operation in operations {
            for code in codes {
                let labels = Labels::of_operation(operation).with_code(code);
                for it in Counter::ALL {
                    all.push((it.name(), counted(*it, labels, 3).values));
                }
                for it in Histogram::ALL {
                    all.push((it.name(), observed(*it, labels, 0.25)));
                }
            }
        }
        all.extend(Gauge::ALL.iter().map(|it| (it.name(), set(*it, 2.0))));
        all
    }

    #[test]
    fn each_number_becomes_a_metric_or_is_left_out_deliberately() {
        let told: BTreeSet<_> = everything()
            .into_iter()
            .filter(|(_, values)| values[0].is_some())
            .map(|(name, _)| name)
            .collect();
        let counters = Counter::ALL.iter().map(|it| it.name());
        let gauges = Gauge::ALL.iter().map(|it| it.name());
        let histograms = Histogram::ALL.iter().map(|it| it.name());
        let all: BTreeSet<_> = counters.chain(gauges).chain(histograms).collect();
        let silent: Vec<_> = all.difference(&told).copied().collect();
        assert_eq!(silent, LEFT_OUT);
    }

    #[test]
    fn each_metric_comes_of_a_number() {
        let made: BTreeSet<_> = everything()
            .into_iter()
            .flat_map(|(_, values)| values.into_iter().flatten())
            .map(|(metric, _)| metric)
            .collect();
        assert_eq!(made, Metric::ALL.iter().copied().collect());
    }

    #[test]
    fn times_are_in_milliseconds_and_successes_are_one_or_zero() {
        let calls = Labels::of_operation("process_records");
        let took = observed(Histogram::ProcessorCallTime, calls, 0.25);
        assert_eq!(took, two(Metric::ProcessRecordsTime, Metric::ProcessTime, 250.0));
        for (code, expected) in [("ok", 1.0), ("failed", 0.0)] {
            let told = counted(Counter::ProcessorCalls, calls.with_code(code), 4);
            assert_eq!(
                (told.values, told.times),
                (one(Metric::ProcessSuccess, expected), 4)
            );
        }
        let told = counted(Counter::RecordsProcessed, Labels::of_shard("s"), 500);
        assert_eq!(
            (told.values, told.times),
            (one(Metric::RecordsProcessed, 500.0), 1)
        );
    }

    #[test]
    fn a_lease_that_is_given_up_is_not_lost() {
        let told = |code| counted(Counter::LeasesLost, Labels::of_shard("s").with_code(code), 1).values;
        assert_eq!(told("given-up"), NONE);
        assert_eq!(told("expired"), one(Metric::LostLeases, 1.0));
    }
}
