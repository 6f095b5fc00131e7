//! The end of this worker's work on a shard that goes on elsewhere: by its own will, or because it lost the lease.

use kcl_lease::{Activity, LeaseWriteError, LossReason};

use super::super::state::Event;
use super::Task;

const GIVING_UP: Activity = Activity {
    code: "give-up-failing",
    doing: "giving the lease up",
};

impl Task {
    pub(super) async fn request_shutdown(&mut self) -> Event {
        self.reader = None;
        self.delivery = None;
        self.pieces.clear();
        tracing::info!(shard = %self.shard, "giving the shard up");
        let Some(mut processor) = self.processor.take() else {
            return Event::Succeeded;
        };
        let checkpointer = self.checkpointer.clone();
        let result = self
            .supervise("shutdown_requested", processor.shutdown_requested(&checkpointer))
            .await;
        self.processor = Some(processor);
        if let Err(error) = result {
            tracing::warn!(
                shard = %self.shard, error = %error.chain(),
                "shutdown_requested failed; records after the last checkpoint are delivered again"
            );
        }
        Event::Succeeded
    }

    pub(super) async fn give_up(&mut self) -> Event {
        self.reader = None;
        match self.held.give_up().await {
            Ok(()) => {
                let checkpoint = self.checkpointer.last_checkpoint();
                tracing::info!(shard = %self.shard, %checkpoint, "gave the shard up");
                if let Some(since) = self.drain_began.get() {
                    self.monitor.handed_off(since.elapsed());
                }
                Event::Succeeded
            }
            Err(LeaseWriteError::Lost(_)) => Event::Succeeded,
            Err(error) => self.failed(GIVING_UP, &error.into()),
        }
    }

    /// Tells the processor that its shard is another worker's.
    pub(super) async fn tell_loss(&mut self, reason: &LossReason) -> Event {
        self.reader = None;
        tracing::info!(shard = %self.shard, %reason, "lease lost");
        if let Some(mut processor) = self.processor.take() {
            let call = async {
                processor.lease_lost(reason).await;
                Ok(())
            };
            if let Err(error) = self.supervise("lease_lost", call).await {
                tracing::warn!(shard = %self.shard, error = %error.chain(), "lease_lost failed");
            }
        }
        Event::Succeeded
    }
}
