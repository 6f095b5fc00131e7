//! `kcl list`: workers, leader and shards, from one look at the table.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_types::SdkConfig;
use kcl_lease::{Lease, LeaseKey, WorkerMetric};
use serde::Serialize;

use super::lag::{self, Lag};
use crate::arguments::ListArguments;
use crate::failure::{Failure, Status};
use crate::screen::{Columns, Ink, Line, Screen, ago, count, span};
use crate::table::findings::{Finding, findings};
use crate::table::tree::tree;
use crate::table::{Kind, Look, Table};

pub(super) async fn run(
    table: &Table,
    sdk: &SdkConfig,
    arguments: &ListArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let look = table.look().await?;
    let lags = match arguments.lag || arguments.stream.is_some() {
        true => {
            let stream = table.stream(arguments.stream.as_ref()).await?;
            lag::measure(sdk, stream, &look).await?
        }
        false => BTreeMap::new(),
    };
    let report = Listing::of(table.options.name(), &look, &lags);
    if screen.json {
        screen.report(&report, false)?;
    } else {
        screen.lines(report.lines(&look))?;
    }
    Ok(Status::attention_if(!report.findings.is_empty()))
}

/// What is in a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Listing {
    pub(crate) table: String,
    pub(crate) leader: Option<String>,
    pub(crate) workers: Vec<WorkerLine>,
    pub(crate) shards: Vec<ShardLine>,
    pub(crate) findings: Vec<Finding>,
    /// Read capacity units that the scan took.
    pub(crate) read_units: f64,
}

/// A worker of the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WorkerLine {
    pub(crate) worker: String,
    pub(crate) kind: Kind,
    pub(crate) is_leader: bool,
    /// Leases that it processes.
    pub(crate) leases: usize,
    /// Leases that are being handed over to it.
    pub(crate) awaited: usize,
    /// In seconds since the Unix epoch, by the worker's clock; absent for one that only leases name.
    pub(crate) reported_at: Option<u64>,
    pub(crate) failover_time_millis: Option<u64>,
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) condition: Option<String>,
}

/// A lease of the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ShardLine {
    pub(crate) lease: String,
    /// Below how many ancestors that have leases.
    pub(crate) depth: usize,
    pub(crate) state: State,
    /// Who processes it.
    pub(crate) processor: Option<String>,
    /// Who is to have it next.
    pub(crate) next: Option<String>,
    pub(crate) checkpoint: String,
    pub(crate) counter: u64,
    pub(crate) owner_switches: u64,
    pub(crate) throughput_kbps: Option<f64>,
    /// In milliseconds since the Unix epoch.
    pub(crate) paused_since: Option<u64>,
    /// From where it is to be processed anew, if that was ordered and is not carried out.
    pub(crate) rewind_to: Option<String>,
    pub(crate) lag: Option<Lag>,
}

/// What a single look tells of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Ended,
    Unowned,
    Owned,
    HandOff,
    /// Its owner has no row, although other workers have.
    Orphaned,
}

impl State {
    fn of(lease: &Lease, look: &Look) -> Self {
        match lease.actual_owner() {
            _ if lease.has_ended() => Self::Ended,
            None => Self::Unowned,
            Some(_) if lease.is_in_hand_off() => Self::HandOff,
            Some(owner) if look.worker(owner).is_none() && !look.snapshot.workers.is_empty() => {
                Self::Orphaned
            }
            Some(_) => Self::Owned,
        }
    }

    pub(crate) fn shown(self) -> (Ink, &'static str) {
        match self {
            Self::Ended => (Ink::Faint, "ended"),
            Self::Unowned => (Ink::Bad, "no owner"),
            Self::Owned => (Ink::Good, "owned"),
            Self::HandOff => (Ink::Warning, "hand-off"),
            Self::Orphaned => (Ink::Bad, "owner gone?"),
        }
    }
}

