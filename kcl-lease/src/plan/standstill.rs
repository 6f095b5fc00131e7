//! What a leader passes on of the leases that stand still.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::digest::lease_digest;
use crate::lease::Lease;
use crate::store::Standstill;

/// So many are passed on, those that stood still longest: 12 bytes each in the lock's row.
const MOST: usize = 1_000;

/// Since when leases stand still, on this worker's own clock.
///
/// Each is a fact of the past and stays true whatever happens: the lease had this counter at that time, or has got it since
/// without its owner having begun. So it may be passed on from leader to leader, and whoever finds the counter unchanged
/// knows that the owner has not written in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standstills {
    /// When the leases were looked at last; `None` if they never were.
    seen_at: Option<Instant>,
    /// By the digest of the lease.
    since: BTreeMap<u64, Instant>,
}

impl Standstills {
    /// Of leases that were looked at `seen_at`, and had stood still since then or before.
    pub(super) fn seen<'a>(leases: impl IntoIterator<Item = (&'a Lease, Instant)>, seen_at: Instant) -> Self {
        let since = leases
            .into_iter()
            .map(|(lease, since)| (lease_digest(lease), since));
        Self {
            seen_at: Some(seen_at),
            since: since.collect(),
        }
    }

    /// Those in a leader's lock that was read at `heard_at`. How long before that it was written is not known, and taken
    /// as no time: a standstill may seem shorter than it is, never longer.
    pub(crate) fn heard(standstills: &[Standstill], heard_at: Instant) -> Self {
        let since = standstills
            .iter()
            .filter_map(|still| Some((still.lease, heard_at.checked_sub(still.lasted)?)));
        Self {
            seen_at: Some(heard_at),
            since: since.collect(),
        }
    }

    /// Those that had lasted for `least` when the leases were looked at, longest first and at most 1,000, as the lock has
    /// them at `now`.
    pub(crate) fn lasting(&self, least: Duration, now: Instant) -> Vec<Standstill> {
        let Some(seen_at) = self.seen_at else {
            return Vec::new();
        };
        let has_lasted = |since: Instant| seen_at.saturating_duration_since(since) >= least;
        let lasting = self.since.iter().filter(|(_, since)| has_lasted(**since));
        let mut lasting: Vec<_> = lasting.map(|(lease, since)| (*since, *lease)).collect();
        lasting.sort_unstable();
        let as_stored = |(since, lease)| Standstill {
            lease,
            lasted: whole_millis(now.saturating_duration_since(since)),
        };
        lasting.into_iter().take(MOST).map(as_stored).collect()
    }

    /// Since when a lease stands still, if that is known of this counter.
    pub(super) fn since(&self, lease: &Lease) -> Option<Instant> {
        self.since.get(&lease_digest(lease)).copied()
    }
}

/// Rounded down, as the row has it.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;

    fn lease(key: &str) -> Lease {
        Lease {
            owner: Some("a".into()),
            ..Lease::new(key, Checkpoint::TrimHorizon)
        }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn those_that_lasted_when_they_were_seen_are_passed_on_longest_first() {
        let start = Instant::now();
        let at = |second| start + seconds(second);
        let (s, t, u) = (lease("s"), lease("t"), lease("u"));
        let standstills = Standstills::seen([(&s, at(6)), (&t, at(3)), (&u, at(8))], at(10));
        let passed_on = standstills.lasting(seconds(4), at(11));
        let lasted = |lease, lasted| Standstill {
            lease: lease_digest(lease),
            lasted,
        };
        assert_eq!(passed_on, [lasted(&t, seconds(8)), lasted(&s, seconds(5))]);
        assert_eq!(standstills.lasting(Duration::ZERO, at(11)).len(), 3);
        assert_eq!(Standstills::default().lasting(Duration::ZERO, at(11)), Vec::new());
    }

    #[test]
    fn a_standstill_is_passed_on_from_leader_to_leader_and_loses_only_the_time_on_the_way() {
        let start = Instant::now();
        let at = |second| start + seconds(second);
        let first = Standstills::seen([(&lease("s"), at(0))], at(5));
        let second = Standstills::heard(&first.lasting(seconds(4), at(5)), at(6));
        assert_eq!(
            second.since(&lease("s")),
            Some(at(1)),
            "written at 5 s, read at 6 s"
        );
        let third = Standstills::heard(&second.lasting(Duration::ZERO, at(7)), at(7));
        assert_eq!(third.since(&lease("s")), Some(at(1)));
        let renewed = Lease {
            counter: 1,
            ..lease("s")
        };
        assert_eq!(third.since(&renewed), None);
    }

    #[test]
    fn a_thousand_are_passed_on() {
        let start = Instant::now();
        let leases: Vec<_> = (0..1_100).map(|i| lease(&format!("s{i}"))).collect();
        let times = (0..).map(|i| start + Duration::from_millis(i));
        let standstills = Standstills::seen(leases.iter().zip(times), start + seconds(9));
        let passed_on = standstills.lasting(seconds(1), start + seconds(9));
        assert_eq!(passed_on.len(), MOST);
        assert_eq!(
            (passed_on[0].lasted, passed_on[MOST - 1].lasted),
            (seconds(9), seconds(9) - Duration::from_millis(999))
        );
    }

    #[test]
    fn what_cannot_be_true_is_not_believed() {
        let strange = Standstill {
            lease: lease_digest(&lease("s")),
            lasted: Duration::MAX,
        };
        let heard = Standstills::heard(&[strange], Instant::now());
        assert_eq!(heard.since(&lease("s")), None);
    }
}
