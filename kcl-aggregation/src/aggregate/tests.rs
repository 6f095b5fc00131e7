use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::vectors::{message, sealed, three_keys, user_records};
use crate::wire::Message;

#[test]
fn payloads_and_keys_are_slices_of_the_record() {
    let data = three_keys();
    let aggregate = Aggregate::parse(&data).expect("one");
    let within = data.as_ptr_range();
    for record in aggregate.user_records() {
        assert!(within.contains(&record.data.as_ptr()));
        assert!(within.contains(&record.partition_key.as_bytes().as_ptr()));
    }
    assert_eq!(aggregate.len(), 3);
    assert_eq!(
        aggregate.get(2).map(|record| record.data),
        aggregate.user_records().last().map(|record| record.data)
    );
    assert_eq!(aggregate.get(3), None);
}

#[test]
fn explicit_hash_keys_are_told_whatever_they_are() {
    let data = sealed(b"\n\x01k\x12\x0212\x12\x05seven\x1a\x07\x08\x00\x10\x00\x1a\x01a\x1a\x07\x08\x00\x10\x01\x1a\x01b\x1a\x05\x08\x00\x1a\x01c");
    let aggregate = Aggregate::parse(&data).expect("one");
    let keys: Vec<_> = aggregate
        .user_records()
        .map(|record| {
            (
                record.explicit_hash_key.as_deref().map(str::to_owned),
                record.hash_key(),
            )
        })
        .collect();
    assert_eq!(keys[0], (Some("12".to_owned()), Some(12)));
    assert_eq!(keys[1], (Some("seven".to_owned()), None));
    assert_eq!(keys[2].0, None);
    assert!(keys[2].1.is_some());
    let absent = sealed(b"\n\x01k\x1a\x07\x08\x00\x10\x00\x1a\x01a");
    assert!(
        Aggregate::parse(&absent).is_none(),
        "an explicit hash key that is not there"
    );
}

#[test]
fn what_a_user_record_cannot_do_without_must_be_there() {
    for (message, what) in [
        (&b"\n\x01k\x1a\x03\x1a\x01a"[..], "no key"),
        (b"\n\x01k\x1a\x02\x08\x00", "no data"),
        (b"\n\x01k\x1a\x00", "nothing"),
        (b"\n\x01\xff\x1a\x05\x08\x00\x1a\x01a", "a key that is no UTF-8"),
        (b"\n\x01k\x1a\x07\x08\x00\x1a\x0fa", "longer than the record"),
        (b"\n\x01k\x1a\xff\xff\xff\xff\x0fa", "longer than 4 GiB allow"),
        (b"\n\x01k\x1a\x05\x08\x00\x1a\x01a\x0b", "a group without an end"),
    ] {
        assert!(Aggregate::parse(&sealed(message)).is_none(), "{what}");
    }
}

#[test]
fn the_tables_may_stand_behind_the_user_records() {
    let data = sealed(b"\x1a\x05\x08\x00\x1a\x01a\n\x01k");
    assert_eq!(user_records(&data), Some(vec![("k".to_owned(), "a".to_owned())]));
}

#[test]
fn no_more_is_allocated_than_the_input_justifies() {
    let keys = [b"\n\x00".repeat(100_000), b"\x1a\x04\x08\x00\x1a\x00".to_vec()].concat();
    let records = [b"\n\x00".to_vec(), b"\x1a\x04\x08\x00\x1a\x00".repeat(100_000)].concat();
    for message in [keys, records] {
        let aggregate = Aggregate::parse(&sealed(&message)).expect("one");
        assert!(
            aggregate.overhead() <= 4 * message.len() + 24,
            "{}",
            aggregate.overhead()
        );
    }
}

/// What Protocol Buffers themselves make of a message, with the rules of the format on top.
fn by_prost(message: &[u8]) -> Option<Vec<(String, Option<String>, Bytes)>> {
    let message = Message::decode(message).ok()?;
    let records = message.records.into_iter().map(|record| {
        let key = message
            .partition_keys
            .get(usize::try_from(record.partition_key_index).ok()?)?;
        let hash_key = match record.explicit_hash_key_index {
            Some(index) => Some(
                message
                    .explicit_hash_keys
                    .get(usize::try_from(index).ok()?)?
                    .clone(),
            ),
            None => None,
        };
        Some((key.clone(), hash_key, record.data))
    });
    records
        .collect::<Option<Vec<_>>>()
        .filter(|records| !records.is_empty())
}

fn by_us(message: &[u8]) -> Option<Vec<(String, Option<String>, Bytes)>> {
    let aggregate = Aggregate::parse(&sealed(message))?;
    let records = aggregate.user_records();
    let told = records.map(|record| {
        (
            record.partition_key.to_string(),
            record.explicit_hash_key.map(|key| key.to_string()),
            record.data,
        )
    });
    Some(told.collect())
}

proptest! {
    #[test]
    fn what_is_taken_apart_is_what_protocol_buffers_say(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut changed = message(&three_keys()).to_vec();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        if is_cut {
            changed.truncate(cut.index(changed.len()));
        }
        // Where a required field is missing, prost has a default; a field of another wire type is an error for it and an unknown
        // field for us, as for the protocol's own implementations.
        if let Some(records) = by_us(&changed) && Message::decode(changed.as_slice()).is_ok() {
            prop_assert_eq!(by_prost(&changed), Some(records));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = by_us(&message);
    }
}
