use kcl_core::SequenceNumber;

use super::*;

const FIRST: Ownership = Ownership(1);
const SECOND: Ownership = Ownership(2);

/// A ledger with one shard, `s`, that `w1` owns.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.began(FIRST, "w1", "s", Cause::Start);
    ledger
}

fn put(ledger: &mut Ledger, key: &str, count: u64) {
    for _ in 0..count {
        let counter = ledger.issue(key);
        acknowledge(ledger, key, counter);
    }
}

fn acknowledge(ledger: &mut Ledger, key: &str, counter: u64) {
    let receipt = Receipt {
        shard: "s".into(),
        sequence: counter.to_string(),
    };
    ledger.put(key, counter, 10, receipt);
}

fn deliver(ledger: &mut Ledger, ownership: Ownership, position: u64, key: &str, counter: u64) {
    deliver_any(ledger, ownership, position, key, Some(counter));
}

fn deliver_any(ledger: &mut Ledger, ownership: Ownership, position: u64, key: &str, counter: Option<u64>) {
    let position = ExtendedSequenceNumber {
        sequence: SequenceNumber::parse(position.to_string().as_str()).unwrap(),
        sub_sequence: 0,
    };
    ledger.delivered(
        ownership,
        &Delivery {
            position: &position,
            key,
            counter,
        },
    );
}

fn is_in_order(ledger: &Ledger) -> bool {
    let totals = ledger.totals();
    let is_quiet = totals.disorder.is_empty();
    assert_eq!(
        totals.overtaken + totals.backwards == 0,
        is_quiet,
        "every violation is told"
    );
    is_quiet
}

#[test]
fn what_is_put_and_delivered_once_is_in_order() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 2);
    put(&mut ledger, "b", 1);
    assert_eq!((ledger.behind(), ledger.behind_in("s")), (3, 3));
    for (position, key, counter) in [(1, "a", 0), (2, "b", 0), (3, "a", 1)] {
        deliver(&mut ledger, FIRST, position, key, counter);
    }
    assert_eq!(
        (ledger.totals().put, ledger.totals().unique, ledger.behind()),
        (3, 3, 0)
    );
    assert_eq!(ledger.totals().duplicates, BTreeMap::new());
    assert!(is_in_order(&ledger));
}

#[test]
fn a_delivery_may_overtake_the_answer_to_its_put() {
    let mut ledger = ledger();
    let counter = ledger.issue("a");
    deliver(&mut ledger, FIRST, 1, "a", counter);
    acknowledge(&mut ledger, "a", counter);
    assert_eq!((ledger.totals().unique, ledger.behind()), (1, 0));
}

#[test]
fn a_record_that_never_arrives_is_missing_with_its_receipt() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 3);
    deliver(&mut ledger, FIRST, 1, "a", 0);
    deliver(&mut ledger, FIRST, 3, "a", 2);
    assert_eq!(ledger.behind(), 1);
    assert_eq!(ledger.missing(9), ["a: 1, put as 1 into s"]);
    assert!(is_in_order(&ledger), "not yet delivered is no disorder");
}

#[test]
fn a_first_delivery_behind_a_later_one_violates_the_order() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 2);
    deliver(&mut ledger, FIRST, 2, "a", 1);
    ledger.began(SECOND, "w2", "other", Cause::Reshard);
    deliver(&mut ledger, SECOND, 1, "a", 0);
    assert_eq!((ledger.totals().overtaken, ledger.totals().backwards), (1, 0));
    assert_eq!(ledger.behind(), 0, "out of order, but there");
    assert!(!is_in_order(&ledger));
}

#[test]
fn after_a_crash_records_come_again_and_that_is_a_duplicate_and_no_disorder() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 3);
    deliver(&mut ledger, FIRST, 1, "a", 0);
    deliver(&mut ledger, FIRST, 2, "a", 1);
    ledger.killed("w1");
    ledger.began(SECOND, "w2", "s", Cause::Kill);
    for (position, counter) in [(1, 0), (2, 1), (3, 2)] {
        deliver(&mut ledger, SECOND, position, "a", counter);
    }
    assert_eq!(
        ledger.totals().duplicates,
        [(Again::After(Cause::Kill), 2)].into()
    );
    assert_eq!((ledger.totals().unique, ledger.behind()), (3, 0));
    assert!(is_in_order(&ledger));
}

