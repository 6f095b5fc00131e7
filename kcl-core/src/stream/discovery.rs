//! Creating leases for shards and deleting those that are done with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kcl_lease::{
    Activity, Cause, Environment, Fleet, HashRange, Health, Lease, LeaseChange, LeaseKey, LeaseStore,
    SigningProblem, StoreError, TableSnapshot,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::audit::{Hole, HoleWatch, find_hole, find_lease_hole};
use super::children::{Child, child_leases, kept_by, other_parents, without_awaiting};
use super::cleanup::deletable;
use super::client::StreamClient;
use super::doubt::Doubt;
use super::graph::ShardGraph;
use super::missing::{Leased, bootstrap_leases, leased, missing_leases};
use super::shard_problems::ShardProblems;
use crate::aws::CallError;
use crate::config::{InitialPosition, ShardId};
use crate::retry::Retry;

/// Why leases could not be created or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error(transparent)]
    Kinesis(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("Kinesis listed no shard for {0}; listed again until they cover every hash key")]
    Incomplete(Hole),
    #[error(
        "the table has a lease of {0}, but the stream has only had shards of lower numbers: the leases are of another stream; \
         check the names of the stream and of the application, or use another application name"
    )]
    Foreign(ShardId),
}

impl Cause for DiscoveryError {
    fn signing(&self) -> Option<SigningProblem> {
        match self {
            Self::Kinesis(error) => error.signing(),
            Self::Store(error) => error.signing(),
            Self::Incomplete(_) | Self::Foreign(_) => None,
        }
    }
}

/// Leases that are written at the same time.
const CONCURRENCY: usize = 16;
/// Listings with a filter before one without is tried.
const FILTERED_LISTINGS: u32 = 3;

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
struct Duty<'a> {
    activity: Activity,
    health: &'a Health,
    retry: Retry,
}

impl Duty<'_> {
    /// How long to wait before it is tried again, if it failed.
    fn pause_after(&mut self, result: Result<(), DiscoveryError>) -> Option<Duration> {
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

/// The part of a worker that knows both the stream and the lease table.
#[derive(Debug, Clone)]
pub(crate) struct Discovery {
    pub(crate) stream: StreamClient,
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) initial: InitialPosition,
    pub(crate) env: Environment,
    pub(crate) audit_interval: Duration,
    pub(crate) cleanup_interval: Duration,
    /// What the leader's part of the work fails at.
    pub(crate) health: Health,
    /// What the shards' readers fail at for reasons that no retry mends.
    pub(crate) shard_problems: ShardProblems,
    /// Told whenever a shard ended in this worker.
    pub(crate) shard_ended: Arc<Notify>,
    /// Where to ask whether the stream is still the same.
    pub(crate) doubt: Doubt,
}

impl Discovery {
    /// Creates the leases that the table lacks; the number of those that were new.
    pub(crate) async fn create_missing(&self) -> Result<usize, DiscoveryError> {
        let TableSnapshot {
            leases, unreadable, ..
        } = self.store.scan().await?;
        let is_first = leases.is_empty() && unreadable.is_empty();
        let missing = if is_first {
            self.bootstrap().await?
        } else {
            let graph = self.stream.list_shards(None).await?;
            let mut leased = leased(&leases);
            // Somebody has to correct them; their shards are leased.
            let unreadable = unreadable.iter().map(|row| ShardId::from(row.key.as_str()));
            let listed = unreadable.filter(|shard| graph.get(shard).is_some());
            leased.extend(listed.map(|shard| (shard, Leased::default())));
            if let Some(foreign) = leased.keys().find(|shard| graph.is_foreign(shard)) {
                return Err(DiscoveryError::Foreign(foreign.clone()));
            }
            missing_leases(&graph, &leased, self.initial)
        };
        if missing.is_empty() {
            return Ok(0);
        }
        // What was listed may be the shards of a stream that was made anew since the worker asked who it is.
        let question = self.doubt.raise();
        self.doubt.settled(question).await;
        let created = self.create(missing).await?;
        if created > 0 {
            tracing::info!(stream = %self.stream.stream(), created, is_first, "created leases");
        }
        Ok(created)
    }

