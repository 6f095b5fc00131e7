//! A lease store in one file, for the processes of one machine. Each operation locks the file, and replaces it if it changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use kcl_lease::{
    ClientVersion, LeaderLock, Lease, LeaseChange, LeaseKey, LeaseStore, ProcessId, StoreError,
    StoreErrorKind, StreamIdentity, TableSnapshot, WorkerId, WorkerRow, WriteOutcome, conformance,
};
use serde::{Deserialize, Serialize};

/// What the file holds, as JSON.
#[derive(Debug, Default, PartialEq, Clone, Serialize, Deserialize)]
struct Rows {
    leases: BTreeMap<LeaseKey, Lease>,
    workers: BTreeMap<WorkerId, WorkerRow>,
    leader: Option<LeaderLock>,
    version: Option<ClientVersion>,
    stream: Option<StreamIdentity>,
    kept: Vec<(StreamIdentity, Lease)>,
}

impl Rows {
    fn is_of(&self, worker: &WorkerId, process: Option<&ProcessId>) -> bool {
        let theirs = self.workers.get(worker).and_then(|row| row.process.as_ref());
        theirs.is_none() || theirs == process
    }

    fn delete(&mut self, seen: &Lease) -> bool {
        let moved_on = self.leases.get(&seen.key).is_some_and(|row| {
            let is_ordered = row.rewind_to.is_some() && seen.rewind_to.is_none();
            row.counter != seen.counter || is_ordered
        });
        if !moved_on {
            self.leases.remove(&seen.key);
        }
        !moved_on
    }
}

#[derive(Debug)]
struct FileStore {
    path: PathBuf,
}

impl FileStore {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// One atomic step. The file is small, so that nothing else waits for long.
    fn step<T>(&self, operation: &'static str, step: impl FnOnce(&mut Rows) -> T) -> Result<T, StoreError> {
        self.locked(step).map_err(|error| {
            let file = self.path.display().to_string();
            // Whether the file was replaced is not known: the caller reads it again.
            StoreError::new(StoreErrorKind::Unavailable, operation, file, error.to_string())
                .with_unknown_outcome(true)
                .with_source(error)
                .with_advice("check the file system")
        })
    }

    fn locked<T>(&self, step: impl FnOnce(&mut Rows) -> T) -> std::io::Result<T> {
        let lock = File::create(self.path.with_extension("lock"))?;
        lock.lock()?; // until it is dropped
        let before: Rows = match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Rows::default(),
            Err(error) => return Err(error),
        };
        let mut after = before.clone();
        let result = step(&mut after);
        if after != before {
            let new = self.path.with_extension("new");
            fs::write(&new, serde_json::to_vec(&after)?)?;
            fs::rename(&new, &self.path)?;
        }
        Ok(result)
    }
}

#[async_trait]
impl LeaseStore for FileStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.step("preparing", |_| ())
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        self.step("scanning", |rows| {
            let (leases, workers) = (rows.leases.values(), rows.workers.values());
            TableSnapshot::new(leases.cloned().collect(), workers.cloned().collect())
        })
    }

    async fn scan_now(&self) -> Result<TableSnapshot, StoreError> {
        self.scan().await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.step("reading a lease", |rows| rows.leases.get(key).cloned())
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        self.step("finding leases", |rows| {
            let all = rows.leases.values();
            let theirs = all.filter(|lease| lease.owner.as_ref() == Some(worker));
            theirs.map(|lease| lease.key.clone()).collect()
        })
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.step("creating a lease", |rows| {
            let is_new = !rows.leases.contains_key(&lease.key);
            rows.leases
                .entry(lease.key.clone())
                .or_insert_with(|| lease.clone());
            is_new
        })
    }

    // What a change requires and what it does is data. The store decides nothing.
    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        self.step("writing a lease", |rows| match rows.leases.get_mut(&seen.key) {
            None => WriteOutcome::Refused(None),
            Some(row)
                if change
                    .requirements(seen)
                    .iter()
                    .all(|required| required.holds(row)) =>
            {
                *row = change.applied_to(row, seen);
                WriteOutcome::Applied(row.clone())
            }
            Some(row) => WriteOutcome::Refused(Some(row.clone())),
        })
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        self.step("deleting a lease", |rows| rows.delete(seen))
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        self.step("reading the lock", |rows| rows.leader.clone())
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        self.step("taking the lock", |rows| {
            let is_as_seen = rows.leader.as_ref().map(|row| row.version.as_str()) == seen;
            if is_as_seen {
                rows.leader = Some(lock.clone());
            }
            is_as_seen
        })
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        self.step("refreshing the lock", |rows| {
            let leader = rows
                .leader
                .as_mut()
                .filter(|row| row.owner == lock.owner && row.version == seen);
            leader.map(|row| *row = lock.clone()).is_some()
        })
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        self.step("releasing the lock", |rows| {
            let is_mine = |row: &LeaderLock| row.owner == lock.owner && row.version == lock.version;
            rows.leader.take_if(|row| is_mine(row)).is_some()
        })
    }

    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        self.step("announcing a worker", |rows| {
            rows.workers.insert(worker.id.clone(), worker.clone());
        })
    }

    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        self.step("reporting", |rows| {
            let is_mine = rows.is_of(&worker.id, worker.process.as_ref());
            let last = rows.workers.get(&worker.id);
            if is_mine && last.is_none_or(|row| row.report_number <= worker.report_number) {
                let mut row = worker.clone();
                row.drained_since = last.and_then(|row| row.drained_since);
                rows.workers.insert(worker.id.clone(), row);
            }
            is_mine
        })
    }

    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError> {
        self.step("retiring", |rows| {
            let is_mine = rows.is_of(worker, Some(process));
            if is_mine {
                rows.workers.remove(worker);
            }
            is_mine
        })
    }

    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        self.step("forgetting a worker", |rows| {
            let row = rows.workers.get(&seen.id);
            let is_as_seen = row.is_none_or(|row| row.reported_at == seen.reported_at);
            if is_as_seen {
                rows.workers.remove(&seen.id);
            }
            is_as_seen
        })
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        self.step("reading a worker", |rows| rows.workers.contains_key(worker))
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        self.step("agreeing on the protocol", |rows| {
            rows.version.get_or_insert_with(|| ours.clone()).clone()
        })
    }

    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        self.step("reading the stream", |rows| rows.stream.clone())
    }

    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        self.step("recording the stream", |rows| {
            let is_as_seen = rows.stream.as_ref() == seen || rows.stream.as_ref() == Some(stream);
            if is_as_seen {
                rows.stream = Some(stream.clone());
            }
            is_as_seen
        })
    }

    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        self.step("setting a lease aside", |rows| {
            if !rows.delete(seen) {
                return false;
            }
            let mut kept = rows.kept.iter_mut();
            match kept.find(|(of, lease)| of == stream && lease.key == seen.key) {
                Some((_, lease)) if lease.checkpoint > seen.checkpoint => {}
                Some((_, lease)) => *lease = seen.without_owner(),
                None => rows.kept.push((stream.clone(), seen.without_owner())),
            }
            true
        })
    }

    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        self.step("reading what was set aside", |rows| rows.kept.clone())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let folder = std::env::temp_dir().join(format!("kcl-file-store-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let number = std::sync::atomic::AtomicU32::new(0);
    conformance::run(|| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let store = FileStore::new(&folder.join(format!("{number}.json")));
        async { Arc::new(store) as Arc<dyn LeaseStore> }
    })
    .await;
    fs::remove_dir_all(&folder)?;
    println!("a lease store in a file keeps the whole contract");
    Ok(())
}
