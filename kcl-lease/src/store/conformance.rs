//! What every [`LeaseStore`] must do, as a suite that any implementation can run in its own tests.
//!
//! ```
//! # use std::sync::Arc;
//! # use kcl_lease::{LeaseStore, MemoryLeaseStore, conformance};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::run(|| async { Arc::new(MemoryLeaseStore::new()) as Arc<dyn LeaseStore> }).await;
//! # }
//! ```
#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    ClientVersion, LeaderLock, LeaseChange, LeaseStore, Standstill, WorkerMetric, WorkerRow, WriteOutcome,
};
use crate::checkpoint::{Checkpoint, PendingCheckpoint};
use crate::ids::{LeaseKey, WorkerId};
use crate::lease::{HashRange, Lease, StreamIdentity};

/// Runs every check, each on a fresh store from `make`.
///
/// # Panics
/// If the store breaks the contract; the message says where.
pub async fn run<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn LeaseStore>>,
{
    a_new_lease_reads_back_as_written(&*prepared(&make).await).await;
    a_lease_is_created_once(&*prepared(&make).await).await;
    every_change_does_what_its_effects_say(&*prepared(&make).await).await;
    a_change_is_refused_when_the_row_moved_on(&*prepared(&make).await).await;
    what_is_carried_out_is_what_was_ordered_last(&*prepared(&make).await).await;
    nothing_is_created_by_a_change(&*prepared(&make).await).await;
    a_delete_spares_a_row_that_moved_on(&*prepared(&make).await).await;
    assignments_are_found_by_owner(&*prepared(&make).await).await;
    the_leader_lock_has_one_holder(&*prepared(&make).await).await;
    workers_come_and_go(&*prepared(&make).await).await;
    the_first_protocol_version_stays(&*prepared(&make).await).await;
    a_scan_sees_many_leases(&*prepared(&make).await).await;
    the_stream_is_recorded_once(&*prepared(&make).await).await;
    a_lease_that_is_set_aside_is_no_lease_any_more(&*prepared(&make).await).await;
    a_lease_that_is_set_aside_twice_is_kept_as_far_as_it_was_processed(&*prepared(&make).await).await;
}

async fn prepared<F, Fut>(make: &F) -> Arc<dyn LeaseStore>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn LeaseStore>>,
{
    let store = make().await;
    store.prepare().await.expect("a new table can be prepared");
    store
        .prepare()
        .await
        .expect("preparing a table twice does no harm");
    store
}

fn full(key: &str) -> Lease {
    let mut lease = Lease::new(key, position("4968", 3))
        .with_parents(["shardId-000000000000", "shardId-000000000001"])
        .with_hash_range(HashRange::FULL);
    lease.owner = Some("a".into());
    lease.counter = 7;
    lease.owner_switches_since_checkpoint = 2;
    lease.children = BTreeSet::from(["shardId-000000000009".to_owned()]);
    lease.throughput_kbps = Some(1.5);
    lease.reading_since = Some(1_700_000_000_123);
    lease.paused_since = Some(1_700_000_000_456);
    lease.rewind_to = Some(position("4960", 2));
    lease.process = Some("p0".into());
    lease.pending_checkpoint = Some(PendingCheckpoint {
        checkpoint: position("4970", 0),
        state: Some(Bytes::from_static(b"state")),
    });
    lease
}

fn position(sequence: &str, sub: u64) -> Checkpoint {
    Checkpoint::parse(sequence, sub).expect("a number")
}

async fn stored(store: &dyn LeaseStore, key: &LeaseKey) -> Option<Lease> {
    store.get(key).await.expect("readable")
}

async fn created(store: &dyn LeaseStore, lease: Lease) -> Lease {
    assert!(
        store.create(&lease).await.expect("created"),
        "{} is new",
        lease.key
    );
    lease
}

async fn applied(store: &dyn LeaseStore, seen: &Lease, change: &LeaseChange) -> Lease {
    match store.write(seen, change).await.expect("written") {
        WriteOutcome::Applied(row) => row,
        WriteOutcome::Refused(row) => {
            panic!("{change:?} relative to {seen:?} was refused; the row is {row:?}")
        }
    }
}