    /// The leases of a new application, of shards that together cover every hash key.
    async fn bootstrap(&self) -> Result<Vec<Lease>, DiscoveryError> {
        let mut pauses = Retry::new(self.env.clone(), Duration::from_secs(1), Duration::from_secs(1));
        loop {
            let filter = (pauses.attempts() < FILTERED_LISTINGS).then_some(self.initial);
            let leases = bootstrap_leases(&self.stream.list_shards(filter).await?, self.initial);
            match find_hole(leases.iter().filter_map(|lease| lease.hash_range)) {
                None => return Ok(leases),
                Some(hole) if filter.is_none() => return Err(DiscoveryError::Incomplete(hole)),
                Some(_) => tokio::time::sleep(pauses.pause()).await,
            }
        }
    }

    async fn create(&self, leases: Vec<Lease>) -> Result<usize, StoreError> {
        let store = &self.store;
        let creations = leases
            .into_iter()
            .map(|lease| async move { store.create(&lease).await });
        stream::iter(creations)
            .buffered(CONCURRENCY)
            .try_fold(0, |created, is_new| {
                std::future::ready(Ok(created + usize::from(is_new)))
            })
            .await
    }

    /// Creates the leases of the shards that follow an ended one, and takes up as many as this worker has `room` for. Safe to
    /// repeat, and for both parents of a merge to do.
    pub(crate) async fn create_children(
        &self,
        fleet: &Fleet,
        (ended, children): (&ShardId, &[Child]),
        room: usize,
    ) -> Result<(), DiscoveryError> {
        let mut unleased = BTreeSet::new();
        for parent in other_parents(ended, children) {
            if self.store.get(&parent.lease_key()).await?.is_none() {
                unleased.insert(parent.clone());
            }
        }
        if !unleased.is_empty() {
            let graph = self.stream.list_shards(None).await?;
            unleased.retain(|parent| graph.get(parent).is_some());
        }
        let ready = without_awaiting(children.to_vec(), &unleased);
        let leases = kept_by(fleet.worker_id(), room, child_leases(ended, &ready));
        let (kept, others): (Vec<_>, Vec<_>) = leases.into_iter().partition(|lease| lease.owner.is_some());
        let mine: Vec<LeaseKey> = kept.iter().map(|lease| lease.key.clone()).collect();
        self.create(kept).await?;
        if !mine.is_empty() {
            fleet.take_up(mine);
        }
        if self.create(others).await? > 0 {
            fleet.request_scan();
        }
        Ok(())
    }

    /// The first listed shards that follow one, whose hash range is given if it is known.
    pub(crate) async fn listed_children(
        &self,
        shard: &ShardId,
        range: Option<HashRange>,
    ) -> Result<Vec<Child>, CallError> {
        let graph = self.stream.list_shards(None).await?;
        Ok(graph.heirs(shard, range).into_iter().map(Child::from).collect())
    }

    /// Does the leader's part of the work whenever this worker leads: creates missing leases at once, looks for holes, and
    /// deletes ended leases. Never returns.
    pub(crate) async fn run(&self, fleet: &Fleet) {
        let mut leadership = fleet.leadership();
        loop {
            if leadership.wait_for(|leads| *leads).await.is_err() {
                // The fleet was left; the worker is about to stop.
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                () = until_not_leading(leadership.clone()) => {}
                () = self.lead(fleet) => {}
            }
            // It is the next leader's now.
            for activity in [AUDIT, CLEANUP] {
                self.health.ended(activity);
            }
        }
    }

