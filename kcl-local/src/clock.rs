//! Wall-clock time that follows tokio's clock, and that can be stopped, moved on and made to go faster.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

/// The last second that a clock shows: 9999-12-31T23:59:59Z, after which dates of HTTP have no room for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// How many times as fast as the machine's a clock may go: a day in nine seconds.
pub const FASTEST: f64 = 10_000.0;

/// The backend's only source of time.
///
/// Wall-clock time is an epoch chosen at construction plus the time that tokio's clock has counted
/// since, so under `tokio::time::pause` every timestamp, retention period and iterator expiry runs in virtual
/// time. Where tokio's clock is the machine's, [`advance`](Self::advance) moves time on without waiting for it, and
/// [`set_pace`](Self::set_pace) stops it or makes it go faster. It never goes back. Clones share all of this.
///
/// ```
/// use std::time::Duration;
/// use kcl_local::Backend;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = Backend::start();
/// backend.clock().advance(Duration::from_secs(25 * 60 * 60))?; // records that are there now have expired
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hands: Mutex<Hands>,
    /// Wakes who waits for a time when it comes sooner or later than it seemed.
    changed: Notify,
}

/// What a clock shows: at one instant, and how it has gone on since then.
#[derive(Debug, Clone, Copy)]
struct Hands {
    at: Instant,
    showed: SystemTime,
    pace: f64,
}

/// A clock cannot be set in this way; it goes on as before.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// Records would arrive before others that are there already.
    #[error("time does not go back: the clock is {0:?} past that")]
    GoesBack(Duration),
    /// It would show a time that has no room in a date of HTTP.
    #[error("the clock ends with the year 9999")]
    TooFar,
    /// The pace is none.
    #[error("a clock goes 0 (paused) to {FASTEST} times as fast as the machine's, and not {0} times")]
    Pace(f64),
}

impl Hands {
    fn now(&self) -> SystemTime {
        let elapsed = self.at.elapsed();
        // A pace of one keeps every nanosecond.
        let gone = if self.pace == 1.0 {
            elapsed
        } else {
            elapsed.mul_f64(self.pace)
        };
        self.showed.checked_add(gone).unwrap_or(self.showed)
    }

    /// How long, on tokio's clock, until `time` is shown; none if it never is.
    fn until(&self, time: SystemTime) -> Option<Duration> {
        let Ok(missing) = time.duration_since(self.now()) else {
            return Some(Duration::ZERO);
        };
        if missing.is_zero() || self.pace == 1.0 {
            Some(missing)
        } else if self.pace == 0.0 {
            None
        } else {
            Some(missing.div_f64(self.pace))
        }
    }
}

impl Clock {
    /// A clock that shows `epoch` now.
    pub fn starting_at(epoch: SystemTime) -> Self {
        let hands = Hands {
            at: Instant::now(),
            showed: epoch,
            pace: 1.0,
        };
        Self {
            shared: Arc::new(Shared {
                hands: Mutex::new(hands),
                changed: Notify::new(),
            }),
        }
    }

