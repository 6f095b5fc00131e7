//! Where the lease table is called: on a thread of its own, so that nothing that the application does can hold renewals up.
//!
//! A processor that blocks its thread (CPU work, a blocking driver, a current-thread runtime) keeps all other tasks of
//! that thread from running. So what keeps leases lives elsewhere: every loop of a fleet, and every call to the table,
//! also one that a processor's checkpoint asks for. A connection belongs to the thread that opened it, and a write under way
//! holds its lease's turn; so not only renewals have to run there, but everything that they could wait for.
//!
//! Where time is virtual (a paused clock of tokio), everything runs on the caller's runtime: only there does that time
//! pass.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The thread's name, as debuggers and `top -H` show it.
const NAME: &str = "kcl-leases";

/// Where leases are kept. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Seat(Option<Arc<OwnThread>>);

/// What was to be done elsewhere was not: that thread is gone, or the work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfinished;

struct OwnThread {
    handle: Handle,
    end: CancellationToken,
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Seat {
    /// The caller's runtime.
    pub(crate) fn here() -> Self {
        Self(None)
    }

    /// A thread of its own, or the caller's runtime where time is virtual.
    pub(crate) fn take() -> Self {
        if !is_real_time() {
            return Self::here();
        }
        match start() {
            Ok(own) => Self(Some(Arc::new(own))),
            Err(error) => {
                tracing::warn!(%error, "no thread for the leases; a processor that blocks its thread may cost leases");
                Self::here()
            }
        }
    }

    /// Does something there, and waits for it. It goes on if nobody waits any more, unless it is done on the caller's runtime.
    ///
    /// # Errors
    /// The thread is gone, or the work panicked there.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, Unfinished>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        match &self.0 {
            None => Ok(work.await),
            Some(own) => own.handle.spawn(work).await.map_err(|_| Unfinished),
        }
    }

    /// Starts a loop there.
    pub(crate) fn spawn(
        &self,
        tasks: &mut JoinSet<()>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        match &self.0 {
            None => tasks.spawn(task),
            Some(own) => tasks.spawn_on(task, &own.handle),
        }
    }
}

/// The thread ends when nobody needs it any more.
fn start() -> std::io::Result<OwnThread> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let own = OwnThread {
        handle: runtime.handle().clone(),
        end: CancellationToken::new(),
    };
    let end = own.end.clone();
    thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        runtime.block_on(end.cancelled());
        // Calls under way are not waited for.
        runtime.shutdown_background();
    })?;
    Ok(own)
}

/// Whether tokio's time is the machine's.
#[expect(
    clippy::disallowed_methods,
    reason = "only the machine's own clock tells whether tokio's is another"
)]
fn is_real_time() -> bool {
    let before = std::time::Instant::now();
    let told = Instant::now().into_std();
    before <= told && told <= std::time::Instant::now()
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.0.is_some() { NAME } else { "here" };
        f.debug_tuple("Seat").field(&place).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_while_the_caller_s_only_thread_is_blocked() {
        let seat = Seat::take();
        let (tell, told) = oneshot::channel();
        let mut tasks = JoinSet::new();
        seat.spawn(&mut tasks, async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = tell.send(thread::current().name().map(str::to_owned));
        });
        // Blocks the only thread of this runtime until the other one has answered.
        let name = told.blocking_recv_elsewhere();
        assert_eq!(name.as_deref(), Some(NAME));
    }

    trait BlockingElsewhere<T> {
        fn blocking_recv_elsewhere(self) -> T;
    }

    impl<T: Send + 'static> BlockingElsewhere<T> for oneshot::Receiver<T> {
        fn blocking_recv_elsewhere(self) -> T {
            let waiting = thread::spawn(move || self.blocking_recv().unwrap());
            waiting.join().unwrap()
        }
    }

    #[tokio::test]
    async fn what_panics_there_is_unfinished_and_the_thread_goes_on() {
        let seat = Seat::take();
        assert_eq!(
            seat.run(async { panic!("out of luck") }).await,
            Err::<(), _>(Unfinished)
        );
        assert_eq!(seat.run(async { 7 }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_is_kept_to() {
        assert_eq!(format!("{:?}", Seat::take()), "Seat(\"here\")");
        let start = Instant::now();
        let hour = Duration::from_secs(3600);
        Seat::take().run(tokio::time::sleep(hour)).await.unwrap();
        assert!(start.elapsed() >= hour);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_was_virtual_once_is_virtual_still() {
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        assert!(!is_real_time());
    }
}
