//! Making the table usable: create it, check its shape, wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement, KeyType, Projection, ProjectionType,
    ProvisionedThroughput, ScalarAttributeType, TableDescription, TableStatus, Tag,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::attributes::{LEASE_KEY, LEASE_OWNER, OWNER_INDEX};
use super::failure::{classify, failure};
use crate::store::{StoreError, StoreErrorKind};

/// Whether a worker may create the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TableCreation {
    /// Create the table, or its missing index, with the options given.
    #[default]
    CreateIfMissing,
    /// Never create or change anything; a missing table or index is an error that prints the required schema.
    MustExist,
}

/// How a new table is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Billing {
    /// Pay per request.
    #[default]
    OnDemand,
    /// Capacity units per second for the table and for its index each.
    Provisioned {
        /// Read capacity units.
        read: u32,
        /// Write capacity units.
        write: u32,
    },
}

/// Name and creation of the lease table, and how to get along with what older workers left. Billing, tags, protection
/// and time-out apply only when the table is created.
///
/// ```
/// use kcl_lease::{Billing, TableCreation, TableOptions};
///
/// let mut options = TableOptions::new("my-app");
/// options.billing = Billing::Provisioned { read: 20, write: 20 };
/// options.creation = TableCreation::MustExist;
/// assert_eq!(options.name(), "my-app");
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TableOptions {
    /// The application's name, after which its tables are called. Those of the Java KCL 3.0 to 3.4 are used if they exist, by the
    /// rules of the Java KCL 3.5.
    #[serde(skip)]
    pub application: String,
    /// The lease table's name. Default: the application's, as in the Java KCL.
    pub name: Option<String>,
    /// The table of the Java workers of 3.0 to 3.4 for the leader's lock and the state of migrations, if they are configured
    /// with a name of their own (`CoordinatorStateTableConfig`). Default: the application's name and `-CoordinatorState`.
    pub coordinator_state_table: Option<String>,
    /// The table of those workers for their signs of life, if they are configured with a name of their own
    /// (`WorkerMetricsTableConfig`). Default: the application's name and `-WorkerMetricStats`.
    pub worker_metrics_table: Option<String>,
    /// Whether it may be created.
    pub creation: TableCreation,
    /// Billing of a new table.
    pub billing: Billing,
    /// Tags of a new table.
    pub tags: BTreeMap<String, String>,
    /// Deletion protection of a new table.
    pub deletion_protection: bool,
    /// Whether the table can be restored to any moment of the last 35 days. Switched on at each start, also for a table that
    /// exists, as by the Java KCL, but not for one that must exist; never switched off. Default: no.
    pub point_in_time_recovery: bool,
    /// How long to wait for a new table and index. (The Java KCL waits an hour for its index.)
    #[serde(with = "humantime_serde")]
    pub creation_timeout: Duration,
    /// Where the tables of the Java KCL 3.0 to 3.4 exist: whether this worker moves to the single table. Like
    /// `migrateAllEntitiesToLeaseTable` of the Java KCL 3.5, it must not be set before the row `TableMigration3.5` is in
    /// state `TABLE_MIGRATION_STATUS_DEPLOYED`, and the move ends when it is set for all workers. Only a Java leader
    /// takes the steps of the migration. Default: no.
    pub moves_to_single_table: bool,
    /// Whether leases without the row `Migration3.0` are taken over. They are those of the Java KCL 2.x, whose workers
    /// fail once this worker has joined: stop them for good before. Default: no, joining is refused.
    pub takes_over_from_2x: bool,
}

impl TableOptions {
    /// What follows the application's name in that of the table with the leader's lock.
    pub const COORDINATOR_STATE_SUFFIX: &str = "-CoordinatorState";
    /// What follows the application's name in that of the table with the workers' signs of life.
    pub const WORKER_METRICS_SUFFIX: &str = "-WorkerMetricStats";

    /// An on-demand table, created if missing, that is called after its application.
    pub fn new(application: impl Into<String>) -> Self {
        Self {
            application: application.into(),
            ..Self::default()
        }
    }

