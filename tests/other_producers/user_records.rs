//! User records as a producer has them, and what a consumer sees of them.

use kcl_aggregation::{Bytes, UserRecord};

use crate::record;

/// Of all sizes, from nothing to more than fits into an aggregate, for shards all over the range, with explicit hash keys and
/// without.
pub(crate) fn user_records() -> Vec<UserRecord> {
    const COUNT: u32 = 400;
    let long = "k".repeat(256);
    let user_record = |n: u32| {
        let key = match n % 20 {
            0 => long.clone(),
            1 => "ключ".to_owned(),
            _ => format!("key {}", n % 70),
        };
        let hash_key = match n {
            7 => Some(u128::MAX),
            _ => n
                .is_multiple_of(3)
                .then(|| u128::MAX / u128::from(COUNT) * u128::from(n)),
        };
        let size = match n % 40 {
            0 => 0,
            10 => 20_000,
            20 => 60_000,
            _ => n % 13 * 50,
        };
        let pattern = format!("{n}\0\u{ff}").into_bytes();
        let data: Vec<u8> = pattern.into_iter().cycle().take(size as usize).collect();
        record(&key, hash_key, &data)
    };
    (0..COUNT).map(user_record).collect()
}

/// Partition key, explicit hash key and data.
pub(crate) type Told = (String, Option<String>, Bytes);

pub(crate) fn seen(record: &UserRecord) -> Told {
    let hash_key = record.explicit_hash_key.as_ref().map(ToString::to_string);
    (record.partition_key.to_string(), hash_key, record.data.clone())
}

pub(crate) fn assert_same(what: &str, seen: &[Told], expected: &[Told]) {
    let shown = |it: Option<&Told>| match it {
        Some((key, hash_key, data)) => {
            format!(
                "{key:?} {hash_key:?} {:?} ({} bytes)",
                data.slice(..data.len().min(20)),
                data.len()
            )
        }
        None => "nothing".to_owned(),
    };
    for n in 0..seen.len().max(expected.len()) {
        let (seen, expected) = (seen.get(n), expected.get(n));
        assert!(
            seen == expected,
            "{what}: user record {n} is {} instead of {}",
            shown(seen),
            shown(expected)
        );
    }
}