async fn a_new_lease_reads_back_as_written(store: &dyn LeaseStore) {
    for lease in [full("full"), Lease::new("bare", Checkpoint::TrimHorizon)] {
        let lease = created(store, lease).await;
        assert_eq!(stored(store, &lease.key).await, Some(lease));
    }
    assert_eq!(stored(store, &"none".into()).await, None);
}

async fn a_lease_is_created_once(store: &dyn LeaseStore) {
    let first = created(store, full("s")).await;
    let second = Lease::new("s", Checkpoint::Latest);
    assert!(
        !store.create(&second).await.expect("answered"),
        "a lease with this key exists"
    );
    assert_eq!(
        stored(store, &first.key).await,
        Some(first),
        "and stays as it was"
    );
}

fn changes() -> Vec<LeaseChange> {
    vec![
        LeaseChange::Begin {
            process: "p1".into(),
            at: 1_800_000_000_000,
        },
        LeaseChange::Renew {
            throughput_kbps: None,
        },
        LeaseChange::Renew {
            throughput_kbps: Some(12.25),
        },
        LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: position("5000", 0),
            pending: None,
        },
        LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: position("5000", 0),
            pending: Some(PendingCheckpoint {
                checkpoint: position("5001", 4),
                state: None,
            }),
        },
        LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: Checkpoint::ShardEnd,
            pending: None,
        },
        LeaseChange::Children(BTreeSet::from(["x".to_owned(), "y".to_owned()])),
        LeaseChange::HashRange(HashRange {
            start: 1,
            end: u128::MAX - 1,
        }),
        LeaseChange::BeginHandOff { to: "b".into() },
        LeaseChange::Renew {
            throughput_kbps: None,
        },
        LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: Checkpoint::ShardEnd,
            pending: None,
        },
        LeaseChange::Assign { to: "b".into() },
        LeaseChange::Assign { to: "c".into() },
        LeaseChange::Release,
        LeaseChange::Assign { to: "a".into() },
        LeaseChange::BeginHandOff { to: "d".into() },
        LeaseChange::CancelHandOff,
        LeaseChange::BeginHandOff { to: "d".into() },
        LeaseChange::Release,
        LeaseChange::OperatorPause(Some(1_800_000_000_000)),
        LeaseChange::OperatorPause(None),
        LeaseChange::OperatorRewind(Some(Checkpoint::TrimHorizon)),
        LeaseChange::OperatorRewind(None),
        LeaseChange::OperatorRewind(Some(position("5000", 7))),
        LeaseChange::Reset {
            checkpoint: Checkpoint::Latest,
        },
    ]
}

async fn every_change_does_what_its_effects_say(store: &dyn LeaseStore) {
    let mut lease = created(store, full("s")).await;
    for change in changes() {
        let expected = change.applied_to(&lease, &lease);
        assert_eq!(
            applied(store, &lease, &change).await,
            expected,
            "answer to {change:?}"
        );
        assert_eq!(
            stored(store, &lease.key).await.as_ref(),
            Some(&expected),
            "row after {change:?}"
        );
        lease = expected;
    }
}

async fn a_change_is_refused_when_the_row_moved_on(store: &dyn LeaseStore) {
    let seen = created(store, full("s")).await;
    let taken = applied(store, &seen, &LeaseChange::Assign { to: "b".into() }).await;
    let needs_the_row_as_seen = |change: &LeaseChange| !matches!(change, LeaseChange::HashRange(_));
    for change in changes().into_iter().filter(needs_the_row_as_seen) {
        let outcome = store.write(&seen, &change).await.expect("answered");
        assert_eq!(outcome, WriteOutcome::Refused(Some(taken.clone())), "{change:?}");
    }
    let in_hand_off = applied(store, &taken, &LeaseChange::BeginHandOff { to: "c".into() }).await;
    let renew = LeaseChange::Renew {
        throughput_kbps: None,
    };
    let outcome = store.write(&taken, &renew).await.expect("answered");
    assert_eq!(
        outcome,
        WriteOutcome::Refused(Some(in_hand_off)),
        "an owner must learn of a hand-off before it renews"
    );
}

