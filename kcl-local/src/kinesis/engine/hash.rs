//! Where partition keys fall: the space of hash keys, 0 to 2^128 - 1, and its division among shards.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};

/// A point in the space that the open shards of a stream divide among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HashKey(u128);

impl HashKey {
    pub(crate) const MIN: Self = Self(0);
    pub(crate) const MAX: Self = Self(u128::MAX);

    #[cfg(test)]
    pub(crate) const fn new(key: u128) -> Self {
        Self(key)
    }

    /// The hash key of a partition key: the MD5 digest of its UTF-8 bytes, read as a big-endian number.
    pub(crate) fn of(partition_key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into()))
    }

    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    pub(crate) fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Where part `index` of `parts` equal parts of the whole space begins. `parts` is at least one.
    pub(crate) fn boundary(index: u32, parts: u32) -> Self {
        if index == 0 {
            return Self::MIN;
        }
        // index * 2^128 / parts, with 2^128 = quotient * parts + remainder.
        let (index, parts) = (u128::from(index), u128::from(parts));
        let (quotient, remainder) = (u128::MAX / parts, u128::MAX % parts + 1);
        Self(index * quotient + index * remainder / parts)
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The text is not a number from 0 to 2^128 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash key")]
pub(crate) struct NotAHashKey;

impl FromStr for HashKey {
    type Err = NotAHashKey;

    fn from_str(text: &str) -> Result<Self, NotAHashKey> {
        let canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
        if canonical {
            text.parse().map(Self).map_err(|_| NotAHashKey)
        } else {
            Err(NotAHashKey)
        }
    }
}

/// The hash keys of one shard, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashRange {
    /// The first key.
    pub(crate) start: HashKey,
    /// The last key.
    pub(crate) end: HashKey,
}

impl HashRange {
    /// The whole space in `parts` ranges of equal size, in order.
    pub(crate) fn divide(parts: u32) -> impl Iterator<Item = Self> {
        (0..parts).map(move |index| {
            let end = (index + 1 < parts)
                .then(|| HashKey::boundary(index + 1, parts).previous())
                .flatten();
            Self {
                start: HashKey::boundary(index, parts),
                end: end.unwrap_or(HashKey::MAX),
            }
        })
    }

    /// Where the second of two halves begins, if there are keys for both.
    pub(crate) fn middle(self) -> Option<HashKey> {
        let half = (self.end.0 - self.start.0) / 2;
        let middle = self.start.0.checked_add(half)?.checked_add(1)?;
        // The first half has two keys or more, as it has after any split.
        (middle - self.start.0 >= 2 && middle < self.end.0).then_some(HashKey(middle))
    }

    /// Whether `next` begins where this range ends.
    pub(crate) fn precedes(self, next: Self) -> bool {
        self.end.next() == Some(next.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_partition_key_hashes_to_its_md5() {
        // RFC 1321: the digest of "abc".
        assert_eq!(
            HashKey::of("abc"),
            HashKey(0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72)
        );
    }

    #[test]
    fn three_shards_divide_the_space_as_the_service_does() {
        let ranges: Vec<_> = HashRange::divide(3)
            .map(|range| (range.start.to_string(), range.end.to_string()))
            .collect();
        assert_eq!(ranges[0].1, "113427455640312821154458202477256070484");
        assert_eq!(ranges[1].0, "113427455640312821154458202477256070485");
        assert_eq!(ranges[2].0, "226854911280625642308916404954512140970");
        assert_eq!(ranges[2].1, "340282366920938463463374607431768211455");
    }

    #[test]
    fn only_canonical_numbers_are_hash_keys() {
        assert_eq!("0".parse(), Ok(HashKey::MIN));
        assert_eq!(
            "340282366920938463463374607431768211455".parse(),
            Ok(HashKey::MAX)
        );
        for text in [
            "",
            "+1",
            "01",
            "-1",
            "340282366920938463463374607431768211456",
            "1e3",
            "x",
        ] {
            assert_eq!(text.parse::<HashKey>(), Err(NotAHashKey), "{text}");
        }
    }

    #[test]
    fn a_range_has_a_middle_unless_it_is_too_small() {
        let range = |start: u128, end: u128| HashRange {
            start: HashKey(start),
            end: HashKey(end),
        };
        assert_eq!(range(0, u128::MAX).middle(), Some(HashKey(1 << 127)));
        assert_eq!(range(10, 13).middle(), Some(HashKey(12)));
        for (start, end) in [(0, 0), (10, 11), (10, 12), (u128::MAX, u128::MAX)] {
            assert_eq!(range(start, end).middle(), None, "{start} to {end}");
        }
    }

    proptest! {
        #[test]
        fn any_number_of_shards_partitions_the_space(parts in 1_u32..5_000) {
            let ranges: Vec<_> = HashRange::divide(parts).collect();
            prop_assert_eq!(ranges.len(), parts as usize);
            prop_assert_eq!(ranges[0].start, HashKey::MIN);
            prop_assert_eq!(ranges[ranges.len() - 1].end, HashKey::MAX);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].start <= pair[0].end && pair[0].precedes(pair[1])));
        }

        #[test]
        fn doubling_keeps_every_boundary(parts in 1_u32..5_000) {
            for index in 0..parts {
                prop_assert_eq!(HashKey::boundary(index, parts), HashKey::boundary(2 * index, 2 * parts));
            }
        }
    }
}
