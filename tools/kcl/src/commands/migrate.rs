//! `kcl migrate`: how far the migration from KCL 2.x, or to a single table, is, and what is next.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use kcl_lease::{ClientVersion, Generation, MigrationRow, StoreErrorKind};
use serde::Serialize;

use crate::failure::{Failure, Status};
use crate::screen::{Ink, Line, Screen, count, date};
use crate::table::{Look, Table};

/// The index by which workers of 3.x find their leases.
const INDEX: &str = "LeaseOwnerToLeaseKeyIndex";
/// Reports older than this do not count for the migration.
const FRESH: u64 = 60;

pub(super) async fn run(table: &Table, screen: &mut Screen<'_>) -> Result<Status, Failure> {
    let generation = table.store.generation().await?;
    let look = table.look().await?;
    let described = table
        .client
        .describe_table()
        .table_name(table.options.name())
        .send()
        .await;
    let has_index = described.ok().and_then(|it| it.table).is_some_and(|it| {
        it.global_secondary_indexes()
            .iter()
            .any(|index| index.index_name() == Some(INDEX))
    });
    let refusal = match table.store.check().await {
        Ok(()) => None,
        Err(error) if error.kind() == StoreErrorKind::Incompatible => Some(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let report = Migration {
        protocol: protocol(&generation, &look, has_index),
        tables: tables(&generation),
        rust_workers: match &refusal {
            None => "may join".to_owned(),
            Some(refusal) => format!("are refused: {refusal}"),
        },
        generation,
    };
    if screen.json {
        screen.report(&report, false)?;
    } else {
        screen.lines(report.lines())?;
    }
    let is_over = report.protocol.is_over && report.tables.is_over;
    Ok(Status::attention_if(!is_over || refusal.is_some()))
}

/// How far both migrations are.
#[derive(Debug, Serialize)]
struct Migration {
    /// From the protocol of 2.x to that of 3.x.
    protocol: Stage,
    /// From three tables to one.
    tables: Stage,
    /// Whether workers of this library may join.
    rust_workers: String,
    generation: Generation,
}

/// How far a migration is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Stage {
    /// The state as it is stored; absent if none is.
    state: Option<String>,
    is_over: bool,
    now: String,
    next: String,
    /// What it waits for.
    waits_for: Vec<String>,
}

fn stage(row: Option<&MigrationRow>, is_over: bool, now: &str, next: &str) -> Stage {
    Stage {
        state: row.and_then(|row| row.state.clone()),
        is_over,
        now: now.to_owned(),
        next: next.to_owned(),
        waits_for: Vec::new(),
    }
}

fn protocol(generation: &Generation, look: &Look, has_index: bool) -> Stage {
    let row = generation.client_version.as_ref();
    let state = row.map(|row| row.state.as_deref().unwrap_or("unreadable"));
    match state {
        Some(ClientVersion::CURRENT) => stage(
            row,
            true,
            "all workers speak the protocol of KCL 3.x",
            "nothing; there is no way back to 2.x",
        ),
        Some("CLIENT_VERSION_3X_WITH_ROLLBACK") => stage(
            row,
            false,
            "all workers work as those of 3.x do, and can still be rolled back",
            "when you are content, deploy all with CLIENT_VERSION_CONFIG_3X: that ends the migration. To go back, run \
             KclMigrationTool with rollback",
        ),
        Some("CLIENT_VERSION_UPGRADE_FROM_2X") => Stage {
            waits_for: readiness(look, has_index),
            ..stage(
                row,
                false,
                "workers of 3.x work as those of 2.x do, until the leader finds that all are ready",
                "nothing is to be done: the leader switches over when all of this has held for ten minutes",
            )
        },
        Some("CLIENT_VERSION_2X") => stage(
            row,
            false,
            "it was rolled back: all workers work as those of 2.x do",
            "deploy a version of 2.x, or run KclMigrationTool with rollforward to try again",
        ),
        Some("CLIENT_VERSION_INIT") => stage(
            row,
            false,
            "workers of 3.5 work as those of 2.x do (first phase)",
            "when all workers are of 3.5, deploy them with CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
        ),
        Some(_) => stage(
            row,
            false,
            "the row Migration3.0 is in a state that this version does not know",
            "look at the workers' versions",
        ),
        None if look.snapshot.leases.is_empty() => stage(
            None,
            true,
            "there are no leases: the first worker that starts decides",
            "nothing",
        ),
        None => stage(
            None,
            false,
            "there are leases but no row Migration3.0: workers of 2.x, or of 3.5 in the first phase",
            "deploy all workers with KCL 3.x and CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X; or stop all for good, and start workers of this \
             library with takes_over_from_2x",
        ),
    }
}

/// What the leader of a migration from 2.x waits for.
fn readiness(look: &Look, has_index: bool) -> Vec<String> {
    let mut waits = Vec::new();
    if !has_index {
        waits.push(format!("the index {INDEX}, which the workers make, is not there"));
    }
    let open = || look.snapshot.leases.iter();
    let unowned = open().filter(|lease| lease.owner.is_none()).count();
    if unowned > 0 {
        waits.push(format!("{} without owner", count(unowned, "lease")));
    }
    let now = look.epoch_seconds();
    let fresh: BTreeSet<_> = look
        .snapshot
        .workers
        .iter()
        .filter(|row| now.abs_diff(row.reported_at) <= FRESH)
        .map(|row| &row.id)
        .collect();
    let silent: BTreeSet<String> = open()
        .filter_map(|lease| lease.owner.as_ref())
        .filter(|owner| !fresh.contains(owner))
        .map(ToString::to_string)
        .collect();
    waits.extend(silent.into_iter().map(|owner| {
        format!("{owner} owns leases, and has not reported within {FRESH} s: it may be of 2.x still")
    }));
    waits
}

fn tables(generation: &Generation) -> Stage {
    let row = generation.table_migration.as_ref();
    let state = row.map(|row| row.state.as_deref().unwrap_or("unreadable"));
    if generation.coordinator_state_table.is_none() {
        return stage(row, true, "all is in one table, as from KCL 3.5 on", "nothing");
    }
    match state {
        Some("TABLE_MIGRATION_STATUS_COMPLETE") => stage(
            row,
            true,
            "all is in one table",
            "the tables -CoordinatorState and -WorkerMetricStats are used no more: delete them when no worker of 3.0 to 3.4 is left",
        ),
        Some("TABLE_MIGRATION_STATUS_PENDING") => stage(
            row,
            false,
            "all workers use the single table; the leader's lock is still in -CoordinatorState, and going back is possible",
            "wait: a Java leader completes it. While a worker of this library leads it makes no progress",
        ),
        Some("TABLE_MIGRATION_STATUS_DEPLOYED") => stage(
            row,
            false,
            "all workers understand the single table",
            "deploy all Java workers with migrateAllEntitiesToLeaseTable, and those of this library with moves_to_single_table",
        ),
        Some("TABLE_MIGRATION_STATUS_INIT") => stage(
            row,
            false,
            "all workers are of KCL 3.5; that has to last for an hour",
            "wait; do not set migrateAllEntitiesToLeaseTable yet",
        ),
        None => stage(
            None,
            false,
            "workers of 3.0 to 3.4 keep their state in three tables",
            "deploy KCL 3.5 to all Java workers; then the leader begins",
        ),
        Some(_) => stage(
            row,
            false,
            "the row TableMigration3.5 is in a state that this version does not know",
            "look at the workers' versions",
        ),
    }
}

impl Migration {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let rows = [&self.generation.client_version, &self.generation.table_migration];
        let stages = [
            ("from 2.x to 3.x", &self.protocol),
            ("to a single table", &self.tables),
        ];
        for ((title, stage), row) in stages.into_iter().zip(rows) {
            let ink = if stage.is_over { Ink::Good } else { Ink::Warning };
            let state = stage.state.as_deref().unwrap_or("no state is stored");
            lines.push(Line::of(Ink::Strong, title).and(ink, format!("  {state}")));
            lines.push(Line::from(format!("  now   {}", stage.now)));
            lines.push(Line::from(format!("  next  {}", stage.next)));
            let waits = stage.waits_for.iter();
            lines.extend(waits.map(|wait| Line::of(Ink::Warning, format!("  waits {wait}"))));
            if let Some(row) = row {
                let at = row
                    .modified_at
                    .and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
                let at = at.map_or("at a time that is not told".to_owned(), date);
                let by = row.modified_by.as_deref().unwrap_or("nobody that is named");
                lines.push(Line::of(
                    Ink::Faint,
                    format!("  since {at}, by {by}, in {}", row.table),
                ));
            }
        }
        lines.push(
            Line::of(Ink::Strong, "workers of this library")
                .and(Ink::Plain, format!("  {}", self.rust_workers)),
        );
        lines
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::{Checkpoint, Lease, TableSnapshot, WorkerRow};

    use super::*;

    #[test]
    fn a_migration_from_2x_waits_for_the_index_and_for_every_owner_to_report() {
        let owned = |key: &str, owner: Option<&str>| {
            let mut lease = Lease::new(key, Checkpoint::TrimHorizon);
            lease.owner = owner.map(Into::into);
            lease
        };
        let leases = vec![owned("a", Some("new")), owned("b", Some("old")), owned("c", None)];
        let look = Look {
            snapshot: TableSnapshot::new(leases, vec![WorkerRow::new("new", 990)]),
            lock: Ok(None),
            at: UNIX_EPOCH + Duration::from_secs(1_000),
        };
        let waits = readiness(&look, false);
        assert_eq!(waits.len(), 3, "{waits:?}");
        assert!(waits[2].starts_with("old owns leases"), "{waits:?}");
        assert!(readiness(&look, true).len() == 2);
    }
}
