//! Tasks that handle the records of shards, each one after another, as long as there are some.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use kcl_lease::Activity;
use tokio::sync::Semaphore;
use tokio::task::coop;
use tokio::time::sleep;

use super::handler::RecordHandler;
use super::keyed::Started;
use super::shard::{Idle, LOOK, Outlet, Shard};
use crate::processor_error::ProcessorError;

pub(super) struct Runners<H> {
    pub(super) handler: H,
    /// How many of all shards of the worker may be at work, if that is bounded.
    pub(super) permits: Option<Arc<Semaphore>>,
}

impl<H> Outlet for Runners<H>
where
    H: for<'a> RecordHandler<'a>,
{
    fn offer(&self, shard: &Arc<Shard>) {
        for _ in 0..shard.more_takers() {
            tokio::spawn(handle(shard.clone(), self.handler.clone(), self.permits.clone()));
        }
    }

    fn handling(&self) -> Activity {
        Activity {
            code: "record-failing",
            doing: "the handler of a record",
        }
    }
}

/// Handles records until there is none to be started.
async fn handle<H>(shard: Arc<Shard>, handler: H, permits: Option<Arc<Semaphore>>)
where
    H: for<'a> RecordHandler<'a>,
{
    loop {
        // Given back after each record: whoever waits for it, in whatever shard, comes first.
        let permit = match &permits {
            Some(permits) => permits.acquire().await.ok(),
            None => None,
        };
        let Started { ticket, content } = match shard.next() {
            Ok(started) => started,
            Err(Idle::Waits) => {
                drop(permit);
                sleep(LOOK).await;
                continue;
            }
            Err(Idle::Ends) => return,
        };
        let call = async { handler.clone()(&content.record).await };
        match AssertUnwindSafe(call).catch_unwind().await {
            Ok(Ok(())) => shard.done(ticket, content),
            Ok(Err(error)) => shard.failed(ticket, content, &error).await,
            Err(panic) => {
                let error = ProcessorError::from_panic(panic);
                shard.failed(ticket, content, &error).await;
            }
        }
        drop(permit);
        // Handlers that never wait would keep the thread for themselves.
        coop::consume_budget().await;
    }
}
