//! Holding the leader lock: take, heartbeat, release, each resolving lost answers by reading back.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::election::ElectionOptions;
use crate::environment::Environment;
use crate::health::{Activity, Health};
use crate::ids::WorkerId;
use crate::store::{LeaderLock, LeaseStore, Standstill, StoreError};

/// The name of the heartbeat among a worker's activities.
pub(crate) const HEARTBEAT: Activity = Activity {
    code: "leader-heartbeat-failing",
    doing: "refreshing the leader lock",
};

/// What a leader says of leases with each heartbeat, for its successor.
#[derive(Debug)]
pub(crate) struct LeaderNotes {
    /// See [`LeaderLock::held_digest`].
    pub(crate) held_digest: u64,
    /// See [`LeaderLock::standstills`].
    pub(crate) standstills: Vec<Standstill>,
    /// See [`LeaderLock::heirs`].
    pub(crate) heirs: Vec<WorkerId>,
}

/// A lock that this worker holds.
#[derive(Debug)]
pub(crate) struct Leadership {
    store: Arc<dyn LeaseStore>,
    env: Environment,
    options: ElectionOptions,
    lock: LeaderLock,
    /// Versions that were sent since the last confirmed heartbeat; a delayed request may still store one.
    unconfirmed: Vec<String>,
    /// When the last heartbeat that is known to have succeeded was sent.
    renewed_at: Instant,
}

impl Leadership {
    /// Tries to take the lock, and to keep in it what its last holder left of standstills and heirs; `None` if somebody else
    /// was faster.
    pub(crate) async fn take(
        store: Arc<dyn LeaseStore>,
        env: Environment,
        me: WorkerId,
        options: ElectionOptions,
        seen: Option<&str>,
        standstills: Vec<Standstill>,
        heirs: Vec<WorkerId>,
    ) -> Result<Option<Self>, StoreError> {
        let lock = LeaderLock {
            owner: me,
            duration: options.duration,
            version: env.uuid(),
            released: false,
            held_digest: None,
            standstills,
            heirs,
        };
        let sent_at = Instant::now();
        let taken = match store.take_leader(&lock, seen).await {
            Ok(true) => true,
            Ok(false) => is_stored(&*store, &lock).await?,
            Err(error) if error.may_have_been_applied() => is_stored(&*store, &lock).await?,
            Err(error) => return Err(error),
        };
        Ok(taken.then(|| Self {
            store,
            env,
            options,
            lock,
            unconfirmed: Vec::new(),
            renewed_at: sent_at,
        }))
    }

    /// Whether others cannot have taken the lock yet.
    pub(crate) fn is_valid(&self) -> bool {
        self.renewed_at.elapsed() < self.options.duration
    }

    /// Sends heartbeats until the lock is lost or could not be refreshed for its duration.
    pub(crate) async fn keep(&mut self, notes: impl Fn() -> LeaderNotes + Send, health: &Health) {
        loop {
            sleep(self.options.heartbeat).await;
            if !self.is_valid() {
                tracing::warn!("leadership lapsed: the lock could not be refreshed in time");
                return;
            }
            match self.beat(notes()).await {
                Ok(true) => health.succeeded(HEARTBEAT),
                Ok(false) => {
                    tracing::info!("leadership lost: another worker holds the lock");
                    return;
                }
                Err(error) => health.failed(HEARTBEAT, &error),
            }
        }
    }

    /// Lets go of the lock, so that the next leader need not wait: leaves it as a last word, or deletes it if there is
    /// nothing to say.
    pub(crate) async fn release(mut self, standstills: Vec<Standstill>) -> Result<(), StoreError> {
        if self.let_go(&standstills).await? {
            return Ok(());
        }
        // A heartbeat that was cut short may have been stored.
        if let Some(stored) = self.store.read_leader().await?
            && stored.owner == self.lock.owner
            && self.unconfirmed.contains(&stored.version)
        {
            self.lock.version = stored.version;
            self.let_go(&standstills).await?;
        }
        Ok(())
    }

