//! The leader's duties for a stream: leases for all its shards, no holes between them, and none of what is done with.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{Activity, Health, Lease, LeaseChange, Membership, StoreError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::ShardId;
use crate::retry::Retry;
use crate::stream::{Ended, HoleWatch, LeaseCreation, LeaseUpkeepError, deletable, find_lease_hole};

/// What a leader does from time to time.
const AUDIT: Activity = Activity {
    code: "audit-failing",
    doing: "looking for holes in the leases",
};
const CLEANUP: Activity = Activity {
    code: "cleanup-failing",
    doing: "deleting the leases of ended shards",
};

/// One of the leader's activities, and how it goes.
struct Upkeep<'a> {
    activity: Activity,
    health: &'a Health,
    retry: Retry,
}

impl Upkeep<'_> {
    /// How long to wait before it is tried again, if it failed.
    fn pause_after(&mut self, result: Result<(), LeaseUpkeepError>) -> Option<Duration> {
        match result {
            Ok(()) => {
                self.health.succeeded(self.activity);
                self.retry.succeeded();
                None
            }
            Err(error) => {
                self.health.failed(self.activity, &error);
                Some(self.retry.pause())
            }
        }
    }
}

/// What a worker does for the stream whenever it leads.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) fleet: Membership,
    pub(crate) creation: LeaseCreation,
    pub(crate) audit_interval: Duration,
    pub(crate) cleanup_interval: Duration,
    /// Where it tells what it fails at.
    pub(crate) health: Health,
    /// Told whenever a shard ended in this worker.
    pub(crate) shard_ended: Arc<Notify>,
}

impl Leading {
    /// Does the leader's part of the work whenever this worker leads: creates missing leases at once, looks for holes, and
    /// deletes ended leases. Never returns.
    pub(crate) async fn run(&self) {
        let mut leadership = self.fleet.leadership();
        loop {
            if leadership.wait_for(|leads| *leads).await.is_err() {
                // The fleet was left; the worker is about to stop.
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                () = until_not_leading(leadership.clone()) => {}
                () = self.lead() => {}
            }
            // It is the next leader's now.
            for activity in [AUDIT, CLEANUP] {
                self.health.ended(activity);
            }
        }
    }

    async fn lead(&self) {
        /// How soon after a shard ended the leader has seen that.
        const AFTER_END: Duration = Duration::from_secs(2);
        /// The leader sees the table about once a second anyway, and need not lead for long to be sure of a hole.
        const TO_CONFIRM: Duration = Duration::from_secs(1);
        let (mut watch, mut ended) = (HoleWatch::default(), Ended::default());
        let (mut auditing, mut cleaning) = (self.upkeep(AUDIT), self.upkeep(CLEANUP));
        let (mut next_audit, mut next_cleanup) = (Instant::now(), Instant::now() + AFTER_END);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next_audit) => {
                    let pause = auditing.pause_after(self.audit(&mut watch).await);
                    let regular = if watch.is_suspicious() {
                        self.audit_interval.min(TO_CONFIRM)
                    } else {
                        self.audit_interval
                    };
                    next_audit = Instant::now() + pause.unwrap_or(regular);
                }
                () = sleep_until(next_cleanup) => {
                    let pause = cleaning.pause_after(self.clean_up(&mut ended).await);
                    let now = Instant::now();
                    let regular = now + self.cleanup_interval;
                    next_cleanup = match pause {
                        Some(pause) => now + pause,
                        None => ended.next_due(now).map_or(regular, |due| due.min(regular)),
                    };
                }
                () = self.shard_ended.notified() => {
                    next_cleanup = next_cleanup.min(Instant::now() + AFTER_END);
                }
            }
        }
    }

    fn upkeep(&self, activity: Activity) -> Upkeep<'_> {
        Upkeep {
            activity,
            health: &self.health,
            retry: Retry::new(
                self.creation.env.clone(),
                Duration::from_millis(250),
                Duration::from_secs(10),
            ),
        }
    }

    /// The stream's leases, called as its shards: as the leader saw them a moment ago, which costs nothing, or as they are.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let (seen, keys) = (self.fleet.table().borrow().clone(), &self.creation.keys);
        match seen {
            Some(table) => Ok(keys.by_shard(&table.leases)),
            None => {
                let table = self.creation.scans.scan(&*self.creation.store).await?;
                Ok(keys.by_shard(&table.leases))
            }
        }
    }

    async fn audit(&self, watch: &mut HoleWatch) -> Result<(), LeaseUpkeepError> {
        self.creation.doubt.until_there().await;
        let leases = self.leases().await?;
        let table = self.fleet.table().borrow().clone();
        // Where rows cannot be read there seem to be holes that are none: that is not looked into every second.
        let is_unclear = table.is_some_and(|table| !table.unreadable.is_empty());
        if leases.is_empty() || is_unclear {
            if self.creation.create_missing(&self.fleet).await? > 0 {
                self.fleet.request_scan();
            }
            return Ok(());
        }
        if leases
            .iter()
            .any(|lease| lease.hash_range.is_none() && !lease.has_ended())
        {
            return self.fill_in_hash_ranges(&leases).await;
        }
        let hole = find_lease_hole(&leases);
        if hole.is_none() {
            // Nobody waits for the answer.
            self.creation.doubt.raise();
        }
        if watch.observe(hole) {
            let created = self.creation.create_missing(&self.fleet).await?;
            if created > 0 {
                tracing::warn!(hole = ?hole.map(|hole| hole.0), created, "repaired a hole in the leases");
                self.fleet.request_scan();
            }
        }
        Ok(())
    }

    /// Leases of old versions have no hash range; without it holes cannot be seen.
    async fn fill_in_hash_ranges(&self, leases: &[Lease]) -> Result<(), LeaseUpkeepError> {
        let graph = self.creation.stream.list_shards(None).await?;
        let unknown = leases
            .iter()
            .filter(|lease| lease.hash_range.is_none() && !lease.has_ended());
        for lease in unknown {
            if let Some(shard) = graph.get(&ShardId::of_lease(&lease.key)) {
                let lease = self.creation.keys.in_table(lease.clone());
                self.creation
                    .store
                    .write(&lease, &LeaseChange::HashRange(shard.hash_range))
                    .await?;
            }
        }
        Ok(())
    }

    async fn clean_up(&self, ended: &mut Ended) -> Result<(), LeaseUpkeepError> {
        self.creation.doubt.until_there().await;
        let (leases, now) = (self.leases().await?, Instant::now());
        ended.look(&leases, now);
        if !ended.is_any_due(now) {
            return Ok(());
        }
        let graph = self.creation.stream.list_shards(None).await?;
        for key in deletable(&leases, &graph, ended, now) {
            let key = self.creation.keys.key(&ShardId::of_lease(&key));
            // The holder renews the lease all the time, so it has to be read anew, and may still win.
            for _ in 0..3 {
                match self.creation.store.get(&key).await? {
                    Some(lease) if lease.has_ended() => {
                        if self.creation.store.delete(&lease).await? {
                            tracing::info!(shard = %key, "deleted the lease of an ended shard");
                            break;
                        }
                    }
                    _ => break,
                }
            }
        }
        Ok(())
    }
}

async fn until_not_leading(mut leadership: watch::Receiver<bool>) {
    let _ = leadership.wait_for(|leads| !*leads).await;
}