    /// A clock that shows the machine's time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the machine's time enters"
    )]
    pub fn system() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        self.hands().now()
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_millis(&self) -> u64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// How many times as fast as tokio's clock this one goes: 1, unless it was changed; 0 while it is paused.
    pub fn pace(&self) -> f64 {
        self.hands().pace
    }

    /// Goes on at another pace: 0 pauses the clock, 60 lets an hour pass in a minute.
    ///
    /// # Errors
    /// If the pace is negative, no number, or greater than [`FASTEST`].
    pub fn set_pace(&self, pace: f64) -> Result<(), ClockError> {
        self.check_pace(pace)?;
        self.change(|now| Ok((now, Some(pace))))
    }

    /// Says whether [`set_pace`](Self::set_pace) would take this pace.
    pub(crate) fn check_pace(&self, pace: f64) -> Result<(), ClockError> {
        let is_good = (0.0..=FASTEST).contains(&pace);
        is_good.then_some(()).ok_or(ClockError::Pace(pace))
    }

    /// Moves time on at once, whether it is paused or not.
    ///
    /// # Errors
    /// If the clock would show a year after 9999.
    pub fn advance(&self, by: Duration) -> Result<(), ClockError> {
        self.change(|now| Ok((now.checked_add(by).ok_or(ClockError::TooFar)?, None)))
    }

    /// Moves time on to a certain time, from where it goes on as before.
    ///
    /// # Errors
    /// If that time has passed already, or lies after the year 9999.
    pub fn advance_to(&self, time: SystemTime) -> Result<(), ClockError> {
        self.change(|now| match time.duration_since(now) {
            Ok(_) => Ok((time, None)),
            Err(back) => Err(ClockError::GoesBack(back.duration())),
        })
    }

    fn change(
        &self,
        to: impl FnOnce(SystemTime) -> Result<(SystemTime, Option<f64>), ClockError>,
    ) -> Result<(), ClockError> {
        let mut hands = self.hands();
        let (showed, pace) = to(hands.now())?;
        let last = UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
        if showed > last {
            return Err(ClockError::TooFar);
        }
        *hands = Hands {
            at: Instant::now(),
            showed,
            pace: pace.unwrap_or(hands.pace),
        };
        drop(hands);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// Completes when this clock has gone on by `duration`, however that came about.
    pub async fn sleep(&self, duration: Duration) {
        let Some(due) = self.now().checked_add(duration) else {
            return std::future::pending().await;
        };
        loop {
            // Enabled before the look, so that no change is missed in between.
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let wait = self.hands().until(due);
            match wait {
                Some(Duration::ZERO) => return,
                Some(wait) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep(wait) => {}
                },
                None => changed.await,
            }
        }
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        // Nothing panics while it is held.
        self.shared.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> (Clock, SystemTime) {
        let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        (Clock::starting_at(start), start)
    }

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_stands_still_until_it_is_moved_on() {
        let (clock, start) = clock();
        clock.set_pace(0.0).unwrap();
        tokio::time::sleep(HOUR).await;
        assert_eq!(clock.now(), start);
        clock.advance(HOUR).unwrap();
        assert_eq!(clock.now(), start + HOUR);
        clock.set_pace(1.0).unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(clock.now(), start + HOUR + MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_lets_an_hour_pass_in_a_minute() {
        let (clock, start) = clock();
        clock.set_pace(60.0).unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(clock.now(), start + HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_and_never_back() {
        let (clock, start) = clock();
        clock.advance_to(start + HOUR).unwrap();
        assert_eq!(clock.advance_to(start), Err(ClockError::GoesBack(HOUR)));
        assert_eq!(clock.advance(Duration::MAX), Err(ClockError::TooFar));
        let far = Duration::from_secs(LAST_SECOND);
        assert_eq!(clock.advance(far), Err(ClockError::TooFar));
        for pace in [-1.0, f64::NAN, f64::INFINITY, FASTEST + 1.0] {
            assert!(matches!(clock.set_pace(pace), Err(ClockError::Pace(_))), "{pace}");
        }
        assert_eq!(clock.now(), start + HOUR, "what is refused changes nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_time_is_woken_when_it_is_moved_on() {
        let (clock, _) = clock();
        clock.set_pace(0.0).unwrap();
        let mut sleep = asleep(clock.clone(), HOUR);
        tokio::time::sleep(2 * HOUR).await;
        assert!(!sleep.is_finished());
        clock.advance(HOUR / 2).unwrap();
        tokio::time::sleep(MINUTE).await;
        assert!(!sleep.is_finished());
        clock.advance(HOUR / 2).unwrap();
        (&mut sleep).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_has_less_to_wait_when_the_clock_goes_faster() {
        let (clock, _) = clock();
        let asked = Instant::now();
        let sleep = asleep(clock.clone(), HOUR);
        tokio::time::sleep(HOUR / 2).await;
        clock.set_pace(30.0).unwrap();
        sleep.await.unwrap();
        let waited = asked.elapsed();
        assert!(
            waited >= HOUR / 2 + MINUTE && waited < HOUR / 2 + 2 * MINUTE,
            "{waited:?}"
        );
    }

    fn asleep(clock: Clock, duration: Duration) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { clock.sleep(duration).await })
    }
}
