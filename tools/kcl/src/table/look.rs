//! One look at a table.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_lease::{
    Environment, LeaderLock, Lease, LeaseKey, LeaseStore, StoreErrorKind, TableSnapshot, WorkerId, WorkerRow,
};
use serde::Serialize;

use crate::failure::Failure;

/// All rows of a table, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) snapshot: TableSnapshot,
    /// The leader's lock; why it cannot be read, if it cannot.
    pub(crate) lock: Result<Option<LeaderLock>, String>,
    /// When it was taken.
    pub(crate) at: SystemTime,
}

/// Which library a worker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Rust,
    Java,
    /// Only leases name it.
    Unknown,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Java => "Java",
            Self::Unknown => "?",
        }
    }
}

impl Look {
    pub(crate) async fn at(store: &dyn LeaseStore, env: &Environment) -> Result<Self, Failure> {
        let snapshot = store.scan().await?;
        let lock = match store.read_leader().await {
            Ok(lock) => Ok(lock),
            Err(error) if error.kind() == StoreErrorKind::Invalid => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            snapshot,
            lock,
            at: env.now(),
        })
    }

    pub(crate) fn epoch_seconds(&self) -> u64 {
        self.at
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs()
    }

    /// The worker that leads, as far as the lock tells.
    pub(crate) fn leader(&self) -> Option<&WorkerId> {
        let lock = self.lock.as_ref().ok()?.as_ref()?;
        (!lock.released).then_some(&lock.owner)
    }

    pub(crate) fn lease(&self, key: &LeaseKey) -> Option<&Lease> {
        let leases = &self.snapshot.leases;
        let index = leases.binary_search_by(|lease| lease.key.cmp(key)).ok()?;
        leases.get(index)
    }

    pub(crate) fn worker(&self, id: &WorkerId) -> Option<&WorkerRow> {
        self.snapshot.workers.iter().find(|row| row.id == *id)
    }

    /// Which library a worker uses, by its row, or else by a lease that it began with.
    pub(crate) fn kind(&self, id: &WorkerId) -> Kind {
        match self.worker(id) {
            Some(row) if row.report_period.is_some() => Kind::Rust,
            Some(_) => Kind::Java,
            None => {
                let began = |lease: &Lease| {
                    let process = lease.process.as_ref();
                    lease.actual_owner() == Some(id) && process.is_some_and(|process| process.is_of(id))
                };
                match self.snapshot.leases.iter().any(began) {
                    true => Kind::Rust,
                    false => Kind::Unknown,
                }
            }
        }
    }

    /// Every worker that has a row, or that a lease names: how many leases it processes, and how many are on their way to it.
    pub(crate) fn holdings(&self) -> BTreeMap<WorkerId, Holding> {
        let rows = self.snapshot.workers.iter();
        let mut all: BTreeMap<_, _> = rows.map(|row| (row.id.clone(), Holding::default())).collect();
        for lease in self.snapshot.leases.iter().filter(|lease| !lease.has_ended()) {
            if let Some(processor) = lease.actual_owner() {
                all.entry(processor.clone()).or_default().processes += 1;
            }
            if let Some(next) = lease.owner.as_ref().filter(|_| lease.is_in_hand_off()) {
                all.entry(next.clone()).or_default().awaits += 1;
            }
        }
        all
    }

    /// When a worker reported; `None` if no clock can mean it.
    pub(crate) fn reported_at(row: &WorkerRow) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(row.reported_at))
    }
}

/// Leases of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holding {
    pub(crate) processes: usize,
    /// In a hand-off to it.
    pub(crate) awaits: usize,
}
