//! Looks at the table, shared by streams that look at the same time.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{LeaseStore, StoreError, TableSnapshot};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// For so long what one stream saw is good for the others. What is created afterwards is created only where nothing is.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// Scans of the lease table. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct LeaseScans {
    /// Absent where there is nobody to share with.
    last: Option<Arc<Mutex<Option<Scan>>>>,
}

#[derive(Debug)]
struct Scan {
    began: Instant,
    seen: Arc<TableSnapshot>,
}

impl LeaseScans {
    /// Of a table with one stream.
    pub(crate) const ALONE: Self = Self { last: None };

    /// Of a table with several streams, whose leader looks for the leases of each.
    pub(crate) fn shared() -> Self {
        Self {
            last: Some(Arc::default()),
        }
    }

    pub(crate) async fn scan(&self, store: &dyn LeaseStore) -> Result<Arc<TableSnapshot>, StoreError> {
        let Some(last) = &self.last else {
            return Ok(Arc::new(store.scan().await?));
        };
        let mut last = last.lock().await;
        if let Some(scan) = &*last
            && scan.began.elapsed() < GOOD_FOR
        {
            return Ok(scan.seen.clone());
        }
        let began = Instant::now();
        let seen = Arc::new(store.scan().await?);
        *last = Some(Scan {
            began,
            seen: seen.clone(),
        });
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::{Checkpoint, Lease, MemoryLeaseStore};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_share_a_scan_for_two_seconds_and_whoever_is_alone_looks_each_time() {
        let store = MemoryLeaseStore::new();
        let (alone, shared) = (LeaseScans::ALONE, LeaseScans::shared());
        let seen = async |scans: &LeaseScans| scans.scan(&store).await.expect("answered").leases.len();
        assert_eq!((seen(&alone).await, seen(&shared).await), (0, 0));
        store
            .create(&Lease::new("shard", Checkpoint::Latest))
            .await
            .expect("created");
        assert_eq!((seen(&alone).await, seen(&shared.clone()).await), (1, 0));
        tokio::time::advance(GOOD_FOR).await;
        assert_eq!(seen(&shared).await, 1);
    }
}
