//! For how long a renewal is good, on clocks that may stand still. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::environment::Environment;

/// A moment on this machine's clocks.
///
/// The clock that programs measure time with stands still while the machine is suspended; others go on meanwhile, and may
/// take its leases. The time since the machine was started, where the platform tells it, does not stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: Instant,
    since_boot: Option<Duration>,
}

impl Moment {
    pub(super) fn now(env: &Environment) -> Self {
        Self {
            at: Instant::now(),
            since_boot: env.since_boot(),
        }
    }

    /// The moment on the clock of programs, for timers.
    pub(super) fn instant(&self) -> Instant {
        self.at
    }

    /// How long ago `earlier` was, by whichever clock says longer.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        let awake = self.at.saturating_duration_since(earlier.at);
        let with_sleep = self
            .since_boot
            .zip(earlier.since_boot)
            .map_or(Duration::ZERO, |(now, then)| now.saturating_sub(then));
        awake.max(with_sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_went_on_counts() {
        let start = Instant::now();
        let moment = |awake: u64, since_boot: Option<u64>| Moment {
            at: start + Duration::from_secs(awake),
            since_boot: since_boot.map(Duration::from_secs),
        };
        for (now, seconds) in [
            (moment(3, Some(103)), 3),
            (moment(3, Some(163)), 63),
            (moment(3, None), 3),
            (moment(3, Some(99)), 3),
        ] {
            assert_eq!(now.since(&moment(0, Some(100))), Duration::from_secs(seconds));
        }
    }
}
