use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::*;

fn full_lease() -> Lease {
    let mut lease = Lease::new("shardId-000000000003", Checkpoint::parse("4968", 2).unwrap())
        .with_parents(["shardId-000000000000", "shardId-000000000001"])
        .with_hash_range(HashRange {
            start: 5,
            end: u128::MAX,
        });
    lease.owner = Some("next".into());
    lease.checkpoint_owner = Some("present".into());
    lease.counter = 8712;
    lease.owner_switches_since_checkpoint = 1;
    lease.pending_checkpoint = Some(PendingCheckpoint {
        checkpoint: Checkpoint::parse("4970", 0).unwrap(),
        state: Some(Bytes::from_static(b"state")),
    });
    lease.reading_since = Some(1_700_000_000_123);
    lease.paused_since = Some(1_700_000_000_456);
    lease.children = BTreeSet::from(["shardId-000000000004".to_owned()]);
    lease.throughput_kbps = Some(512.25);
    lease.stream_shard = Some(StreamShard {
        stream: "123456789012:s:7".into(),
        shard_id: "shardId-000000000003".into(),
    });
    lease
}

#[test]
fn every_attribute_round_trips() {
    let lease = full_lease();
    assert_eq!(decode(&encode(&lease)), Ok(lease));
    let bare = Lease::new("shardId-000000000000", Checkpoint::TrimHorizon);
    let item = encode(&bare);
    assert_eq!(item.len(), 6, "nothing is written for what is absent: {item:?}");
    assert_eq!(decode(&item), Ok(bare));
}

#[test]
fn throughput_has_at_most_six_decimals() {
    for (kbps, text) in [
        (0.0, "0"),
        (0.685_117_4, "0.685117"),
        (100.0, "100"),
        (0.01114, "0.01114"),
    ] {
        assert_eq!(encode_throughput(kbps), AttributeValue::N(text.into()));
    }
}

#[test]
fn a_lease_whose_throughput_is_no_number_is_a_lease_all_the_same() {
    let mut item = encode(&full_lease());
    item.insert(THROUGHPUT.into(), string("fast"));
    let read = decode(&item).unwrap();
    let unmeasured = Lease {
        throughput_kbps: None,
        ..full_lease()
    };
    assert_eq!(read, unmeasured);
}

#[test]
fn a_row_that_is_no_lease_says_what_is_wrong() {
    let broken = |name: &str, value: Option<AttributeValue>| {
        let mut item = encode(&full_lease());
        match value {
            Some(value) => item.insert(name.into(), value),
            None => item.remove(name),
        };
        decode(&item).unwrap_err()
    };
    assert_eq!(broken(LEASE_COUNTER, None), "leaseCounter is missing");
    assert_eq!(broken(CHECKPOINT, None), "checkpoint is missing");
    assert_eq!(
        broken(LEASE_COUNTER, Some(string("7"))),
        "leaseCounter is not a number"
    );
    assert!(broken(LEASE_COUNTER, Some(number(-1))).contains("not a whole number"));
    assert!(broken(CHECKPOINT, Some(string("soon"))).contains("neither a decimal sequence number"));
    assert!(broken(STARTING_HASH_KEY, Some(string("0x5"))).contains("not a hash key"));
    assert_eq!(
        broken(PARENTS, Some(string("shardId-1"))),
        "parentShardId is not a set of strings"
    );
}

#[test]
fn a_number_as_pending_state_is_tolerated() {
    let mut item = encode(&full_lease());
    item.insert(PENDING_STATE.into(), number(0));
    let pending = decode(&item).unwrap().pending_checkpoint.unwrap();
    assert_eq!(pending.state, None);
}

#[test]
fn rows_of_other_entities_are_told_apart() {
    let of = |name: &str| entity(&Item::from([(ENTITY_TYPE.into(), string(name))]));
    assert_eq!(entity(&Item::new()), Entity::Lease);
    assert_eq!(of("LEASE"), Entity::Lease);
    assert_eq!(of("LEADER"), Entity::Leader);
    assert_eq!(of("WORKER_METRIC_STATS"), Entity::Worker);
    assert_eq!(of("CLIENT_VERSION_MIGRATION"), Entity::ClientVersion);
    assert_eq!(of("TABLE_MIGRATION"), Entity::Foreign);
    assert_eq!(of("SOMETHING_OF_2030"), Entity::Foreign);
}

/// The lease tables of every recorded stage of real Java KCLs, where the recordings are at hand.
fn recorded_tables() -> Vec<(String, Vec<Item>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/java-kcl-tables");
    let mut tables = Vec::new();
    for version in ["kcl-3.1.3", "kcl-3.5.1"] {
        let mut files: Vec<_> = std::fs::read_dir(root.join(version))
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        files.sort();
        for file in files.iter().filter(|f| !f.ends_with("timeline.json")) {
            let stage: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            let app = stage["app"].as_str().unwrap();
            let items = stage["tables"][app]["items"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let name = format!("{version}/{}", file.file_name().unwrap().to_string_lossy());
            tables.push((name, items.iter().map(item_from_json).collect()));
        }
    }
    assert_eq!(tables.len(), 45, "every recorded stage is read");
    tables
}

fn item_from_json(item: &serde_json::Value) -> Item {
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value_from_json(value)))
        .collect()
}

fn value_from_json(value: &serde_json::Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let texts = || {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect()
    };
    match kind.as_str() {
        "S" => string(value.as_str().unwrap()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        "SS" => AttributeValue::Ss(texts()),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(value_from_json).collect()),
        "M" => AttributeValue::M(item_from_json(value).into_iter().collect::<HashMap<_, _>>()),
        other => panic!("type {other} is not in the recordings"),
    }
}

fn normalized(mut item: Item) -> Item {
    for value in item.values_mut() {
        if let AttributeValue::Ss(texts) = value {
            texts.sort();
        }
    }
    item
}

#[test]
fn leases_written_by_java_are_read_and_written_back_the_same() {
    let mut leases = 0;
    for (stage, items) in recorded_tables() {
        for item in items.into_iter().filter(|item| entity(item) == Entity::Lease) {
            let lease = decode(&item).unwrap_or_else(|problem| panic!("{stage}: {problem}: {item:?}"));
            let mut expected = normalized(item);
            expected
                .entry(ENTITY_TYPE.into())
                .or_insert_with(|| string(LEASE_ENTITY));
            assert_eq!(normalized(encode(&lease)), expected, "{stage}");
            leases += 1;
        }
    }
    assert!(leases > 150, "only {leases} leases were checked");
}

#[test]
fn a_hand_off_recorded_from_java_is_understood() {
    let tables = recorded_tables();
    for (stage, items) in tables.iter().filter(|(stage, _)| stage.contains("/07-")) {
        let leases: Vec<Lease> = items
            .iter()
            .filter(|i| entity(i) == Entity::Lease)
            .map(|i| decode(i).unwrap())
            .collect();
        let in_hand_off: Vec<_> = leases.iter().filter(|lease| lease.is_in_hand_off()).collect();
        assert!(!in_hand_off.is_empty(), "{stage}");
        for lease in in_hand_off {
            assert_eq!(lease.owner, Some("workerB".into()), "{stage}");
            assert_eq!(lease.actual_owner(), Some(&"workerA".into()), "{stage}");
        }
    }
}