async fn what_is_carried_out_is_what_was_ordered_last(store: &dyn LeaseStore) {
    let order = |to: &str| LeaseChange::OperatorRewind(Some(position(to, 0)));
    let begin = LeaseChange::Begin {
        process: "p1".into(),
        at: 1_800_000_000_000,
    };
    let seen = created(store, full("s")).await;
    let first = applied(store, &seen, &order("10")).await;
    let second = applied(store, &first, &order("20")).await;
    let outcome = store.write(&first, &begin).await.expect("answered");
    assert_eq!(outcome, WriteOutcome::Refused(Some(second.clone())));
    let begun = applied(store, &second, &begin).await;
    assert_eq!((begun.checkpoint, begun.rewind_to), (position("20", 0), None));
}

async fn nothing_is_created_by_a_change(store: &dyn LeaseStore) {
    let missing = full("missing");
    for change in changes() {
        let outcome = store.write(&missing, &change).await.expect("answered");
        assert_eq!(outcome, WriteOutcome::Refused(None), "{change:?}");
    }
    assert_eq!(stored(store, &missing.key).await, None);
}

async fn a_delete_spares_a_row_that_moved_on(store: &dyn LeaseStore) {
    let seen = created(store, full("s")).await;
    let renewed = applied(
        store,
        &seen,
        &LeaseChange::Renew {
            throughput_kbps: None,
        },
    )
    .await;
    assert!(!store.delete(&seen).await.expect("answered"));
    assert_eq!(stored(store, &seen.key).await.as_ref(), Some(&renewed));
    let ordered = Some(Checkpoint::TrimHorizon);
    let rewound = applied(store, &renewed, &LeaseChange::OperatorRewind(ordered)).await;
    let before = Lease {
        rewind_to: None,
        ..rewound.clone()
    };
    assert!(!store.delete(&before).await.expect("answered"), "it is ordered");
    assert!(store.delete(&rewound).await.expect("answered"));
    assert_eq!(stored(store, &seen.key).await, None);
    assert!(
        store.delete(&renewed).await.expect("answered"),
        "what is gone is gone"
    );
}

async fn assignments_are_found_by_owner(store: &dyn LeaseStore) {
    let a: WorkerId = "a".into();
    let mine = created(store, full("mine")).await;
    created(
        store,
        Lease {
            owner: Some("b".into()),
            ..full("other")
        },
    )
    .await;
    created(store, Lease::new("unowned", Checkpoint::Latest)).await;
    let incoming = Lease {
        checkpoint_owner: Some("b".into()),
        ..full("incoming")
    };
    created(store, incoming).await;
    let mut found = store.assigned_to(&a).await.expect("answered");
    found.sort();
    assert_eq!(found, [LeaseKey::from("incoming"), LeaseKey::from("mine")]);
    applied(store, &mine, &LeaseChange::Release).await;
    assert_eq!(
        store.assigned_to(&a).await.expect("answered"),
        [LeaseKey::from("incoming")]
    );
}

async fn the_leader_lock_has_one_holder(store: &dyn LeaseStore) {
    let lock = |owner: &str, version: &str| LeaderLock {
        owner: owner.into(),
        duration: Duration::from_millis(5500),
        version: version.into(),
        released: false,
        held_digest: Some(0xabcd),
        standstills: vec![Standstill {
            lease: 0xfeed_0000_0000_0001,
            lasted: Duration::from_millis(4_321),
        }],
        heirs: vec!["c".into(), "d".into()],
    };
    let (first, second, rival) = (lock("a", "1"), lock("a", "2"), lock("b", "3"));
    assert_eq!(store.read_leader().await.expect("readable"), None);
    assert!(store.take_leader(&first, None).await.expect("answered"));
    assert!(!store.take_leader(&rival, None).await.expect("answered"));
    assert_eq!(
        store.read_leader().await.expect("readable").as_ref(),
        Some(&first)
    );
    assert!(store.beat_leader(&second, "1").await.expect("answered"));
    assert!(
        !store.beat_leader(&second, "1").await.expect("answered"),
        "the version moved on"
    );
    assert!(
        !store.take_leader(&rival, Some("1")).await.expect("answered"),
        "the leader lives"
    );
    assert!(store.take_leader(&rival, Some("2")).await.expect("answered"));
    assert!(!store.beat_leader(&lock("a", "4"), "2").await.expect("answered"));
    assert!(
        !store.release_leader(&second).await.expect("answered"),
        "not its holder any more"
    );
    assert!(store.release_leader(&rival).await.expect("answered"));
    assert_eq!(store.read_leader().await.expect("readable"), None);
    assert!(!store.beat_leader(&rival, "3").await.expect("answered"));
    assert!(
        !store.take_leader(&rival, Some("3")).await.expect("answered"),
        "an absent lock has no version"
    );
    a_released_lock_stays_with_its_last_word(store, lock).await;
}

