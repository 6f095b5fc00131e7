//! How the time for a stop is spent, and who tells a worker to stop.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::error::Error;

/// Until when what is to be done, once a worker was told to stop. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StopTimes {
    /// How long the table may take to tell who the successors are.
    pub(super) naming: Duration,
    /// Leases of processors that are busy then are handed on.
    pub(super) calls: Instant,
    /// Processors that are busy then are left alone.
    pub(super) drained: Instant,
    /// The worker is gone.
    pub(super) gone: Instant,
}

impl StopTimes {
    /// `drain` is how long a call may keep a lease from being given up, `all` what the whole stop may take.
    pub(super) fn new(now: Instant, drain: Duration, all: Duration) -> Self {
        let share = all / 8;
        let calls = drain.min(all - share * 2);
        Self {
            naming: share,
            calls: now + calls,
            drained: now + calls + share,
            gone: now + all,
        }
    }
}

/// Counts the signals that tell this process to stop: ctrl-c and SIGTERM.
pub(super) struct Signals {
    count: watch::Receiver<u32>,
    _counting: AbortOnDropHandle<()>,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Error> {
        let (counter, count) = watch::channel(0);
        let mut next = signal()?;
        let counting = async move {
            loop {
                next.recv().await;
                counter.send_modify(|count| *count += 1);
            }
        };
        Ok(Self {
            count,
            _counting: AbortOnDropHandle::new(tokio::spawn(counting)),
        })
    }

    /// Completes at the signal of this number.
    pub(super) fn at(&self, number: u32) -> impl Future<Output = ()> + use<> {
        let mut count = self.count.clone();
        async move {
            if count.wait_for(|count| *count >= number).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(unix)]
struct Sources {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
fn signal() -> Result<Sources, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Sources {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    })
}

#[cfg(unix)]
impl Sources {
    async fn recv(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => tracing::info!("told to stop by SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("told to stop by ctrl-c"),
        }
    }
}

#[cfg(not(unix))]
struct Sources;

#[cfg(not(unix))]
fn signal() -> Result<Sources, Error> {
    Ok(Sources)
}

#[cfg(not(unix))]
impl Sources {
    async fn recv(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "ctrl-c cannot be received");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn leases_go_on_before_a_stop_is_over() {
        let seconds = |drain: u64, all: u64| {
            let now = Instant::now();
            let times = StopTimes::new(now, Duration::from_secs(drain), Duration::from_secs(all));
            [times.calls, times.drained, times.gone].map(|at| (at - now).as_secs_f64())
        };
        assert_eq!(seconds(30, 20), [15.0, 17.5, 20.0]);
        assert_eq!(seconds(30, 8), [6.0, 7.0, 8.0]);
        assert_eq!(
            seconds(3, 20),
            [3.0, 5.5, 20.0],
            "a drain time-out of its own counts"
        );
        assert_eq!(seconds(0, 20), [0.0, 2.5, 20.0]);
    }
}
