//! The lease table in DynamoDB, in the single-table format of the Java KCL 3.5, or in that of 3.0 to 3.4 where its
//! tables exist.

mod attributes;
mod backups;
mod codec;
mod condition;
mod expression;
mod failure;
mod generation;
mod layout;
mod rows;
mod streams;
mod survey;
mod table;
mod workers;

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_types::timeout::TimeoutConfig;

use self::attributes::*;
use self::codec::Entity;
use self::expression::Expression;
use self::failure::{classify, failure};
pub use self::generation::{Generation, MigrationRow};
use self::layout::{Layout, Migration, Place, Tables};
pub use self::table::{Billing, TableCreation, TableOptions};
use super::{
    ClientVersion, LeaderLock, LeaseChange, LeaseStore, StoreError, StoreErrorKind, TableSnapshot,
    UnreadableRow, WorkerRow, WriteOutcome,
};
use crate::ids::{LeaseKey, ProcessId, WorkerId};
use crate::lease::{Lease, StreamIdentity};
use tokio::time::Instant;

/// A [`LeaseStore`] on one DynamoDB table, or on the three of the Java KCL 3.0 to 3.4 where those exist.
///
/// Give the client time-outs well below the fail-over time: a renewal that hangs is a lease that expires. Whatever it was given, no
/// call takes longer than 30 s.
#[derive(Debug, Clone)]
pub struct DynamoDbLeaseStore {
    client: Client,
    options: TableOptions,
    tables: Tables,
    /// Found out at first use.
    layout: Arc<Mutex<Option<Layout>>>,
}

impl DynamoDbLeaseStore {
    /// A store on the table that `options` names.
    pub fn new(client: Client, options: TableOptions) -> Self {
        Self {
            client: bounded(client),
            tables: Tables::of(&options),
            options,
            layout: Arc::default(),
        }
    }

    /// Looks whether the table may be written to: it is a lease table, or is not there yet, and those who use it speak the protocol
    /// that is spoken here. Every worker looks before it joins. Writes nothing.
    ///
    /// # Errors
    /// [`StoreErrorKind::Incompatible`] says who uses the table and what to do; [`StoreErrorKind::TableMissing`] that the table is
    /// something else.
    pub async fn check(&self) -> Result<(), StoreError> {
        table::check_shape(&self.client, &self.options).await?;
        let layout = self.layout().await?;
        survey::check_generation(&self.client, &self.options, &self.tables, layout).await?;
        survey::check_workers_table(&self.client, &self.tables, layout).await
    }

    /// Which tables the application has, and how far its migrations are. Judges nothing, and writes nothing.
    ///
    /// # Errors
    /// A table or a row cannot be read.
    pub async fn generation(&self) -> Result<Generation, StoreError> {
        generation::look(&self.client, &self.tables).await
    }

    fn table(&self) -> &str {
        self.options.name()
    }

