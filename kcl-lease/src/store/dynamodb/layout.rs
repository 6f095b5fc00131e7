//! In which tables the rows live that are not leases.
//!
//! The Java KCL 3.0 to 3.4 keeps the leader lock and the migration rows in `APPLICATION-CoordinatorState` and the workers
//! in `APPLICATION-WorkerMetricStats`, and cannot read a lease table that holds anything but leases. From 3.5 on all is
//! in the lease table, unless those tables exist; then the row `TableMigration3.5` tells how far their migration is, and
//! the rules are those of the Java KCL 3.5.

use super::attributes::{LEASE_KEY, STATE_KEY, WORKER_KEY};
use super::table::TableOptions;

/// Where a kind of row lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    /// Name of the table's hash key.
    pub(super) key: &'static str,
}

/// How the application's rows are spread over its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All rows are in the lease table.
    Single,
    /// The lease table holds only leases.
    Separate,
    /// Workers and migration rows are written to the lease table, and read from both. The lock stays where it was.
    Moving,
}

/// `tm` of the row `TableMigration3.5`: how far the Java workers' move to the single table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Migration {
    /// All workers understand the single table; it must last for an hour.
    Init,
    /// Workers may be told to use the single table.
    Deployed,
    /// All workers use it. Going back is still possible.
    Pending,
    /// The tables of the old format are not used any more.
    Complete,
}

impl Migration {
    pub(super) fn parse(status: &str) -> Result<Self, String> {
        match status {
            "TABLE_MIGRATION_STATUS_INIT" => Ok(Self::Init),
            "TABLE_MIGRATION_STATUS_DEPLOYED" => Ok(Self::Deployed),
            "TABLE_MIGRATION_STATUS_PENDING" => Ok(Self::Pending),
            "TABLE_MIGRATION_STATUS_COMPLETE" => Ok(Self::Complete),
            other => Err(format!(
                "the migration of the tables is in the unknown state {other}"
            )),
        }
    }
}

impl Layout {
    /// The Java KCL 3.5's rules at a worker's start, given whether the table of the coordinator's state exists, what its
    /// row `TableMigration3.5` says, and whether this worker is told to move to the single table.
    ///
    /// # Errors
    /// The worker is told to move too early; the sentence says what to do.
    pub(super) fn decide(
        is_separate: bool,
        migration: Option<Migration>,
        moves_to_single: bool,
    ) -> Result<Self, String> {
        if !is_separate {
            return Ok(Self::Single);
        }
        match (migration, moves_to_single) {
            (Some(Migration::Complete), _) => Ok(Self::Single),
            (Some(Migration::Deployed | Migration::Pending), true) => Ok(Self::Moving),
            (_, false) => Ok(Self::Separate),
            (None | Some(Migration::Init), true) => Err(
                "this worker is told to move to the single table, but not all workers are known to understand it; \
                 start it without that option until the row TableMigration3.5 is in state \
                 TABLE_MIGRATION_STATUS_DEPLOYED"
                    .to_owned(),
            ),
        }
    }
}

/// The tables of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) leases: String,
    /// The tables of the Java KCL 3.0 to 3.4, which may or may not exist.
    pub(super) state: String,
    pub(super) workers: String,
}

impl Tables {
    pub(super) fn of(options: &TableOptions) -> Self {
        let named = |name: &Option<String>, suffix| {
            let default = || format!("{}{suffix}", options.application);
            name.clone().unwrap_or_else(default)
        };
        Self {
            leases: options.name().to_owned(),
            state: named(
                &options.coordinator_state_table,
                TableOptions::COORDINATOR_STATE_SUFFIX,
            ),
            workers: named(&options.worker_metrics_table, TableOptions::WORKER_METRICS_SUFFIX),
        }
    }

    pub(super) fn leases(&self) -> Place<'_> {
        Place {
            table: &self.leases,
            key: LEASE_KEY,
        }
    }

    pub(super) fn separate_state(&self) -> Place<'_> {
        Place {
            table: &self.state,
            key: STATE_KEY,
        }
    }

    fn separate_workers(&self) -> Place<'_> {
        Place {
            table: &self.workers,
            key: WORKER_KEY,
        }
    }

    /// The leader's lock.
    pub(super) fn lock(&self, layout: Layout) -> Place<'_> {
        match layout {
            Layout::Single => self.leases(),
            Layout::Separate | Layout::Moving => self.separate_state(),
        }
    }

    /// Where the row `Migration3.0` is written, and where it is looked for, in this order.
    pub(super) fn version(&self, layout: Layout) -> (Place<'_>, Vec<Place<'_>>) {
        match layout {
            Layout::Single => (self.leases(), vec![self.leases()]),
            Layout::Separate => (self.separate_state(), vec![self.separate_state()]),
            Layout::Moving => (self.leases(), vec![self.separate_state(), self.leases()]),
        }
    }

    /// Where a worker's own row is written.
    pub(super) fn own_worker(&self, layout: Layout) -> Place<'_> {
        match layout {
            Layout::Single | Layout::Moving => self.leases(),
            Layout::Separate => self.separate_workers(),
        }
    }

    /// Where rows of workers may be besides the lease table.
    pub(super) fn other_workers(&self, layout: Layout) -> Option<Place<'_>> {
        match layout {
            Layout::Single => None,
            Layout::Separate | Layout::Moving => Some(self.separate_workers()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_is_the_java_kcl_s() {
        use Migration::{Complete, Deployed, Init, Pending};
        for migration in [None, Some(Init), Some(Deployed), Some(Pending), Some(Complete)] {
            for moves in [false, true] {
                assert_eq!(Layout::decide(false, migration, moves), Ok(Layout::Single));
                let expected = match (migration, moves) {
                    (Some(Complete), _) => Ok(Layout::Single),
                    (Some(Deployed | Pending), true) => Ok(Layout::Moving),
                    (None | Some(Init), true) => Err(()),
                    (_, false) => Ok(Layout::Separate),
                };
                let decided = Layout::decide(true, migration, moves).map_err(drop);
                assert_eq!(decided, expected, "{migration:?} {moves}");
            }
        }
    }

    #[test]
    fn only_leases_are_written_to_the_lease_table_while_older_workers_may_read_it() {
        let mut options = TableOptions::new("app");
        options.name = Some("leases".to_owned());
        let tables = Tables::of(&options);
        let written = |layout| {
            [
                tables.lock(layout),
                tables.version(layout).0,
                tables.own_worker(layout),
            ]
            .map(|place| (place.table, place.key))
        };
        assert_eq!(
            written(Layout::Separate),
            [
                ("app-CoordinatorState", "key"),
                ("app-CoordinatorState", "key"),
                ("app-WorkerMetricStats", "wid")
            ]
        );
        assert_eq!(
            written(Layout::Moving),
            [
                ("app-CoordinatorState", "key"),
                ("leases", "leaseKey"),
                ("leases", "leaseKey")
            ]
        );
        assert_eq!(written(Layout::Single), [("leases", "leaseKey"); 3]);
        options.coordinator_state_table = Some("theirs".to_owned());
        options.worker_metrics_table = Some("their-workers".to_owned());
        let tables = Tables::of(&options);
        let layout = Layout::Separate;
        assert_eq!(
            (tables.lock(layout).table, tables.own_worker(layout).table),
            ("theirs", "their-workers")
        );
    }
}
