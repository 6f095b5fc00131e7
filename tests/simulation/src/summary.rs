//! The bottom line of many histories.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::stalls::{self, Cause};
use crate::world::Outcome;

/// What many histories came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    histories: u64,
    broken: Vec<(u64, &'static str)>,
    events: usize,
    lasted: Duration,
    faults: BTreeMap<&'static str, u64>,
    worst: BTreeMap<Cause, (Duration, u64)>,
    /// Real time, once it is known.
    pub took: Duration,
    /// How many histories ran at a time.
    pub threads: usize,
}

impl Summary {
    /// Adds a history.
    pub fn add(&mut self, outcome: &Outcome) {
        self.histories += 1;
        self.events += outcome.events.len();
        self.lasted += outcome.lasted;
        if let Some(violation) = outcome.violations.first() {
            self.broken.push((outcome.seed, violation.rule));
        }
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (cause, stall) in stalls::worst(&outcome.events) {
            let worst = self.worst.entry(cause).or_default();
            *worst = (*worst).max((stall, outcome.seed));
        }
    }

    /// How many histories broke a rule.
    pub fn broken(&self) -> usize {
        self.broken.len()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.lasted.as_secs_f64() / 3600.0;
        let minutes = self.took.as_secs_f64() / 60.0;
        writeln!(f, "histories                        {:>10}", self.histories)?;
        writeln!(f, "  of which broke a rule          {:>10}", self.broken.len())?;
        writeln!(f, "events                           {:>10}", self.events)?;
        writeln!(f, "virtual hours                    {hours:>10.1}")?;
        writeln!(
            f,
            "real time, s                     {:>10.1}",
            self.took.as_secs_f64()
        )?;
        writeln!(
            f,
            "  per real minute and core       {:>10.1}",
            hours / minutes.max(1e-9) / self.threads.max(1) as f64
        )?;
        writeln!(f, "worst take-over of a shard")?;
        for (cause, (worst, seed)) in &self.worst {
            writeln!(
                f,
                "  {:<30} {:>8.1} s (seed {seed})",
                format!("its worker {}", cause.name()),
                worst.as_secs_f64()
            )?;
        }
        writeln!(f, "faults")?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<30} {count:>10}")?;
        }
        for (seed, rule) in &self.broken {
            writeln!(f, "seed {seed}: {rule}")?;
        }
        Ok(())
    }
}
