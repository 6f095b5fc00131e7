use std::time::Duration;

use super::*;
use crate::environment::Environment;
use crate::ids::ProcessId;
use crate::keeper::{Holder, Keeper};
use crate::metrics::Metrics;
use crate::seat::Seat;
use crate::store::LeaseStore;
use crate::store::tests::flaky::{FlakyStore, Mishap};
use crate::store::{MemoryLeaseStore, WorkerRow};
use crate::timers::Timers;

const FAILOVER: Duration = Duration::from_secs(10);

/// A lease of worker `me`, held, on a store that can be made to fail.
async fn held_lease() -> (Arc<FlakyStore>, HeldLease) {
    let store = FlakyStore::new();
    let lease = Lease {
        owner: Some("me".into()),
        counter: 7,
        ..Lease::new("s", Checkpoint::TrimHorizon)
    };
    assert!(store.create(&lease).await.unwrap());
    let peer = WorkerRow::new("b", 0);
    store.announce(&peer).await.unwrap();
    let keeper = keeper(&store, "me");
    let held = keeper
        .acquire(&"s".into(), true)
        .await
        .unwrap()
        .held()
        .expect("acquired");
    (store, held)
}

fn keeper<S: LeaseStore>(store: &Arc<S>, worker: &str) -> Keeper {
    let store: Arc<dyn LeaseStore> = Arc::clone(store) as Arc<dyn LeaseStore>;
    Keeper::new(Holder::for_tests(&store, worker, FAILOVER))
}

async fn row(store: &FlakyStore) -> Lease {
    store.get(&"s".into()).await.unwrap().unwrap()
}

/// Changes the row behind the holder's back.
async fn change(store: &FlakyStore, change: LeaseChange) -> Lease {
    let seen = row(store).await;
    match store.inner.write(&seen, &change).await.unwrap() {
        WriteOutcome::Applied(row) => row,
        refused => panic!("{refused:?}"),
    }
}

fn at(sequence: &str) -> Checkpoint {
    Checkpoint::parse(sequence, 0).unwrap()
}