impl Listing {
    pub(crate) fn of(table: &str, look: &Look, lags: &BTreeMap<LeaseKey, Lag>) -> Self {
        let workers = look.holdings().into_iter().map(|(id, holding)| {
            let row = look.worker(&id);
            let cpu = row.and_then(|row| row.metrics.get(WorkerMetric::CPU));
            let condition = row.and_then(|row| match row.drained_since {
                Some(_) => Some("drained".to_owned()),
                None if row.trouble.is_none() => None,
                None => Some(format!("{:?}", row.trouble.condition).to_lowercase()),
            });
            WorkerLine {
                kind: look.kind(&id),
                is_leader: look.leader() == Some(&id),
                leases: holding.processes,
                awaited: holding.awaits,
                reported_at: row.map(|row| row.reported_at),
                failover_time_millis: row
                    .and_then(|row| row.failover_time)
                    .and_then(|time| u64::try_from(time.as_millis()).ok()),
                cpu_percent: cpu.map(WorkerMetric::utilization),
                condition,
                worker: id.to_string(),
            }
        });
        let shards = tree(&look.snapshot.leases)
            .into_iter()
            .map(|branch| ShardLine::of(branch.lease, branch.depth, look, lags));
        Self {
            table: table.to_owned(),
            leader: look.leader().map(ToString::to_string),
            workers: workers.collect(),
            shards: shards.collect(),
            findings: findings(look),
            read_units: look.snapshot.read_units,
        }
    }

    fn lines(&self, look: &Look) -> Vec<Line> {
        let mut lines = vec![self.head()];
        if self.shards.is_empty() && self.workers.is_empty() {
            lines.push(Line::from(
                "The table has no leases and no workers: nobody has started the application yet, or its leases were deleted.",
            ));
        }
        if !self.workers.is_empty() {
            lines.push(Line::default());
            lines.extend(self.worker_lines(look));
        }
        if !self.shards.is_empty() {
            lines.push(Line::default());
            lines.extend(self.shard_lines(look));
        }
        if !self.findings.is_empty() {
            lines.push(Line::default());
            lines.extend(finding_lines(&self.findings));
        }
        lines
    }

    /// What the table is, in a line.
    pub(crate) fn head(&self) -> Line {
        let open = self.shards.iter().filter(|shard| shard.state != State::Ended);
        let text = format!(
            ": {}, {}, {} ended; leader: ",
            count(self.workers.len(), "worker"),
            count(open.count(), "shard"),
            self.shards
                .iter()
                .filter(|shard| shard.state == State::Ended)
                .count(),
        );
        Line::of(Ink::Strong, self.table.as_str())
            .and(Ink::Plain, text)
            .and(Ink::Strong, self.leader.as_deref().unwrap_or("none"))
    }

    /// The workers.
    pub(crate) fn worker_lines(&self, look: &Look) -> Vec<Line> {
        let mut columns = Columns::titled(&["WORKER", "KIND", "SHARDS", "REPORTED", "CPU", "CONDITION"]);
        for worker in &self.workers {
            let name = if worker.is_leader { Ink::Strong } else { Ink::Plain };
            let row = look.worker(&worker.worker.as_str().into());
            let reported = row.and_then(Look::reported_at);
            let reported = match (row, reported) {
                (None, _) => (Ink::Bad, "never".to_owned()),
                (_, Some(at)) => (Ink::Plain, ago(at, look.at)),
                (_, None) => (Ink::Bad, "at a time that has no date".to_owned()),
            };
            let leases = match worker.awaited {
                0 => worker.leases.to_string(),
                more => format!("{} (+{more})", worker.leases),
            };
            let condition = worker.condition.clone();
            columns.row([
                (name, worker.worker.clone()),
                (Ink::Plain, worker.kind.name().to_owned()),
                (Ink::Plain, leases),
                reported,
                (
                    Ink::Plain,
                    worker
                        .cpu_percent
                        .map_or("-".to_owned(), |cpu| format!("{cpu:.0} %")),
                ),
                (
                    Ink::Bad,
                    match (condition, worker.is_leader) {
                        (Some(condition), _) => condition,
                        (None, true) => "leads".to_owned(),
                        (None, false) => String::new(),
                    },
                ),
            ]);
        }
        columns.lines()
    }

    /// The shards.
    pub(crate) fn shard_lines(&self, look: &Look) -> Vec<Line> {
        let has_lags = self.shards.iter().any(|shard| shard.lag.is_some());
        let mut titles = vec!["SHARD", "STATE", "OWNER", "CHECKPOINT", "KB/S"];
        if has_lags {
            titles.push("BEHIND");
        }
        let mut columns = Columns::titled(&titles);
        for shard in &self.shards {
            let (ink, state) = shard.state.shown();
            let state = match shard.paused(look) {
                Some(time) => (Ink::Warning, format!("{state}, paused {}", span(time))),
                None => (ink, state.to_owned()),
            };
            let owner = match (&shard.processor, &shard.next) {
                (Some(processor), Some(next)) => format!("{processor} -> {next}"),
                (Some(owner), None) => owner.clone(),
                (None, _) => "-".to_owned(),
            };
            let branch = match shard.depth.min(20) {
                0 => String::new(),
                depth => format!("{}└ ", "  ".repeat(depth - 1)),
            };
            let mut cells = vec![
                (Ink::Plain, format!("{branch}{}", shard.lease)),
                state,
                (Ink::Plain, owner),
                (Ink::Plain, short(&shard.checkpoint)),
                (
                    Ink::Plain,
                    shard
                        .throughput_kbps
                        .map_or("-".to_owned(), |kbps| format!("{kbps:.1}")),
                ),
            ];
            if has_lags {
                let lag = shard
                    .lag
                    .as_ref()
                    .map_or((Ink::Plain, "-".to_owned()), Lag::shown);
                cells.push(lag);
            }
            columns.row(cells);
        }
        columns.lines()
    }
}

