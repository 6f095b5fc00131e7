//! The tables in PostgreSQL.

use std::future::Future;
use std::time::Duration;

use kcl_core::{ExtendedSequenceNumber, ShardId, async_trait};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, Transaction};

use super::database::{Applied, Batch, Claimed, Database, DatabaseError, Owner, Total, Totals};
use super::rules::{self, Row};

/// A call that takes longer has failed, and its connection is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a session is. The server ends one whose transaction is left alone, and with it the locks: its client may be frozen, or cut off.
const SESSION: &str = "
    SET idle_in_transaction_session_timeout = '4s';
    SET synchronous_commit = on;
";

const TABLES: &str = "
    SELECT pg_advisory_xact_lock(8250);
    CREATE TABLE IF NOT EXISTS shards (
        stream text NOT NULL, shard text NOT NULL,
        token bigint NOT NULL, position text, ended boolean NOT NULL DEFAULT false,
        PRIMARY KEY (stream, shard)
    );
    CREATE TABLE IF NOT EXISTS accounts (
        account text NOT NULL PRIMARY KEY, balance bigint NOT NULL, records bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS gaps (
        stream text NOT NULL, shard text NOT NULL, what text NOT NULL,
        PRIMARY KEY (stream, shard, what)
    );
";

/// A PostgreSQL server. It is connected to when it is needed, and anew after an error. (Where a worker has hundreds of shards, let them
/// share a pool of connections instead.)
#[derive(Debug)]
pub struct Postgres {
    config: Config,
    client: Option<Client>,
}

impl Postgres {
    /// The server that this describes.
    pub fn new(config: Config) -> Self {
        Self { config, client: None }
    }

    /// Makes the tables, unless they are there.
    ///
    /// # Errors
    /// The server cannot be reached, or the user may not.
    pub async fn prepare(&mut self) -> Result<(), DatabaseError> {
        self.transact(async |transaction: &Transaction<'_>| Ok(transaction.batch_execute(TABLES).await?))
            .await
    }

    /// Runs a transaction. Its isolation is the usual one, READ COMMITTED: everything hangs on the shard's row, which it locks before it
    /// reads it.
    async fn transact<T>(
        &mut self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let (config, kept) = (&self.config, self.client.take());
        let call = async move {
            let mut client = match kept.filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => connect(config).await?,
            };
            let transaction = client.transaction().await?;
            let done = work(&transaction).await?;
            transaction.commit().await?;
            Ok((client, done))
        };
        // The connection is kept only if all went well: whatever is left of a transaction ends with it.
        let (client, done) = in_time(call).await?;
        self.client = Some(client);
        Ok(done)
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    let silent = |_| DatabaseError::Silent(PATIENCE);
    timeout(PATIENCE, call).await.map_err(silent)?
}

async fn connect(config: &Config) -> Result<Client, DatabaseError> {
    let (client, connection) = config.connect(NoTls).await?;
    // It ends when the client is dropped. What breaks it, calls will say.
    tokio::spawn(connection);
    client.batch_execute(SESSION).await?;
    Ok(client)
}

/// Locks the row of a shard and reads it. Whoever has it locked commits or fails before.
async fn row(transaction: &Transaction<'_>, owner: &Owner) -> Result<Row, DatabaseError> {
    let row = transaction
        .query_opt(
            "SELECT token, position FROM shards WHERE stream = $1 AND shard = $2 FOR UPDATE",
            &[&owner.stream, &owner.shard.as_str()],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Row::default());
    };
    let position: Option<String> = row.try_get(1)?;
    Ok(Row {
        token: row.try_get(0)?,
        position: position.map(|text| text.parse()).transpose()?,
    })
}

#[async_trait]
impl Database for Postgres {
    async fn claim(&mut self, owner: &Owner, parents: &[ShardId]) -> Result<Claimed, DatabaseError> {
        self.transact(async |transaction: &Transaction<'_>| {
            let (stream, shard) = (&owner.stream, owner.shard.as_str());
            // So that there is a row to be locked.
            transaction
                .execute(
                    "INSERT INTO shards (stream, shard, token) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING",
                    &[stream, &shard],
                )
                .await?;
            let row = row(transaction, owner).await?;
            rules::claim(&row, owner)?;
            transaction
                .execute(
                    "UPDATE shards SET token = $3 WHERE stream = $1 AND shard = $2",
                    &[stream, &shard, &owner.token],
                )
                .await?;
            let parents: Vec<_> = parents.iter().map(ShardId::as_str).collect();
            let open = transaction
                .query_opt(
                    "SELECT shard FROM shards WHERE stream = $1 AND shard = ANY($2) AND NOT ended LIMIT 1",
                    &[stream, &parents],
                )
                .await?;
            let open: Option<&str> = open.as_ref().map(|row| row.try_get(0)).transpose()?;
            Ok(Claimed {
                position: row.position,
                open_parent: open.map(ShardId::from),
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
        self.transact(async |transaction: &Transaction<'_>| {
            let (stream, shard) = (&owner.stream, owner.shard.as_str());
            let row = row(transaction, owner).await?;
            let change = rules::apply(row, owner, known, &batch.entries)?;
            let accounts: Vec<_> = change.sums.keys().collect();
            let balances: Vec<_> = change.sums.values().map(|sum| sum.balance).collect();
            let records: Vec<_> = change.sums.values().map(|sum| sum.records).collect();
            transaction
                .execute(
                    "INSERT INTO accounts (account, balance, records)
                     SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
                     ON CONFLICT (account) DO UPDATE SET
                         balance = accounts.balance + excluded.balance, records = accounts.records + excluded.records",
                    &[&accounts, &balances, &records],
                )
                .await?;
            if let Some(gap) = &batch.gap {
                transaction
                    .execute(
                        "INSERT INTO gaps (stream, shard, what) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                        &[stream, &shard, gap],
                    )
                    .await?;
            }
            transaction
                .execute(
                    "UPDATE shards SET position = $3 WHERE stream = $1 AND shard = $2",
                    &[stream, &shard, &change.position.as_ref().map(ToString::to_string)],
                )
                .await?;
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
        self.transact(async |transaction: &Transaction<'_>| {
            rules::admit(&row(transaction, owner).await?, owner, known)?;
            transaction
                .execute(
                    "UPDATE shards SET ended = true WHERE stream = $1 AND shard = $2",
                    &[&owner.stream, &owner.shard.as_str()],
                )
                .await?;
            Ok(())
        })
        .await
    }

    async fn totals(&mut self) -> Result<Totals, DatabaseError> {
        self.transact(async |transaction: &Transaction<'_>| {
            let rows = transaction
                .query("SELECT account, balance, records FROM accounts", &[])
                .await?;
            let total = |row: &tokio_postgres::Row| {
                let (balance, records) = (row.try_get(1)?, row.try_get(2)?);
                Ok((row.try_get(0)?, Total { balance, records }))
            };
            rows.iter().map(total).collect()
        })
        .await
    }
}
