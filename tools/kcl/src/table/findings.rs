//! What in a table needs attention, as a single look shows it. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use kcl_core::FleetOptions;
use kcl_lease::{Trouble, WorkerId};
use serde::Serialize;

use super::Look;
use crate::screen::{ago, at_millis, count, span};

/// Workers of both kinds report every 30 s while they have leases.
const SILENT: Duration = Duration::from_secs(120);
/// So many names are told of each kind.
const NAMED: usize = 3;

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// A name that does not change.
    pub(crate) code: &'static str,
    /// A sentence that says what it is, and what to do.
    pub(crate) text: String,
}

/// What needs attention.
pub(crate) fn findings(look: &Look) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |code: &'static str, text: String| found.push(Finding { code, text });
    let snapshot = &look.snapshot;
    if !snapshot.unreadable.is_empty() {
        let rows = snapshot
            .unreadable
            .iter()
            .map(|row| format!("{}: {}", row.key, row.problem));
        find(
            "rows-unreadable",
            format!(
                "{} cannot be read, and nobody is given leases of such rows until they are corrected, or deleted to begin anew: {}",
                count(snapshot.unreadable.len(), "row"),
                some(rows)
            ),
        );
    }
    if !snapshot.unknown.is_empty() {
        let rows = snapshot
            .unknown
            .iter()
            .map(|row| format!("{}: {}", row.key, row.problem));
        find(
            "rows-unknown",
            format!(
                "{} of a type that this version does not know, so that it does not write to the table: {}",
                count(snapshot.unknown.len(), "row"),
                some(rows)
            ),
        );
    }
    match &look.lock {
        Err(problem) => find("lock-unreadable", problem.clone()),
        Ok(None) if !snapshot.workers.is_empty() => find(
            "no-leader",
            "nobody leads: if this lasts for more than some seconds, no worker runs, or none can take the lock".to_owned(),
        ),
        Ok(_) => {}
    }
    let open = || snapshot.leases.iter().filter(|lease| !lease.has_ended());
    let unowned: Vec<_> = open()
        .filter(|lease| lease.owner.is_none())
        .map(|lease| lease.key.to_string())
        .collect();
    if !unowned.is_empty() {
        let (shards, named) = (count(unowned.len(), "shard"), some(unowned));
        find("shards-without-owner", format!("{shards} without owner: {named}"));
    }
    let announced: BTreeSet<&WorkerId> = snapshot.workers.iter().map(|row| &row.id).collect();
    let missing: BTreeSet<String> = open()
        .flat_map(|lease| lease.owner.iter().chain(&lease.checkpoint_owner))
        .filter(|owner| !announced.contains(owner))
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() && !announced.is_empty() {
        find(
            "owners-without-row",
            format!(
                "leases name workers that have no row, so that they have left or died: {}",
                some(missing)
            ),
        );
    }
    let holdings = look.holdings();
    for row in &snapshot.workers {
        let has_leases = holdings.get(&row.id).is_some_and(|it| it.processes > 0);
        let at =
            Look::reported_at(row).filter(|at| look.at.duration_since(*at).is_ok_and(|age| age > SILENT));
        if let Some(at) = at.filter(|_| has_leases) {
            let text = format!(
                "worker {} owns shards and reported {}: if its clock is right, it is gone; `kcl plan` watches and tells",
                row.id,
                ago(at, look.at)
            );
            find("owner-silent", text);
        }
        if let Some(since) = row.drained_since {
            let at = at_millis(since);
            let text = format!(
                "worker {} was drained {} and is given nothing; `kcl undrain {}` ends that",
                row.id,
                ago(at, look.at),
                row.id
            );
            find("worker-drained", text);
        }
        if row.trouble != Trouble::default() {
            let failing = row.trouble.failing.iter().map(ToString::to_string);
            let failing = match row.trouble.failing.len() {
                0 => String::new(),
                count => format!(", with {count} shards that fail in it: {}", some(failing)),
            };
            find(
                "worker-in-trouble",
                format!(
                    "worker {} says that it is {:?}{failing}",
                    row.id, row.trouble.condition
                ),
            );
        }
        if row.has_failing_metric() {
            let text = format!(
                "worker {} cannot measure how busy it is, and is given no leases as long as others can",
                row.id
            );
            find("metric-failing", text);
        }
    }
    let times: BTreeSet<Duration> = snapshot
        .workers
        .iter()
        .filter_map(|row| row.failover_time)
        .collect();
    if times.len() > 1 {
        let times = times.iter().map(|time| span(*time));
        let text = format!(
            "workers have different fail-over times: {}; the default is {}",
            some(times),
            span(FleetOptions::default().failover_time)
        );
        find("failover-times-differ", text);
    }
    found
}

/// The first names, and how many more there are.
fn some(names: impl IntoIterator<Item = String>) -> String {
    let mut names = names.into_iter();
    let first: Vec<_> = names.by_ref().take(NAMED).collect();
    let first = first.join(", ");
    match names.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use kcl_lease::{Checkpoint, Condition, LeaderLock, Lease, TableSnapshot, UnreadableRow, WorkerRow};

    use super::*;

    fn codes(snapshot: TableSnapshot) -> Vec<&'static str> {
        let look = Look {
            snapshot,
            lock: Ok(None),
            at: UNIX_EPOCH,
        };
        findings(&look).iter().map(|found| found.code).collect()
    }

    fn owned(key: &str, owner: Option<&str>) -> Lease {
        let mut lease = Lease::new(key, Checkpoint::TrimHorizon);
        lease.owner = owner.map(Into::into);
        lease
    }

    #[test]
    fn each_kind_of_trouble_is_found_and_a_quiet_table_has_none() {
        assert!(codes(TableSnapshot::default()).is_empty());
        let ended = Lease::new("e", Checkpoint::ShardEnd);
        assert!(codes(TableSnapshot::new(vec![ended, owned("a", Some("w"))], Vec::new())).is_empty());
        assert_eq!(
            codes(TableSnapshot::new(vec![owned("a", None)], Vec::new())),
            ["shards-without-owner"]
        );
        let silent = TableSnapshot::new(vec![owned("a", Some("w"))], vec![WorkerRow::new("w", 1)]);
        let look = Look {
            snapshot: silent,
            lock: Ok(Some(LeaderLock::new("w".into(), Duration::from_secs(5), "v"))),
            at: UNIX_EPOCH + Duration::from_secs(1_000),
        };
        let found = findings(&look);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("reported 16 min 39 s ago"), "{found:?}");
        let mut sick = WorkerRow::new("w", 1);
        sick.trouble.condition = Condition::Unfit;
        sick.failover_time = Some(Duration::from_secs(3));
        let mut other = WorkerRow::new("v", 1);
        other.failover_time = Some(Duration::from_secs(10));
        let mut snapshot = TableSnapshot::new(vec![owned("a", Some("gone"))], vec![other, sick]);
        snapshot.unreadable = vec![UnreadableRow::new("x", "leaseCounter is missing")];
        snapshot.unknown = vec![UnreadableRow::new("y", "strange")];
        assert_eq!(
            codes(snapshot),
            [
                "rows-unreadable",
                "rows-unknown",
                "no-leader",
                "owners-without-row",
                "worker-in-trouble",
                "failover-times-differ"
            ]
        );
    }
}