fn loss(result: Result<(), LeaseWriteError>) -> LossReason {
    match result {
        Err(LeaseWriteError::Lost(reason)) => reason,
        other => panic!("expected a loss, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_is_the_counter_that_confirmed_the_acquisition_and_grows_with_the_next_owner() {
    let (store, held) = held_lease().await;
    assert_eq!(held.fencing_token().get(), 8);
    held.checkpoint(at("10")).await.unwrap();
    assert_eq!(
        held.fencing_token().get(),
        8,
        "it does not move while the owner stays"
    );
    change(&store, LeaseChange::Assign { to: "b".into() }).await;
    let keeper = keeper(&store, "b");
    let next = keeper.acquire(&"s".into(), true).await.unwrap().held().unwrap();
    assert!(next.fencing_token() > held.fencing_token());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_acquired_only_if_it_is_ours_and_nobody_processes_it() {
    let store = Arc::new(MemoryLeaseStore::new());
    let keeper = keeper(&store, "me");
    let lease = |key: &str, owner: Option<&str>, processor: Option<&str>| Lease {
        owner: owner.map(Into::into),
        checkpoint_owner: processor.map(Into::into),
        ..Lease::new(key, Checkpoint::TrimHorizon)
    };
    store.create(&lease("other", Some("b"), None)).await.unwrap();
    store.create(&lease("unowned", None, None)).await.unwrap();
    store
        .create(&lease("incoming", Some("me"), Some("b")))
        .await
        .unwrap();
    for key in ["other", "unowned", "incoming", "missing"] {
        assert!(
            keeper.acquire(&key.into(), true).await.unwrap().held().is_none(),
            "{key}"
        );
    }
    store.create(&lease("mine", Some("me"), None)).await.unwrap();
    assert!(
        keeper
            .acquire(&"mine".into(), true)
            .await
            .unwrap()
            .held()
            .is_some()
    );
    assert!(
        keeper
            .acquire(&"mine".into(), true)
            .await
            .unwrap()
            .held()
            .is_none(),
        "held already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_is_confirmed_by_another_one_whatever_happens_to_its_request_and_answer() {
    for mishap in [Mishap::AnswerLost, Mishap::Repeated] {
        for again in [None, Some(mishap.clone())] {
            let (store, held) = held_lease().await;
            let seen = format!("{mishap:?} {again:?}");
            store.suffer([mishap.clone()].into_iter().chain(again));
            held.checkpoint(at("10")).await.unwrap();
            assert_eq!(row(&store).await.checkpoint, at("10"), "{seen}");
            assert_eq!(row(&store).await.counter, 10, "{seen}");
            held.renew().await.unwrap();
            held.checkpoint(at("20")).await.unwrap();
            assert_eq!(
                row(&store).await.counter,
                12,
                "{seen}: later writes go on from there"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_nobody_answered_counts_from_when_it_was_sent() {
    let (store, held) = held_lease().await;
    change(
        &store,
        LeaseChange::Renew {
            throughput_kbps: None,
        },
    )
    .await;
    tokio::time::advance(Duration::from_secs(6)).await;
    // The next one finds it, and cannot be confirmed.
    store.suffer([Mishap::Slow(Duration::ZERO), Mishap::RequestLost]);
    assert!(matches!(held.renew().await, Err(LeaseWriteError::Store(_))));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(!held.is_valid(), "others have counted for 10 s");

    let (store, held) = held_lease().await;
    change(
        &store,
        LeaseChange::Renew {
            throughput_kbps: None,
        },
    )
    .await;
    tokio::time::advance(Duration::from_secs(6)).await;
    held.renew().await.unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(held.is_valid(), "others have seen another one");
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_an_error_and_the_lease_stays() {
    let (store, held) = held_lease().await;
    store.suffer([Mishap::RequestLost]);
    assert!(matches!(
        held.checkpoint(at("10")).await,
        Err(LeaseWriteError::Store(_))
    ));
    assert_eq!(held.held_state(), HeldState::Held);
    held.checkpoint(at("10")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_checkpoint_that_was_applied_does_not_stand_in_the_way_of_the_next() {
    let (store, held) = held_lease().await;
    store.suffer([Mishap::AnswerLost]);
    // The read-back fails too, so the outcome stays unknown.
    let cut = Arc::clone(&store);
    let write = held.checkpoint(at("10"));
    tokio::pin!(write);
    store
        .inner
        .write(
            &row(&store).await,
            &LeaseChange::Checkpoint {
                throughput_kbps: None,
                checkpoint: at("10"),
                pending: None,
            },
        )
        .await
        .unwrap();
    cut.set_cut_off(true);
    assert!(matches!(write.await, Err(LeaseWriteError::Store(_))));
    cut.set_cut_off(false);
    store.suffer([Mishap::Slow(Duration::ZERO)]);
    held.checkpoint(at("20")).await.unwrap();
    assert_eq!(row(&store).await.checkpoint, at("20"));
}

#[tokio::test(start_paused = true)]
async fn a_stale_owner_cannot_checkpoint() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::Assign { to: "b".into() }).await;
    assert_eq!(
        loss(held.checkpoint(at("10")).await),
        LossReason::TakenBy("b".into())
    );
    assert_eq!(
        held.held_state(),
        HeldState::Lost(LossReason::TakenBy("b".into()))
    );
    assert_eq!(row(&store).await.checkpoint, Checkpoint::TrimHorizon);
    assert!(!held.is_valid());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_went_away_and_came_back_is_lost_all_the_same() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::Assign { to: "b".into() }).await;
    change(&store, LeaseChange::Assign { to: "me".into() }).await;
    assert_eq!(
        loss(held.checkpoint(at("10")).await),
        LossReason::TakenBy("me".into())
    );
}

#[tokio::test(start_paused = true)]
async fn validity_ends_a_fail_over_time_after_the_last_renewal_was_sent() {
    let (store, held) = held_lease().await;
    store.suffer([Mishap::Slow(Duration::from_secs(4))]);
    held.renew().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(held.is_valid());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(
        !held.is_valid(),
        "10 s after the renewal was sent, not after it was answered"
    );
    assert_eq!(
        loss(held.checkpoint(at("10")).await),
        LossReason::Expired,
        "a frozen owner wakes up to a loss"
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_learns_of_a_hand_off_by_its_next_write_and_completes_it() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::BeginHandOff { to: "b".into() }).await;
    held.checkpoint(at("10")).await.unwrap();
    assert_eq!(
        row(&store).await.checkpoint,
        at("10"),
        "the one who processes may still checkpoint"
    );
    assert_eq!(held.held_state(), HeldState::Draining { to: Some("b".into()) });
    held.checkpoint(at("20")).await.unwrap();
    held.give_up().await.unwrap();
    let row = row(&store).await;
    assert_eq!(
        (row.owner, row.checkpoint_owner, row.checkpoint),
        (Some("b".into()), None, at("20"))
    );
    assert_eq!(row.owner_switches_since_checkpoint, 0);
    assert_eq!(held.held_state(), HeldState::Lost(LossReason::GivenUp));
}

#[tokio::test(start_paused = true)]
async fn an_owner_gives_up_what_is_to_be_processed_anew_and_the_next_begins_there() {
    let (store, held) = held_lease().await;
    held.prepare_checkpoint(PendingCheckpoint::new(at("30"), None))
        .await
        .unwrap();
    change(&store, LeaseChange::OperatorRewind(Some(at("5")))).await;
    assert_eq!(held.held_state(), HeldState::Held, "it has not heard of it");
    held.renew().await.unwrap();
    assert_eq!(held.held_state(), HeldState::Draining { to: None });
    held.checkpoint(at("20")).await.unwrap();
    held.give_up().await.unwrap();
    let given_up = row(&store).await;
    let expected = (None, at("20"), Some(at("5")));
    assert_eq!(
        (given_up.owner, given_up.checkpoint, given_up.rewind_to),
        expected
    );

    change(&store, LeaseChange::Assign { to: "b".into() }).await;
    let next = keeper(&store, "b").acquire(&"s".into(), true).await.unwrap();
    let next = next.held().expect("acquired");
    assert_eq!(
        (next.lease().checkpoint, next.held_state()),
        (at("5"), HeldState::Held)
    );
    let begun = row(&store).await;
    assert_eq!((begun.checkpoint, begun.rewind_to), (at("5"), None));
    assert_eq!(begun.pending_checkpoint, None);
    next.checkpoint(at("10")).await.unwrap();
    assert_eq!(row(&store).await.checkpoint, at("10"), "it is processed anew");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_is_not_its_end_while_it_is_to_be_processed_anew() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::OperatorRewind(Some(Checkpoint::TrimHorizon))).await;
    held.checkpoint(Checkpoint::ShardEnd).await.unwrap();
    assert!(!held.has_ended());
    held.give_up().await.unwrap();
    let ended = row(&store).await;
    assert!(!ended.has_ended());
    let before = Lease {
        rewind_to: None,
        ..ended
    };
    assert!(!store.delete(&before).await.unwrap(), "the order stands");
}

#[tokio::test(start_paused = true)]
async fn what_is_ordered_while_a_worker_begins_is_carried_out_at_once() {
    let store = FlakyStore::new();
    let lease = Lease::new("s", at("20")).owned_by("me".into());
    assert!(store.create(&lease).await.unwrap());
    let held = HeldLease::new(keeper(&store, "me").holder, lease);
    change(&store, LeaseChange::OperatorRewind(Some(at("5")))).await;
    held.begin().await.unwrap();
    assert_eq!(
        (held.lease().checkpoint, held.held_state()),
        (at("5"), HeldState::Held)
    );
    assert_eq!(row(&store).await.rewind_to, None);
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_that_the_leader_took_back_ends_in_a_release() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::BeginHandOff { to: "b".into() }).await;
    held.renew().await.unwrap();
    change(&store, LeaseChange::CancelHandOff).await;
    held.give_up().await.unwrap();
    assert_eq!(
        row(&store).await.owner,
        None,
        "b is gone, so the leader shall choose"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_that_the_leader_finished_by_force_is_a_loss_at_the_next_renewal() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::BeginHandOff { to: "b".into() }).await;
    held.renew().await.unwrap();
    let forced = change(&store, LeaseChange::Assign { to: "b".into() }).await;
    assert_eq!(loss(held.renew().await), LossReason::TakenBy("b".into()));
    assert_eq!(row(&store).await, forced, "the new owner's row is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_next_owner_that_left_meanwhile_gets_nothing() {
    let (store, held) = held_lease().await;
    change(&store, LeaseChange::BeginHandOff { to: "gone".into() }).await;
    held.renew().await.unwrap();
    held.give_up().await.unwrap();
    assert_eq!(
        (row(&store).await.owner, row(&store).await.checkpoint_owner),
        (None, None)
    );

    let (store, held) = held_lease().await;
    change(&store, LeaseChange::BeginHandOff { to: "gone".into() }).await;
    held.give_up().await.unwrap();
    assert_eq!(
        (row(&store).await.owner, row(&store).await.checkpoint_owner),
        (None, None),
        "also if the hand-off is discovered only now"
    );

    let (store, held) = held_lease().await;
    held.ask_to_leave(Some("gone".into()));
    held.give_up().await.unwrap();
    assert_eq!(row(&store).await.owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_worker_passes_the_lease_to_the_successor_or_releases_it() {
    for (successor, owner) in [(Some("b"), Some("b")), (None, None)] {
        let (store, held) = held_lease().await;
        held.ask_to_leave(successor.map(WorkerId::from));
        held.give_up().await.unwrap();
        assert_eq!(row(&store).await.owner, owner.map(WorkerId::from));
    }
}

#[tokio::test(start_paused = true)]
async fn giving_up_survives_a_lost_answer() {
    for mishap in [Mishap::AnswerLost, Mishap::Repeated] {
        let (store, held) = held_lease().await;
        held.ask_to_leave(Some("b".into()));
        store.suffer([mishap.clone()]);
        held.give_up().await.unwrap();
        assert_eq!(row(&store).await.owner, Some("b".into()), "{mishap:?}");
        assert_eq!(row(&store).await.counter, 9, "{mishap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_never_moves_back_not_even_from_the_end() {
    let (store, held) = held_lease().await;
    held.checkpoint(at("20")).await.unwrap();
    held.checkpoint(at("10")).await.unwrap();
    assert_eq!(row(&store).await.checkpoint, at("20"));
    let (late, end) = (at("30"), Checkpoint::ShardEnd);
    let (end, late) = tokio::join!(held.checkpoint(end), held.checkpoint(late));
    end.unwrap();
    late.unwrap();
    assert_eq!(row(&store).await.checkpoint, Checkpoint::ShardEnd);
    let pending = PendingCheckpoint {
        checkpoint: at("30"),
        state: None,
    };
    held.prepare_checkpoint(pending).await.unwrap();
    assert_eq!(row(&store).await.pending_checkpoint, None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_being_given_up_is_not_valid_even_before_the_answer_comes() {
    let (store, held) = held_lease().await;
    store.suffer([Mishap::Slow(Duration::from_secs(2))]);
    let giving = held.clone();
    let task = tokio::spawn(async move { giving.give_up().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!held.is_valid());
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn recording_children_is_no_renewal() {
    let (store, held) = held_lease().await;
    tokio::time::advance(Duration::from_secs(9)).await;
    held.record_children(["c".to_owned()].into()).await.unwrap();
    assert_eq!(row(&store).await.children.len(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(
        !held.is_valid(),
        "observers judge by the counter, which did not move"
    );
}

#[tokio::test(start_paused = true)]
async fn loss_is_signalled_to_those_who_watch() {
    let (store, held) = held_lease().await;
    let mut watching = held.watch();
    change(&store, LeaseChange::Release).await;
    let _ = held.renew().await;
    let state = watching
        .wait_for(|state| *state != HeldState::Held)
        .await
        .unwrap()
        .clone();
    assert_eq!(state, HeldState::Lost(LossReason::Unowned));
}

#[tokio::test(start_paused = true)]
async fn checkpoints_that_take_the_place_of_renewals_tell_of_the_throughput() {
    let (store, held) = held_lease().await;
    for second in 1..=10_u32 {
        tokio::time::advance(Duration::from_secs(1)).await;
        held.record_throughput(4 * 1024);
        held.checkpoint(at(&second.to_string())).await.unwrap();
        let expected = (second >= 4).then_some(4.0);
        assert_eq!(row(&store).await.throughput_kbps, expected, "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_not_valid_after_the_machine_was_suspended_for_the_fail_over_time() {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
    let lease = Lease::new("s", Checkpoint::TrimHorizon).owned_by("me".into());
    assert!(store.create(&lease).await.unwrap());
    let asleep = Arc::new(Mutex::new(Duration::ZERO));
    let (start, slept) = (Instant::now(), Arc::clone(&asleep));
    let env = Environment::seeded(7, || std::time::UNIX_EPOCH)
        .with_boot_clock(move || Some(start.elapsed() + *slept.lock().unwrap()));
    let me = WorkerId::from("me");
    let process = ProcessId::of(&me, "p");
    let keeper = Keeper::new(Arc::new(Holder::new(
        store,
        me,
        process,
        Timers::of(FAILOVER),
        env,
        Seat::here(),
        Metrics::default(),
    )));
    let held = keeper.acquire(&"s".into(), true).await.unwrap().held().unwrap();
    assert!(held.is_valid());
    *asleep.lock().unwrap() += FAILOVER;
    assert!(
        !held.is_valid(),
        "the clock of programs stood still, that of the others did not"
    );
    assert_eq!(loss(held.checkpoint(at("10")).await), LossReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_began_before_the_answer_came_is_seen_to_have_begun() {
    let (store, held) = held_lease().await;
    held.ask_to_leave(Some("b".into()));
    let begin = LeaseChange::Begin {
        process: ProcessId::of(&"b".into(), "p"),
        at: 0,
    };
    store.suffer([Mishap::Overtaken(begin)]);
    held.give_up().await.unwrap();
    let left = held.inner.holder.take_left();
    let legacy = &left[&"s".into()];
    let row = row(&store).await;
    assert_eq!(
        (row.owner.as_ref(), row.counter),
        (Some(&legacy.to), legacy.counter + 1)
    );
    assert!(legacy.is_begun_in(Some(&row)));
}