#[test]
fn the_same_again_within_one_ownership_violates_the_order() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 2);
    for (position, counter) in [(1, 0), (2, 1), (1, 0)] {
        deliver(&mut ledger, FIRST, position, "a", counter);
    }
    assert_eq!(ledger.totals().backwards, 2, "the shard and the key");
    assert!(!is_in_order(&ledger));
}

#[test]
fn the_last_words_of_a_killed_worker_count_until_the_shard_has_a_new_owner() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 3);
    deliver(&mut ledger, FIRST, 1, "a", 0);
    ledger.killed("w1");
    deliver(&mut ledger, FIRST, 2, "a", 1);
    assert_eq!(ledger.totals().unique, 2);
    ledger.began(SECOND, "w2", "s", Cause::Kill);
    deliver(&mut ledger, FIRST, 3, "a", 2);
    assert_eq!((ledger.totals().unique, ledger.behind()), (2, 1));
}

#[test]
fn a_record_put_twice_is_told_from_one_delivered_twice() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 2);
    for (position, counter) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        deliver(&mut ledger, FIRST, position, "a", counter);
    }
    assert_eq!(ledger.totals().duplicates, [(Again::PutTwice, 2)].into());
    assert!(is_in_order(&ledger));
}

#[test]
fn records_of_others_are_counted_by_their_positions() {
    let mut ledger = ledger();
    deliver_any(&mut ledger, FIRST, 1, "x", None);
    deliver_any(&mut ledger, FIRST, 2, "x", None);
    ledger.ended(FIRST);
    ledger.began(SECOND, "w2", "s", Cause::Balance);
    deliver_any(&mut ledger, SECOND, 2, "x", None);
    let totals = ledger.totals();
    assert_eq!((totals.foreign, totals.unique, totals.put), (2, 0, 0));
    assert_eq!(totals.duplicates, [(Again::After(Cause::Balance), 1)].into());
    assert!(is_in_order(&ledger));
}

#[test]
fn a_counter_that_was_never_issued_is_somebody_else_s() {
    let mut ledger = ledger();
    put(&mut ledger, "a", 1);
    deliver(&mut ledger, FIRST, 1, "a", u64::MAX);
    deliver(&mut ledger, FIRST, 2, "b", 0);
    assert_eq!((ledger.totals().foreign, ledger.totals().unique), (2, 0));
}

proptest::proptest! {
    /// Any interleaving of puts, deliveries and crashes that keeps the promises is seen as such, and the sums agree.
    #[test]
    fn a_faithful_history_balances(steps in proptest::collection::vec(0..8u8, 1..200)) {
        let mut ledger = ledger();
        let (mut owner, mut stream, mut read, mut checkpoint) = (FIRST, Vec::new(), 0, 0);
        for step in steps {
            match step {
                0..=2 => {
                    let key = if step == 0 { "a" } else { "b" };
                    let counter = ledger.issue(key);
                    acknowledge(&mut ledger, key, counter);
                    stream.push((key, counter));
                }
                3..=5 if read < stream.len() => {
                    let (key, counter) = stream[read];
                    read += 1;
                    deliver(&mut ledger, owner, read as u64, key, counter);
                }
                6 => checkpoint = read,
                7 => {
                    ledger.killed("w1");
                    owner = Ownership(owner.0 + 1);
                    ledger.began(owner, "w1", "s", Cause::Kill);
                    read = checkpoint;
                }
                _ => {}
            }
        }
        let deliveries: u64 = ledger.totals().by_worker.values().sum();
        let duplicates: u64 = ledger.totals().duplicates.values().sum();
        proptest::prop_assert!(is_in_order(&ledger));
        proptest::prop_assert_eq!(ledger.totals().unique + ledger.behind(), ledger.totals().put);
        proptest::prop_assert_eq!(ledger.totals().unique + duplicates, deliveries);
        proptest::prop_assert!(ledger.totals().duplicates.keys().all(|again| *again == Again::After(Cause::Kill)));
    }
}