    /// False if the lock does not have the version that is known.
    async fn let_go(&self, standstills: &[Standstill]) -> Result<bool, StoreError> {
        if standstills.is_empty() {
            return self.store.release_leader(&self.lock).await;
        }
        let released = LeaderLock {
            version: self.env.uuid(),
            released: true,
            standstills: standstills.to_vec(),
            ..self.lock.clone()
        };
        self.store.beat_leader(&released, &self.lock.version).await
    }

    async fn beat(&mut self, notes: LeaderNotes) -> Result<bool, StoreError> {
        let next = LeaderLock {
            version: self.env.uuid(),
            held_digest: Some(notes.held_digest),
            standstills: notes.standstills,
            heirs: notes.heirs,
            ..self.lock.clone()
        };
        self.unconfirmed.push(next.version.clone());
        let sent_at = Instant::now();
        match self.store.beat_leader(&next, &self.lock.version).await {
            Ok(true) => {
                self.confirm(next, sent_at);
                Ok(true)
            }
            Ok(false) => self.look_again(&next, sent_at).await,
            Err(error) if error.may_have_been_applied() => {
                self.look_again(&next, sent_at).await?;
                if self.lock.version == next.version {
                    Ok(true)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the lock back after a heartbeat without confirmation; false if it is another worker's.
    async fn look_again(&mut self, next: &LeaderLock, sent_at: Instant) -> Result<bool, StoreError> {
        let Some(stored) = self.store.read_leader().await? else {
            return Ok(false);
        };
        if stored.owner != self.lock.owner {
            return Ok(false);
        }
        if stored.version == next.version {
            self.confirm(next.clone(), sent_at);
        } else if self.unconfirmed.contains(&stored.version) {
            self.lock.version = stored.version;
        } else if stored.version != self.lock.version {
            return Ok(false);
        }
        Ok(true)
    }

    fn confirm(&mut self, lock: LeaderLock, sent_at: Instant) {
        self.lock = lock;
        self.unconfirmed.clear();
        self.renewed_at = sent_at;
    }
}

async fn is_stored(store: &dyn LeaseStore, lock: &LeaderLock) -> Result<bool, StoreError> {
    let stored = store.read_leader().await?;
    Ok(stored.is_some_and(|row| row.version == lock.version && row.owner == lock.owner))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::store::MemoryLeaseStore;
    use crate::timers::Timers;

    async fn leadership(store: &Arc<dyn LeaseStore>) -> Leadership {
        let env = Environment::seeded(1, || UNIX_EPOCH);
        let options = ElectionOptions::of(Timers::of(Duration::from_secs(10)));
        Leadership::take(
            Arc::clone(store),
            env,
            "a".into(),
            options,
            None,
            Vec::new(),
            Vec::new(),
        )
        .await
        .unwrap()
        .expect("nobody holds the lock")
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_let_go_of_even_if_a_heartbeat_was_cut_short_before_its_answer() {
        let last_word = vec![Standstill {
            lease: 1,
            lasted: Duration::from_secs(4),
        }];
        for (standstills, is_stored) in [
            (Vec::new(), false),
            (Vec::new(), true),
            (last_word.clone(), false),
            (last_word, true),
        ] {
            let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
            let mut leadership = leadership(&store).await;
            leadership.unconfirmed.push("cut short".into());
            if is_stored {
                let next = LeaderLock {
                    version: "cut short".into(),
                    ..leadership.lock.clone()
                };
                assert!(store.beat_leader(&next, &leadership.lock.version).await.unwrap());
            }
            leadership.release(standstills.clone()).await.unwrap();
            let left = store.read_leader().await.unwrap();
            assert!(left.as_ref().is_none_or(|lock| lock.released));
            let left = left.map(|lock| lock.standstills).unwrap_or_default();
            assert_eq!(left, standstills);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_worker_s_lock_is_left_alone() {
        let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
        let leadership = leadership(&store).await;
        let theirs = LeaderLock {
            owner: "b".into(),
            version: "theirs".into(),
            ..leadership.lock.clone()
        };
        assert!(
            store
                .take_leader(&theirs, Some(&leadership.lock.version))
                .await
                .unwrap()
        );
        leadership.release(Vec::new()).await.unwrap();
        assert_eq!(store.read_leader().await.unwrap(), Some(theirs));
    }
}
