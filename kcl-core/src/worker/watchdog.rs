//! Notices shards that have something to do and get no further, and says so once.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kcl_lease::LeaseKey;
use tokio::time::sleep;

use super::Shared;
use crate::processor_error::ProcessorError;
use crate::status::{ShardMonitor, ShardStatus};

/// The shards are looked at so often.
const LOOK: Duration = Duration::from_secs(1);

type Hook = dyn Fn(&ShardStatus) + Send + Sync;

/// Who is told, if anybody is.
#[derive(Clone, Default)]
pub(super) struct StallHook(Option<Arc<Hook>>);

impl StallHook {
    pub(super) fn new(hook: impl Fn(&ShardStatus) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    fn tell(&self, shard: &ShardStatus) {
        let Some(hook) = &self.0 else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(shard))) {
            let error = ProcessorError::from_panic(panic);
            tracing::error!(shard = shard.shard_id, %error, "the hook for shards that stall panicked");
        }
    }
}

impl fmt::Debug for StallHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "StallHook" } else { "None" })
    }
}

/// Looks at the shards of a worker for ever.
pub(super) async fn watch(shared: Weak<Shared>, hook: StallHook) {
    let mut stalled = BTreeMap::new();
    while let Some(shared) = shared.upgrade() {
        look(&shared, &hook, &mut stalled);
        drop(shared);
        sleep(LOOK).await;
    }
    std::future::pending().await
}

fn look(shared: &Shared, hook: &StallHook, stalled: &mut BTreeMap<LeaseKey, Arc<ShardMonitor>>) {
    let after = shared.stalled_after;
    let shards: Vec<_> = {
        let shards = shared.shards();
        stalled.retain(|key, told| {
            let is_here = shards
                .get(key)
                .is_some_and(|(_, monitor)| Arc::ptr_eq(monitor, told));
            if !is_here {
                // Whoever has it now tells of it.
                told.tell_stall(false);
            }
            is_here
        });
        let changed = shards
            .iter()
            .filter(|(key, (_, monitor))| monitor.stalled(after).is_some() != stalled.contains_key(*key));
        changed
            .map(|(key, (held, monitor))| (key.clone(), held.clone(), monitor.clone()))
            .collect()
    };
    for (key, held, monitor) in shards {
        let status = monitor.status(held.lease().checkpoint.to_string(), after);
        match &status.stalled {
            Some(problem) => {
                tracing::warn!(shard = %key, code = problem.code, "it has got no further for {after:?}: {}", problem.text);
                stalled.insert(key, monitor.clone());
            }
            None => {
                tracing::info!(shard = %key, "it gets further again");
                stalled.remove(&key);
            }
        }
        monitor.tell_stall(status.stalled.is_some());
        hook.tell(&status);
    }
}
