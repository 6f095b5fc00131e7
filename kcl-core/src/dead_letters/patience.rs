//! Calls to Kinesis that are repeated for a while.

use std::time::Duration;

use kcl_lease::Environment;
use tokio::time::{Instant, sleep};

use crate::aws::{CallError, ErrorClass};
use crate::retry::Retry;

/// For how long a call is repeated.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a call is repeated that may succeed in a moment.
#[derive(Debug)]
pub(super) struct Patience {
    deadline: Instant,
    retry: Retry,
}

impl Patience {
    pub(super) fn new(env: &Environment) -> Self {
        Self {
            deadline: Instant::now() + PATIENCE,
            retry: Retry::new(env.clone(), FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// Waits until the call may be repeated; otherwise that is the error.
    pub(super) async fn after(&mut self, error: CallError) -> Result<(), CallError> {
        let pause = self.retry.pause();
        let is_passing = matches!(error.class, ErrorClass::Throttled | ErrorClass::Transient);
        if !is_passing || Instant::now() + pause > self.deadline {
            return Err(error);
        }
        sleep(pause).await;
        Ok(())
    }
}
