//! Looking at what is there before anything is written: which tables, and which generation of workers uses them.

use aws_sdk_dynamodb::Client;

use super::attributes::*;
use super::codec::{self, Entity};
use super::failure::{classify, failure};
use super::layout::{Layout, Migration, Place, Tables};
use super::rows;
use super::table::TableOptions;
use crate::store::{ClientVersion, StoreError, StoreErrorKind};

const LOOKING: &str = "looking for the application's other workers";

/// Finds out how the application's rows are spread, without judging who wrote them.
pub(super) async fn layout(
    client: &Client,
    options: &TableOptions,
    tables: &Tables,
) -> Result<Layout, StoreError> {
    let is_separate = has_separate_state(client, tables).await?;
    let migration = match is_separate {
        true => migration(client, tables).await?,
        false => None,
    };
    Layout::decide(is_separate, migration, options.moves_to_single_table)
        .map_err(|problem| refusal(&tables.state, problem))
}

/// How far the Java workers' move to the single table is; `None` while it has not begun.
pub(super) async fn migration(client: &Client, tables: &Tables) -> Result<Option<Migration>, StoreError> {
    let Some(item) = read(client, LOOKING, tables.separate_state(), TABLE_MIGRATION_KEY).await? else {
        return Ok(None);
    };
    let migration = match item.text(TABLE_MIGRATION_STATUS) {
        Ok(Some(status)) => Migration::parse(status),
        Ok(None) => Err(format!(
            "{TABLE_MIGRATION_STATUS} of row {TABLE_MIGRATION_KEY} is missing"
        )),
        Err(problem) => Err(problem),
    };
    migration
        .map(Some)
        .map_err(|problem| refusal(&tables.state, problem))
}

/// Refuses to join workers of the Java KCL 2.x, or a migration from it that is under way: they read every row of the
/// lease table as a lease, and take leases without being asked.
pub(super) async fn check_generation(
    client: &Client,
    options: &TableOptions,
    tables: &Tables,
    layout: Layout,
) -> Result<(), StoreError> {
    if let Some((version, table)) = stored_version(client, tables, layout).await? {
        return check_version(&version, table);
    }
    if options.takes_over_from_2x || !has_leases(client, &tables.leases).await? {
        return Ok(());
    }
    // Others may have started a new application meanwhile: who speaks our protocol says so before it makes leases.
    if let Some((version, table)) = stored_version(client, tables, layout).await? {
        return check_version(&version, table);
    }
    Err(refusal(
        &tables.leases,
        format!(
            "there are leases but no row {CLIENT_VERSION_KEY}, as workers of the Java KCL 2.x leave it, and those of 3.x \
             in the first phase of a migration; move the Java workers to KCL 3.x first \
             (CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X, later CLIENT_VERSION_CONFIG_3X), or stop them for good and tell \
             this worker to take over from 2.x (takes_over_from_2x). If they are of 3.0 to 3.4 and keep their state in tables \
             with names of their own, not in {} and {}, name these with coordinator_state_table and worker_metrics_table",
            tables.state, tables.workers
        ),
    ))
}

/// The row that says which protocol the application's workers speak, and its table.
async fn stored_version<'a>(
    client: &Client,
    tables: &'a Tables,
    layout: Layout,
) -> Result<Option<(ClientVersion, &'a str)>, StoreError> {
    for place in tables.version(layout).1 {
        match read(client, LOOKING, place, CLIENT_VERSION_KEY).await {
            Ok(None) => {}
            Ok(Some(item)) => {
                let version = rows::decode_version(&item).map_err(|problem| refusal(place.table, problem))?;
                return Ok(Some((version, place.table)));
            }
            Err(error) if error.kind() == StoreErrorKind::TableMissing => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn check_version(version: &ClientVersion, table: &str) -> Result<(), StoreError> {
    if version.is_current() {
        return Ok(());
    }
    Err(refusal(
        table,
        format!(
            "row {CLIENT_VERSION_KEY} is in state {} (written by {}), this worker speaks only {}; finish the migration \
             of the Java workers to KCL 3.x first: deploy them all with CLIENT_VERSION_CONFIG_3X",
            version.version,
            version.modified_by,
            ClientVersion::CURRENT
        ),
    ))
}

/// A Java worker that starts for the first time makes its tables one after the other.
pub(super) async fn check_workers_table(
    client: &Client,
    tables: &Tables,
    layout: Layout,
) -> Result<(), StoreError> {
    let Some(place) = tables.other_workers(layout) else {
        return Ok(());
    };
    match client.describe_table().table_name(place.table).send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let failure = classify(LOOKING, place.table, error);
            if failure.kind() != StoreErrorKind::TableMissing {
                return Err(failure);
            }
            let problem = format!(
                "the table does not exist although {} does; a Java worker of KCL 3.0 to 3.4 creates both: start again \
                 when it has, name the table with worker_metrics_table if it has a name of its own, or delete what a former \
                 application left",
                tables.state
            );
            Err(refusal(place.table, problem))
        }
    }
}

async fn has_separate_state(client: &Client, tables: &Tables) -> Result<bool, StoreError> {
    match client.describe_table().table_name(&tables.state).send().await {
        Ok(_) => Ok(true),
        Err(error) => match classify(LOOKING, &tables.state, error) {
            missing if missing.kind() == StoreErrorKind::TableMissing => Ok(false),
            // A new application needs no permission for tables that it does not have. Leases of workers that do have them
            // are then found without the row that says who wrote them, which is refused.
            denied if denied.kind() == StoreErrorKind::AccessDenied => {
                tracing::warn!(
                    table = %tables.state,
                    "this worker may not describe the table of the Java KCL 3.0 to 3.4 and takes it as absent"
                );
                Ok(false)
            }
            other => Err(other),
        },
    }
}

/// Whether the table holds a lease; it may not exist.
async fn has_leases(client: &Client, table: &str) -> Result<bool, StoreError> {
    let mut from = None;
    loop {
        let request = client
            .scan()
            .table_name(table)
            .consistent_read(true)
            .set_exclusive_start_key(from);
        let page = match request.send().await {
            Ok(page) => page,
            Err(error) => {
                let failure = classify(LOOKING, table, error);
                if failure.kind() == StoreErrorKind::TableMissing {
                    return Ok(false);
                }
                return Err(failure);
            }
        };
        if page
            .items()
            .iter()
            .any(|item| codec::entity(item) == Entity::Lease)
        {
            return Ok(true);
        }
        from = page.last_evaluated_key;
        if from.as_ref().is_none_or(|key| key.is_empty()) {
            return Ok(false);
        }
    }
}

/// One row, strongly consistent.
pub(super) async fn read(
    client: &Client,
    operation: &'static str,
    place: Place<'_>,
    key: &str,
) -> Result<Option<Item>, StoreError> {
    let request = client
        .get_item()
        .table_name(place.table)
        .key(place.key, string(key))
        .consistent_read(true);
    let output = request
        .send()
        .await
        .map_err(|error| classify(operation, place.table, error))?;
    Ok(output.item)
}

fn refusal(table: &str, problem: String) -> StoreError {
    failure(StoreErrorKind::Incompatible, LOOKING, table, problem)
}
