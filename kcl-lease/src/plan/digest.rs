//! Digests of leases as they were seen: whose counter moved has another one.

use crate::ids::LeaseKey;
use crate::lease::Lease;

/// Order-independent digest of the counters of some leases: two sets with equal digests are taken as equal.
pub(crate) fn counter_digest<'a>(leases: impl IntoIterator<Item = (&'a LeaseKey, u64)>) -> u64 {
    leases.into_iter().fold(1, |digest, (key, counter)| {
        let bytes = key.as_str().bytes().chain(counter.to_le_bytes());
        digest.wrapping_add(hash(bytes))
    })
}

/// Digest of one lease's key, counter and actual owner: until it is written to it keeps it.
pub(super) fn lease_digest(lease: &Lease) -> u64 {
    let owner = lease
        .actual_owner()
        .into_iter()
        .flat_map(|id| id.as_str().bytes());
    let key = lease.key.as_str().bytes();
    // No byte of UTF-8 is 0xff.
    hash(
        owner
            .chain([0xff])
            .chain(key)
            .chain([0xff])
            .chain(lease.counter.to_le_bytes()),
    )
}

fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    let one = bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // FNV-1a leaves the low bits of similar keys alike; mix before summing.
    let mixed = (one ^ (one >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;

    #[test]
    fn digests_ignore_order_but_not_counters() {
        let (s, t): (LeaseKey, LeaseKey) = ("s".into(), "t".into());
        assert_eq!(
            counter_digest([(&s, 1), (&t, 2)]),
            counter_digest([(&t, 2), (&s, 1)])
        );
        assert_ne!(
            counter_digest([(&s, 1), (&t, 2)]),
            counter_digest([(&s, 2), (&t, 1)])
        );
        assert_ne!(counter_digest([(&s, 1)]), counter_digest([]));
    }

    #[test]
    fn a_lease_keeps_its_digest_until_it_is_renewed_or_moves_even_while_it_is_asked_for() {
        let lease = Lease {
            owner: Some("a".into()),
            counter: 5,
            ..Lease::new("s", Checkpoint::TrimHorizon)
        };
        let digest = lease_digest(&lease);
        let asked_for = Lease {
            owner: Some("b".into()),
            checkpoint_owner: Some("a".into()),
            ..lease.clone()
        };
        assert_eq!(lease_digest(&asked_for), digest);
        let renewed = Lease {
            counter: 6,
            ..lease.clone()
        };
        let moved = Lease {
            owner: Some("b".into()),
            ..lease.clone()
        };
        let other = Lease {
            key: "t".into(),
            ..lease
        };
        for changed in [renewed, moved, other] {
            assert_ne!(lease_digest(&changed), digest, "{changed:?}");
        }
    }
}