    async fn layout(&self) -> Result<Layout, StoreError> {
        let known = *self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(layout) => Ok(layout),
            None => {
                let found = survey::layout(&self.client, &self.options, &self.tables).await?;
                self.use_layout(found);
                Ok(found)
            }
        }
    }

    fn use_layout(&self, layout: Layout) {
        let before = self
            .layout
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(layout);
        if before != Some(layout) {
            tracing::debug!(?layout, table = self.table(), "tables in use");
        }
    }

    /// The layout, once it is known whether a Java leader has completed the move to the single table meanwhile: from that
    /// moment on the lock is in the lease table.
    async fn layout_of_lock(&self) -> Result<Layout, StoreError> {
        let layout = self.layout().await?;
        if layout != Layout::Single
            && survey::migration(&self.client, &self.tables).await? == Some(Migration::Complete)
        {
            self.use_layout(Layout::Single);
            return Ok(Layout::Single);
        }
        Ok(layout)
    }

    fn unreadable(&self, operation: &'static str, problem: String) -> StoreError {
        failure(StoreErrorKind::Invalid, operation, self.table(), problem)
    }

    fn put(&self, place: Place<'_>, key: &str, mut item: Item) -> PutItemFluentBuilder {
        item.insert(place.key.to_owned(), string(key));
        self.client
            .put_item()
            .table_name(place.table)
            .set_item(Some(item))
    }

    fn delete_row(&self, place: Place<'_>, key: &str) -> DeleteItemFluentBuilder {
        self.client
            .delete_item()
            .table_name(place.table)
            .key(place.key, string(key))
    }

    /// Puts an item under a condition; false if the condition did not hold.
    async fn put_if(&self, operation: &'static str, put: PutItemFluentBuilder) -> Result<bool, StoreError> {
        let table = put.get_table_name().clone().unwrap_or_default();
        unless_refused(operation, &table, put.send().await)
    }

    /// Deletes an item under a condition; false if the condition did not hold.
    async fn delete_if(
        &self,
        operation: &'static str,
        delete: DeleteItemFluentBuilder,
    ) -> Result<bool, StoreError> {
        let table = delete.get_table_name().clone().unwrap_or_default();
        unless_refused(operation, &table, delete.send().await)
    }

    async fn read(&self, operation: &'static str, key: &str) -> Result<Option<Item>, StoreError> {
        self.read_at(operation, self.tables.leases(), key).await
    }

    async fn read_at(
        &self,
        operation: &'static str,
        place: Place<'_>,
        key: &str,
    ) -> Result<Option<Item>, StoreError> {
        survey::read(&self.client, operation, place, key).await
    }

    /// Every row of a table, and the read capacity units that it took.
    async fn snapshot(&self, is_consistent: bool) -> Result<TableSnapshot, StoreError> {
        let mut snapshot = TableSnapshot::default();
        let layout = self.layout().await?;
        let mut read_units = self
            .scan_table(self.table(), is_consistent, |item| sort_into(&mut snapshot, item))
            .await?;
        if let Some(place) = self.tables.other_workers(layout) {
            let read = self.scan_table(place.table, is_consistent, |item| {
                let read = rows::decode_worker(item, place.key).map(|worker| snapshot.workers.push(worker));
                note_unreadable(&mut snapshot, item, place.key, read);
            });
            read_units += read.await?;
        }
        snapshot.read_units = read_units;
        snapshot.leases.sort_by(|a, b| a.key.cmp(&b.key));
        // A worker that moved to the single table left its last report in the other.
        snapshot
            .workers
            .sort_by(|a, b| a.id.cmp(&b.id).then(b.reported_at.cmp(&a.reported_at)));
        snapshot.workers.dedup_by(|a, b| a.id == b.id);
        Ok(snapshot)
    }

    async fn scan_table(
        &self,
        table: &str,
        is_consistent: bool,
        mut each: impl FnMut(&Item) + Send,
    ) -> Result<f64, StoreError> {
        let (mut from, mut read_units) = (None, 0.0);
        loop {
            let request = self
                .client
                .scan()
                .table_name(table)
                .set_consistent_read(is_consistent.then_some(true))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(from);
            let page = request
                .send()
                .await
                .map_err(|error| classify("scanning", table, error))?;
            read_units += page
                .consumed_capacity()
                .and_then(|used| used.capacity_units())
                .unwrap_or(0.5);
            page.items().iter().for_each(&mut each);
            from = page.last_evaluated_key;
            if from.as_ref().is_none_or(|key| key.is_empty()) {
                return Ok(read_units);
            }
        }
    }
}

/// The longest that a call may take, with all of its attempts.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// A client like this one, whose calls end.
fn bounded(client: Client) -> Client {
    let config = client.config();
    let theirs = config.timeout_config();
    let limit = theirs.and_then(TimeoutConfig::operation_timeout);
    let limit = limit.map_or(LONGEST_CALL, |limit| limit.min(LONGEST_CALL));
    let timeouts = theirs.map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let timeouts = timeouts.operation_timeout(limit).build();
    Client::from_conf(config.to_builder().timeout_config(timeouts).build())
}

fn unless_refused<T, E, R>(
    operation: &'static str,
    table: &str,
    answer: Result<T, SdkError<E, R>>,
) -> Result<bool, StoreError>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(classify(operation, table, error)),
    }
}

fn no_worker(id: &WorkerId) -> String {
    format!("worker id {id} is the key of a row that is no worker's; choose another id")
}

/// Whether a worker's row was written by this process, or by none that says so.
fn is_of(row: &Item, process: Option<&ProcessId>) -> bool {
    let theirs = row.text(PROCESS).ok().flatten();
    theirs.is_none() || theirs == process.map(ProcessId::as_str)
}

