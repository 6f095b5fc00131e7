//! Calls of the processor: none is cancelled, and none keeps a lease for longer than there is time.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::HeldState;
use tokio::time::{Instant, sleep, sleep_until};

use super::Task;
use crate::processor_error::ProcessorError;

/// A call of the processor that takes longer is mentioned in the log, again and again.
const LONG_CALL: Duration = Duration::from_secs(60);

impl Task {
    /// Lets a call of the processor run. It is never cancelled; but when the lease is to be given up and the call takes
    /// longer than there is time for, the lease is given up without it.
    pub(super) async fn supervise<T>(
        &mut self,
        name: &'static str,
        call: impl Future<Output = Result<T, ProcessorError>>,
    ) -> Result<T, ProcessorError> {
        let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
        let mut leaving = pin!(self.leave_without(name));
        self.monitor.call_begins(name);
        self.checkpointer.rules().call_begins();
        let began = Instant::now();
        let mut reminder = began + LONG_CALL;
        loop {
            tokio::select! {
                biased;
                result = &mut call => {
                    let result = result.unwrap_or_else(|panic| Err(ProcessorError::from_panic(panic)));
                    self.monitor.call_took(name, began.elapsed(), result.is_ok());
                    return result;
                }
                () = &mut leaving => {}
                () = sleep_until(reminder) => {
                    let seconds = began.elapsed().as_secs();
                    tracing::warn!(shard = %self.shard, call = name, seconds, "the processor is still busy with one call");
                    reminder = Instant::now() + LONG_CALL;
                }
            }
        }
    }

    /// Gives the lease up once a call may no longer keep it. Never completes.
    fn leave_without(&mut self, call: &'static str) -> impl Future<Output = ()> + use<> {
        let (held, shard) = (self.held.clone(), self.shard.clone());
        let (timeout, mut stopping) = (self.parts.drain_timeout, self.parts.stopping.clone());
        let began = self.drain_began.clone();
        async move {
            let mut state = held.watch();
            let is_draining = |state: &HeldState| matches!(state, HeldState::Draining { .. });
            if state.wait_for(is_draining).await.is_err() {
                return std::future::pending().await;
            }
            let deadline = *began.get_or_init(Instant::now) + timeout;
            loop {
                let at = stopping
                    .borrow_and_update()
                    .map_or(deadline, |at| at.min(deadline));
                tokio::select! {
                    biased;
                    () = sleep_until(at) => break,
                    Ok(()) = stopping.changed() => {}
                }
            }
            while is_draining(&held.held_state()) {
                tracing::warn!(%shard, call, "the call outlasts the drain time-out; giving the lease up");
                if let Err(error) = held.give_up().await {
                    tracing::warn!(%shard, %error, "cannot give the lease up");
                    sleep(Duration::from_secs(1)).await;
                }
            }
            std::future::pending().await
        }
    }
}