impl ShardLine {
    fn of(lease: &Lease, depth: usize, look: &Look, lags: &BTreeMap<LeaseKey, Lag>) -> Self {
        let next = lease.owner.as_ref().filter(|_| lease.is_in_hand_off());
        Self {
            lease: lease.key.to_string(),
            depth,
            state: State::of(lease, look),
            processor: lease.actual_owner().map(ToString::to_string),
            next: next.map(ToString::to_string),
            checkpoint: lease.checkpoint.to_string(),
            counter: lease.counter,
            owner_switches: lease.owner_switches_since_checkpoint,
            throughput_kbps: lease.throughput_kbps.filter(|kbps| kbps.is_finite()),
            paused_since: lease.paused_since,
            rewind_to: lease.rewind_to.as_ref().map(ToString::to_string),
            lag: lags.get(&lease.key).cloned(),
        }
    }

    /// For how long it has been paused, if it is.
    fn paused(&self, look: &Look) -> Option<Duration> {
        let since = Duration::from_millis(self.paused_since?);
        let now = look.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Some(now.saturating_sub(since))
    }
}

/// What needs attention, in lines.
pub(crate) fn finding_lines(findings: &[Finding]) -> Vec<Line> {
    let lines = findings
        .iter()
        .map(|found| Line::of(Ink::Bad, "! ").and(Ink::Plain, found.text.as_str()));
    lines.collect()
}

/// The end of a position, which is what differs.
fn short(checkpoint: &str) -> String {
    match checkpoint.char_indices().rev().nth(13) {
        Some((start, _)) if start > 0 && checkpoint.starts_with(|it: char| it.is_ascii_digit()) => {
            format!("…{}", &checkpoint[start..])
        }
        _ => checkpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use kcl_lease::{Checkpoint, LeaderLock, TableSnapshot, WorkerRow};

    use super::*;

    #[test]
    fn a_list_shows_who_has_what_and_names_cannot_do_harm() {
        let mut taken = Lease::new(
            "s0",
            Checkpoint::parse("4968041362666151724512877530", 3).unwrap(),
        );
        taken.owner = Some("b".into());
        taken.checkpoint_owner = Some("a\u{1b}[31m".into());
        taken.paused_since = Some(1_799_999_940_000);
        let child = Lease::new("s1", Checkpoint::TrimHorizon).with_parents(["s0"]);
        let workers = vec![
            WorkerRow::new("a\u{1b}[31m", 1_799_999_990),
            WorkerRow::new("b", u64::MAX),
        ];
        let look = Look {
            snapshot: TableSnapshot::new(vec![taken, child], workers),
            lock: Ok(Some(LeaderLock::new("b".into(), Duration::from_secs(5), "v"))),
            at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        };
        let listing = Listing::of("app", &look, &BTreeMap::new());
        let lines: Vec<_> = listing
            .lines(&look)
            .iter()
            .map(|line| line.rendered(false).trim_end().to_owned())
            .collect();
        assert_eq!(
            lines,
            [
                "app: 2 workers, 2 shards, 0 ended; leader: b",
                "",
                "WORKER       KIND  SHARDS  REPORTED                    CPU  CONDITION",
                r"a\u{1b}[31m  Java  1       10 s ago                    -",
                "b            Java  0 (+1)  at a time that has no date  -    leads",
                "",
                "SHARD  STATE                   OWNER             CHECKPOINT       KB/S",
                r"s0     hand-off, paused 1 min  a\u{1b}[31m -> b  …724512877530:3  -",
                "└ s1   no owner                -                 TRIM_HORIZON     -",
                "",
                "! 1 shard without owner: s1",
            ]
        );
    }
}
