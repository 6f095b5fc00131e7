//! Makes leases for the shards of a stream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kcl_lease::{
    Cause, Environment, Lease, LeaseKey, LeaseStore, Membership, SigningProblem, StoreError, StreamIdentity,
};

use super::audit::{Hole, find_hole};
use super::children::{Child, child_leases, kept_by, other_parents, without_awaiting};
use super::client::StreamClient;
use super::doubt::Doubt;
use super::key::LeaseKeys;
use super::missing::{Leased, bootstrap_leases, leased, missing_leases};
use super::scans::LeaseScans;
use crate::aws::CallError;
use crate::config::{InitialPosition, ShardId};
use crate::retry::Retry;

/// Why leases could not be created or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseUpkeepError {
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
    #[error("the leases are of {0} by now, and the stream that this worker reads is gone")]
    Remade(StreamIdentity),
}

impl Cause for LeaseUpkeepError {
    fn signing(&self) -> Option<SigningProblem> {
        match self {
            Self::Kinesis(error) => error.signing(),
            Self::Store(error) => error.signing(),
            Self::Incomplete(_) | Self::Foreign(_) | Self::Remade(_) => None,
        }
    }
}

/// A stream is being deleted, and then created, for longer than this.
const MADE_ANEW_WITHIN: Duration = Duration::from_secs(5);
/// Leases that are written at the same time.
const CONCURRENCY: usize = 16;
/// Listings with a filter before one without is tried.
const FILTERED_LISTINGS: u32 = 3;

/// Makes leases: of what a listing shows, and of the shards that follow one.
#[derive(Debug, Clone)]
pub(crate) struct LeaseCreation {
    /// How the leases are called.
    pub(crate) keys: LeaseKeys,
    pub(crate) stream: StreamClient,
    /// The stream that this worker began with.
    pub(crate) identity: StreamIdentity,
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) scans: LeaseScans,
    pub(crate) env: Environment,
    /// Where a shard is begun that does not follow another one.
    pub(crate) initial: InitialPosition,
    /// Where to ask whether the stream is still the same.
    pub(crate) doubt: Doubt,
}

impl LeaseCreation {
    /// Creates the leases that the table lacks; the number of those that were new.
    pub(crate) async fn create_missing(&self, fleet: &Membership) -> Result<usize, LeaseUpkeepError> {
        let table = self.scans.scan(&*self.store).await?;
        let leases = self.keys.by_shard(&table.leases);
        // Somebody has to correct them; their shards are leased.
        let rows = table.unreadable.iter();
        let unreadable: Vec<ShardId> = rows
            .filter_map(|row| self.keys.shard(&LeaseKey::from(row.key.as_str())))
            .collect();
        let is_first = leases.is_empty() && unreadable.is_empty();
        let missing = if is_first {
            self.bootstrap().await?
        } else {
            let graph = self.stream.list_shards(None).await?;
            let mut leased = leased(&leases);
            let listed = unreadable.into_iter().filter(|shard| graph.get(shard).is_some());
            leased.extend(listed.map(|shard| (shard, Leased::default())));
            if let Some(foreign) = leased.keys().find(|shard| graph.is_foreign(shard)) {
                return Err(LeaseUpkeepError::Foreign(foreign.clone()));
            }
            missing_leases(&graph, &leased, self.initial)
        };
        if missing.is_empty() {
            return Ok(0);
        }
        // What was listed may be the shards of a stream that was made anew since the worker asked who it is. Where there are several
        // streams, as many questions may wait, and no stream is deleted and made anew within seconds.
        if self.keys == LeaseKeys::ALONE || !self.doubt.was_settled_within(MADE_ANEW_WITHIN) {
            let question = self.doubt.raise();
            self.doubt.settled(question).await;
        }
        if table.leases.is_empty() {
            fleet.record_protocol().await?;
        }
        let created = self.create(missing).await?;
        if created > 0 {
            tracing::info!(stream = %self.stream.stream(), created, is_first, "created leases");
        }
        Ok(created)
    }

