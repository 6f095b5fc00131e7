use proptest::prelude::*;

use super::*;

fn record(key: &str, data: impl Into<Bytes>) -> UserRecord {
    UserRecord::new(key, data)
}

/// Everything that comes out for what goes in.
fn put(limits: Limits, records: &[UserRecord]) -> Vec<Entry> {
    let mut aggregator = Aggregator::new(limits);
    let mut entries = Vec::new();
    for record in records {
        entries.extend(aggregator.push(record.clone()).expect("valid"));
    }
    entries.extend(aggregator.finish());
    assert!(aggregator.is_empty() && aggregator.finish().is_none());
    entries
}

fn taken_apart(entry: &Entry) -> Vec<UserRecord> {
    match Aggregate::parse(&entry.data) {
        Some(aggregate) => aggregate.user_records().collect(),
        None => vec![UserRecord {
            partition_key: entry.partition_key.clone(),
            explicit_hash_key: entry.explicit_hash_key.clone(),
            data: entry.data.clone(),
        }],
    }
}

#[test]
fn it_writes_what_other_producers_write() {
    let lines = [0, 1, 2].map(|n| record(&format!("pk-{n}"), format!("{{\"msg\":\"line{n}\"}}")));
    let entries = put(Limits::default(), &lines);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].data, crate::vectors::three_keys());
}

#[test]
fn an_aggregate_goes_where_its_first_user_record_belongs() {
    let records = [
        record("first", "1").explicit_hash_key("77"),
        record("second", "2"),
    ];
    let [entry] = &put(Limits::default(), &records)[..] else {
        panic!("one entry");
    };
    assert_eq!(
        (entry.partition_key.as_ref(), entry.explicit_hash_key.as_deref()),
        ("a", Some("77"))
    );
    let [entry] = &put(Limits::default(), &[record("a", "1"), record("b", "2")])[..] else {
        panic!("one entry");
    };
    let digest_of_a = 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661_u128.to_string();
    assert_eq!(entry.explicit_hash_key.as_deref(), Some(digest_of_a.as_str()));
}

#[test]
fn one_alone_is_put_as_it_is() {
    let alone = record("key", "data").explicit_hash_key("5");
    let entries = put(Limits::default(), std::slice::from_ref(&alone));
    assert_eq!(entries[0].data, "data");
    assert_eq!(taken_apart(&entries[0]), [alone]);
}

#[test]
fn the_size_is_known_to_the_byte() {
    let records: Vec<_> = (0..400_u32)
        .map(|n| record(&format!("key {}", n % 150), vec![b'x'; n as usize]))
        .collect();
    for max_bytes in [500, 1_000, 51_200] {
        let limits = Limits {
            max_bytes,
            ..Limits::default()
        };
        let entries = put(limits, &records);
        let sent: Vec<_> = entries.iter().flat_map(taken_apart).collect();
        assert_eq!(sent, records);
        for pair in entries.windows(2) {
            assert!(pair[0].data.len() <= max_bytes || pair[0].user_records == 1);
            let mut both = taken_apart(&pair[0]);
            both.truncate(pair[0].user_records);
            both.extend(taken_apart(&pair[1]).into_iter().next());
            let unlimited = Limits {
                max_bytes: usize::MAX,
                ..limits
            };
            let [with_next] = &put(unlimited, &both)[..] else {
                panic!("one entry");
            };
            assert!(with_next.data.len() > max_bytes, "the next one would have fitted");
        }
    }
}

#[test]
fn what_kinesis_would_not_take_is_refused_and_changes_nothing() {
    let mut aggregator = Aggregator::default();
    aggregator.push(record("key", "kept")).expect("valid");
    for (wrong, told) in [
        (record("", "x"), "the partition key has 0 characters"),
        (record(&"k".repeat(257), "x"), "has 257 characters"),
        (
            record("k", "x").explicit_hash_key("seven"),
            "\"seven\" is no decimal number below 2^128",
        ),
        (record("k", vec![0; 1 << 20]), "the record has 1048577 bytes"),
    ] {
        let refused = aggregator.push(wrong).expect_err(told).to_string();
        assert!(refused.contains(told), "{refused}");
    }
    let entry = aggregator.finish().expect("something is there");
    assert_eq!((entry.user_records, entry.data.as_ref()), (1, &b"kept"[..]));
    assert!(
        aggregator.push(record(&"ä".repeat(256), "x")).is_ok(),
        "characters count, not bytes"
    );
}

proptest! {
    #[test]
    fn whatever_is_put_together_comes_apart_again(
        records in prop::collection::vec(("[a-c]{1,2}", prop::option::of(any::<u128>()), prop::collection::vec(any::<u8>(), 0..300)), 1..60),
        max_bytes in 20_usize..2_000,
        max_records in 1_usize..20,
    ) {
        let records: Vec<_> = records.into_iter().map(|(key, hash_key, data)| {
            let record = record(&key, data);
            match hash_key {
                Some(hash_key) => record.explicit_hash_key(hash_key.to_string()),
                None => record,
            }
        }).collect();
        let entries = put(Limits { max_bytes, max_records }, &records);
        prop_assert_eq!(entries.iter().map(|entry| entry.user_records).sum::<usize>(), records.len());
        for entry in &entries {
            prop_assert!(entry.user_records <= max_records);
            prop_assert!(entry.data.len() <= max_bytes || entry.user_records == 1);
        }
        let sent: Vec<_> = entries.iter().flat_map(taken_apart).collect();
        prop_assert_eq!(sent, records);
    }
}
