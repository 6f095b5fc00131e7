//! What an observer remembers of one lease.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::view::Claim;
use crate::ids::WorkerId;
use crate::lease::Lease;

/// A lease does not return to an owner for so many report intervals.
pub(super) const NO_RETURN: u32 = 120;

/// A lease's throughput is a mean over so many report intervals: as long as it stays once it is moved.
const MEMORY: u32 = 10;

/// One lease as it was last seen, and what changed when.
#[derive(Debug, Clone)]
pub(super) struct LeaseHistory {
    pub(super) counter: u64,
    pub(super) owner: Option<WorkerId>,
    pub(super) checkpoint_owner: Option<WorkerId>,
    /// When its counter or its actual owner last changed.
    pub(super) changed_at: Instant,
    pub(super) hand_off_since: Option<Instant>,
    pub(super) claim: Claim,
    /// The owner changed, and nothing was written since.
    pub(super) is_untouched: bool,
    /// The last owner before this one, and when the lease left it.
    pub(super) moved: Option<(Option<WorkerId>, Instant)>,
    /// All owners before, and when it left them, as far as that still counts.
    pub(super) left: BTreeMap<WorkerId, Instant>,
    throughput: Option<Mean>,
}

impl LeaseHistory {
    /// Of a lease that is seen for the first time at `now`, and is known to have stood still since `still_since`. Nothing is
    /// known against its owner.
    pub(super) fn begin(lease: &Lease, still_since: Instant, now: Instant) -> Self {
        Self {
            counter: lease.counter,
            owner: lease.owner.clone(),
            checkpoint_owner: lease.checkpoint_owner.clone(),
            changed_at: still_since,
            hand_off_since: lease.is_in_hand_off().then_some(now),
            claim: Claim::Unknown,
            is_untouched: false,
            moved: None,
            left: BTreeMap::new(),
            throughput: throughput_of(lease).map(|kbps| Mean::begin(kbps, now)),
        }
    }

    /// With what the row says at `now`.
    pub(super) fn follow(&self, lease: &Lease, now: Instant, report_interval: Duration) -> Self {
        let is_moved = self.actual_owner() != lease.actual_owner();
        let is_written = self.counter != lease.counter;
        let is_same_hand_off = self.owner == lease.owner && self.checkpoint_owner == lease.checkpoint_owner;
        let hand_off_since = self.hand_off_since.filter(|_| is_same_hand_off);
        Self {
            counter: lease.counter,
            owner: lease.owner.clone(),
            checkpoint_owner: lease.checkpoint_owner.clone(),
            changed_at: if is_written || is_moved {
                now
            } else {
                self.changed_at
            },
            hand_off_since: lease.is_in_hand_off().then(|| hand_off_since.unwrap_or(now)),
            claim: self.follow_claim(lease),
            is_untouched: is_moved || (self.is_untouched && !is_written),
            moved: self.follow_move(lease, now),
            left: self.follow_owners(lease, now, report_interval),
            throughput: throughput_of(lease).map(|kbps| match self.throughput {
                Some(before) => before.follow(kbps, now, report_interval * MEMORY),
                None => Mean::begin(kbps, now),
            }),
        }
    }

    /// Whether a row that is seen next was renewed by its actual owner meanwhile.
    pub(super) fn is_renewed_in(&self, lease: &Lease) -> bool {
        // A Java leader that ends a hand-off in favour of its processor moves the counter by one.
        let is_returned =
            self.checkpoint_owner.is_some() && self.owner != lease.owner && lease.counter == self.counter + 1;
        self.counter != lease.counter && self.actual_owner() == lease.actual_owner() && !is_returned
    }

    /// The worker that processes it, or did last.
    pub(super) fn actual_owner(&self) -> Option<&WorkerId> {
        self.checkpoint_owner.as_ref().or(self.owner.as_ref())
    }

    /// Its mean throughput in KB/s, if it is known.
    pub(super) fn kbps(&self) -> Option<f64> {
        self.throughput.map(|mean| mean.value)
    }

    fn follow_claim(&self, lease: &Lease) -> Claim {
        // An assignment moves the counter by one; more than that may include the new owner's first write.
        if self.actual_owner() != lease.actual_owner() {
            if lease.counter == self.counter + 1 {
                return Claim::No;
            }
            return Claim::Unknown;
        }
        if lease.counter == self.counter {
            return self.claim;
        }
        Claim::Yes
    }

    fn follow_move(&self, lease: &Lease, now: Instant) -> Option<(Option<WorkerId>, Instant)> {
        let earlier = || self.moved.as_ref().and_then(|(from, _)| from.clone());
        if self.owner != lease.owner {
            return Some((self.owner.clone().or_else(earlier), now));
        }
        if self.actual_owner() != lease.actual_owner() {
            return Some((self.actual_owner().cloned(), now));
        }
        self.moved.clone()
    }

    fn follow_owners(
        &self,
        lease: &Lease,
        now: Instant,
        report_interval: Duration,
    ) -> BTreeMap<WorkerId, Instant> {
        let mut left = self.left.clone();
        left.retain(|_, at| now.saturating_duration_since(*at) < report_interval * NO_RETURN);
        // A hand-off that is cancelled takes nothing from whom it was to go to.
        let from = self.actual_owner();
        if let Some(from) = from.filter(|from| Some(*from) != lease.actual_owner()) {
            left.insert(from.clone(), now);
        }
        left
    }
}

/// What the row says, if it makes sense.
fn throughput_of(lease: &Lease) -> Option<f64> {
    lease
        .throughput_kbps
        .filter(|kbps| kbps.is_finite() && *kbps >= 0.0)
}

/// A mean over time: of all of it at first, then mostly of the last ten report intervals.
#[derive(Debug, Clone, Copy)]
struct Mean {
    value: f64,
    since: Instant,
    at: Instant,
}

impl Mean {
    const fn begin(value: f64, now: Instant) -> Self {
        Self {
            value,
            since: now,
            at: now,
        }
    }

    fn follow(self, value: f64, now: Instant, memory: Duration) -> Self {
        let part =
            |time: Duration, of: Duration| time.as_secs_f64() / of.as_secs_f64().max(f64::MIN_POSITIVE);
        let step = now.saturating_duration_since(self.at);
        let age = now.saturating_duration_since(self.since);
        let weight = part(step, age.min(memory)).min(1.0);
        Self {
            value: self.value + weight * (value - self.value),
            since: self.since,
            at: now,
        }
    }
}
