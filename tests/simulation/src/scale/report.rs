//! What a large fleet needs, as tables.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use kcl_local::wire::Service;

use super::Scale;
use super::traffic::Counts;

/// Requests that change the table.
const WRITES: [&str; 3] = ["DeleteItem", "PutItem", "UpdateItem"];

/// What happened from one disturbance to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// What it began with.
    pub name: String,
    /// The workers that it ended with.
    pub workers: usize,
    /// Virtual time until every lease had a living owner, none was in hand-off and no worker had two more than another;
    /// `None` if that did not happen in time, or if nothing was to happen.
    pub balanced_after: Option<Duration>,
    /// The requests of each second of virtual time.
    pub seconds: Vec<Counts>,
    /// Real time.
    pub took: Duration,
}

/// What became of a large fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was asked for.
    pub scale: Scale,
    /// In order; the first is the start, the second the rest after it.
    pub phases: Vec<Phase>,
    /// Read capacity units that each request of a scan consumes, on average.
    pub units_per_scan_request: f64,
    /// The most memory that the process had, in bytes, if the system tells.
    pub peak_memory: Option<u64>,
    /// What it had more with the fleet balanced than before the first worker, in bytes.
    pub fleet_memory: Option<u64>,
}

/// The mean and the largest number per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    mean: f64,
    most: f64,
}

impl Phase {
    fn rate(&self, of_second: impl Fn(&Counts) -> f64) -> Rate {
        let each: Vec<f64> = self.seconds.iter().map(of_second).collect();
        Rate {
            mean: each.iter().fold(0.0, |sum, one| sum + one) / (each.len().max(1) as f64),
            most: each.iter().copied().fold(0.0, f64::max),
        }
    }

    fn requests(&self, wanted: impl Fn(Service, &str) -> bool) -> Rate {
        self.rate(|counts| {
            let matching = counts
                .iter()
                .filter(|((service, name), _)| wanted(*service, name));
            matching.map(|(_, count)| *count as f64).sum()
        })
    }
}

impl Report {
    /// The read capacity units of one second: 1 for a consistent read of a row, half for a page of the owner index.
    fn read_units(&self, counts: &Counts) -> f64 {
        let units = |name: &str| match name {
            "GetItem" => 1.0,
            "Query" => 0.5,
            "Scan" => self.units_per_scan_request,
            _ => 0.0,
        };
        counts
            .iter()
            .map(|((_, name), count)| units(name) * *count as f64)
            .sum()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.1} {:>9.0}", self.mean, self.most)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scale {
            workers,
            shards,
            failover,
            latency,
            ..
        } = &self.scale;
        writeln!(
            f,
            "{workers} workers, {shards} shards, fail-over time {failover:?}, {latency:?} per request, no records"
        )?;
        writeln!(
            f,
            "\n{:<26}{:>8}{:>10}{:>10} | {:^19} | {:^19} | {:^19}",
            "", "workers", "balanced", "real time", "writes per s", "read units per s", "Kinesis calls per s"
        )?;
        let columns = format!("{:>9} {:>9}", "mean", "most");
        writeln!(f, "{:<54} | {columns} | {columns} | {columns}", "")?;
        for phase in &self.phases {
            let balanced = phase
                .balanced_after
                .map_or_else(|| "-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
            let writes = phase.requests(|_, name| WRITES.contains(&name));
            let reads = phase.rate(|counts| self.read_units(counts));
            let kinesis = phase.requests(|service, _| service == Service::Kinesis);
            writeln!(
                f,
                "{:<26}{:>8}{balanced:>10}{:>8.1} s | {writes} | {reads} | {kinesis}",
                phase.name,
                phase.workers,
                phase.took.as_secs_f64(),
            )?;
        }
        write!(f, "\n{:<34}", "requests per second, mean and most")?;
        for phase in self.phases.iter().take(2) {
            write!(f, "   {:>19}", phase.name)?;
        }
        writeln!(f)?;
        let counts = self.phases.iter().take(2).flat_map(|phase| &phase.seconds);
        let operations: BTreeSet<_> = counts.flat_map(|second| second.keys()).collect();
        for (service, name) in operations {
            write!(f, "{:<34}", format!("  {service} {name}"))?;
            for phase in self.phases.iter().take(2) {
                let rate = phase.requests(|of, operation| of == *service && operation == name);
                write!(f, "   {rate}")?;
            }
            writeln!(f)?;
        }
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        if let (Some(peak), Some(fleet)) = (self.peak_memory, self.fleet_memory) {
            writeln!(
                f,
                "\nmemory: {:.0} MiB at most, backend included; {:.2} MiB more per worker with its leases",
                mebibytes(peak),
                mebibytes(fleet) / (*workers).max(1) as f64
            )?;
        }
        let took: Duration = self.phases.iter().map(|phase| phase.took).sum();
        writeln!(f, "real time: {:.1} s", took.as_secs_f64())
    }
}
