//! What a run has shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kcl_tests::Tally;

use crate::faults::Fault;
use crate::takeovers::Cause;
use crate::witness::Books;

pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) failover: Duration,
    pub(crate) took: Duration,
    pub(crate) processes: usize,
    pub(crate) met: &'a BTreeMap<Fault, usize>,
    /// How long it took to catch up after each storm.
    pub(crate) calms: &'a [Duration],
    pub(crate) tally: Tally,
    pub(crate) books: &'a Books,
}

/// What must hold of records and owners whatever happened, where it does not, as sentences.
pub(crate) fn broken_promises(tally: &Tally, books: &Books) -> Vec<String> {
    let mut broken = books.fencing.violations();
    broken.extend(tally.lost.iter().map(|record| format!("{record} was lost")));
    broken.extend(tally.disorder.iter().cloned());
    broken
}

impl Report<'_> {
    /// Promises that were not kept, as sentences.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = broken_promises(&self.tally, self.books);
        let expired = self.books.fencing.expired();
        if expired > self.excusable() {
            broken.push(format!(
                "{expired} batches were begun on expired leases after a successor had begun"
            ));
        }
        let unmet = Fault::ALL.iter().filter(|fault| !self.met.contains_key(fault));
        broken.extend(unmet.map(|fault| format!("no worker met: {fault}")));
        broken
    }

    /// Batches on expired leases that may be put down to a process being frozen in just that moment, which a hundredth of
    /// all freezes at most can do.
    fn excusable(&self) -> usize {
        1 + self.met.get(&Fault::FrozenLong).copied().unwrap_or_default() / 100
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tally, books) = (&self.tally, self.books);
        writeln!(
            f,
            "\nseed {}, {} processes in {:.0} s, fail-over time {:?}",
            self.seed,
            self.processes,
            self.took.as_secs_f64(),
            self.failover
        )?;
        writeln!(f, "faults")?;
        for (fault, count) in self.met {
            writeln!(f, "  {count:6}  {fault}")?;
        }
        writeln!(f, "take-overs, from the fault to the next owner's first batch")?;
        for cause in [Cause::Killed, Cause::Restarted, Cause::Frozen, Cause::ToldToLeave] {
            let times = books.take_overs.times(cause);
            writeln!(f, "  {:6}  {cause:14} {}", times.len(), spread(&times))?;
        }
        let mut calms = self.calms.to_vec();
        calms.sort();
        writeln!(f, "caught up after faults stopped")?;
        writeln!(f, "  {:6}  times          {}", calms.len(), spread(&calms))?;
        writeln!(f, "records")?;
        for (count, words) in [
            (tally.put, "put"),
            (tally.duplicates, "delivered again"),
            (tally.lost.len() as u64, "lost"),
            (tally.disorder.len() as u64, "out of order"),
        ] {
            writeln!(f, "  {count:6}  {words}")?;
        }
        writeln!(f, "processors and checkpoints")?;
        for (count, words) in [
            (books.ownerships, "processors made"),
            (books.lost, "told that their lease is lost"),
            (books.saved, "checkpoints made"),
            (books.refused, "refused, because the lease was lost"),
            (books.unsaved, "failed for other reasons"),
            (
                books.barred,
                "writes of owners that were replaced, refused by the database",
            ),
            (books.unwritten, "writes to the database that failed otherwise"),
            (
                books.fencing.expired(),
                "batches begun on an expired lease after a successor had begun",
            ),
            (books.fencing.violations().len(), "violations of fencing"),
        ] {
            writeln!(f, "  {count:6}  {words}")?;
        }
        Ok(())
    }
}

/// Median, 99th percentile and maximum of sorted times.
fn spread(times: &[Duration]) -> String {
    let at = |share: f64| {
        let rank = (times.len() as f64 * share).ceil() as usize;
        times.get(rank.saturating_sub(1)).map(Duration::as_secs_f64)
    };
    match (at(0.5), at(0.99), at(1.0)) {
        (Some(median), Some(high), Some(most)) => {
            format!("p50 {median:5.2} s, p99 {high:5.2} s, max {most:5.2} s")
        }
        _ => "-".to_owned(),
    }
}