    /// The lease table's name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.application)
    }
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            application: String::new(),
            name: None,
            coordinator_state_table: None,
            worker_metrics_table: None,
            creation: TableCreation::default(),
            billing: Billing::default(),
            tags: BTreeMap::new(),
            deletion_protection: false,
            point_in_time_recovery: false,
            creation_timeout: Duration::from_secs(600),
            moves_to_single_table: false,
            takes_over_from_2x: false,
        }
    }
}

pub(super) const PREPARE: &str = "preparing";
pub(super) const FIRST_POLL: Duration = Duration::from_millis(50);
pub(super) const SLOWEST_POLL: Duration = Duration::from_secs(2);

/// Refuses a table that is something else; it may be missing.
pub(super) async fn check_shape(client: &Client, options: &TableOptions) -> Result<(), StoreError> {
    match describe(client, options).await? {
        Some(table) => check_key(&table, options),
        None => Ok(()),
    }
}

/// Creates what is missing, if allowed, and waits until the table can be used, but not beyond `deadline`.
pub(super) async fn prepare(
    client: &Client,
    options: &TableOptions,
    deadline: Instant,
) -> Result<(), StoreError> {
    let mut poll = FIRST_POLL;
    loop {
        match describe(client, options).await? {
            None => create(client, options).await?,
            Some(table) => {
                check_key(&table, options)?;
                match readiness(&table) {
                    Readiness::Ready => return Ok(()),
                    // It takes minutes, and assignments are found by scans meanwhile.
                    Readiness::IndexMissing => return add_index(client, options, &table).await,
                    Readiness::Waiting => {}
                }
            }
        }
        if Instant::now() >= deadline {
            let message = format!(
                "table is still not active, or index {OWNER_INDEX} is being deleted, after the creation time-out"
            );
            return Err(failure(
                StoreErrorKind::Unavailable,
                PREPARE,
                options.name(),
                message,
            ));
        }
        sleep(poll).await;
        poll = (poll * 2).min(SLOWEST_POLL);
    }
}

enum Readiness {
    Ready,
    IndexMissing,
    Waiting,
}

fn readiness(table: &TableDescription) -> Readiness {
    let usable = matches!(
        table.table_status(),
        Some(TableStatus::Active | TableStatus::Updating)
    );
    let index = table
        .global_secondary_indexes()
        .iter()
        .find(|index| index.index_name() == Some(OWNER_INDEX));
    match index.map(|index| index.index_status()) {
        _ if !usable => Readiness::Waiting,
        // While UPDATING another worker may be adding the index.
        None if table.table_status() == Some(&TableStatus::Updating) => Readiness::Waiting,
        None => Readiness::IndexMissing,
        Some(Some(IndexStatus::Active | IndexStatus::Updating | IndexStatus::Creating)) => Readiness::Ready,
        Some(_) => Readiness::Waiting,
    }
}

async fn describe(client: &Client, options: &TableOptions) -> Result<Option<TableDescription>, StoreError> {
    match client.describe_table().table_name(options.name()).send().await {
        Ok(output) => Ok(output.table),
        Err(error) => match classify(PREPARE, options.name(), error) {
            missing if missing.kind() == StoreErrorKind::TableMissing => Ok(None),
            other => Err(other),
        },
    }
}

async fn create(client: &Client, options: &TableOptions) -> Result<(), StoreError> {
    if options.creation == TableCreation::MustExist {
        return Err(must_exist(options, "the table does not exist"));
    }
    let mut request = client
        .create_table()
        .table_name(options.name())
        .attribute_definitions(string_attribute(LEASE_KEY)?)
        .attribute_definitions(string_attribute(LEASE_OWNER)?)
        .key_schema(key(LEASE_KEY, KeyType::Hash)?)
        .deletion_protection_enabled(options.deletion_protection);
    let mut index = GlobalSecondaryIndex::builder()
        .index_name(OWNER_INDEX)
        .key_schema(key(LEASE_OWNER, KeyType::Hash)?)
        .key_schema(key(LEASE_KEY, KeyType::Range)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        );
    match options.billing {
        Billing::OnDemand => request = request.billing_mode(BillingMode::PayPerRequest),
        Billing::Provisioned { read, write } => {
            let throughput = throughput(read.into(), write.into())?;
            index = index.provisioned_throughput(throughput.clone());
            request = request
                .billing_mode(BillingMode::Provisioned)
                .provisioned_throughput(throughput);
        }
    }
    for (key, value) in &options.tags {
        request = request.tags(
            Tag::builder()
                .key(key)
                .value(value)
                .build()
                .map_err(built_wrong)?,
        );
    }
    request = request.global_secondary_indexes(index.build().map_err(built_wrong)?);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_resource_in_use_exception()) =>
        {
            Ok(())
        }
        Err(error) => Err(classify(PREPARE, options.name(), error)),
    }
}