fn sort_into(snapshot: &mut TableSnapshot, item: &Item) {
    let read = match codec::entity(item) {
        Entity::Lease => codec::decode(item).map(|lease| snapshot.leases.push(lease)),
        Entity::Worker => rows::decode_worker(item, LEASE_KEY).map(|worker| snapshot.workers.push(worker)),
        Entity::Leader | Entity::ClientVersion => Ok(()),
        Entity::Foreign => {
            if let Some(problem) = unknown_type(item) {
                let key = item.text(LEASE_KEY).ok().flatten().unwrap_or_default();
                snapshot.unknown.push(UnreadableRow::new(key, problem));
            }
            Ok(())
        }
    };
    note_unreadable(snapshot, item, LEASE_KEY, read);
}

/// What type a row has, if it is not one of the Java KCL's that are neither read nor written here.
fn unknown_type(item: &Item) -> Option<String> {
    match item.text(ENTITY_TYPE) {
        Ok(Some(STREAM_ENTITY | TABLE_MIGRATION_ENTITY)) => None,
        Ok(name) => Some(format!("its {ENTITY_TYPE} {name:?} is not known")),
        Err(problem) => Some(problem),
    }
}

fn note_unreadable(snapshot: &mut TableSnapshot, item: &Item, key: &str, read: Result<(), String>) {
    if let Err(problem) = read {
        let key = item.text(key).ok().flatten().unwrap_or_default().to_owned();
        snapshot.unreadable.push(UnreadableRow { key, problem });
    }
}

