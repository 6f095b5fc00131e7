//! Tries a database: whether it keeps the rules, and each transaction whole. For tests; what is wrong is a panic.
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test panics")]

use std::time::Duration;

use kcl_core::{ExtendedSequenceNumber, ShardId};
use tokio::time::{sleep, timeout};

use super::database::{Applied, Batch, Database, DatabaseError, Entry, Owner, Total};
use super::rules::Refused;
use super::target::Target;

/// Everything. The tables are there; of the stream `conformance` and accounts that begin with that they have nothing.
pub async fn every_rule(target: &Target) {
    a_batch_counts_once(target).await;
    a_stale_owner_is_refused(target).await;
    sums_and_position_change_together_or_not_at_all(target).await;
    a_child_is_told_of_a_parent_that_has_not_ended(target).await;
    a_gap_is_noted_once(target).await;
    owners_that_write_at_once_take_turns(target).await;
}

fn at(position: &str) -> ExtendedSequenceNumber {
    position.parse().expect("a position")
}

fn owner(shard: &str, token: i64) -> Owner {
    Owner {
        stream: "conformance".to_owned(),
        shard: ShardId::from(shard),
        token,
    }
}

/// Amounts for an account that is named after the shard.
fn batch(owner: &Owner, of: &[(&str, i64)]) -> Batch {
    let entry = |(position, amount): &(&str, i64)| Entry {
        position: at(position),
        account: account(owner),
        amount: *amount,
    };
    Batch {
        entries: of.iter().map(entry).collect(),
        gap: None,
    }
}

fn account(owner: &Owner) -> String {
    format!("conformance {}", owner.shard.as_str())
}

async fn total(database: &mut Box<dyn Database>, owner: &Owner) -> Total {
    let totals = database.totals().await.expect("read");
    totals.get(&account(owner)).copied().unwrap_or_default()
}

async fn position(database: &mut Box<dyn Database>, owner: &Owner) -> Option<ExtendedSequenceNumber> {
    database.claim(owner, &[]).await.expect("claimed").position
}

async fn a_batch_counts_once(target: &Target) {
    let (mut database, owner) = (target.database(), owner("once", 5));
    assert_eq!(position(&mut database, &owner).await, None);
    let of = batch(&owner, &[("9", 1), ("10", 2), ("10:1", 4)]);
    for skipped in [0, 3] {
        let applied = database.apply(&owner, None, of.clone()).await.expect("applied");
        let position = Some(at("10:1"));
        assert_eq!(applied, Applied { position, skipped });
    }
    let more = batch(&owner, &[("10:1", 4), ("100", 8)]);
    database
        .apply(&owner, Some(&at("10:1")), more)
        .await
        .expect("applied");
    let sum = Total {
        balance: 15,
        records: 4,
    };
    assert_eq!(total(&mut database, &owner).await, sum);
    assert_eq!(position(&mut target.database(), &owner).await, Some(at("100")));
}

async fn a_stale_owner_is_refused(target: &Target) {
    let (mut database, mut other) = (target.database(), target.database());
    let (stale, fresh) = (owner("stale", 5), owner("stale", 6));
    position(&mut database, &stale).await;
    let of = batch(&stale, &[("1", 1)]);
    database.apply(&stale, None, of.clone()).await.expect("applied");
    assert_eq!(position(&mut other, &fresh).await, Some(at("1")));
    let is_stale =
        |error: &DatabaseError| matches!(error, DatabaseError::Refused(Refused::Stale { stored: 6, .. }));
    let next = batch(&stale, &[("2", 1)]);
    let applied = database.apply(&stale, None, next).await.expect_err("refused");
    let claimed = database.claim(&stale, &[]).await.expect_err("refused");
    let ended = database.end(&stale, None).await.expect_err("refused");
    assert!([applied, claimed, ended].iter().all(is_stale));
    assert_eq!(position(&mut other, &fresh).await, Some(at("1")));
    assert_eq!(total(&mut other, &fresh).await.records, 1);
}

async fn sums_and_position_change_together_or_not_at_all(target: &Target) {
    let (mut database, owner) = (target.database(), owner("together", 5));
    position(&mut database, &owner).await;
    let first = batch(&owner, &[("1", i64::MAX - 1)]);
    database.apply(&owner, None, first).await.expect("applied");
    // The database finds only when it adds that the second amount is too large. The other account comes before it.
    let mut second = batch(&owner, &[("2", 2), ("3", 1)]);
    second.entries[1].account = "conformance a".to_owned();
    database.apply(&owner, None, second).await.expect_err("too large");
    assert_eq!(position(&mut database, &owner).await, Some(at("1")));
    let totals = database.totals().await.expect("read");
    assert!(!totals.contains_key("conformance a"));
    assert_eq!(totals[&account(&owner)].records, 1);
}

async fn a_child_is_told_of_a_parent_that_has_not_ended(target: &Target) {
    let mut database = target.database();
    let (parent, child) = (owner("parent", 5), owner("child", 7));
    let parents = [ShardId::from("gone"), parent.shard.clone()];
    let claim = database.claim(&child, &parents).await.expect("claimed");
    assert_eq!(claim.open_parent, None, "none is known");
    position(&mut database, &parent).await;
    let claim = database.claim(&child, &parents).await.expect("claimed");
    assert_eq!(claim.open_parent, Some(parent.shard.clone()));
    database.end(&parent, None).await.expect("ended");
    database.end(&parent, None).await.expect("ended, again");
    let claim = database.claim(&child, &parents).await.expect("claimed");
    assert_eq!(claim.open_parent, None);
}

async fn a_gap_is_noted_once(target: &Target) {
    let (mut database, owner) = (target.database(), owner("gap", 5));
    position(&mut database, &owner).await;
    let gap = Batch {
        gap: Some("something".to_owned()),
        ..Batch::default()
    };
    for _ in 0..2 {
        let applied = database.apply(&owner, None, gap.clone()).await.expect("noted");
        assert_eq!(applied.position, None);
    }
}

/// Two owners and their batches, at the same time: whatever the first one has committed when the second one reads the position is in
/// that, and nothing comes afterwards.
async fn owners_that_write_at_once_take_turns(target: &Target) {
    let (mut database, mut other) = (target.database(), target.database());
    let (stale, fresh) = (owner("turns", 5), owner("turns", 6));
    position(&mut database, &stale).await;
    let writer = tokio::spawn(async move {
        let mut written = 0;
        loop {
            let of = batch(&stale, &[(&(written + 1).to_string(), 1)]);
            match database.apply(&stale, None, of).await {
                Ok(_) => written += 1,
                Err(DatabaseError::Refused(Refused::Stale { .. })) => return written,
                Err(error) => unreachable!("{error:?}"),
            }
        }
    });
    sleep(Duration::from_millis(100)).await;
    let found = position(&mut other, &fresh).await;
    let written: i64 = timeout(Duration::from_secs(30), writer)
        .await
        .expect("it is refused")
        .expect("no panic");
    assert_eq!(found.map(|found| found.to_string()), Some(written.to_string()));
    assert_eq!(total(&mut other, &fresh).await.records, written);
}
