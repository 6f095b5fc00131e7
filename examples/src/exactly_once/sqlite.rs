//! The tables in a file, by SQLite.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::{ExtendedSequenceNumber, ShardId, async_trait};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::database::{Applied, Batch, Claimed, Database, DatabaseError, Owner, Total, Totals};
use super::rules::{self, Row};

/// How long a transaction waits for that of another connection. There is one at a time.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS shards (
        stream TEXT NOT NULL, shard TEXT NOT NULL,
        token INTEGER NOT NULL, position TEXT, ended INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (stream, shard)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS accounts (
        account TEXT NOT NULL PRIMARY KEY, balance INTEGER NOT NULL, records INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS gaps (
        stream TEXT NOT NULL, shard TEXT NOT NULL, what TEXT NOT NULL,
        PRIMARY KEY (stream, shard, what)
    ) STRICT;
";

/// A file that workers of one machine share. It is opened when it is needed first.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Sqlite {
    /// The database in this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            connection: Arc::default(),
        }
    }

    /// Makes the tables, unless they are there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn prepare(&self) -> Result<(), DatabaseError> {
        self.call(|connection| Ok(connection.execute_batch(TABLES)?))
            .await
    }

    /// Lets a thread that may wait use the connection. It goes on when the caller is dropped, as a transaction does that was sent to a
    /// server.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (path, connection) = (self.path.clone(), self.connection.clone());
        let call = move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let opened = match connection.take() {
                Some(connection) => connection,
                None => open(&path)?,
            };
            work(connection.insert(opened))
        };
        tokio::task::spawn_blocking(call).await?
    }

    /// A transaction that is the only one from its beginning: what it reads stays so until it commits.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.call(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }
}

fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // A commit is on the disk when it returns. A shard's end that a power failure took back would be in the lease only.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn row(transaction: &Transaction<'_>, owner: &Owner) -> Result<Row, DatabaseError> {
    let row = transaction
        .query_row(
            "SELECT token, position FROM shards WHERE stream = ?1 AND shard = ?2",
            params![owner.stream, owner.shard.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (token, position): (i64, Option<String>) = row.unwrap_or_default();
    let position = position.map(|text| text.parse()).transpose()?;
    Ok(Row { token, position })
}

/// A parent whose row does not say that it ended.
fn open_parent(
    transaction: &Transaction<'_>,
    stream: &str,
    parents: Vec<ShardId>,
) -> Result<Option<ShardId>, DatabaseError> {
    for parent in parents {
        let is_open = transaction
            .query_row(
                "SELECT 1 FROM shards WHERE stream = ?1 AND shard = ?2 AND NOT ended",
                params![stream, parent.as_str()],
                |_| Ok(()),
            )
            .optional()?;
        if is_open.is_some() {
            return Ok(Some(parent));
        }
    }
    Ok(None)
}

#[async_trait]
impl Database for Sqlite {
    async fn claim(&mut self, owner: &Owner, parents: &[ShardId]) -> Result<Claimed, DatabaseError> {
        let (owner, parents) = (owner.clone(), parents.to_vec());
        self.transact(move |transaction| {
            let row = row(transaction, &owner)?;
            rules::claim(&row, &owner)?;
            transaction.execute(
                "INSERT INTO shards (stream, shard, token) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET token = excluded.token",
                params![owner.stream, owner.shard.as_str(), owner.token],
            )?;
            Ok(Claimed {
                position: row.position,
                open_parent: open_parent(transaction, &owner.stream, parents)?,
            })
        })
        .await
    }

    async fn apply(
        &mut self,
        owner: &Owner,
        known: Option<&ExtendedSequenceNumber>,
        batch: Batch,
    ) -> Result<Applied, DatabaseError> {
        let (owner, known) = (owner.clone(), known.cloned());
        self.transact(move |transaction| {
            let row = row(transaction, &owner)?;
            let change = rules::apply(row, &owner, known.as_ref(), &batch.entries)?;
            for (account, sum) in &change.sums {
                transaction.execute(
                    "INSERT INTO accounts (account, balance, records) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET balance = balance + excluded.balance, records = records + excluded.records",
                    params![account, sum.balance, sum.records],
                )?;
            }
            if let Some(gap) = batch.gap {
                transaction.execute(
                    "INSERT INTO gaps (stream, shard, what) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![owner.stream, owner.shard.as_str(), gap],
                )?;
            }
            transaction.execute(
                "UPDATE shards SET position = ?3 WHERE stream = ?1 AND shard = ?2",
                params![
                    owner.stream,
                    owner.shard.as_str(),
                    change.position.as_ref().map(ToString::to_string)
                ],
            )?;
            Ok(Applied {
                position: change.position,
                skipped: change.skipped,
            })
        })
        .await
    }

    async fn end(
        &mut self,
        owner: &Owner,
        known: Option<&ExtendedSequenceNumber>,
    ) -> Result<(), DatabaseError> {
        let (owner, known) = (owner.clone(), known.cloned());
        self.transact(move |transaction| {
            rules::admit(&row(transaction, &owner)?, &owner, known.as_ref())?;
            transaction.execute(
                "UPDATE shards SET ended = 1 WHERE stream = ?1 AND shard = ?2",
                params![owner.stream, owner.shard.as_str()],
            )?;
            Ok(())
        })
        .await
    }

    async fn totals(&mut self) -> Result<Totals, DatabaseError> {
        self.call(|connection| {
            let mut query = connection.prepare("SELECT account, balance, records FROM accounts")?;
            let rows = query.query_map([], |row| {
                let (balance, records) = (row.get(1)?, row.get(2)?);
                Ok((row.get(0)?, Total { balance, records }))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Target, conformance};
    use super::*;

    /// A file with the tables, which is removed in the end.
    pub(crate) struct File {
        pub(crate) target: Target,
        folder: PathBuf,
    }

    impl File {
        /// The name is that of the test.
        pub(crate) async fn new(name: &str) -> Self {
            let folder = format!("exactly-once-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            let target = Target::Sqlite(folder.join("sums.db"));
            target.prepare().await.unwrap();
            Self { target, folder }
        }

        /// What is noted as missing.
        pub(crate) fn gaps(&self) -> Vec<String> {
            let connection = Connection::open(self.folder.join("sums.db")).unwrap();
            let mut query = connection.prepare("SELECT what FROM gaps").unwrap();
            let rows = query.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_rule_is_kept() {
        conformance::every_rule(&File::new("conformance").await.target).await;
    }

    #[tokio::test]
    async fn tables_that_are_there_are_left_alone_and_a_folder_that_is_not_is_an_error() {
        let file = File::new("prepared").await;
        file.target.prepare().await.unwrap();
        let nowhere = Target::Sqlite(file.folder.join("no/such/folder"));
        assert!(nowhere.prepare().await.is_err());
    }
}
