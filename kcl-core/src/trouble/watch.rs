//! Looks at the shards every second, judges, and says so to the fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::{Health, LeaseKey, Membership, Timers};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::judge::{Evidence, Judge, Times};
use crate::config::ShardId;
use crate::status::Vitals;
use crate::stream::{StartingPosition, StreamClient};
use crate::streams::StreamsRead;

/// The worker as a whole cannot do its work.
const UNFIT: &str = "worker-unfit";
/// Single shards of a worker got no further for long.
const FAILING: &str = "shards-failing";

/// Watches over a worker for ever. `shards` are those that it has.
pub(crate) async fn watch_over(
    fleet: Membership,
    streams: StreamsRead,
    health: Health,
    timers: Timers,
    shards: impl Fn() -> BTreeMap<LeaseKey, Vitals>,
) {
    let mut judge = Judge::new(Times::of(timers), Instant::now());
    let mut probing: Option<AbortOnDropHandle<Result<(), String>>> = None;
    let mut was_blocked = false;
    loop {
        let probed = match probing.take_if(|probe| probe.is_finished()) {
            Some(done) => done.now_or_never().and_then(Result::ok),
            None => None,
        };
        let evidence = Evidence {
            shards: shards(),
            probe: probed,
            was_blocked,
        };
        let verdict = judge.judge(&evidence, Instant::now());
        tell(&health, UNFIT, verdict.unfit);
        tell(&health, FAILING, verdict.failing);
        if let Some(lease) = verdict.probe
            && let Some((stream, shard)) = streams.client(&lease)
        {
            let reading = probe(stream, shard, timers.failover_time());
            probing = Some(AbortOnDropHandle::new(tokio::spawn(reading)));
        }
        was_blocked = fleet.declare(verdict.trouble);
        sleep(timers.look()).await;
    }
}

fn tell(health: &Health, code: &'static str, text: Option<String>) {
    match text {
        Some(text) => health.raise(code, text),
        None => health.settle(code),
    }
}

/// Reads the oldest record of a shard. (The newest would not do: whoever may not decrypt notices it only by a record.) An answer
/// that would be the same for any worker shows that reading works.
async fn probe(stream: StreamClient, shard: ShardId, patience: Duration) -> Result<(), String> {
    let read = async {
        let oldest = StartingPosition::TrimHorizon;
        let (iterator, _) = stream.shard_iterator(&shard, &oldest).await?;
        stream.records(&iterator, 1, patience).await.map(|_| ())
    };
    match timeout(patience, read).await {
        Ok(Err(error)) if error.class.is_of_the_worker() => Err(error.to_string()),
        Ok(_) => Ok(()),
        Err(_) => Err(format!("Kinesis did not answer within {patience:?}")),
    }
}
