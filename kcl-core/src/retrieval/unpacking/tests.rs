use super::*;

#[test]
fn user_records_are_judged_by_the_hash_key_that_chose_their_shard() {
    // The digest of "a" begins with 0c, that of "b" with 92.
    let mut judge = Judge {
        range: Some(HashRange::new(0, u128::MAX / 2)),
        last: None,
    };
    let record = |key: &'static str| UserRecord::new(key, "data");
    let mut belongs = |record: UserRecord| judge.belongs("a", &record);
    assert!(belongs(record("a")) && belongs(record("a")));
    assert!(!belongs(record("b")) && !belongs(record("b")));
    assert!(!belongs(record("a").explicit_hash_key(u128::MAX.to_string())));
    assert!(belongs(record("b").explicit_hash_key("7")));
    assert!(
        belongs(record("b").explicit_hash_key("no number")),
        "it chose no shard"
    );
    assert!(judge.belongs("", &record("b")), "no key chose a shard");
}
