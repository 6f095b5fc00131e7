//! The numbers that change while nothing happens, told every few seconds.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use kcl_lease::{Gauge, Labels, Metrics};
use tokio::time::sleep;

use super::Shared;
use crate::memory::Budget;

/// So often.
const PERIOD: Duration = Duration::from_secs(5);

/// Tells them for ever.
pub(super) async fn tell(shared: Weak<Shared>, metrics: Metrics, budget: Budget) {
    let mut named = BTreeSet::new();
    while metrics.are_wanted()
        && let Some(shared) = shared.upgrade()
    {
        let monitors: Vec<_> = {
            let shards = shared.shards();
            shards.values().map(|(_, monitor)| monitor.clone()).collect()
        };
        for monitor in monitors {
            monitor.tell_progress();
        }
        let (used, bound) = budget.used();
        metrics.set(Gauge::MemoryUsed, Labels::NONE, used as f64);
        metrics.set(Gauge::MemoryBound, Labels::NONE, bound as f64);
        let problems = shared.problems();
        let codes: BTreeSet<_> = problems.iter().map(|problem| problem.code).collect();
        for code in named.union(&codes) {
            let is_there = f64::from(u8::from(codes.contains(code)));
            metrics.set(Gauge::Problems, Labels::NONE.with_code(code), is_there);
        }
        named = codes;
        drop(shared);
        sleep(PERIOD).await;
    }
    std::future::pending().await
}
