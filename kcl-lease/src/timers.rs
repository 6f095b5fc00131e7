//! Every time that follows from the fail-over time, in one place. Pure.
//!
//! What must hold between them, for whatever fail-over time *f* from 1 s on, stands in the tests below:
//!
//! - A renewal that is due is looked for, and sent by a call that ends before its lease expires. From 2 s on such a call has time
//!   to repeat a request that was lost.
//! - A leader's heartbeat is missed four times before the lock may be taken; and the lock, the candidates' looks and the
//!   first scan fit into *f*, so that a leader's death costs hardly more than any other worker's.
//! - A healthy owner's lease never stands still for so long that the leader notes it, and an idle worker that misses one
//!   report is not late.
//! - An unfit worker is tried again before anybody forgets what failed there.

use std::time::Duration;

/// The times that follow from a fail-over time, which is how long a silent worker keeps its leases.
///
/// | what | how long |
/// |---|---|
/// | a lease is renewed when no other write has done so for | *f*/3, as in the Java KCL |
/// | one attempt of a call to the lease table; one call with its retries; one that reads many rows | *f*/5 (0.5 to 5 s); *f*/2; 2 *f* |
/// | the leader's heartbeat; the lock may be taken when it has stood still for | *f*/10; *f*/2 |
/// | the leader scans, owners look for leases, workers judge themselves | *f*/10, at most 1 s |
/// | a table that is large, or throttles, is scanned at least every | 2 *f* |
/// | a worker without leases reports; it is given nothing more after | *f*/3; 0.7 *f* |
///
/// ```
/// use std::time::Duration;
/// use kcl_lease::Timers;
///
/// let timers = Timers::of(Duration::from_secs(30));
/// assert_eq!(timers.renewal(), Duration::from_secs(10));
/// assert_eq!(timers.look(), Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    failover_time: Duration,
}

impl Timers {
    /// Those of this fail-over time.
    pub const fn of(failover_time: Duration) -> Self {
        Self { failover_time }
    }

    /// How long a silent worker keeps its leases.
    pub const fn failover_time(self) -> Duration {
        self.failover_time
    }

    /// A lease is renewed when its last write is so old, as in the Java KCL.
    pub fn renewal(self) -> Duration {
        self.failover_time / 3
    }

    /// How often it is looked which leases are to be renewed.
    pub(crate) fn renewal_tick(self) -> Duration {
        self.failover_time / 30
    }

    /// One attempt of a call to the lease table. One lost request must not cost a lease.
    pub fn attempt(self) -> Duration {
        (self.failover_time / 5).clamp(Duration::from_millis(500), Duration::from_secs(5))
    }

    /// A call for one row of the lease table, with its retries. A write that is in doubt for longer is of no use: its lease must
    /// be written once more before it expires.
    pub fn call(self) -> Duration {
        self.failover_time / 2
    }

    /// A call that reads many rows.
    pub(crate) fn long_call(self) -> Duration {
        self.failover_time * 2
    }

    /// How often the leader refreshes its lock, and candidates look at it.
    pub fn leader_heartbeat(self) -> Duration {
        self.failover_time / 10
    }

    /// The leader lock may be taken when it has stood still for so long.
    pub fn leader_lock(self) -> Duration {
        self.failover_time / 2
    }

    /// How often an owner looks for leases that were assigned to it, a leader scans a small table, and a worker judges itself.
    pub fn look(self) -> Duration {
        (self.failover_time / 10).min(Duration::from_secs(1))
    }

    /// A large table, and one that throttles, is scanned at least so often.
    pub(crate) fn longest_scan_interval(self) -> Duration {
        self.failover_time * 2
    }

    /// A scan that failed is repeated after this time at the latest.
    pub(crate) fn longest_scan_pause(self) -> Duration {
        self.failover_time / 4
    }

    /// Assignments that could not be written are planned again after this time at the latest.
    pub(crate) fn longest_write_pause(self) -> Duration {
        self.failover_time / 2
    }

    /// Heartbeats tell of leases that have stood still for so long: longer than a healthy owner lets a lease be.
    pub(crate) fn standstill(self) -> Duration {
        self.failover_time.mul_f64(0.4)
    }

    /// How often a worker without leases shows that it lives.
    pub(crate) fn idle_report(self) -> Duration {
        self.failover_time / 3
    }

