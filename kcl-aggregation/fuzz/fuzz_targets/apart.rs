//! Any bytes as the message of an aggregate: no panic, no allocation out of proportion, and what comes out goes in again.
#![no_main]

use kcl_aggregation::{Aggregate, Aggregator, Bytes, Limits};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

fuzz_target!(|message: &[u8]| {
    let _ = Aggregate::parse(&Bytes::copy_from_slice(message));
    let data = [&MAGIC, message, Md5::digest(message).as_slice()].concat();
    let Some(aggregate) = Aggregate::parse(&data.into()) else {
        return;
    };
    assert!(aggregate.overhead() <= 4 * message.len() + 32);
    let user_records: Vec<_> = aggregate.user_records().collect();
    assert!(!user_records.is_empty());

    let mut aggregator = Aggregator::new(Limits {
        max_bytes: usize::MAX,
        ..Limits::default()
    });
    for user_record in &user_records {
        let _ = user_record.hash_key();
        match aggregator.push(user_record.clone()) {
            Ok(full) => assert_eq!(full, None),
            // Keys that Kinesis would refuse.
            Err(_) => return,
        }
    }
    let entry = aggregator.finish().expect("user records were pushed");
    if entry.user_records > 1 {
        let again = Aggregate::parse(&entry.data).expect("an aggregate");
        assert!(again.user_records().eq(user_records));
    }
});
