//! What was put, and what the database has.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kcl_examples::exactly_once::{Total, Totals};

use crate::fleet::Deeds;
use crate::network::Writes;

pub(crate) struct Report {
    pub(crate) put: Totals,
    pub(crate) found: Totals,
    pub(crate) deeds: Deeds,
    pub(crate) writes: Arc<Writes>,
}

/// What came into the database since it was read before.
pub(crate) fn growth(before: &Totals, after: &Totals) -> Totals {
    let growth = after.iter().map(|(account, total)| {
        let before = before.get(account).copied().unwrap_or_default();
        let total = Total {
            balance: total.balance - before.balance,
            records: total.records - before.records,
        };
        (account.clone(), total)
    });
    growth.filter(|(_, total)| *total != Total::default()).collect()
}

impl Report {
    /// Whether each account is as it must be.
    pub(crate) fn is_exact(&self) -> bool {
        self.wrong().is_empty()
    }

    fn wrong(&self) -> Vec<&str> {
        let accounts = self.put.keys().chain(self.found.keys());
        let mut wrong: Vec<_> = accounts
            .filter(|account| self.put.get(*account) != self.found.get(*account))
            .map(String::as_str)
            .collect();
        wrong.sort_unstable();
        wrong.dedup();
        wrong
    }
}

fn sum(totals: &Totals) -> Total {
    totals.values().fold(Total::default(), |sum, total| Total {
        balance: sum.balance + total.balance,
        records: sum.records + total.records,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "                       accounts     records         sum")?;
        for (name, totals) in [("put", &self.put), ("in the database", &self.found)] {
            let (accounts, sum) = (totals.len(), sum(totals));
            writeln!(f, "{name:20}{accounts:11}{:12}{:12}", sum.records, sum.balance)?;
        }
        writeln!(f, "accounts that differ{:11}\n", self.wrong().len())?;
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (deeds, writes) = (&self.deeds, &self.writes);
        for (name, count) in [
            ("workers killed", deeds.killed),
            ("workers stopped", deeds.stopped),
            ("shards split", deeds.split),
            ("shards merged", deeds.merged),
            ("transactions committed", count(&writes.committed)),
            ("stale writes refused", count(&writes.refused)),
            ("answers lost", count(&writes.unanswered)),
            ("records that came again and were skipped", count(&writes.skipped)),
        ] {
            writeln!(f, "{name:40}{count:12}")?;
        }
        for account in self.wrong() {
            let (put, found) = (self.put.get(account), self.found.get(account));
            writeln!(
                f,
                "WRONG: {account}: {put:?} was put, {found:?} is in the database"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(of: &[(&str, i64, i64)]) -> Totals {
        let total = |(account, balance, records): &(&str, i64, i64)| {
            let (balance, records) = (*balance, *records);
            ((*account).to_owned(), Total { balance, records })
        };
        of.iter().map(total).collect()
    }

    #[test]
    fn what_was_there_before_does_not_count() {
        let before = totals(&[("a", 5, 1), ("b", 7, 2)]);
        let after = totals(&[("a", 5, 1), ("b", 9, 3), ("c", 1, 1)]);
        assert_eq!(growth(&before, &after), totals(&[("b", 2, 1), ("c", 1, 1)]));
    }

    #[test]
    fn an_account_that_is_missing_too_many_or_different_is_wrong() {
        let report = Report {
            put: totals(&[("a", 5, 1), ("b", 7, 2), ("c", 0, 1)]),
            found: totals(&[("b", 7, 2), ("c", 0, 2), ("d", 1, 1)]),
            deeds: Deeds::default(),
            writes: Arc::default(),
        };
        assert_eq!(report.wrong(), ["a", "c", "d"]);
        assert!(!report.is_exact());
    }
}
