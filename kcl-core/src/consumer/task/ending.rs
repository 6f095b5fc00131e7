//! The end of a shard: the processor is told, the shards that follow get leases, and the end is recorded, in this order.

use kcl_lease::{Activity, Checkpoint, HeldState, LeaseWriteError};

use super::super::state::Event;
use super::Task;
use crate::config::{FailedCall, ShardId};

const CREATING_CHILDREN: Activity = Activity {
    code: "children-failing",
    doing: "creating the children's leases",
};
const RECORDING_THE_END: Activity = Activity {
    code: "shard-end-failing",
    doing: "recording the end of the shard",
};

impl Task {
    pub(super) async fn end_shard(&mut self) -> Event {
        self.reader = None;
        let Some(mut processor) = self.processor.take() else {
            return Event::Succeeded;
        };
        let checkpointer = self.checkpointer.clone();
        let result = self
            .supervise("shard_ended", processor.shard_ended(&checkpointer))
            .await;
        self.processor = Some(processor);
        match result {
            Ok(()) => Event::Succeeded,
            Err(error) => self.call_failed(FailedCall::ShardEnded, &error),
        }
    }

    pub(super) async fn create_children(&mut self) -> Event {
        let lease = self.held.lease();
        let (known, range) = (lease.children, lease.hash_range);
        let (fleet, creation) = (self.parts.fleet.clone(), self.stream.creation.clone());
        let room = match self.held.held_state() {
            HeldState::Held => fleet.room_after(self.held.key()),
            // What it should give away it does not get back as children.
            HeldState::Draining { .. } | HeldState::Lost(_) => 0,
        };
        let shard = self.shard.clone();
        let work = async {
            if self.children.is_empty() && !known.is_empty() {
                let mut is_complete = true;
                for child in &known {
                    is_complete &= creation
                        .store
                        .get(&creation.keys.key(&ShardId::from(child.as_str())))
                        .await?
                        .is_some();
                }
                if is_complete {
                    return Ok(());
                }
                self.children = creation.stream.listed_children(&shard, range).await?;
            }
            creation
                .create_children(&fleet, &shard, &self.children, room)
                .await
        };
        match work.await {
            Ok(()) => Event::Succeeded,
            Err(error) => self.failed(CREATING_CHILDREN, &error.into()),
        }
    }

    pub(super) async fn record_end(&mut self) -> Event {
        let children = self.children.iter().map(|child| child.id.to_string()).collect();
        let work = async {
            if !self.children.is_empty() {
                self.held.record_children(children).await?;
            }
            self.held.checkpoint(Checkpoint::ShardEnd).await
        };
        match work.await {
            Ok(()) => {
                tracing::info!(shard = %self.shard, children = ?self.children.iter().map(|c| &c.id).collect::<Vec<_>>(), "shard ended");
                self.processor = None;
                self.monitor.progressed(0, 0);
                self.stream.shard_ended.notify_waiters();
                Event::Succeeded
            }
            Err(LeaseWriteError::Lost(reason)) => Event::Lost(reason),
            Err(error) => self.failed(RECORDING_THE_END, &error.into()),
        }
    }
}
