//! Looks at the lease table from outside, ten times a second, and writes down what changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::types::Shard;
use kcl_lease::{DynamoDbLeaseStore, LeaseStore, TableOptions, TableSnapshot};
use tokio::time::{Instant, sleep};

use crate::fleet::{APPLICATION, Fleet};
use crate::history::{Name, Row, What};
use crate::processor::Stage;
use crate::seeds::Dice;
use crate::workload::Workload;

const PERIOD: Duration = Duration::from_millis(100);
/// How often the table is read although no request is known to have changed it.
const AT_LEAST: Duration = Duration::from_millis(500);

/// The outsider. Clones are the same one.
#[derive(Clone)]
pub struct Watcher {
    stage: Stage,
    dynamodb: aws_sdk_dynamodb::Client,
    store: Arc<DynamoDbLeaseStore>,
    rows: Arc<Mutex<BTreeMap<Name, Row>>>,
    to_delete: Arc<AtomicU64>,
    world: Name,
}

impl Watcher {
    /// A watcher with clients that nothing disturbs.
    pub fn new(stage: Stage, dynamodb: aws_sdk_dynamodb::Client) -> Self {
        let store = DynamoDbLeaseStore::new(dynamodb.clone(), TableOptions::new(APPLICATION));
        Self {
            stage,
            dynamodb,
            store: Arc::new(store),
            rows: Arc::default(),
            to_delete: Arc::default(),
            world: "world".into(),
        }
    }

    fn rows_mut(&self) -> MutexGuard<'_, BTreeMap<Name, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases as last seen.
    pub fn rows(&self) -> BTreeMap<Name, Row> {
        self.rows_mut().clone()
    }

    /// Has a lease's row deleted soon.
    pub fn delete_some_row(&self) {
        self.to_delete.fetch_add(1, Ordering::Relaxed);
    }

    /// The leases that name a worker, and whether its own row is there.
    pub async fn left_by(&self, id: &str) -> (Vec<String>, bool) {
        let Some(table) = self.scan().await else {
            return (Vec::new(), false);
        };
        let names =
            |owner: &Option<kcl_lease::WorkerId>| owner.as_ref().is_some_and(|owner| owner.as_str() == id);
        let owned = table
            .leases
            .iter()
            .filter(|lease| names(&lease.owner) || names(&lease.checkpoint_owner));
        let has_row = table.workers.iter().any(|worker| worker.id.as_str() == id);
        (owned.map(|lease| lease.key.to_string()).collect(), has_row)
    }

    /// Watches for ever.
    pub async fn run(self, fleet: Fleet, workload: Arc<tokio::sync::Mutex<Workload>>, mut dice: Dice) {
        let mut seen = (u64::MAX, Instant::now());
        loop {
            let writes = self.stage.network.writes();
            if writes != seen.0 || seen.1.elapsed() >= AT_LEAST {
                seen = (writes, Instant::now());
                self.look().await;
            }
            if self.to_delete.load(Ordering::Relaxed) > 0 {
                self.to_delete.fetch_sub(1, Ordering::Relaxed);
                let open = workload.lock().await.open_shards().await;
                self.delete(&open, &mut dice).await;
            }
            for (shard, holders) in self.stage.contested() {
                self.note(What::SeveralValid { shard, holders });
            }
            fleet.look_for_the_dead();
            sleep(PERIOD).await;
        }
    }

    fn note(&self, what: What) {
        self.stage.history.record(&self.world, what);
    }

    /// `None` as long as there is no table.
    async fn scan(&self) -> Option<TableSnapshot> {
        self.store.scan().await.ok()
    }

    async fn look(&self) {
        let Some(table) = self.scan().await else { return };
        let rows: BTreeMap<Name, Row> = table
            .leases
            .into_iter()
            .map(|lease| {
                let row = Row {
                    owner: lease.owner.as_ref().map(ToString::to_string),
                    checkpoint_owner: lease.checkpoint_owner.as_ref().map(ToString::to_string),
                    counter: lease.counter,
                    checkpoint: lease.checkpoint,
                };
                (lease.key.as_str().into(), row)
            })
            .collect();
        let before = std::mem::replace(&mut *self.rows_mut(), rows.clone());
        for (shard, row) in &rows {
            if before.get(shard) != Some(row) {
                let (shard, row) = (shard.clone(), row.clone());
                self.note(What::Row { shard, row });
            }
        }
        for shard in before.into_keys().filter(|shard| !rows.contains_key(shard)) {
            self.note(What::RowGone { shard });
        }
    }

    /// Deletes the row of an open shard. Without the row of a closed one its children would be begun before its end.
    async fn delete(&self, open: &[Shard], dice: &mut Dice) {
        let rows = self.rows();
        let candidates: Vec<_> = rows
            .into_keys()
            .filter(|shard| open.iter().any(|open| open.shard_id() == &**shard))
            .collect();
        let Some(shard) = dice.pick(&candidates).cloned() else {
            return;
        };
        let request = self.dynamodb.delete_item().table_name(APPLICATION);
        let request = request.key("leaseKey", AttributeValue::S(shard.to_string()));
        request.send().await.expect("deleted");
        self.rows_mut().remove(&shard);
        self.note(What::RowDeletedByHand { shard });
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
