//! The loop that renews held leases and notices those that expired.

use std::collections::{BTreeSet, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::held::HeldLease;
use super::held_state::{LeaseWriteError, LossReason};
use super::{Keeper, at_once};
use crate::health::{Activity, Health};
use crate::ids::LeaseKey;
use crate::metrics::{Counter, Histogram, Labels, Metrics};

/// How renewals are spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RenewalOptions {
    /// Renewals under way at once, of few leases.
    pub(crate) concurrency: usize,
}

const ACTIVITY: Activity = Activity {
    code: "renewal-failing",
    doing: "renewing leases",
};

impl Keeper {
    /// Renews each lease when a third of the fail-over time has passed since its last write, the longest silent first.
    /// Runs until dropped.
    pub(crate) async fn keep_renewing(&self, options: RenewalOptions, health: &Health, metrics: &Metrics) {
        let mut ticks = interval(self.holder.timers.renewal_tick());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = FuturesUnordered::new();
        let mut busy: BTreeSet<LeaseKey> = BTreeSet::new();
        let mut queue: VecDeque<HeldLease> = VecDeque::new();
        let mut most = options.concurrency;
        loop {
            tokio::select! {
                biased;
                Some((held, result, time)) = under_way.next() => {
                    let (held, result): (HeldLease, Result<(), LeaseWriteError>) = (held, result);
                    busy.remove(held.key());
                    let code = result.as_ref().map_or_else(LeaseWriteError::code, |()| "ok");
                    metrics.add(Counter::Renewals, Labels::NONE.with_code(code), 1);
                    metrics.took(Histogram::RenewalTime, Labels::NONE, time);
                    match result {
                        Err(LeaseWriteError::Store(error)) => health.failed(ACTIVITY, &error),
                        _ => health.succeeded(ACTIVITY),
                    }
                }
                // What failed is tried again at the next tick, not at once.
                _ = ticks.tick() => {
                    queue = self.due(Instant::now(), &busy);
                    most = at_once(options.concurrency, self.map().len());
                    if queue.is_empty() && under_way.is_empty() {
                        // Nothing is due, so whatever could not be renewed was written otherwise or lost.
                        health.ended(ACTIVITY);
                    }
                }
            }
            while under_way.len() < most
                && let Some(held) = queue.pop_front()
            {
                busy.insert(held.key().clone());
                if let Some(renewed_at) = held.renewed_at() {
                    let planned = renewed_at + self.holder.timers.renewal();
                    let late = Instant::now().saturating_duration_since(planned);
                    metrics.took(Histogram::RenewalDelay, Labels::NONE, late);
                }
                under_way.push(async move {
                    let began = Instant::now();
                    let result = held.renew().await;
                    (held, result, began.elapsed())
                });
            }
        }
    }