async fn add_index(
    client: &Client,
    options: &TableOptions,
    table: &TableDescription,
) -> Result<(), StoreError> {
    if options.creation == TableCreation::MustExist {
        return Err(must_exist(options, "the table has no such index"));
    }
    let mut index = CreateGlobalSecondaryIndexAction::builder()
        .index_name(OWNER_INDEX)
        .key_schema(key(LEASE_OWNER, KeyType::Hash)?)
        .key_schema(key(LEASE_KEY, KeyType::Range)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        );
    let capacity = table.provisioned_throughput();
    let units = capacity.map_or((0, 0), |units| {
        (
            units.read_capacity_units().unwrap_or(0),
            units.write_capacity_units().unwrap_or(0),
        )
    });
    if units.0 > 0 && units.1 > 0 {
        index = index.provisioned_throughput(throughput(units.0, units.1)?);
    }
    let request = client
        .update_table()
        .table_name(options.name())
        .attribute_definitions(string_attribute(LEASE_KEY)?)
        .attribute_definitions(string_attribute(LEASE_OWNER)?)
        .global_secondary_index_updates(
            GlobalSecondaryIndexUpdate::builder()
                .create(index.build().map_err(built_wrong)?)
                .build(),
        );
    match request.send().await {
        Ok(_) => Ok(()),
        // Another worker is adding it.
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_resource_in_use_exception()) =>
        {
            Ok(())
        }
        Err(error) => {
            let failure = classify(PREPARE, options.name(), error);
            // "Attempting to create an index which already exists": lost a race that does not matter.
            if failure.kind() == StoreErrorKind::Invalid && failure.to_string().contains("already exists") {
                return Ok(());
            }
            Err(failure)
        }
    }
}

fn check_key(table: &TableDescription, options: &TableOptions) -> Result<(), StoreError> {
    match table.key_schema() {
        [only] if only.attribute_name() == LEASE_KEY && *only.key_type() == KeyType::Hash => Ok(()),
        other => {
            let names: Vec<_> = other.iter().map(KeySchemaElement::attribute_name).collect();
            Err(must_exist(
                options,
                &format!("the table is no lease table: its key is {names:?}"),
            ))
        }
    }
}

fn must_exist(options: &TableOptions, problem: &str) -> StoreError {
    let schema = format!(
        "{problem}. Required: hash key {LEASE_KEY} (S); global secondary index {OWNER_INDEX} with hash key \
         {LEASE_OWNER} (S), range key {LEASE_KEY} (S), projection KEYS_ONLY"
    );
    failure(StoreErrorKind::TableMissing, PREPARE, options.name(), schema)
}

fn string_attribute(name: &str) -> Result<AttributeDefinition, StoreError> {
    let definition = AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S);
    definition.build().map_err(built_wrong)
}

fn key(name: &str, role: KeyType) -> Result<KeySchemaElement, StoreError> {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(role)
        .build()
        .map_err(built_wrong)
}

fn throughput(read: i64, write: i64) -> Result<ProvisionedThroughput, StoreError> {
    let units = ProvisionedThroughput::builder()
        .read_capacity_units(read)
        .write_capacity_units(write);
    units.build().map_err(built_wrong)
}

pub(super) fn built_wrong(error: aws_sdk_dynamodb::error::BuildError) -> StoreError {
    failure(StoreErrorKind::Invalid, PREPARE, "", error.to_string()).with_source(error)
}
