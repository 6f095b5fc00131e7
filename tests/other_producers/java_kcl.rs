//! The Java KCL takes our aggregates apart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_aggregation::{Aggregator, Entry, UserRecord};
use serde_json::json;

use crate::user_records::{Told, assert_same, seen, user_records};
use crate::{Producer, java, record, sets};

/// Both sides know of each user record to which of two shards it belongs.
pub(crate) async fn takes_ours_apart() {
    const MIDDLE: u128 = 1 << 127;
    let mut java = Producer::start(&mut java::program("Apart"));
    let (lower, upper) = ((0, MIDDLE - 1), (MIDDLE, u128::MAX));
    let all = [user_records(), sets().concat()].concat();
    for (own, other) in [(lower, upper), (upper, lower)] {
        let is_own = |it: &&UserRecord| (own.0..=own.1).contains(&it.hash_key().expect("a number"));
        let records: Vec<_> = all.iter().filter(is_own).cloned().collect();
        let mut rest = &records[..];
        for entry in aggregated(&records) {
            let (inside, behind) = rest.split_at(entry.user_records);
            rest = behind;
            let mut expected: Vec<_> = inside.iter().map(seen).collect();
            if entry.user_records == 1 {
                expected[0].1 = None;
                assert_same("a record alone", &apart(&mut java, &entry, own), &expected);
            } else {
                assert_same("an aggregate", &apart(&mut java, &entry, own), &expected);
                assert_same("of another shard", &apart(&mut java, &entry, other), &[]);
            }
        }
        assert_eq!(rest, []);
    }

    // What looks like an aggregate itself is not taken apart.
    let aggregate = &aggregated(&sets()[0])[0];
    let alike = record("alike", Some(1), &aggregate.data);
    let entry = &aggregated(std::slice::from_ref(&alike))[0];
    assert_same(
        "what looks like an aggregate",
        &apart(&mut java, entry, lower),
        &[seen(&alike)],
    );
    java.finish();
}

/// What our aggregator makes of user records.
fn aggregated(records: &[UserRecord]) -> Vec<Entry> {
    let mut aggregator = Aggregator::default();
    let mut entries = Vec::new();
    for record in records {
        entries.extend(aggregator.push(record.clone()).expect("a record for Kinesis"));
    }
    entries.extend(aggregator.finish());
    entries
}

/// What Java makes of it in the shard of these hash keys.
fn apart(java: &mut Producer, entry: &Entry, (first, last): (u128, u128)) -> Vec<Told> {
    let answer = java.ask(&json!({
        "key": entry.partition_key.to_string(),
        "apart": STANDARD.encode(&entry.data),
        "first": first.to_string(),
        "last": last.to_string(),
    }));
    let records: Vec<(String, Option<String>, String)> = serde_json::from_value(answer).expect("records");
    let told = |(key, hash_key, data)| (key, hash_key, STANDARD.decode(data).expect("base 64").into());
    records.into_iter().map(told).collect()
}
