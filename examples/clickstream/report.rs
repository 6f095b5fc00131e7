//! The bottom line.

use std::fmt::Write as _;
use std::time::Duration;

use crate::ledger::{Again, Totals};
use crate::producer::Production;
use crate::stage::Stage;
use crate::takeovers::{Cause, TakeOver};
use crate::view::{grouped, short};

/// How many take-overs are listed.
const LISTED: usize = 40;

/// Everything that is known at the end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) took: Duration,
    /// `None` if nothing was produced by this run.
    pub(crate) production: Option<Production>,
    pub(crate) totals: Totals,
    pub(crate) keys: usize,
    pub(crate) lost: u64,
    /// Some of the lost records, in words.
    pub(crate) missing: Vec<String>,
    pub(crate) take_overs: Vec<TakeOver>,
    pub(crate) orphans: usize,
    /// How long the consumers needed once nothing was written any more; `None` if they did not catch up in time.
    pub(crate) drained: Option<Duration>,
    /// What went wrong besides: workers that failed, a script that could not go on.
    pub(crate) failures: Vec<String>,
    pub(crate) peak_memory: Option<u64>,
}

impl Report {
    /// Reads the books.
    pub(crate) fn of(stage: &Stage) -> Self {
        let books = stage.books();
        Self {
            took: stage.now(),
            totals: books.ledger.totals().clone(),
            keys: books.ledger.keys(),
            lost: books.ledger.behind(),
            missing: books.ledger.missing(5),
            take_overs: books.take_overs.done().to_vec(),
            orphans: books.take_overs.orphans(),
            peak_memory: peak_memory(),
            ..Self::default()
        }
    }

    /// The promises that were not kept, in words. Empty: all is well.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = self.failures.clone();
        if self.lost > 0 {
            broken.push(format!(
                "{} records were put and never processed",
                grouped(self.lost)
            ));
            broken.extend(self.missing.iter().map(|record| format!("  {record}")));
        }
        let disorder = self.totals.overtaken + self.totals.backwards;
        if disorder > 0 {
            broken.push(format!("the order was violated {} times", grouped(disorder)));
            broken.extend(
                self.totals
                    .disorder
                    .iter()
                    .map(|violation| format!("  {violation}")),
            );
        }
        if self.drained.is_none() && self.failures.is_empty() {
            broken.push("the workers did not catch up in time".to_owned());
        }
        if self.orphans > 0 {
            broken.push(format!(
                "{} shards of the killed worker have no new owner",
                self.orphans
            ));
        }
        broken
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::from("\nReport\n");
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<22}{value}");
        };
        let totals = &self.totals;
        if let Some(production) = &self.production {
            line("source", production.source.clone());
            let mib = totals.put_bytes as f64 / f64::from(1 << 20);
            line(
                "records put",
                format!(
                    "{}, {mib:.1} MiB, {} keys",
                    grouped(totals.put),
                    grouped(self.keys as u64)
                ),
            );
            if production.retried > 0 {
                line("refused at first", grouped(production.retried));
            }
            line(
                "processed",
                format!("{} (each counted once)", grouped(totals.unique)),
            );
            line("lost", grouped(self.lost));
        }
        if totals.foreign > 0 || self.production.is_none() {
            line(
                "records of others",
                format!("{} (each counted once)", grouped(totals.foreign)),
            );
        }
        line("duplicates", self.duplicates());
        line("order violations", grouped(totals.overtaken + totals.backwards));
        if let Some(production) = &self.production {
            let bad: Vec<_> = production
                .oddities
                .bad
                .iter()
                .map(|(why, count)| format!("{} {why}", grouped(*count)))
                .collect();
            line(
                "bad lines",
                if bad.is_empty() {
                    "0".to_owned()
                } else {
                    format!("{}, left out", bad.join(", "))
                },
            );
            if production.oddities.unrecognised > 0 {
                line(
                    "lines without a key",
                    format!("{}, sent as they are", grouped(production.oddities.unrecognised)),
                );
            }
            let rate = totals.put as f64 / production.time.as_secs_f64().max(0.001);
            line(
                "throughput",
                format!(
                    "{}/s over {:.1} s",
                    grouped(rate as u64),
                    production.time.as_secs_f64()
                ),
            );
            line(
                "drained",
                self.drained.map_or("not in time".to_owned(), |time| {
                    format!("{:.1} s after the last put", time.as_secs_f64())
                }),
            );
        }
        let shares: Vec<_> = totals
            .by_worker
            .iter()
            .map(|(worker, count)| format!("{worker} {}", grouped(*count)))
            .collect();
        line("deliveries", shares.join(", "));
        if let Some(memory) = self.peak_memory {
            line("peak memory", format!("{} MiB", grouped(memory >> 20)));
        }
        line("took", format!("{:.1} s", self.took.as_secs_f64()));
        text.push_str(&self.take_overs());
        text
    }

    fn duplicates(&self) -> String {
        let duplicates = &self.totals.duplicates;
        if duplicates.is_empty() {
            return "0".to_owned();
        }
        let causes: Vec<_> = duplicates
            .iter()
            .map(|(again, count)| match again {
                Again::After(cause) => format!("{} after {cause}", grouped(*count)),
                Again::PutTwice => format!("{} put twice by the producer", grouped(*count)),
            })
            .collect();
        causes.join(", ")
    }

    fn take_overs(&self) -> String {
        if self.take_overs.is_empty() {
            return String::new();
        }
        let mut text = format!(
            "\nTake-overs\n  {:>6}  {:>5}  {:<12}{:<15}{:>7}\n",
            "at", "shard", "from to", "cause", "stall"
        );
        for take_over in self.take_overs.iter().take(LISTED) {
            let TakeOver {
                shard,
                from,
                to,
                cause,
                at,
                stall,
            } = take_over;
            let move_ = format!("{} -> {to}", from.as_deref().unwrap_or("-"));
            let (at, stall) = (at.as_secs_f64(), stall.as_secs_f64());
            let _ = writeln!(
                text,
                "  {at:>4.1} s  {:>5}  {move_:<12}{cause:<15}{stall:>5.2} s",
                short(shard)
            );
        }
        if self.take_overs.len() > LISTED {
            let _ = writeln!(text, "  and {} more", self.take_overs.len() - LISTED);
        }
        for cause in [
            Cause::Start,
            Cause::Reshard,
            Cause::Balance,
            Cause::Stop,
            Cause::Kill,
            Cause::Loss,
        ] {
            let stalls = || {
                self.take_overs
                    .iter()
                    .filter(|take_over| take_over.cause == cause)
                    .map(|take_over| take_over.stall)
            };
            if let (Some(least), Some(most)) = (stalls().min(), stalls().max()) {
                let (count, least, most) = (stalls().count(), least.as_secs_f64(), most.as_secs_f64());
                let _ = writeln!(text, "  {cause}: {count} shards, {least:.2} to {most:.2} s");
            }
        }
        text
    }
}