async fn a_released_lock_stays_with_its_last_word(
    store: &dyn LeaseStore,
    lock: impl Fn(&str, &str) -> LeaderLock,
) {
    assert!(store.take_leader(&lock("a", "1"), None).await.expect("answered"));
    let released = LeaderLock {
        released: true,
        ..lock("a", "2")
    };
    assert!(store.beat_leader(&released, "1").await.expect("answered"));
    assert_eq!(
        store.read_leader().await.expect("readable").as_ref(),
        Some(&released)
    );
    let next = LeaderLock {
        standstills: Vec::new(),
        heirs: Vec::new(),
        ..lock("b", "3")
    };
    assert!(!store.take_leader(&next, None).await.expect("answered"));
    assert!(store.take_leader(&next, Some("2")).await.expect("answered"));
    assert_eq!(store.read_leader().await.expect("readable"), Some(next));
}

async fn workers_come_and_go(store: &dyn LeaseStore) {
    let row = |at| WorkerRow {
        process: Some("p1".into()),
        failover_time: Some(Duration::from_secs(10)),
        report_number: 7,
        report_period: Some(Duration::from_millis(3333)),
        metrics: BTreeMap::from([(
            WorkerMetric::CPU.to_owned(),
            WorkerMetric {
                samples: vec![12.5, WorkerMetric::FAILED],
                max_utilization: 80.0,
            },
        )]),
        ..WorkerRow::new("w", at)
    };
    store.announce(&row(1)).await.expect("announced");
    assert!(store.report(&row(2)).await.expect("reported"));
    let overtaken = WorkerRow {
        report_number: 6,
        ..row(1)
    };
    assert!(store.report(&overtaken).await.expect("it is its own row"));
    let snapshot = store.scan().await.expect("scanned");
    assert_eq!(snapshot.workers, [row(2)]);
    assert!(
        snapshot.leases.is_empty() && snapshot.unreadable.is_empty(),
        "a worker's row is no lease: {snapshot:?}"
    );
    assert_eq!(stored(store, &"w".into()).await, None, "nor is it read as one");
    assert!(store.is_announced(&"w".into()).await.expect("answered"));
    assert!(!store.is_announced(&"x".into()).await.expect("answered"));
    assert!(
        !store.forget(&row(1)).await.expect("answered"),
        "it reported since"
    );
    assert!(store.is_announced(&"w".into()).await.expect("answered"));
    assert!(store.forget(&row(2)).await.expect("answered"));
    assert!(!store.is_announced(&"w".into()).await.expect("answered"));
    assert!(
        store
            .forget(&row(2))
            .await
            .expect("forgetting twice does no harm")
    );
    let (mine, theirs) = ("p1".into(), "p2".into());
    assert!(
        store.report(&row(3)).await.expect("reported"),
        "the row was forgotten, and comes back"
    );
    assert!(store.retire(&"w".into(), &mine).await.expect("retired"));
    assert!(!store.is_announced(&"w".into()).await.expect("answered"));
    let again = store.retire(&"w".into(), &mine).await;
    assert!(again.expect("retiring twice does no harm"));
    store.announce(&row(4)).await.expect("announced");
    let successor = WorkerRow {
        process: Some("p2".into()),
        ..row(5)
    };
    store.announce(&successor).await.expect("announced");
    assert!(
        !store.report(&row(6)).await.expect("answered"),
        "it is another process's now"
    );
    assert!(!store.retire(&"w".into(), &mine).await.expect("answered"));
    assert_eq!(store.scan().await.expect("scanned").workers, [successor]);
    assert!(store.retire(&"w".into(), &theirs).await.expect("retired"));
    assert!(store.scan().await.expect("scanned").workers.is_empty());
}

async fn the_first_protocol_version_stays(store: &dyn LeaseStore) {
    let version = |version: &str| ClientVersion {
        version: version.into(),
        modified_by: "w".into(),
        modified_at: 1_795_221_177_571,
    };
    let first = store
        .agree_on_version(&version("CLIENT_VERSION_2X"))
        .await
        .expect("agreed");
    assert_eq!(first, version("CLIENT_VERSION_2X"));
    let second = store
        .agree_on_version(&version(ClientVersion::CURRENT))
        .await
        .expect("agreed");
    assert_eq!(second, first);
    assert!(!second.is_current());
}

