//! The loop that renews held leases and notices those that expired.

use std::collections::{BTreeSet, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Keeper;
use super::held::HeldLease;
use super::standing::{LeaseWriteError, LossReason};
use crate::health::Health;
use crate::ids::LeaseKey;

/// How renewals are spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RenewalOptions {
    /// Renewals under way at once.
    pub(crate) concurrency: usize,
}

/// Looks at the leases this many times per fail-over time.
const TICKS: u32 = 30;
/// Renews each lease this many times per fail-over time, as the Java KCL does.
const RENEWALS: u32 = 3;

const ACTIVITY: &str = "renewing leases";

impl Keeper {
    /// Renews each lease when a third of the fail-over time has passed since its last write, the longest silent first.
    /// Runs until dropped.
    pub(crate) async fn keep_renewing(&self, options: RenewalOptions, health: &Health) {
        let mut ticks = interval(self.failover_time / TICKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = FuturesUnordered::new();
        let mut busy: BTreeSet<LeaseKey> = BTreeSet::new();
        let mut queue: VecDeque<HeldLease> = VecDeque::new();
        loop {
            tokio::select! {
                biased;
                Some((held, result)) = under_way.next() => {
                    let held: HeldLease = held;
                    busy.remove(held.key());
                    match result {
                        Err(LeaseWriteError::Store(error)) => health.failed(ACTIVITY, &error),
                        _ => health.succeeded(ACTIVITY),
                    }
                }
                // What failed is tried again at the next tick, not at once.
                _ = ticks.tick() => queue = self.due(Instant::now(), &busy),
            }
            while under_way.len() < options.concurrency
                && let Some(held) = queue.pop_front()
            {
                busy.insert(held.key().clone());
                under_way.push(async move {
                    let result = held.renew().await;
                    (held, result)
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
            if held.expires_at().is_some_and(|at| now >= at) {
                held.lose(LossReason::Expired);
            } else if now >= renewed_at + self.failover_time / RENEWALS && !busy.contains(held.key()) {
                due.push((renewed_at, held));
            }
        }
        self.forget_lost();
        due.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.key().cmp(y.key())));
        due.into_iter().map(|(_, held)| held).collect()
    }
}