    /// The leases of a new application, of shards that together cover every hash key.
    async fn bootstrap(&self) -> Result<Vec<Lease>, LeaseUpkeepError> {
        let mut pauses = Retry::new(self.env.clone(), Duration::from_secs(1), Duration::from_secs(1));
        loop {
            let filter = (pauses.attempts() < FILTERED_LISTINGS).then_some(self.initial);
            let leases = bootstrap_leases(&self.stream.list_shards(filter).await?, self.initial);
            match find_hole(leases.iter().filter_map(|lease| lease.hash_range)) {
                None => return Ok(leases),
                Some(hole) if filter.is_none() => return Err(LeaseUpkeepError::Incomplete(hole)),
                Some(_) => tokio::time::sleep(pauses.pause()).await,
            }
        }
    }

    /// Creates leases that are called as their shards.
    async fn create(&self, leases: Vec<Lease>) -> Result<usize, StoreError> {
        let store = &self.store;
        let creations = leases.into_iter().map(|lease| async {
            let lease = self.keys.in_table(lease);
            store.create(&lease).await
        });
        stream::iter(creations)
            .buffered(CONCURRENCY)
            .try_fold(0, |created, is_new| {
                std::future::ready(Ok(created + usize::from(is_new)))
            })
            .await
    }

    /// Whether the leases are of the stream that this worker reads. Others may have recognised the next one before, and begun with it.
    async fn check_the_record(&self) -> Result<(), LeaseUpkeepError> {
        if let Some(error) = self.doubt.gone() {
            return Err(error.into());
        }
        if self.keys == LeaseKeys::ALONE
            && let Some(recorded) = self.store.stream().await?
            && !recorded.may_be(&self.identity)
        {
            // Whoever read nothing when its stream went had no reason to ask.
            self.doubt.raise();
            return Err(LeaseUpkeepError::Remade(recorded));
        }
        Ok(())
    }

    /// Creates the leases of the shards that follow an ended one, and takes up as many as this worker has `room` for. Safe to
    /// repeat, and for both parents of a merge to do.
    pub(crate) async fn create_children(
        &self,
        fleet: &Membership,
        ended: &ShardId,
        children: &[Child],
        room: usize,
    ) -> Result<(), LeaseUpkeepError> {
        self.check_the_record().await?;
        let mut unleased = BTreeSet::new();
        for parent in other_parents(ended, children) {
            if self.store.get(&self.keys.key(parent)).await?.is_none() {
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
        let mine = kept
            .iter()
            .map(|lease| self.keys.key(&ShardId::of_lease(&lease.key)));
        let mine: Vec<LeaseKey> = mine.collect();
        self.create(kept).await?;
        if !mine.is_empty() {
            fleet.take_up(mine);
        }
        if self.create(others).await? > 0 {
            fleet.request_scan();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kcl_lease::MemoryLeaseStore;

    use super::*;
    use crate::config::Stream;

    #[tokio::test]
    async fn whoever_finds_the_leases_of_another_stream_asks_who_its_own_is() {
        let stream = |created_at| StreamIdentity::new("clicks", Some(created_at));
        let store = MemoryLeaseStore::new();
        assert!(store.record_stream(None, &stream(100)).await.expect("recorded"));
        let client = aws_sdk_kinesis::Client::new(&kcl_local::Backend::start().sdk_config());
        let mut creation = LeaseCreation {
            keys: LeaseKeys::ALONE,
            scans: LeaseScans::ALONE,
            stream: StreamClient::new(client, Stream::parse("clicks").expect("a name")),
            identity: stream(100),
            store: Arc::new(store),
            env: Environment::system(),
            initial: InitialPosition::TrimHorizon,
            doubt: Doubt::new(),
        };
        assert!(creation.check_the_record().await.is_ok());
        assert_eq!(creation.doubt.asked().now_or_never(), None);
        creation.identity = stream(99);
        let found = creation.check_the_record().await;
        assert!(matches!(found, Err(LeaseUpkeepError::Remade(now)) if now == stream(100)));
        assert!(creation.doubt.asked().now_or_never().is_some());
    }
}