/// The most memory that this process ever had, in bytes, where the system says so.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            drained: Some(Duration::from_secs(1)),
            ..Report::default()
        }
    }

    #[test]
    fn duplicates_break_no_promise() {
        let mut report = good();
        report.totals.duplicates = [(Again::After(Cause::Kill), 1_234)].into();
        assert_eq!(report.broken(), [""; 0]);
        assert!(report.text().contains("1,234 after kill"), "{}", report.text());
    }

    #[test]
    fn every_broken_promise_is_told() {
        let mut report = good();
        report.lost = 2;
        report.missing = vec!["user-1: 7".into()];
        report.totals.overtaken = 1;
        report.drained = None;
        report.orphans = 1;
        let broken = report.broken().join("\n");
        for promise in ["2 records", "user-1: 7", "order", "catch up", "no new owner"] {
            assert!(broken.contains(promise), "{promise} in {broken}");
        }
        report.failures = vec!["w1: gone".into()];
        let broken = report.broken().join("\n");
        assert!(
            broken.contains("w1: gone") && !broken.contains("catch up"),
            "{broken}"
        );
    }

    #[test]
    fn take_overs_are_listed_and_summed_up_by_cause() {
        let mut report = good();
        let take_over = |stall| TakeOver {
            shard: "shardId-000000000003".into(),
            from: Some("w1".into()),
            to: "w2".into(),
            cause: Cause::Kill,
            at: Duration::from_secs(20),
            stall: Duration::from_secs(stall),
        };
        report.take_overs = vec![take_over(10), take_over(11)];
        let text = report.text();
        assert!(
            text.contains("20.0 s      3  w1 -> w2    kill           10.00 s"),
            "{text}"
        );
        assert!(text.contains("kill: 2 shards, 10.00 to 11.00 s"), "{text}");
    }
}