#[async_trait]
impl LeaseStore for DynamoDbLeaseStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.check().await?;
        let deadline = Instant::now() + self.options.creation_timeout;
        table::prepare(&self.client, &self.options, deadline).await?;
        backups::enable_recovery(&self.client, &self.options, deadline).await
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        self.snapshot(false).await
    }

    async fn scan_now(&self) -> Result<TableSnapshot, StoreError> {
        self.snapshot(true).await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        const READING: &str = "reading a lease";
        let item = self.read(READING, key.as_str()).await?;
        match item.filter(|item| codec::entity(item) == Entity::Lease) {
            Some(item) => codec::decode(&item)
                .map(Some)
                .map_err(|problem| self.unreadable(READING, format!("row {key}: {problem}"))),
            None => Ok(None),
        }
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        let mut keys = Vec::new();
        let mut from = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table())
                .index_name(OWNER_INDEX)
                .key_condition_expression("#owner = :owner")
                .expression_attribute_names("#owner", LEASE_OWNER)
                .expression_attribute_values(":owner", string(worker.as_str()))
                .set_exclusive_start_key(from);
            let page = request
                .send()
                .await
                .map_err(|error| classify("looking for assignments", self.table(), error))?;
            keys.extend(
                page.items()
                    .iter()
                    .filter_map(|item| item.text(LEASE_KEY).ok().flatten().map(LeaseKey::from)),
            );
            from = page.last_evaluated_key;
            if from.as_ref().is_none_or(|key| key.is_empty()) {
                return Ok(keys);
            }
        }
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let put = self
            .put(self.tables.leases(), lease.key.as_str(), codec::encode(lease))
            .condition_expression("attribute_not_exists(#key)");
        self.put_if(
            "creating a lease",
            put.expression_attribute_names("#key", LEASE_KEY),
        )
        .await
    }

    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        const WRITING: &str = "writing a lease";
        let expression = Expression::of(change, seen);
        let request = self
            .client
            .update_item()
            .table_name(self.table())
            .key(LEASE_KEY, string(seen.key.as_str()))
            .update_expression(expression.update())
            .condition_expression(expression.condition())
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let (item, applied) = match request.send().await {
            Ok(output) => (output.attributes, true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    (refusal.item.clone(), false)
                }
                _ => return Err(classify(WRITING, self.table(), error)),
            },
        };
        let row = match item {
            Some(item) if !item.is_empty() => match codec::decode(&item) {
                Ok(row) => Some(row),
                // Somebody made it unreadable since it was seen. The owner goes on from what it knows, and mends it with its
                // next checkpoint.
                Err(problem) if applied => {
                    tracing::warn!(lease = %seen.key, problem, "a lease's row was made unreadable by hand");
                    Some(change.applied_to(seen, seen))
                }
                Err(problem) => return Err(self.unreadable(WRITING, format!("row {}: {problem}", seen.key))),
            },
            // Some servers do not return the row on a refusal.
            _ if applied => Some(change.applied_to(seen, seen)),
            _ => self.get(&seen.key).await?,
        };
        Ok(match row {
            Some(row) if applied => WriteOutcome::Applied(row),
            row => WriteOutcome::Refused(row),
        })
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        let delete = self
            .delete_row(self.tables.leases(), seen.key.as_str())
            .expression_attribute_names("#key", LEASE_KEY)
            .expression_attribute_names("#counter", LEASE_COUNTER)
            .expression_attribute_values(":counter", number(seen.counter));
        let delete = match seen.rewind_to {
            None => delete
                .condition_expression(
                    "attribute_not_exists(#key) OR (#counter = :counter AND attribute_not_exists(#rewind))",
                )
                .expression_attribute_names("#rewind", REWIND_TO),
            Some(_) => delete.condition_expression("attribute_not_exists(#key) OR #counter = :counter"),
        };
        self.delete_if("deleting a lease", delete).await
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        const READING: &str = "reading the leader lock";
        let place = self.tables.lock(self.layout_of_lock().await?);
        let item = self.read_at(READING, place, LEADER_KEY).await?;
        item.map(|item| rows::decode_lock(&item).map_err(|problem| self.unreadable(READING, problem)))
            .transpose()
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        let place = self.tables.lock(self.layout().await?);
        let put = self
            .put(place, LEADER_KEY, rows::encode_lock(lock))
            .expression_attribute_names("#key", place.key);
        let put = match seen {
            None => put.condition_expression("attribute_not_exists(#key)"),
            Some(version) => put
                .condition_expression("attribute_exists(#key) AND #version = :version")
                .expression_attribute_names("#version", LOCK_VERSION)
                .expression_attribute_values(":version", string(version)),
        };
        self.put_if("taking the leader lock", put).await
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        let place = self.tables.lock(self.layout().await?);
        let put = self
            .put(place, LEADER_KEY, rows::encode_lock(lock))
            .condition_expression("#version = :version AND #owner = :owner")
            .expression_attribute_names("#version", LOCK_VERSION)
            .expression_attribute_names("#owner", LOCK_OWNER)
            .expression_attribute_values(":version", string(seen))
            .expression_attribute_values(":owner", string(lock.owner.as_str()));
        self.put_if("refreshing the leader lock", put).await
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        let place = self.tables.lock(self.layout().await?);
        let delete = self
            .delete_row(place, LEADER_KEY)
            .condition_expression("#version = :version AND #owner = :owner")
            .expression_attribute_names("#version", LOCK_VERSION)
            .expression_attribute_names("#owner", LOCK_OWNER)
            .expression_attribute_values(":version", string(lock.version.clone()))
            .expression_attribute_values(":owner", string(lock.owner.as_str()));
        self.delete_if("releasing the leader lock", delete).await
    }

    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        self.announce_worker(worker).await
    }

    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        self.report_worker(worker).await
    }

    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError> {
        self.retire_worker(worker, process).await
    }

    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        self.forget_worker(seen).await
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        self.has_worker(worker).await
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        const AGREEING: &str = "reading the client version";
        let (home, places) = self.tables.version(self.layout().await?);
        // Twice, because another worker may write the row between the look and the write.
        for _ in 0..2 {
            for place in &places {
                if let Some(found) = self.read_at(AGREEING, *place, CLIENT_VERSION_KEY).await? {
                    return rows::decode_version(&found)
                        .map_err(|problem| self.unreadable(AGREEING, problem));
                }
            }
            let put = self
                .put(home, CLIENT_VERSION_KEY, rows::encode_version(ours))
                .condition_expression("attribute_not_exists(#key)")
                .expression_attribute_names("#key", home.key);
            if self.put_if(AGREEING, put).await? {
                break;
            }
        }
        Ok(ours.clone())
    }

    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        self.recorded_stream().await
    }

    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        self.write_stream(seen, stream).await
    }

    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        self.keep(seen, stream).await
    }

    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        self.kept_leases().await
    }
}
