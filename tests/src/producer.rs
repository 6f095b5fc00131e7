//! Records that keep coming.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::servers::Servers;
use crate::world::World;

/// One record of each key is put at a time: enough that each shard gets some, be it as narrow as a thirty-second of the hash keys.
const KEYS: usize = 160;

/// Puts records at an interval, until it is stopped.
#[derive(Debug)]
pub struct Producer {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Producer {
    /// Keeps records flowing on all shards.
    pub fn start(world: &World<impl Servers>, interval: Duration) -> Self {
        let (world, stop) = (world.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                world.put(KEYS, KEYS).await;
                sleep(interval).await;
            }
        });
        Self { task, stop }
    }

    /// Ends between two puts: what the ledger says was put, was.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}