    async fn lead(&self, fleet: &Fleet) {
        /// How soon after a shard ended its lease may be ready to go: its children have to be started first.
        const AFTER_END: Duration = Duration::from_secs(5);
        /// The leader sees the table about once a second anyway, and need not lead for long to be sure of a hole.
        const TO_CONFIRM: Duration = Duration::from_secs(1);
        let mut watch = HoleWatch::default();
        let (mut auditing, mut cleaning) = (self.duty(AUDIT), self.duty(CLEANUP));
        let (mut next_audit, mut next_cleanup) = (Instant::now(), Instant::now() + AFTER_END);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next_audit) => {
                    let pause = auditing.pause_after(self.audit(fleet, &mut watch).await);
                    let regular = if watch.is_suspicious() {
                        self.audit_interval.min(TO_CONFIRM)
                    } else {
                        self.audit_interval
                    };
                    next_audit = Instant::now() + pause.unwrap_or(regular);
                }
                () = sleep_until(next_cleanup) => {
                    let pause = cleaning.pause_after(self.clean_up(fleet).await);
                    next_cleanup = Instant::now() + pause.unwrap_or(self.cleanup_interval);
                }
                () = self.shard_ended.notified() => {
                    next_cleanup = next_cleanup.min(Instant::now() + AFTER_END);
                }
            }
        }
    }

    fn duty(&self, activity: Activity) -> Duty<'_> {
        Duty {
            activity,
            health: &self.health,
            retry: Retry::new(
                self.env.clone(),
                Duration::from_millis(250),
                Duration::from_secs(10),
            ),
        }
    }

    /// The leases as the leader saw them a moment ago, which costs nothing, or as they are.
    async fn leases(&self, fleet: &Fleet) -> Result<Vec<Lease>, StoreError> {
        let seen = fleet.table().borrow().clone();
        match seen {
            Some(table) => Ok(table.leases.clone()),
            None => Ok(self.store.scan().await?.leases),
        }
    }

    async fn audit(&self, fleet: &Fleet, watch: &mut HoleWatch) -> Result<(), DiscoveryError> {
        self.doubt.until_there().await;
        let leases = self.leases(fleet).await?;
        let table = fleet.table().borrow().clone();
        // Where rows cannot be read there seem to be holes that are none: that is not looked into every second.
        let is_unclear = table.is_some_and(|table| !table.unreadable.is_empty());
        if leases.is_empty() || is_unclear {
            if self.create_missing().await? > 0 {
                fleet.request_scan();
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
            self.doubt.raise();
        }
        if watch.observe(hole) {
            let created = self.create_missing().await?;
            if created > 0 {
                tracing::warn!(hole = ?hole.map(|hole| hole.0), created, "repaired a hole in the leases");
                fleet.request_scan();
            }
        }
        Ok(())
    }

    /// Leases of old versions have no hash range; without it holes cannot be seen.
    async fn fill_in_hash_ranges(&self, leases: &[Lease]) -> Result<(), DiscoveryError> {
        let graph = self.stream.list_shards(None).await?;
        let unknown = leases
            .iter()
            .filter(|lease| lease.hash_range.is_none() && !lease.has_ended());
        for lease in unknown {
            if let Some(shard) = graph.get(&ShardId::from(&lease.key)) {
                self.store
                    .write(lease, &LeaseChange::HashRange(shard.hash_range))
                    .await?;
            }
        }
        Ok(())
    }

    async fn clean_up(&self, fleet: &Fleet) -> Result<(), DiscoveryError> {
        self.doubt.until_there().await;
        let leases = self.leases(fleet).await?;
        if !leases.iter().any(Lease::has_ended) {
            return Ok(());
        }
        let graph: ShardGraph = self.stream.list_shards(None).await?;
        for key in deletable(&leases, &graph) {
            // The holder renews the lease all the time, so it has to be read anew, and may still win.
            for _ in 0..3 {
                match self.store.get(&key).await? {
                    Some(lease) if lease.has_ended() => {
                        if self.store.delete(&lease).await? {
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