    /// Drops what expired, and lists the leases to renew now.
    fn due(&self, now: Instant, busy: &BTreeSet<LeaseKey>) -> VecDeque<HeldLease> {
        let mut due = Vec::new();
        for held in self.held() {
            let Some(renewed_at) = held.renewed_at() else {
                continue;
            };
            if held.has_expired() {
                held.lose(LossReason::Expired);
            } else if now >= renewed_at + self.holder.timers.renewal() && !busy.contains(held.key()) {
                due.push((renewed_at, held));
            }
        }
        self.forget_lost();
        due.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.key().cmp(y.key())));
        due.into_iter().map(|(_, held)| held).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::sleep;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::keeper::Holder;
    use crate::lease::Lease;
    use crate::store::tests::flaky::{FlakyStore, Mishap};
    use crate::store::{LeaseChange, LeaseStore};
    use crate::timers::Timers;

    const FAILOVER: Duration = Duration::from_secs(10);

    /// Leases `0..count` of worker `me`, all held and renewed.
    async fn renewing(count: usize, concurrency: usize) -> (Arc<FlakyStore>, Keeper, AbortOnDropHandle<()>) {
        let store = FlakyStore::new();
        let keeper = Keeper::new(Holder::for_tests(
            &(Arc::clone(&store) as Arc<dyn LeaseStore>),
            "me",
            FAILOVER,
        ));
        for key in 0..count {
            let lease = Lease {
                owner: Some("me".into()),
                ..Lease::new(key.to_string(), Checkpoint::TrimHorizon)
            };
            store.create(&lease).await.unwrap();
            keeper
                .acquire(&lease.key, true)
                .await
                .unwrap()
                .held()
                .expect("acquired");
        }
        let renewer = keeper.clone();
        let task = tokio::spawn(async move {
            renewer
                .keep_renewing(
                    RenewalOptions { concurrency },
                    &Health::default(),
                    &Metrics::default(),
                )
                .await;
        });
        (store, keeper, AbortOnDropHandle::new(task))
    }

    async fn counter(store: &FlakyStore, key: &str) -> u64 {
        store.get(&key.into()).await.unwrap().unwrap().counter
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_lease_is_renewed_three_times_per_fail_over_time() {
        let (store, _keeper, _task) = renewing(1, 8).await;
        sleep(10 * FAILOVER).await;
        let renewals = counter(&store, "0").await - 1;
        assert!((27..=30).contains(&renewals), "{renewals} in ten fail-over times");
    }

    #[tokio::test(start_paused = true)]
    async fn a_checkpoint_is_a_renewal() {
        let (store, keeper, _task) = renewing(1, 8).await;
        let held = keeper.held().remove(0);
        for second in 0..30_u64 {
            sleep(Duration::from_secs(1)).await;
            held.checkpoint(Checkpoint::parse(second.to_string(), 0).unwrap())
                .await
                .unwrap();
        }
        assert_eq!(
            counter(&store, "0").await,
            1 + 30,
            "nothing but the checkpoints was written"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_renewals_of_many_leases_keep_up() {
        let (store, keeper, _task) = renewing(600, 16).await;
        for _ in 0..30 {
            store.suffer(std::iter::repeat_n(Mishap::Slow(Duration::from_millis(50)), 200));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(keeper.held().iter().filter(|held| held.is_valid()).count(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_leases_are_renewed_well_within_the_interval_at_50_ms_each() {
        let (store, keeper, _task) = renewing(10_000, 64).await;
        let interval = Timers::of(FAILOVER).renewal();
        store.suffer(std::iter::repeat_n(
            Mishap::Slow(Duration::from_millis(50)),
            20_000,
        ));
        for _ in 0..20 {
            sleep(Duration::from_millis(500)).await;
            let ages = keeper.held().into_iter().filter_map(|held| held.renewed_at());
            let oldest = ages.min().expect("some are held").elapsed();
            assert!(
                oldest < interval + FAILOVER / 5,
                "the oldest renewal is {oldest:?} ago"
            );
        }
        assert_eq!(keeper.held().len(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn one_renewal_that_hangs_holds_up_no_other_lease() {
        let (store, keeper, _task) = renewing(3, 8).await;
        store.suffer([Mishap::Slow(Duration::from_secs(3600))]);
        sleep(2 * FAILOVER).await;
        assert_eq!(
            keeper.held().iter().filter(|held| held.is_valid()).count(),
            2,
            "the third expired in silence"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_taken_away_is_noticed_within_a_third_of_the_fail_over_time() {
        let (store, keeper, _task) = renewing(1, 8).await;
        let held = keeper.held().remove(0);
        let seen = store.get(held.key()).await.unwrap().unwrap();
        store
            .inner
            .write(&seen, &LeaseChange::Assign { to: "b".into() })
            .await
            .unwrap();
        sleep(FAILOVER / 3 + Timers::of(FAILOVER).renewal_tick()).await;
        assert!(held.is_lost());
        assert!(keeper.held().is_empty());
    }
}
