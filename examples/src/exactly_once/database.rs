//! What the processor asks of a database.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::{ExtendedSequenceNumber, InvalidPosition, Record, ShardContext, ShardId, async_trait};

use super::rules::Refused;

/// A database with these tables, changed in transactions only:
///
/// | table | columns |
/// |---|---|
/// | `shards` | `stream`, `shard`, the greatest `token` of its owners, the `position` of the last record that was applied, `ended` |
/// | `accounts` | `account`, its `balance`, and of how many `records` that is the sum |
/// | `gaps` | what was accepted as missing: `stream`, `shard`, `what` |
///
/// A value belongs to one processor. Each call is a transaction of its own, and takes a lock on the shard's row before it reads
/// that. An error may mean that the transaction was committed nevertheless, if its answer was lost.
#[async_trait]
pub trait Database: Send {
    /// Raises the token of the shard to the owner's, so that nothing more is written with a smaller one; only then reads where
    /// the shard stands. Also says which of its parents has not ended, as far as the database knows.
    async fn claim(&mut self, owner: &Owner, parents: &[ShardId]) -> Result<Claimed, DatabaseError>;

    /// Adds the records to their accounts that the database does not have, and writes down the position of the last one.
    /// `known` is the position that the owner has seen in the database before. Says where the shard stands now.
    async fn apply(
        &mut self,
        owner: &Owner,
        known: Option<&ExtendedSequenceNumber>,
        batch: Batch,
    ) -> Result<Applied, DatabaseError>;

    /// Writes down that the last record of the shard was applied.
    async fn end(
        &mut self,
        owner: &Owner,
        known: Option<&ExtendedSequenceNumber>,
    ) -> Result<(), DatabaseError>;

    /// All accounts.
    async fn totals(&mut self) -> Result<Totals, DatabaseError>;
}

/// Accounts by their names.
pub type Totals = BTreeMap<String, Total>;

/// What is known of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// The sum of the amounts.
    pub balance: i64,
    /// How many there were.
    pub records: i64,
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Which stream: its name, and what tells it from another one that had the name before.
    pub stream: String,
    /// Its shard.
    pub shard: ShardId,
    /// The fencing token, signed, as databases have it.
    pub token: i64,
}

impl Owner {
    /// The owner of a shard.
    pub fn new(stream: impl Into<String>, shard: &ShardContext) -> Self {
        Self {
            stream: stream.into(),
            shard: shard.shard_id.clone(),
            // Tokens are near the time in milliseconds, far below.
            token: i64::try_from(shard.fencing_token.get()).unwrap_or(i64::MAX),
        }
    }
}

/// Where a shard stands that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The last record that was applied.
    pub position: Option<ExtendedSequenceNumber>,
    /// A parent that the database knows, and of which it does not know that it ended.
    pub open_parent: Option<ShardId>,
}

/// What is written at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The records, in the order of the shard.
    pub entries: Vec<Entry>,
    /// What is missing before them.
    pub gap: Option<String>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is in its shard.
    pub position: ExtendedSequenceNumber,
    /// The account.
    pub account: String,
    /// What is added to it.
    pub amount: i64,
}

impl TryFrom<&Record> for Entry {
    type Error = String;

    /// The partition key is the account, the payload the amount in decimal digits.
    fn try_from(record: &Record) -> Result<Self, String> {
        let text = str::from_utf8(record.data()).ok();
        let amount = text.and_then(|text| text.parse().ok());
        Ok(Self {
            position: record.position().clone(),
            account: record.partition_key().to_owned(),
            amount: amount.ok_or_else(|| format!("record {} is no amount", record.position()))?,
        })
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where the shard stands now.
    pub position: Option<ExtendedSequenceNumber>,
    /// Records that the database had already.
    pub skipped: usize,
}

/// Why nothing was written, or why it is not known whether it was.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The rules forbid it. Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// SQLite failed.
    #[error("SQLite")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL failed, or could not be reached.
    #[error("PostgreSQL")]
    Postgres(#[from] tokio_postgres::Error),
    /// PostgreSQL did not answer.
    #[error("PostgreSQL does not answer within {0:?}")]
    Silent(Duration),
    /// The thread that waited for the database ended.
    #[error("the call of the database did not end")]
    Interrupted(#[from] tokio::task::JoinError),
    /// What is in the table `shards` was not written by this program.
    #[error("in the table shards")]
    Position(#[from] InvalidPosition),
}
