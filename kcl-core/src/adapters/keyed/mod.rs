//! Which record may be handled when, and how far all are done. Pure: records come in, the next one to handle goes out, and what came of
//! it comes back.
//!
//! ```text
//! admitted -> ready -> under way -> done
//!               ^          |
//!               +- pausing + (failed)
//! ```
//!
//! The records of one key form a lane, in which one at most is ready, under way or pausing, and the others wait behind it. Lanes that
//! are ready take turns.

mod admitted;
mod lanes;

use kcl_lease::ExtendedSequenceNumber;
use tokio::time::Instant;

use self::admitted::{Admitted, Slot};
use self::lanes::Lanes;

/// How much at once, in records. All are at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Under way at a time.
    pub(super) at_once: usize,
    /// Admitted and not done.
    pub(super) undone: usize,
    /// Of keys that fail: those that fail, and those behind them.
    pub(super) held_back: usize,
    /// From the first one that is not done to the last one that is admitted.
    pub(super) ahead: usize,
}

/// A record that is under way: what was admitted, until it is said what came of it.
#[derive(Debug)]
pub(super) struct Started<T> {
    pub(super) ticket: Ticket,
    pub(super) content: T,
}

/// What a record may do when it is to be kept for long.
pub(super) trait HeldBack {
    /// It, or one in front of it in its lane, failed.
    fn held_back(&mut self);
}

/// Which record it is.
#[derive(Debug)]
pub(super) struct Ticket {
    key: u64,
    slot: Slot,
}

/// The records of one shard that are admitted.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    limits: Limits,
    admitted: Admitted<T>,
    lanes: Lanes,
    under_way: usize,
    is_stopped: bool,
}

impl<T: HeldBack> Schedule<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            admitted: Admitted::default(),
            lanes: Lanes::default(),
            under_way: 0,
            is_stopped: false,
        }
    }

    /// How many more may be admitted now.
    pub(super) fn room(&self) -> usize {
        if self.lanes.held_back() >= self.limits.held_back {
            return 0;
        }
        let of_undone = self.limits.undone.saturating_sub(self.undone());
        of_undone.min(self.limits.ahead.saturating_sub(self.admitted.span()))
    }

    /// Whether it is worth the while to admit more: there is room for some at once, or nothing else to start.
    pub(super) fn is_roomy(&self) -> bool {
        let is_low = self.undone() <= self.limits.undone - self.limits.undone / 8;
        self.room() > 0 && (is_low || self.lanes.ready() == 0)
    }

    /// Takes in the record that comes next in the shard. Whether there is room is up to the caller.
    pub(super) fn admit(&mut self, key: u64, position: &ExtendedSequenceNumber, mut content: T) {
        if self.lanes.is_failing(key) {
            content.held_back();
        }
        let slot = self.admitted.push(position, content);
        self.lanes.push(key, slot);
    }

    /// The position of the record that was admitted last.
    pub(super) fn last_admitted(&self) -> Option<&ExtendedSequenceNumber> {
        self.admitted.last()
    }

    /// The next record to handle, if there is one that may be.
    pub(super) fn start(&mut self) -> Option<Started<T>> {
        if self.is_stopped || self.under_way >= self.limits.at_once {
            return None;
        }
        let (key, slot) = self.lanes.start()?;
        let content = self.admitted.take(slot)?;
        self.under_way += 1;
        Some(Started {
            ticket: Ticket { key, slot },
            content,
        })
    }

    /// A record is done.
    pub(super) fn done(&mut self, ticket: Ticket) {
        self.under_way -= 1;
        self.lanes.done(ticket.key);
        self.admitted.done(ticket.slot);
    }

    /// A record failed, and is to be repeated then.
    pub(super) fn failed(&mut self, ticket: Ticket, content: T, until: Instant) {
        self.under_way -= 1;
        self.admitted.put_back(ticket.slot, content);
        if self.lanes.pause(ticket.key, until) {
            for slot in self.lanes.of(ticket.key) {
                if let Some(content) = self.admitted.content(slot) {
                    content.held_back();
                }
            }
        }
    }

    /// Records whose pauses are over are ready again.
    pub(super) fn wake(&mut self, now: Instant) {
        self.lanes.wake(now);
    }

    /// When the next pause is over.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.lanes.next_wake().filter(|_| !self.is_stopped)
    }

    /// Nothing is started any more; what is under way goes on.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Gives memory back while there is nothing to do.
    pub(super) fn shrink(&mut self) {
        if self.undone() == 0 {
            self.admitted.shrink();
            self.lanes = Lanes::default();
        }
    }

    /// The last record up to which all are done; none, if the first one is not.
    pub(super) fn watermark(&self) -> Option<&ExtendedSequenceNumber> {
        self.admitted.watermark()
    }

    /// How many tasks could handle a record now, beside those that do.
    pub(super) fn startable(&self) -> usize {
        if self.is_stopped {
            return 0;
        }
        self.lanes.ready().min(self.limits.at_once - self.under_way)
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Records that are admitted and not done.
    pub(super) fn undone(&self) -> usize {
        self.admitted.undone()
    }

    /// Keys of which a record failed that is not done yet.
    pub(super) fn failing_keys(&self) -> usize {
        self.lanes.failing()
    }

    /// The records of those keys.
    pub(super) fn held_back(&self) -> usize {
        self.lanes.held_back()
    }
}

#[cfg(test)]
mod tests;
