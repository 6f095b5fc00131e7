//! Which generation of the Java KCL an application's tables are of, for those who only want to know.

use aws_sdk_dynamodb::Client;
use serde::{Deserialize, Serialize};

use super::attributes::*;
use super::failure::classify;
use super::layout::{Place, Tables};
use super::survey;
use crate::store::{StoreError, StoreErrorKind};

const LOOKING: &str = "looking for the application's tables";

/// The tables of an application, and the rows that tell how far its migrations are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Generation {
    /// The lease table's name; whether it exists, the other calls tell.
    pub lease_table: String,
    /// The table of the coordinator's state of the Java KCL 3.0 to 3.4, if it exists.
    pub coordinator_state_table: Option<String>,
    /// The table of the workers' metrics of the Java KCL 3.0 to 3.4, if it exists.
    pub worker_metrics_table: Option<String>,
    /// The row `Migration3.0`, in the first table that has it.
    pub client_version: Option<MigrationRow>,
    /// The row `TableMigration3.5`, in the first table that has it.
    pub table_migration: Option<MigrationRow>,
}

/// A row that tells how far a migration is. What of it cannot be read is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MigrationRow {
    /// The table that it was found in.
    pub table: String,
    /// The state, as it is stored.
    pub state: Option<String>,
    /// The worker, or the tool, that wrote it.
    pub modified_by: Option<String>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub modified_at: Option<u64>,
}

pub(super) async fn look(client: &Client, tables: &Tables) -> Result<Generation, StoreError> {
    let has_state = exists(client, &tables.state).await?;
    let has_workers = exists(client, &tables.workers).await?;
    let mut places = vec![tables.leases()];
    if has_state {
        // A Java worker that migrates looks there first.
        places.insert(0, tables.separate_state());
    }
    Ok(Generation {
        lease_table: tables.leases.clone(),
        coordinator_state_table: has_state.then(|| tables.state.clone()),
        worker_metrics_table: has_workers.then(|| tables.workers.clone()),
        client_version: row(client, &places, CLIENT_VERSION_KEY, "cv").await?,
        table_migration: row(client, &places, TABLE_MIGRATION_KEY, TABLE_MIGRATION_STATUS).await?,
    })
}

async fn row(
    client: &Client,
    places: &[Place<'_>],
    key: &str,
    state: &str,
) -> Result<Option<MigrationRow>, StoreError> {
    for place in places {
        if let Some(item) = survey::read(client, LOOKING, *place, key).await? {
            let text = |name: &str| item.text(name).ok().flatten().map(str::to_owned);
            return Ok(Some(MigrationRow {
                table: place.table.to_owned(),
                state: text(state),
                modified_by: text("mb"),
                modified_at: item.unsigned("mts").ok().flatten(),
            }));
        }
    }
    Ok(None)
}

async fn exists(client: &Client, table: &str) -> Result<bool, StoreError> {
    match client.describe_table().table_name(table).send().await {
        Ok(_) => Ok(true),
        Err(error) => match classify(LOOKING, table, error) {
            missing if missing.kind() == StoreErrorKind::TableMissing => Ok(false),
            other => Err(other),
        },
    }
}