fn stream(name: &str, created_at: Option<u64>) -> StreamIdentity {
    StreamIdentity {
        name: name.to_owned(),
        created_at,
    }
}

async fn the_stream_is_recorded_once(store: &dyn LeaseStore) {
    let ours = ClientVersion {
        version: ClientVersion::CURRENT.to_owned(),
        modified_by: "w".to_owned(),
        modified_at: 1,
    };
    assert_eq!(store.stream().await.expect("readable"), None);
    store.agree_on_version(&ours).await.expect("agreed");
    assert_eq!(store.stream().await.expect("readable"), None);
    let (bare, first) = (stream("clicks", None), stream("clicks", Some(1_800_000_000)));
    let second = stream("clicks", Some(1_800_000_100));
    let record = async |seen, new| store.record_stream(seen, new).await.expect("answered");
    assert!(record(None, &bare).await);
    assert!(record(None, &bare).await, "it is recorded already");
    assert!(!record(None, &first).await, "another one is");
    assert!(record(Some(&bare), &first).await, "its creation became known");
    assert!(!record(Some(&bare), &second).await, "not the one that was seen");
    assert_eq!(store.stream().await.expect("readable"), Some(first.clone()));
    assert!(record(Some(&first), &second).await);
    assert_eq!(store.stream().await.expect("readable"), Some(second));
    let agreed = store.agree_on_version(&ours).await.expect("agreed");
    assert_eq!(agreed, ours, "the version stays");
}

async fn a_lease_that_is_set_aside_is_no_lease_any_more(store: &dyn LeaseStore) {
    let of = stream("clicks", Some(1_800_000_000));
    let seen = created(store, full("s")).await;
    let renewal = LeaseChange::Renew {
        throughput_kbps: None,
    };
    let row = applied(store, &seen, &renewal).await;
    assert!(
        !store.set_aside(&seen, &of).await.expect("answered"),
        "it was renewed"
    );
    assert_eq!(stored(store, &seen.key).await.as_ref(), Some(&row));
    assert!(store.set_aside(&row, &of).await.expect("set aside"));
    assert!(store.set_aside(&row, &of).await.expect("twice does no harm"));
    assert_eq!(stored(store, &row.key).await, None);
    let snapshot = store.scan().await.expect("scanned");
    assert!(
        snapshot.leases.is_empty() && snapshot.unreadable.is_empty(),
        "{snapshot:?}"
    );
    let owner = row.owner.clone().expect("it had an owner");
    assert!(store.assigned_to(&owner).await.expect("found").is_empty());
    assert_eq!(store.kept().await.expect("kept"), [(of, row.without_owner())]);
}

async fn a_lease_that_is_set_aside_twice_is_kept_as_far_as_it_was_processed(store: &dyn LeaseStore) {
    let of = stream("clicks", Some(1_800_000_000));
    let kept = async || {
        let kept = store.kept().await.expect("kept");
        let kept: Vec<_> = kept.into_iter().map(|(_, lease)| lease.checkpoint).collect();
        kept
    };
    for (checkpoint, furthest) in [("4711", "4711"), ("TRIM_HORIZON", "4711"), ("4712", "4712")] {
        let checkpoint = Checkpoint::parse(checkpoint, 0).expect("valid");
        let lease = created(store, Lease::new("s", checkpoint)).await;
        assert!(store.set_aside(&lease, &of).await.expect("answered"));
        assert_eq!(stored(store, &lease.key).await, None);
        assert_eq!(kept().await, [Checkpoint::parse(furthest, 0).expect("valid")]);
    }
}

async fn a_scan_sees_many_leases(store: &dyn LeaseStore) {
    let keys: Vec<String> = (0..300).map(|i| format!("shardId-{i:012}")).collect();
    for key in &keys {
        created(store, full(key)).await;
    }
    let snapshot = store.scan().await.expect("scanned");
    let found: Vec<&str> = snapshot.leases.iter().map(|lease| lease.key.as_str()).collect();
    assert_eq!(found, keys, "every lease, by key");
    assert_eq!(snapshot.leases[0], full(&keys[0]));
}
