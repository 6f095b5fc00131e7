//! A lease table in memory, for tests and for applications of one process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    ClientVersion, LeaderLock, LeaseChange, LeaseStore, StoreError, TableSnapshot, WorkerRow, WriteOutcome,
};
use crate::ids::{LeaseKey, ProcessId, WorkerId};
use crate::lease::{Lease, StreamIdentity};

/// A [`LeaseStore`] in memory: always consistent, never slow, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryLeaseStore {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    leases: BTreeMap<LeaseKey, Lease>,
    workers: BTreeMap<WorkerId, WorkerRow>,
    leader: Option<LeaderLock>,
    client_version: Option<ClientVersion>,
    stream: Option<StreamIdentity>,
    kept: Vec<(StreamIdentity, Lease)>,
}

impl Rows {
    /// Whether a worker's row is there for this process to write.
    fn belongs_to(&self, worker: &WorkerId, process: Option<&ProcessId>) -> bool {
        let theirs = self.workers.get(worker).and_then(|row| row.process.as_ref());
        theirs.is_none() || theirs == process
    }
}

impl MemoryLeaseStore {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// As an operator does who deletes the leases, and with them the row that names the protocol.
    #[cfg(test)]
    pub(crate) fn delete_leases_and_version(&self) {
        let mut rows = self.rows();
        rows.leases.clear();
        rows.client_version = None;
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LeaseStore for MemoryLeaseStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        let rows = self.rows();
        Ok(TableSnapshot {
            leases: rows.leases.values().cloned().collect(),
            workers: rows.workers.values().cloned().collect(),
            ..TableSnapshot::default()
        })
    }

    async fn scan_now(&self) -> Result<TableSnapshot, StoreError> {
        self.scan().await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        Ok(self.rows().leases.get(key).cloned())
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        let rows = self.rows();
        let assigned = rows
            .leases
            .values()
            .filter(|lease| lease.owner.as_ref() == Some(worker));
        Ok(assigned.map(|lease| lease.key.clone()).collect())
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_new = !rows.leases.contains_key(&lease.key);
        if is_new {
            rows.leases.insert(lease.key.clone(), lease.clone());
        }
        Ok(is_new)
    }

    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        let mut rows = self.rows();
        let Some(row) = rows.leases.get_mut(&seen.key) else {
            return Ok(WriteOutcome::Refused(None));
        };
        if change
            .requirements(seen)
            .iter()
            .all(|requirement| requirement.holds(row))
        {
            *row = change.applied_to(row, seen);
            Ok(WriteOutcome::Applied(row.clone()))
        } else {
            Ok(WriteOutcome::Refused(Some(row.clone())))
        }
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        match rows.leases.get(&seen.key) {
            Some(row) if row.counter != seen.counter => Ok(false),
            Some(row) if row.rewind_to.is_some() && seen.rewind_to.is_none() => Ok(false),
            _ => {
                rows.leases.remove(&seen.key);
                Ok(true)
            }
        }
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        Ok(self.rows().leader.clone())
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let may_take = rows.leader.as_ref().map(|row| row.version.as_str()) == seen;
        if may_take {
            rows.leader = Some(lock.clone());
        }
        Ok(may_take)
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_mine = rows
            .leader
            .as_ref()
            .is_some_and(|row| row.owner == lock.owner && row.version == seen);
        if is_mine {
            rows.leader = Some(lock.clone());
        }
        Ok(is_mine)
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_mine = rows
            .leader
            .as_ref()
            .is_some_and(|row| row.owner == lock.owner && row.version == lock.version);
        if is_mine {
            rows.leader = None;
        }
        Ok(is_mine)
    }

    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        self.rows().workers.insert(worker.id.clone(), worker.clone());
        Ok(())
    }

    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_mine = rows.belongs_to(&worker.id, worker.process.as_ref());
        let before = rows.workers.get(&worker.id);
        let is_newer = before.is_none_or(|row| row.report_number <= worker.report_number);
        if is_mine && is_newer {
            let mut row = worker.clone();
            row.drained_since = before.and_then(|row| row.drained_since);
            rows.workers.insert(worker.id.clone(), row);
        }
        Ok(is_mine)
    }

    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_mine = rows.belongs_to(worker, Some(process));
        if is_mine {
            rows.workers.remove(worker);
        }
        Ok(is_mine)
    }

    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_unchanged = rows
            .workers
            .get(&seen.id)
            .is_none_or(|row| row.reported_at == seen.reported_at);
        if is_unchanged {
            rows.workers.remove(&seen.id);
        }
        Ok(is_unchanged)
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        Ok(self.rows().workers.contains_key(worker))
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        Ok(self
            .rows()
            .client_version
            .get_or_insert_with(|| ours.clone())
            .clone())
    }

    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        Ok(self.rows().stream.clone())
    }

    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let is_as_seen = rows.stream.as_ref() == seen || rows.stream.as_ref() == Some(stream);
        if is_as_seen {
            rows.stream = Some(stream.clone());
        }
        Ok(is_as_seen)
    }

    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        if !self.delete(seen).await? {
            return Ok(false);
        }
        let mut rows = self.rows();
        let is_it = |(of, lease): &(StreamIdentity, Lease)| of == stream && lease.key == seen.key;
        match rows.kept.iter_mut().find(|kept| is_it(kept)) {
            Some((_, kept)) if kept.checkpoint > seen.checkpoint => {}
            Some((_, kept)) => *kept = seen.without_owner(),
            None => rows.kept.push((stream.clone(), seen.without_owner())),
        }
        Ok(true)
    }

    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        Ok(self.rows().kept.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::conformance;

    #[tokio::test]
    async fn meets_the_contract_of_a_lease_store() {
        conformance::run(|| async { Arc::new(MemoryLeaseStore::new()) as Arc<dyn LeaseStore> }).await;
    }
}