    /// A worker that has given no sign of life for so long is given nothing more: two were due.
    pub(crate) fn overdue(self) -> Duration {
        self.failover_time.mul_f64(0.7)
    }

    /// The row of a worker without leases that has given no sign of life for so long is deleted.
    pub(crate) fn gone(self) -> Duration {
        self.failover_time * 3
    }

    /// A worker that let an assignment expire is given nothing for so long.
    pub(crate) fn unresponsive(self) -> Duration {
        self.failover_time * 6
    }

    /// A Java worker that is given a lease writes to it within this time: by default it looks for its leases every fail-over
    /// time, and then renews with the others, every third of one.
    pub(crate) fn java_start(self) -> Duration {
        self.failover_time * 2
    }

    /// Reads, and processors that do not start, may fail for so long without any success before a worker is unfit.
    pub fn patience_with_reads(self) -> Duration {
        self.failover_time * 2
    }

    /// As [`patience_with_reads`](Self::patience_with_reads), for the other calls of processors. They have more time: a hand-off makes a
    /// processor start anew, and what fails may be something behind it.
    pub fn patience_with_calls(self) -> Duration {
        self.failover_time * 6
    }

    /// A worker whose runtime was blocked is tried again, and trusted again, after so long.
    pub fn patience_with_blocked(self) -> Duration {
        self.failover_time * 3
    }

    /// The pause before an unfit worker is tried with a lease; each trial that fails doubles it.
    pub fn first_trial(self) -> Duration {
        self.failover_time * 3
    }

    /// The longest such pause.
    pub fn longest_trial_pause(self) -> Duration {
        self.failover_time * 60
    }

    /// To read one record costs little, so a worker that could not read tries that at least so often.
    pub fn longest_probe_pause(self) -> Duration {
        self.failover_time * 6
    }

    /// A worker that can work again with its leases in hand is ailing for so long, so that the others have noticed too. Whatever
    /// fails is tried again after 10 s at the latest.
    pub fn recovery(self) -> Duration {
        self.failover_time.max(Duration::from_secs(12))
    }

    /// A process that judged nothing for so long was frozen.
    pub fn nap(self) -> Duration {
        self.failover_time / 2
    }

    /// A lease that failed in a worker is not wanted back for so long: an hour by default.
    pub fn memory_of_failures(self) -> Duration {
        self.failover_time * 360
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_leave_room_for_each_other_whatever_the_fail_over_time() {
        for millis in [1000, 1500, 2500, 5000, 10_000, 60_000, 3_600_000] {
            let failover_time = Duration::from_millis(millis);
            let it = Timers::of(failover_time);
            assert!(
                it.renewal() + it.renewal_tick() + it.call() < failover_time,
                "{millis}"
            );
            assert!(it.attempt() <= it.call(), "{millis}");
            assert!(it.leader_heartbeat() * 4 < it.leader_lock(), "{millis}");
            assert!(
                it.leader_lock() + it.leader_heartbeat() + it.look() < failover_time,
                "{millis}"
            );
            assert!(it.renewal() + it.renewal_tick() < it.standstill(), "{millis}");
            assert!(it.standstill() < it.leader_lock(), "{millis}");
            assert!(it.idle_report() * 2 < it.overdue(), "{millis}");
            assert!(
                it.overdue() < failover_time && failover_time < it.gone(),
                "{millis}"
            );
            assert!(
                it.look() <= it.longest_scan_pause() && it.look() <= it.longest_write_pause(),
                "{millis}"
            );
            assert!(it.longest_scan_pause() < it.longest_scan_interval(), "{millis}");
            assert!(it.java_start() < it.unresponsive(), "{millis}");
            assert!(it.patience_with_reads() < it.patience_with_calls(), "{millis}");
            assert!(
                it.nap() < it.patience_with_reads() && it.look() < it.nap(),
                "{millis}"
            );
            assert!(it.first_trial() < it.longest_trial_pause(), "{millis}");
            assert!(it.longest_trial_pause() < it.memory_of_failures(), "{millis}");
        }
    }

    #[test]
    fn a_lost_request_is_repeated_within_its_call_unless_the_fail_over_time_is_very_short() {
        for millis in [2000, 10_000, 60_000] {
            let it = Timers::of(Duration::from_millis(millis));
            assert!(it.attempt() * 2 <= it.call(), "{millis}");
        }
    }
}
