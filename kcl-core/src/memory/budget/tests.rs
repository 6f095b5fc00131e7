use std::time::Duration;

use tokio::time::timeout;

use super::*;

const MIB: u64 = 1 << 20;

fn wish(most: u64, least: u64) -> Wish {
    Wish {
        most,
        least,
        is_guess: false,
    }
}

async fn claim(seat: &Seat, most: u64, least: u64) -> Option<Claim> {
    timeout(Duration::from_secs(1), seat.claim(wish(most, least)))
        .await
        .ok()
}

fn free(budget: &Budget) -> i64 {
    budget.ledger().free
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_comes_back() {
    let budget = Budget::new(100);
    let seat = budget.seat();
    let one = claim(&seat, 25, 25).await.expect("free");
    let mut other = claim(&seat, 25, 25).await.expect("free");
    other.settle(55);
    assert_eq!(free(&budget), 20);
    assert!(claim(&seat, 25, 25).await.is_none());
    drop(one);
    drop(other);
    assert_eq!(
        free(&budget),
        100,
        "and the claim that nobody waited for any more did not stay"
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_settled_at_what_it_turned_out_to_be() {
    let budget = Budget::new(100);
    let seat = budget.seat();
    let mut held = claim(&seat, 20, 20).await.expect("free");
    held.settle(10);
    assert_eq!(free(&budget), 90);
    held.settle(130);
    assert_eq!(free(&budget), -30);
    assert!(claim(&seat, 1, 1).await.is_none(), "more than everything is held");
    drop(held);
    assert_eq!(free(&budget), 100);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_others_hold_a_shard_may_fill_its_slice() {
    let budget = Budget::new(256 * MIB);
    let seats: Vec<_> = (0..300).map(|_| budget.seat()).collect();
    let mut stuck = Vec::new();
    for seat in &seats[1..] {
        while let Some(claim) = claim(seat, 23 * MIB, 150 << 10).await {
            stuck.push(claim);
        }
    }
    let slice = 128 * MIB / 300;
    let ours = claim(&seats[0], 23 * MIB, 150 << 10).await.expect("its slice");
    assert!(ours.bytes() >= slice - 1, "{}", ours.bytes());
    assert!(free(&budget) >= 0);
}

#[tokio::test(start_paused = true)]
async fn the_less_is_left_the_less_a_claim_gets() {
    let budget = Budget::new(256 * MIB);
    let seats: Vec<_> = (0..300).map(|_| budget.seat()).collect();
    let mut got = Vec::new();
    for seat in &seats {
        got.push(
            claim(seat, 23 * MIB, 150 << 10)
                .await
                .expect("everybody gets something"),
        );
    }
    assert_eq!(got[0].bytes(), 23 * MIB);
    assert!(got.is_sorted_by(|a, b| a.bytes() >= b.bytes()));
    let held: u64 = got.iter().map(Claim::bytes).sum();
    assert!(held <= 256 * MIB);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_holds_nothing_gets_what_a_large_record_needs_though_others_read_far_ahead() {
    let budget = Budget::new(256 * MIB);
    let seats: Vec<_> = (0..300).map(|_| budget.seat()).collect();
    let mut ahead = Vec::new();
    for seat in &seats[..8] {
        while let Some(claim) = claim(seat, 23 * MIB, 5 * MIB).await {
            ahead.push(claim);
        }
    }
    for seat in &seats[8..] {
        let large = claim(seat, 23 * MIB, 5 * MIB).await.expect("kept for it");
        drop(large);
    }
}

#[tokio::test(start_paused = true)]
async fn who_needs_much_is_not_overtaken_for_ever_by_those_who_need_little() {
    let budget = Budget::new(100);
    let (large, small) = (budget.seat(), budget.seat());
    let mut held = vec![
        claim(&small, 25, 25).await.expect("free"),
        claim(&small, 25, 25).await.expect("free"),
    ];
    let mut waiting = std::pin::pin!(large.claim(wish(50, 50)));
    for _ in 0..10 {
        if timeout(Duration::from_millis(1), &mut waiting).await.is_ok() {
            return;
        }
        held.extend(claim(&small, 5, 5).await);
        held.remove(0);
    }
    panic!("it waits for ever");
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_larger_than_the_budget_is_met_with_a_quarter_of_it() {
    let budget = Budget::new(100);
    let seat = budget.seat();
    assert_eq!(claim(&seat, 1000, 1000).await.expect("free").bytes(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_read_no_more_leaves_its_slice_to_the_others() {
    let budget = Budget::new(100);
    let (here, gone) = (budget.seat(), budget.seat());
    let kept = claim(&gone, 10, 10).await.expect("free");
    drop(gone);
    assert_eq!(budget.ledger().slice(), 50);
    assert_eq!(free(&budget), 90, "what is being processed counts");
    drop(kept);
    assert_eq!(free(&budget), 100);
    assert_eq!(budget.ledger().seats.len(), 1);
    drop(here);
}

#[tokio::test(start_paused = true)]
async fn what_a_record_takes_is_known_to_all_shards() {
    let budget = Budget::new(100);
    let (one, other) = (budget.seat(), budget.seat());
    let known = || budget.ledger().usual_record;
    assert_eq!(known(), None);
    one.note_usual_record(1_000);
    assert_eq!(known(), Some(1_000));
    for _ in 0..500 {
        one.note_usual_record(10);
    }
    assert!(known().is_some_and(|bytes| bytes < 100));
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn who_waits_without_knowing_what_a_record_takes_hears_of_it() {
    let budget = Budget::new(100);
    let (one, other) = (budget.seat(), budget.seat());
    let mut held = claim(&one, 25, 25).await.expect("free");
    held.settle(80);
    let by_size = |usual: Option<u64>| {
        let bytes = usual.unwrap_or(50);
        wish(bytes, bytes)
    };
    let mut waiting = std::pin::pin!(other.claim_by_size(by_size));
    assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
    one.note_usual_record(5);
    let (got, usual) = timeout(Duration::from_secs(1), waiting).await.expect("in time");
    assert_eq!((got.bytes(), usual), (5, Some(5)));
    drop(held);
}
