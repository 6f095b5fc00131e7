//! What may be written. Pure.

use std::collections::BTreeMap;

use kcl_core::{Checkpoint, ExtendedSequenceNumber, ShardId};

use super::database::{Entry, Owner, Total};

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another owner began after this one.
    #[error(
        "{shard} has an owner with token {stored}, and this one has {own}: it has lost its lease, or is about to. Should no other \
         owner be there, then the lease table was made anew by a machine whose clock is behind: set the clock, and restart"
    )]
    Stale {
        /// The shard.
        shard: ShardId,
        /// The greatest token that was seen.
        stored: i64,
        /// The owner's.
        own: i64,
    },
    /// What this owner has seen in the database is not there any more.
    #[error(
        "the database has forgotten something about {shard}: a backup was restored while this worker ran. Stop all workers, \
         delete the lease table, and start them again: each shard then begins where the database is"
    )]
    Restored {
        /// The shard.
        shard: ShardId,
    },
    /// The lease says that a parent has ended, and the database does not.
    #[error(
        "{shard} is to begin, but the database does not have all records of its parent {parent}: a backup was restored. Stop all \
         workers, delete the lease table, and start them again: each shard then begins where the database is. If those records \
         have been trimmed since, accept the gap"
    )]
    OpenParent {
        /// The shard.
        shard: ShardId,
        /// Its parent.
        parent: ShardId,
    },
    /// The lease has a checkpoint, and the database no position.
    #[error(
        "the lease of {shard} is at {checkpoint}, but this database does not know the shard. Use the database that the \
         application used before, or stop all workers and delete the lease table, to begin with the oldest records"
    )]
    Unknown {
        /// The shard.
        shard: ShardId,
        /// The lease's checkpoint.
        checkpoint: Checkpoint,
    },
    /// Kinesis trimmed records before they were read.
    #[error(
        "{0}: the sums would not be exact any more. Accept the gap to go on nevertheless; it is then noted in the table gaps"
    )]
    Gap(String),
    /// The amounts are too large.
    #[error("the amounts for {0} are too large for a sum")]
    Overflow(String),
}

/// The row of a shard. One that was never written has token 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The greatest token of its owners.
    pub token: i64,
    /// The last record that was applied.
    pub position: Option<ExtendedSequenceNumber>,
}

/// What a batch changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is added to each account. In their order: two shards that lock rows in different orders would wait for each other.
    pub sums: BTreeMap<String, Total>,
    /// The new position.
    pub position: Option<ExtendedSequenceNumber>,
    /// Records that the database had already.
    pub skipped: usize,
}

/// Whether an owner may raise the token of a shard to its own.
///
/// # Errors
/// There has been a later owner.
pub fn claim(row: &Row, owner: &Owner) -> Result<(), Refused> {
    if row.token > owner.token {
        return Err(stale(row, owner));
    }
    Ok(())
}

/// Whether an owner may write: the token is the one that it wrote when it began, and the position no smaller than what it
/// has seen.
///
/// # Errors
/// There has been a later owner, or the database is not what it was.
pub fn admit(row: &Row, owner: &Owner, known: Option<&ExtendedSequenceNumber>) -> Result<(), Refused> {
    if row.token > owner.token {
        return Err(stale(row, owner));
    }
    if row.token < owner.token || row.position.as_ref() < known {
        let shard = owner.shard.clone();
        return Err(Refused::Restored { shard });
    }
    Ok(())
}

/// What a batch changes. Records up to the position are left out: they come again when the answer of the transaction was
/// lost that applied them.
///
/// # Errors
/// The owner may not write, or a sum is too large.
pub fn apply(
    row: Row,
    owner: &Owner,
    known: Option<&ExtendedSequenceNumber>,
    entries: &[Entry],
) -> Result<Change, Refused> {
    admit(&row, owner, known)?;
    let mut change = Change {
        sums: BTreeMap::new(),
        position: row.position,
        skipped: 0,
    };
    for entry in entries {
        if change.position.as_ref() >= Some(&entry.position) {
            change.skipped += 1;
            continue;
        }
        let sum = change.sums.entry(entry.account.clone()).or_default();
        let balance = sum.balance.checked_add(entry.amount);
        sum.balance = balance.ok_or_else(|| Refused::Overflow(entry.account.clone()))?;
        sum.records += 1;
        change.position = Some(entry.position.clone());
    }
    Ok(change)
}

fn stale(row: &Row, owner: &Owner) -> Refused {
    Refused::Stale {
        shard: owner.shard.clone(),
        stored: row.token,
        own: owner.token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: &str) -> ExtendedSequenceNumber {
        position.parse().unwrap()
    }

    fn row(token: i64, position: &str) -> Row {
        Row {
            token,
            position: Some(at(position)),
        }
    }

    fn owner(token: i64) -> Owner {
        Owner {
            stream: "orders".to_owned(),
            shard: ShardId::from("s"),
            token,
        }
    }

    fn entries(of: &[(&str, i64)]) -> Vec<Entry> {
        let entry = |(position, amount): &(&str, i64)| Entry {
            position: at(position),
            account: "a".to_owned(),
            amount: *amount,
        };
        of.iter().map(entry).collect()
    }

    #[test]
    fn a_smaller_token_neither_claims_nor_writes() {
        let row = row(7, "10");
        assert!(claim(&row, &owner(6)).is_err());
        assert_eq!(claim(&row, &owner(7)), Ok(()), "initialize is repeated");
        assert_eq!(claim(&row, &owner(8)), Ok(()));
        let refused = apply(row, &owner(6), None, &entries(&[("11", 1)]));
        assert!(matches!(
            refused,
            Err(Refused::Stale {
                stored: 7,
                own: 6,
                ..
            })
        ));
    }

    #[test]
    fn what_is_there_already_is_skipped_down_to_the_user_record() {
        let of = entries(&[("9", 1), ("10", 2), ("10:1", 4), ("10:2", 8), ("100", 16)]);
        let change = apply(row(7, "10:1"), &owner(7), None, &of).unwrap();
        assert_eq!(
            change.sums["a"],
            Total {
                balance: 24,
                records: 2
            }
        );
        assert_eq!((change.position, change.skipped), (Some(at("100")), 3));
    }

    #[test]
    fn a_batch_that_is_there_changes_nothing() {
        let change = apply(
            row(7, "10"),
            &owner(7),
            Some(&at("8")),
            &entries(&[("9", 1), ("10", 2)]),
        )
        .unwrap();
        assert_eq!((change.sums.len(), change.position), (0, Some(at("10"))));
    }

    #[test]
    fn a_database_that_went_back_is_not_written_to() {
        let restored = Err(Refused::Restored {
            shard: ShardId::from("s"),
        });
        assert_eq!(
            admit(&row(7, "9"), &owner(7), Some(&at("10"))),
            restored,
            "an older position"
        );
        assert_eq!(
            admit(&row(6, "10"), &owner(7), Some(&at("10"))),
            restored,
            "an older token"
        );
        assert_eq!(admit(&Row::default(), &owner(7), None), restored, "empty");
        assert_eq!(
            admit(&row(7, "11"), &owner(7), Some(&at("10"))),
            Ok(()),
            "an answer was lost"
        );
    }

    #[test]
    fn a_sum_that_is_too_large_is_refused() {
        let of = entries(&[("11", i64::MAX), ("12", 1)]);
        assert_eq!(
            apply(row(7, "10"), &owner(7), None, &of),
            Err(Refused::Overflow("a".to_owned()))
        );
    }
}
